//! End to end: server and client library, over TCP on free ports.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod calls;
mod compare_and_set;
mod examples;
mod locks;
mod machines;
mod nodes;
mod operations;
mod pipeline;
mod proxies;
mod proxy;
mod retry;
mod sessions;
mod support;
mod test_server;
mod tls;
mod watch;
