//! Soloist: a gRPC state server whose whole state is owned by one task.
//!
//! ```text
//! request -> handler -> mailbox -> owner -> machine
//!                                    |
//! response <- handler <- reply <-----+
//! ```
//!
//! To follow one Write from the socket to the map and back, read in this order:
//!
//! 1. `rpc/router.rs`: the arm "Write" takes the message from the request's body and works out the deadline.
//! 2. `rpc/state.rs`: `write` is the handler.
//! 3. `rpc/arguments/operations.rs`: `write_at` checks the request and makes a `machine::Write` of it.
//! 4. `owner/handle.rs`: `write` puts a message into the mailbox, and waits for the reply.
//! 5. `owner/dispatch.rs` and `owner/calls.rs`: the owner's task takes the message out of the mailbox and calls `write`,
//!    which calls the machine and sends the answer.
//! 6. `machine/apply.rs`: `write_at` checks conditions and limits, and changes the map.
//! 7. `rpc/responses.rs`: `write_response` turns the outcome into the response.
//!
//! A refusal, at any of these steps, becomes a gRPC status in `rpc/status/`.
//!
//! Imports follow the upper arrows only: `machine` knows nothing of the owner, the owner nothing of gRPC, `rpc` nothing of
//! sockets.
//!
//! ```no_run
//! use soloist_server::{Server, config::Config};
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let server = Server::start(listener, &Config::default())?;
//! println!("listening on {}", server.local_addr());
//! server.drain();
//! server.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod cluster;
#[cfg(test)]
mod cluster_tests;
pub mod commands;
pub mod config;
#[cfg(test)]
mod durability_tests;
mod http;
mod ids;
mod journal;
pub mod machine;
mod metrics;
mod mutants;
pub mod owner;
pub mod progress;
mod reload;
mod role;
mod rpc;
mod server;
mod store;
mod transport;
mod varint;
mod wall_clock;

pub use cluster::{Node, NodeLost, Roles};
pub use journal::OpenError;
pub use reload::{Reload, check_files};
pub use server::{Drain, OwnerLost, Prepared, Pulse, Server};
pub use store::Store;
pub use transport::{ListenAddress, Listener};
