//! gRPC: from a request to the owner, and from the owner's answer to a response.

pub(crate) mod admin;
pub(crate) mod arguments;
mod backup;
pub(crate) mod body;
pub(crate) mod context;
mod deadline;
mod fingerprint;
pub(crate) mod frame;
mod machines;
mod page_token;
mod permits;
mod pipeline;
pub(crate) mod responses;
pub(crate) mod router;
mod sessions;
mod state;
mod status;
mod stream_end;
mod watch;

use soloist::server::{admin_server, machines_server, sessions_server, state_server};

/// The names of the services of `soloist.v1`, for health.
pub(crate) const SERVICES: [&str; 4] = [
    state_server::SERVICE_NAME,
    machines_server::SERVICE_NAME,
    sessions_server::SERVICE_NAME,
    admin_server::SERVICE_NAME,
];
