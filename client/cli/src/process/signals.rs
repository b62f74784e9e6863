//! Signals that end this program, or are passed on.

use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// The signals that are passed on to a command, and that end this program where there is none.
pub(crate) struct Signals {
    listeners: [(Signal, unix::Signal); 6],
}

impl Signals {
    /// Takes over the handling of these signals from the system, for the rest of the process.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        let listen =
            |kind: Signal| Ok::<_, io::Error>((kind, signal(SignalKind::from_raw(kind as i32))?));
        Ok(Self {
            listeners: [
                listen(Signal::SIGINT)?,
                listen(Signal::SIGTERM)?,
                listen(Signal::SIGHUP)?,
                listen(Signal::SIGQUIT)?,
                listen(Signal::SIGUSR1)?,
                listen(Signal::SIGUSR2)?,
            ],
        })
    }

    /// Waits for the next signal. If the future is dropped, no signal is lost.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (kind, listener) in &mut self.listeners {
                if listener.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*kind);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The exit code of a process that a signal ended, as shells count it.
pub(crate) fn exit_code(signal: Signal) -> i32 {
    128 + signal as i32
}
