//! HTTP/2 for unary gRPC calls and nothing else, framed by hand: what the engine `raw` is built on.
//!
//! A generated client spends 13 to 19 microseconds of CPU time on a call, mostly to be general. Here a call appends
//! bytes to one buffer and recognises three frames in another, so that one core of the generator can load many cores of
//! a server. It has no streams of messages and no compression, but it omits no check: every frame, status and
//! length of a response is verified.
//!
//! ```text
//! worker -> Connection::send -> output -> Endpoint::flush -> socket
//! worker <- Event <- Connection::receive <- Endpoint::read <- socket
//! ```
//!
//! - `connection` is the protocol without a socket. `receive` makes frames of bytes; `headers`, `data` and `control`
//!   handle them; `endings` ends calls. `streams` holds the open calls, `outgoing` the output and the send windows.
//! - `method` has the header fields of a request, and `header_cache` keeps them encoded. `response_fields` reads those of a
//!   response.
//! - `message` is gRPC's format on the wire; frames and HPACK are those of the crate `soloist_http2`.
//! - `endpoint` adds a socket to a connection, and `poller` waits for many sockets. `socket` is over TCP or in the file system;
//!   `tls` encrypts it. `plaintext` recognises a server that wants TLS.

mod config;
mod connection;
mod control;
mod data;
mod endings;
mod endpoint;
mod failure;
mod header_cache;
mod headers;
mod message;
mod method;
mod outgoing;
mod plaintext;
mod poller;
mod receive;
mod response_fields;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use config::Config;
pub(crate) use connection::{Connection, Event, SendError, StreamId};
pub(crate) use endpoint::{Endpoint, READ_BYTES};
pub(crate) use failure::{CallFailure, Processed};
pub(crate) use method::Method;
pub(crate) use plaintext::{SPEAKS_TLS, speaks_tls};
pub(crate) use poller::Poller;
pub(crate) use socket::Place;
pub(crate) use soloist_http2::frame::PREFACE;
pub(crate) use tls::Tls;
