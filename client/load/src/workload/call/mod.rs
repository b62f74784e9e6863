//! The calls of `--call`: one method of any gRPC service, and the messages to send.
//!
//! The text of the messages is [`split`] into one text for each. A text with placeholders is a [`template`], whose messages
//! are made one by one; any other message is encoded once. [`program`] has all of it, and judges the answers, with the
//! [`fields`] that are to be checked. [`turns`] is one worker's way through it, and [`totals`] is what it counts: [`sizes`] of
//! messages, and the messages of streams.

mod csv_columns;
mod fields;
mod json;
pub(crate) mod messages;
pub(crate) mod program;
pub(crate) mod sizes;
mod split;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod totals;
pub(crate) mod turns;
