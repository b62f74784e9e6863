//! The server as its users meet it: over real sockets, with real clients.
#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected ends there"
)]

mod bad_input;
mod checker;
mod decisions;
mod durable;
mod json;
mod kill;
mod locks;
mod operations;
mod overload;
mod pipeline;
mod process;
mod shutdown;
mod state;
mod support;
mod tools;
mod watch;
