//! What a run is to do, as plain values.

pub(crate) mod open_loop;
pub(crate) mod settings;
pub(crate) mod slo;
