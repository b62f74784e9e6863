//! gRPC: from a request to the owner, and from the owner's answer to a response.

pub(crate) mod arguments;
mod backup;
pub(crate) mod body;
mod deadline;
mod fingerprint;
pub(crate) mod frame;
mod page_token;
mod pipeline;
pub(crate) mod responses;
pub(crate) mod router;
pub(crate) mod service;
mod status;
mod stream_end;
mod watch;
