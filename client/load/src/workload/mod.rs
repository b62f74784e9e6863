//! What to send.

pub(crate) mod generator;
pub(crate) mod keys;
pub(crate) mod operation;
pub(crate) mod steps;
pub(crate) mod values;
