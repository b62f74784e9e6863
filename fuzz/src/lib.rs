//! Fuzz tests on stable Rust: inputs made by mutation, a corpus, and how to replay an input. Only tests use this crate.
//!
//! A [`Target`] is a test. It makes inputs from its seeds and from the corpus, and hands each to a check, which must not
//! panic. The check returns the [`Shape`] of what happened. An input with a shape that was not seen before is kept, and
//! later inputs are made from it too: so mutation goes on from what got past the first checks of a decoder. Messages of
//! errors serve as shapes, because each has a place of its own in the code.
//!
//! | variable | what it sets |
//! |---|---|
//! | `SOLOIST_FUZZ_INPUTS` | inputs of a target; costly targets take a part of them, as their [`cost`](Target::cost) says |
//! | `SOLOIST_FUZZ_SEED` | what the inputs begin with; 1 if it is not set |
//! | `SOLOIST_FUZZ_INPUT` | one input in hexadecimal, instead of all: to replay a failure |
//! | `SOLOIST_FUZZ_KEEP` | set: new inputs with shapes of their own are added to the corpus |
//!
//! The corpus is in `corpus/`, a file for each target and a line for each input: hexadecimal, then `#` and what it is.
//! An input that found a fault stays there.

mod corpus;
mod http2;
mod input;
mod mutate;
mod protobuf;
mod run;
mod shape;
mod watchdog;

pub use input::Format;
pub use run::Target;
pub use shape::Shape;

/// Cuts `input` into pieces at places that depend on nothing but the input.
#[must_use]
pub fn pieces(input: &[u8]) -> Vec<&[u8]> {
    let mut state = shape::hash(input) | 1;
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        // Xorshift: any even spread does.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let most = if state & 1 == 0 { 3 } else { rest.len() as u64 };
        let length = 1 + (state >> 8) as usize % (most as usize).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
