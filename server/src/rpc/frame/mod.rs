//! Frames on the wire: decoded straight into operations, encoded straight from outcomes.
//!
//! A frame may hold a thousand operations, and going through the generated messages costs several times what the owner
//! does with them. So what nearly every frame consists of is read here by hand. Whatever else a frame holds, and
//! whatever is wrong with it, is left to the generated messages and `arguments/`: they alone decide what a frame
//! means and how it is refused. A test compares the two.
//!
//! Source of the format: the protobuf documentation, "Encoding".

mod decode;
mod encode;

pub(crate) use decode::{Apply, Frame, decode, decode_batch};
pub(crate) use encode::FrameAnswer;

#[cfg(test)]
mod tests;
