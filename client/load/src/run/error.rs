//! Why a run has no report.

use tokio::signal::unix::SignalKind;

/// Why there is nothing to report.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The arguments contradict each other, or exceed a limit of the server. Exit code 2.
    Arguments(String),
    /// Something else failed: the server cannot be reached or is no Soloist, or the system refuses something. Exit code 1.
    Failed(String),
    /// A signal came before anything was measured. Exit code 130 or 143.
    Interrupted(SignalKind),
}
