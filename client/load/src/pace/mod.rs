//! When to send, and when to stop.

pub(crate) mod account;
pub(crate) mod arrivals;
pub(crate) mod cpu;
pub(crate) mod feed;
pub(crate) mod open_loop;
pub(crate) mod pacer;
pub(crate) mod stop;
