//! Standbys and takeovers, on a simulated etcd and paused time. The owners are the test's own: they write the log by hand.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod campaign;
mod following;
mod fuzz;
pub(super) mod process;
mod support;
mod takeovers;
