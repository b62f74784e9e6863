//! What a run is to do, as plain values.

pub(crate) mod choices;
mod command;
pub(crate) mod flag;
pub(crate) mod kind;
pub(crate) mod labels;
pub(crate) mod load_schedule;
pub(crate) mod mix;
pub(crate) mod open_loop;
mod server_limits;
pub(crate) mod settings;
pub(crate) mod slo;
