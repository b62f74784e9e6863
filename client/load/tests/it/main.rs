//! End-to-end tests: the load generator against a server, over TCP on free ports.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod any_service;
mod engines;
mod errors;
mod faults;
mod nodes;
mod open;
mod proxy;
mod refused;
mod runs;
mod signals;
mod support;
#[path = "../../../tests/it/test_server.rs"]
mod test_server;
mod tls;
mod tools;
mod verify;
