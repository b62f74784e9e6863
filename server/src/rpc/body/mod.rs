//! Bodies of requests and responses: gRPC's framing, read and written.

pub(crate) mod framing;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod until_drain;
