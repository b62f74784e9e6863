//! Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends a run before its time.
#[derive(Debug)]
pub(crate) struct Interrupts {
    ctrl_c: Signal,
    terminate: Signal,
    /// Which came first, if any did.
    pub(crate) first: Option<SignalKind>,
}

impl Interrupts {
    /// Takes the signals of this process.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            ctrl_c: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            first: None,
        })
    }

    pub(crate) async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            Some(()) = self.ctrl_c.recv() => SignalKind::interrupt(),
            Some(()) = self.terminate.recv() => SignalKind::terminate(),
            else => std::future::pending().await,
        }
    }
}

/// Exit code: ended by a signal, as shells count it. 130 for Ctrl-C, 143 for SIGTERM.
pub(crate) fn exit_code(signal: SignalKind) -> i32 {
    128 + signal.as_raw_value()
}
