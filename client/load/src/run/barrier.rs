//! The common start of several agents.

use std::process;

use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;

use crate::run::error::RunError;
use crate::run::signals::{Interrupts, exit_code};

/// Holds a run back until all agents are connected.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// Told when this process is connected.
    pub(crate) ready: oneshot::Sender<()>,
    /// Receives the start. If the sender is dropped, the run does not start.
    pub(crate) go: oneshot::Receiver<()>,
    /// Receives the end, if the leader ends the run early or goes away.
    pub(crate) stop: oneshot::Receiver<SignalKind>,
}

impl Barrier {
    /// Says that this process is connected, and waits for the start. Ctrl-C or SIGTERM ends the process.
    ///
    /// # Errors
    /// If the leader goes away.
    pub(crate) async fn wait(self, interrupts: &mut Interrupts) -> Result<(), RunError> {
        let _ = self.ready.send(());
        tokio::select! {
            go = self.go => {
                go.map_err(|_| {
                    RunError::Failed("the leader has gone away before the start".to_owned())
                })?;
                interrupts.obey(self.stop);
                Ok(())
            }
            signal = interrupts.recv() => process::exit(exit_code(signal)),
        }
    }
}
