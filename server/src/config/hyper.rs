//! What serves HTTP/2, for tests.

use clap::ValueEnum;

/// What serves HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// The server's own transport, with the crate soloist-http2.
    Own,
    /// The crate hyper, with h2.
    Hyper,
}

impl Transport {
    /// Returns the transport of this name, as the flag has it.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}
