//! Why a run comes to no report.

/// Why there is nothing to report.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The arguments contradict each other, or what the server allows.
    Arguments(String),
    /// The server cannot be reached, or is none.
    Target(String),
}
