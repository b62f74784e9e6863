//! When to send, and when to stop.

pub(crate) mod admission;
pub(crate) mod arrival_queue;
pub(crate) mod arrivals;
pub(crate) mod cpu;
pub(crate) mod open_loop;
pub(crate) mod pacer;
pub(crate) mod stop;
