//! The way to a server for the engine `raw`, whose loop waits for nothing but its sockets.

use crate::http2::{Place, Tls};

/// Where a server is, and whom to trust there.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// At least one.
    pub(crate) places: Vec<Place>,
    /// `None` without TLS.
    pub(crate) tls: Option<Tls>,
}
