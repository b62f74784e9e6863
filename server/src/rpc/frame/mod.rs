//! Frames of a Pipeline on the wire: decoded straight into operations, encoded while these are applied.
//!
//! A frame may hold a thousand operations. Decoding them through the generated messages costs several times what the owner
//! spends on them. So the common frame, of operations without options, is decoded by hand. Any other frame, and any frame with
//! a mistake, is left to the generated messages and `arguments/`: they alone define what a frame means and how it is refused. A
//! test compares the two ways.
//!
//! Source of the format: the protobuf documentation, "Encoding".

mod answers;
mod decode;
mod encode;
mod pieces;
mod scratch;

pub(crate) use answers::{Answers, Pieces};
#[cfg(test)]
pub(crate) use decode::{Apply, Frame, any_frame, checked_count, whole_common_frame};
pub(crate) use decode::{Decoded, decode, decode_batch};
pub(crate) use encode::FrameAnswer;

#[cfg(test)]
mod tests;
