//! The formats of inputs.

use rand::rngs::SmallRng;

use crate::{http2, mutate, protobuf};

/// How the bytes of an input are built, so that a mutated input is still built like that more often than not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Any bytes.
    Bytes,
    /// A byte that selects something, then a message of protobuf.
    Protobuf,
    /// Frames of HTTP/2, without the preface of the client.
    Http2,
}

impl Format {
    /// Changes an input a little, in a way that suits its format.
    pub(crate) fn mutate(self, rng: &mut SmallRng, input: &mut Vec<u8>, context: &Context<'_>) {
        match self {
            Self::Bytes => mutate::mutate(rng, input, context),
            Self::Protobuf => {
                if let Some((selector, message)) = input.split_first() {
                    let mut mutated = vec![*selector];
                    mutated.extend(protobuf::mutate(rng, message, context));
                    *input = mutated;
                }
            }
            Self::Http2 => *input = http2::mutate(rng, input, context),
        }
    }
}

/// What a mutation may take parts from.
pub(crate) struct Context<'a> {
    pub(crate) words: &'a [Vec<u8>],
    pub(crate) other: &'a [u8],
}
