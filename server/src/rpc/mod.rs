//! gRPC: turns requests into calls of the owner, and the owner's answers into responses.
//!
//! [`router`] finds the handler of a call. The handlers, a file for each service, check the [`arguments`], call the
//! owner through [`caller`], which checks the rights of whoever calls, and build the response in [`responses`]. Calls that stream have files of their own: `pipeline`, `watch` and
//! `backup`. [`body`] reads and writes the bytes of a call.

pub(crate) mod admin;
pub(crate) mod answering;
pub(crate) mod arguments;
pub(crate) mod audit;
mod backup;
pub(crate) mod body;
mod call_count;
mod call_quota;
pub(crate) mod caller;
mod callers;
pub(crate) mod context;
mod deadline;
mod fingerprint;
pub(crate) mod frame;
#[cfg(test)]
mod fuzz_tests;
mod head;
pub(crate) mod header_fields;
mod health;
mod machines;
mod node;
mod others;
mod page_token;
mod permits;
mod pipeline;
pub(crate) mod reflection;
pub(crate) mod responses;
mod rights;
pub(crate) mod router;
pub(crate) mod services;
mod sessions;
mod slow_calls;
pub(crate) mod standby;
mod state;
mod status;
mod stream_end;
pub(crate) mod visitors;
mod watch;

#[cfg(feature = "bench")]
pub(crate) use rights::KeyCheck;

use soloist::server::{admin_server, machines_server, sessions_server, state_server};

/// The names of the services of `soloist.v1`, for which health is reported.
pub(crate) const SERVICES: [&str; 4] = [
    state_server::SERVICE_NAME,
    machines_server::SERVICE_NAME,
    sessions_server::SERVICE_NAME,
    admin_server::SERVICE_NAME,
];
