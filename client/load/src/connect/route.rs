//! The way to a server for the engine `raw`, whose loop waits for nothing but its sockets.

use std::sync::Arc;

use crate::connect::nodes::Node;
use crate::http2::{Place, Tls};

/// Where a server is, and whom to trust there.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// At least one.
    pub(crate) places: Vec<Stop>,
}

/// One place to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) place: Place,
    /// `None` without TLS.
    pub(crate) tls: Option<Tls>,
    /// The node that is there.
    pub(crate) node: Arc<Node>,
}
