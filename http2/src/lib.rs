//! HTTP/2 for gRPC servers, without I/O.
//!
//! A [`Connection`] is the protocol of a server without a socket, a clock, a task or a thread. The bytes of one read go in, and
//! [`Event`]s come out: requests, parts of their bodies, resets. The user answers, and what there is to write collects in one
//! buffer, [`Connection::output`], for one write.
//!
//! ```text
//! socket -> read -> Connection::next  -> Event -> user
//! socket <- write <- Connection::output <- respond, send_data, reset, consumed, ...
//! ```
//!
//! **It is cheap by what it leaves out.** The fields of requests are classified once, when they enter the dynamic table of HPACK: a
//! path becomes the number that the server gave it, a method or a content type a value of an enum ([`Field`]). From then on an
//! indexed field is one look-up, and a [`Head`] has no map of headers. A stream is a place in an array, which is used again, and
//! nothing is allocated for it. The heads of answers are bytes that were encoded once ([`HeaderBlock`]).
//!
//! **It is bounded in whatever a client does.** [`Limits`] names each limit with its reason. Frames that carry nothing, requests
//! that are given up and requests with errors have budgets, which come back with time and with useful work; a client that uses one
//! up loses the connection. When the output is full, no input is taken: what a client does not read, it does not get
//! made. DATA is taken from the user only as far as the windows of the client and the output allow; the rest stays with the
//! user, who is told when there is room ([`Event::Writable`]). [`Connection::held`] counts the memory.
//!
//! **It has no clock.** Time is an argument. What waits for time says until when ([`Connection::due`]).
//!
//! One call, from its bytes to those of the answer:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use soloist_http2::{Connection, Event, HeaderBlock, Limits, Route, Routes, Then};
//!
//! // What all connections share: the paths of the server, and the heads of its answers.
//! let routes = Arc::new(Routes::new([("/soloist.v1.State/Read", Route(7))]));
//! let head = HeaderBlock::new([(":status", "200"), ("content-type", "application/grpc")]);
//! let ok = HeaderBlock::new([("grpc-status", "0")]);
//!
//! let mut connection = Connection::new(Limits::DEFAULT, routes, Duration::ZERO);
//! // What was read: the preface, empty SETTINGS, the head of a call, and an empty message of gRPC, which ends it.
//! let read = [
//!     &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
//!     b"\0\0\0\x04\0\0\0\0\0",
//!     b"\0\0\x1a\x01\x04\0\0\0\x01\x83\x86\x44\x16/soloist.v1.State/Read",
//!     b"\0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0",
//! ]
//! .concat();
//! let mut input = &read[..];
//! let now = Duration::from_millis(1);
//! while let Some(event) = connection.next(&mut input, now) {
//!     match event {
//!         Event::Request { head, .. } => assert_eq!(head.route(), Some(Route(7))),
//!         Event::Data { stream, data, then: Then::End } => {
//!             assert_eq!(data, [0; 5]);
//!             connection.consumed(stream, 5);
//!             // An answer goes out whole, unless the client's windows are too small for it.
//!             let taken = connection.respond(stream, &head, &[0; 5], &ok)?;
//!             assert_eq!(taken, 5);
//!         }
//!         other => panic!("{other:?}"),
//!     }
//! }
//! // SETTINGS, their acknowledgement, and the answer, for one write.
//! let written = connection.output().len();
//! connection.wrote(written);
//! assert_eq!(connection.open_streams(), 0);
//! # Ok::<(), soloist_http2::Gone>(())
//! ```
//!
//! What a client of its own making needs as well can be used without a connection: [`frame`] has the formats of frames,
//! [`checks`] what both ends check of them, [`hpack`] decodes and encodes header blocks, [`huffman`] is the code of their strings.
//!
//! Sources: RFC 9113 (HTTP/2), RFC 7541 (HPACK), gRPC over HTTP/2.

pub mod checks;
mod connection;
mod connection_error;
mod error_code;
mod fields;
pub mod frame;
mod header_block;
pub mod hpack;
pub mod huffman;
mod limits;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Event, Gone, Side, StreamKey, Then};
pub use connection_error::ConnectionError;
pub use error_code::ErrorCode;
pub use fields::{ContentType, Field, Fields, Head, Malformed, Method, Route, Routes, Timeout};
pub use header_block::HeaderBlock;
pub use limits::{Limits, Rate};
