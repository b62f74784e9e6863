//! HPACK against the examples of the RFC, against models of its rules, and against random bytes. Connections by the rules of
//! the RFC, and under attack.

mod against_h2;
mod attacks;
mod codes;
mod flow;
mod fuzz_connection;
mod fuzz_hpack;
mod hpack_blocks;
mod hpack_random;
mod hpack_rfc;
pub(crate) mod naive_hpack;
pub(crate) mod naive_huffman;
mod rules;
mod talk;
mod wire;
