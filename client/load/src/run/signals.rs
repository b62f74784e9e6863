//! Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a run early.
#[derive(Debug)]
pub(crate) struct Interrupts {
    ctrl_c: Signal,
    terminate: Signal,
    /// The first signal that came, if any did.
    pub(crate) first: Option<SignalKind>,
}

impl Interrupts {
    /// Takes over the handling of these signals from the system.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            ctrl_c: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            first: None,
        })
    }

    /// Waits for the next signal. If the future is dropped midway, no signal is lost.
    pub(crate) async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            Some(()) = self.ctrl_c.recv() => SignalKind::interrupt(),
            Some(()) = self.terminate.recv() => SignalKind::terminate(),
            else => std::future::pending().await,
        }
    }
}

/// Returns the exit code of a process that a signal ended, as shells count it: 130 for Ctrl-C, 143 for SIGTERM.
pub(crate) fn exit_code(signal: SignalKind) -> i32 {
    128 + signal.as_raw_value()
}
