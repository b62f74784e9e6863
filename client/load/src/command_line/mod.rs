//! What was typed.

pub(crate) mod args;
pub(crate) mod config_file;
