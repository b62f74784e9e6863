//! The client with a real etcd, and the simulation beside it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;
mod differential;
mod real;
mod without_quorum;
