//! What `benches/` measures and nobody else can see.

use crate::config::Limits;
use crate::frame;
use crate::machine::EachOutcome;
use crate::transport::Encode as _;

/// Decodes and checks a frame as a pipeline does. Returns how many operations it has.
#[must_use]
pub fn decode_frame(message: &[u8], limits: &Limits) -> Option<usize> {
    let frame = frame::decode(message, limits).ok()?.ok()?;
    Some(frame.operations.len())
}

/// Encodes an answer as a pipeline does.
pub fn encode_frame(answer: EachOutcome, buf: &mut Vec<u8>) {
    frame::Answer::Each(answer).encode(buf);
}
