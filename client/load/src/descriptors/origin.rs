//! The server that describes itself.

use std::time::Duration;

/// The server, for descriptors that come from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// HOST:PORT.
    pub(crate) address: &'a str,
    /// Headers for the calls of reflection: those of every other call too.
    pub(crate) metadata: &'a [(String, String)],
    /// How long to wait for a connection, and for each answer.
    pub(crate) timeout: Duration,
}
