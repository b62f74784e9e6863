//! The program, run as a user runs it, on servers of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod contention;
mod grpcurl;
mod holding;
mod keys;
mod machines;
mod security;
mod sessions;
mod support;
mod table;
mod terminal;
mod watch;
