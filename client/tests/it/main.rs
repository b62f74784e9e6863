//! End to end: server, client library and load generator, over TCP on free ports.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod calls;
mod compare_and_set;
mod examples;
mod load_engines;
mod load_errors;
mod load_open;
mod load_runs;
mod load_tools;
mod load_verify;
mod machines;
mod operations;
mod pipeline;
mod proxy;
mod retry;
mod sessions;
mod support;
mod watch;
