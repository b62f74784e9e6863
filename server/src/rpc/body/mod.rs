//! Bodies of requests and responses: reads and writes the framing of gRPC over HTTP/2.

#[cfg(test)]
pub(crate) mod counting_waker;
pub(crate) mod framing;
pub(crate) mod incoming;
pub(crate) mod pipe;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod unread;
pub(crate) mod until_end;
