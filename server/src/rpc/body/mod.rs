//! Bodies of requests and responses: gRPC's framing, read and written.

pub(crate) mod answers;
pub(crate) mod framing;
pub(crate) mod messages;
pub(crate) mod until_drain;
