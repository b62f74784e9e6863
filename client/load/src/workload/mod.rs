//! What to send.

pub(crate) mod generator;
pub(crate) mod keys;
pub(crate) mod operation;
