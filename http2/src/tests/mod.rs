//! HPACK against the examples of the RFC, against models of its rules, and against random bytes.

mod fuzz_hpack;
mod hpack_blocks;
mod hpack_random;
mod hpack_rfc;
pub(crate) mod naive_hpack;
pub(crate) mod naive_huffman;
