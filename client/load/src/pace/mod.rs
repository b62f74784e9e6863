//! When to send, and when to stop.
//!
//! In a closed loop a worker sends as soon as it is free, and only [`stop`] has a say. In an open loop [`arrivals`]
//! computes when operations are due, and [`pacer`] hands them out on time: to the threads in turn ([`round_robin`]), or
//! each thread does so for itself ([`self_pacing`]). [`admission`] limits how many are in flight, and counts the rest as
//! dropped. [`open_loop`] puts these together for a run.

pub(crate) mod admission;
pub(crate) mod arrival_queue;
pub(crate) mod arrivals;
pub(crate) mod cpu;
pub(crate) mod open_loop;
pub(crate) mod pacer;
mod round_robin;
pub(crate) mod self_pacing;
pub(crate) mod stop;
