//! HTTP/2 for gRPC servers, without I/O.
//!
//! - [`frame`] has the formats of frames, [`ErrorCode`] their error codes.
//! - [`hpack`] decodes and encodes header blocks, with a dynamic table; [`huffman`] is the code of its strings.
//!   [`HeaderBlock`] is a block that is encoded once and sent many times.
//! - [`Routes`] names the paths that a server knows. It is what the decoder asks for the class of a field, a [`Field`]:
//!   once for each entry of the dynamic table, so that an indexed field is one look-up.
//!
//! A header block, decoded with classes:
//!
//! ```
//! use soloist_http2::hpack::Decoder;
//! use soloist_http2::{Field, Method, Route, Routes};
//!
//! let routes = Routes::new([("/soloist.v1.State/Read", Route(7))]);
//! let mut decoder = Decoder::new(4_096, 16_384);
//! let mut classes = Vec::new();
//! // `:method: POST` by its index, and a path that enters the dynamic table.
//! let block = b"\x83\x44\x16/soloist.v1.State/Read";
//! decoder.decode(block, &routes, |class, _, _| classes.push(class))?;
//! // From now on the path is the index 62, and nobody compares it any more.
//! decoder.decode(&[0x83, 0x80 | 62], &routes, |class, _, _| classes.push(class))?;
//! let expected = [Field::Method(Method::Post), Field::Route(Route(7))];
//! assert_eq!(classes, [expected, expected].concat());
//! # Ok::<(), soloist_http2::hpack::HpackError>(())
//! ```
//!
//! Sources: RFC 9113 (HTTP/2), RFC 7541 (HPACK), gRPC over HTTP/2.

mod error_code;
mod fields;
pub mod frame;
mod header_block;
pub mod hpack;
pub mod huffman;
#[cfg(test)]
mod tests;

pub use error_code::ErrorCode;
pub use fields::{ContentType, Field, Malformed, Method, Route, Routes, Timeout};
pub use header_block::HeaderBlock;
