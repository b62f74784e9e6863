//! The engine `raw`: HTTP/2 framed by hand, for unary calls and nothing else.
//!
//! A generated client spends 13 to 19 microseconds of CPU time on a call, most of them on being general. Here a call is
//! some bytes appended to a buffer and three frames recognised in another, so that one core of the generator drives many
//! cores of a server. What it leaves out is generality (streams of messages, compression, TLS), not checks: every frame,
//! status and length of an answer is looked at.
//!
//! ```text
//! worker -> Connection::send -> output -> Endpoint::flush -> socket
//! worker <- Event <- Connection::receive <- Endpoint::read <- socket
//! ```
//!
//! `connection` is the protocol without a socket: `receive` makes frames of what comes in; `headers` and `data` handle
//! those of calls, `control` those about the connection, and `endings` the ends of calls; `outgoing` keeps what waits to go
//! out, and `streams` who waits for an answer. `method` is the head of a request, which `header_cache` keeps as it is written on a
//! connection with the table of `encoder`; `response_fields` reads the head of an answer; `hpack` and `huffman` know how both are
//! encoded, `frame` the frames. `endpoint` adds a socket and `poller` many of them to a thread.

mod checks;
mod config;
mod connection;
mod connection_error;
mod control;
mod data;
mod encoder;
mod endings;
mod endpoint;
mod failure;
mod frame;
mod header_cache;
mod headers;
mod hpack;
mod huffman;
mod message;
mod method;
mod outgoing;
mod poller;
mod receive;
mod response_fields;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use config::Config;
pub(crate) use connection::{Event, SendError, StreamId};
pub(crate) use endpoint::{Endpoint, READ_BYTES};
pub(crate) use failure::Processed;
pub(crate) use method::Method;
pub(crate) use poller::Poller;
