//! The journal of an owner, on a simulated etcd and paused time. The test is the owner.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod commits;
mod ends;
mod real;
mod snapshots;
mod space;
mod support;
