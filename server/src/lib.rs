//! Soloist: a gRPC state server whose whole state is owned by exactly one task.
//!
//! ```text
//! request -> handler -> mailbox -> owner -> machine
//!                                    |
//! response <- handler <- reply <-----+
//! ```
//!
//! To follow one Write from the socket to the map and back, read `rpc/service.rs`, `owner/`, `machine/` and
//! `rpc/status`, in this order. Imports follow the arrows: `machine` knows nothing of the owner, the owner nothing of gRPC.
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

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
pub mod commands;
pub mod config;
mod ids;
mod journal;
pub mod machine;
mod mutants;
pub mod owner;
mod rpc;
mod server;
mod transport;
mod varint;

pub use journal::OpenError;
pub use server::{Drain, OwnerLost, Server, Store};
