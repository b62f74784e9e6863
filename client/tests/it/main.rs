//! End to end: server, client library and load generator, over TCP on free ports.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod calls;
mod compare_and_set;
mod load_errors;
mod load_runs;
mod operations;
mod pipeline;
mod support;
