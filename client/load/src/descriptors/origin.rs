//! The server that describes itself.

use std::time::Duration;

use crate::connect::destination::Destination;

/// The server, for descriptors that come from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) destination: &'a Destination,
    /// Headers for the calls of reflection: those of every other call too. The token is added.
    pub(crate) metadata: &'a [(String, String)],
    /// How long to wait for a connection, and for each answer.
    pub(crate) timeout: Duration,
}
