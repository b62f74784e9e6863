//! Tests of the server from outside: over real sockets, with real clients.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access;
mod bad_input;
mod config;
mod contract;
mod disk_full;
mod durable;
mod forwarding;
mod http;
mod json;
mod kill;
mod locks;
mod logs;
mod memory;
mod metrics;
mod moves;
mod operations;
mod overload;
mod page;
mod pipeline;
mod process;
mod progress;
mod raw;
mod shutdown;
mod slow_call;
mod slow_start;
mod standard_services;
mod state;
mod supervisor;
mod support;
mod tls;
mod tools;
mod transports;
mod watch;
