//! Calls a Soloist server: typed operations with conditions and lifetimes, machines, sessions, watches and pipelines.
//! Every error tells whether anything was applied and whether the same call may be retried.
//!
//! ```
//! use soloist_client::{Client, Condition};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let server = soloist_server::Server::start(listener, &Default::default())?;
//! # let url = format!("http://{}", server.local_addr());
//! let client = Client::connect(&url).await?;
//!
//! let written = client.write("greeting", "hello").await?;
//! let read = client.read("greeting").await?;
//! assert_eq!(read.value(), Some(&"hello".into()));
//!
//! // Compare-and-set: writes only if the key has not changed since.
//! client
//!     .write("greeting", "good morning")
//!     .expect(Condition::Revision(written.revision))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The parts:
//!
//! - [`Client`] connects and makes [`Call`]s.
//! - [`Pipeline`] has many [`Frame`]s of operations in flight on one stream.
//! - [`Watch`] streams every change, and resumes after a break if asked to.
//! - [`Machine`] is a protocol that the server enforces for every writer of some keys.
//! - [`Session`] is a lifetime that several keys share; [`KeepAlive`] renews a session and reports its loss.
//! - [`Lock`] and [`Leadership`] are held by one client at a time, in the order of asking; a lock also by [a few](LockCall::holders).
//! - [`Observe`] tells who leads, and each change.
//! - [`Error`] says what went wrong and whether to retry; [`Retry`] retries.
//!
//! # TLS and tokens
//!
//! An `https` URL makes a client speak TLS (feature `tls`, on by default; without it no cryptography is compiled).
//! [`ca_file`](ClientBuilder::ca_file) and [`identity_files`](ClientBuilder::identity_files) are read again for each connection,
//! and [`token_file`](ClientBuilder::token_file) every second while there are calls, each on a thread that may wait for the disk.
//! So certificates, CAs and tokens are exchanged while a client runs, without a failed call: let the server know the old and the
//! new ones for a while.
//!
//! A certificate that one side does not accept, and a server that speaks TLS where the client does not or the reverse, is
//! UNAVAILABLE with a message that says what to do. It is safe to retry, and in vain until somebody has done that. A file that
//! cannot be used is INVALID_ARGUMENT, and only [`connect`](ClientBuilder::connect) returns it: later connections are made with
//! what could last be read.
//!
//! ```no_run
//! # async fn example() -> Result<(), soloist_client::Error> {
//! let client = soloist_client::Client::builder("https://host.example:50051")
//!     .ca_file("/etc/soloist/ca.pem")
//!     .identity_files("/etc/soloist/billing.pem", "/etc/soloist/billing.key")
//!     .token_file("/etc/soloist/billing.token")
//!     .connect()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate `soloist` has the messages of the wire and the generated clients.

mod call;
mod client;
mod connecting;
mod connection;
mod details;
mod election;
mod error;
mod files;
mod frame;
#[cfg(test)]
mod fuzz_tests;
mod keep_alive;
mod lock;
mod machine;
mod observe;
mod pipeline;
mod place;
mod reply;
mod request;
mod retry;
mod routes;
mod session;
mod socket;
mod tcp;
mod timeout;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod transport;
mod unix;
mod value;
mod watch;
mod wire;

/// What `soloist-load` shares with this library. No part of the library's promises.
#[doc(hidden)]
pub mod shared {
    pub use crate::connecting::{Security, connect};
    pub use crate::socket::{Opening, Socket as OpenedSocket};
    #[cfg(feature = "tls")]
    pub use crate::tls::{NO_HTTP2, TlsFiles, TlsSocket as Socket, explained, not_connected, open};
    pub use crate::token::read_token_file as read_token;
    pub use crate::unix::unix_error;
}

pub use call::Call;
pub use client::{CONNECT_TIMEOUT, Client, ClientBuilder, TIMEOUT};
pub use election::{ElectCall, Leader, Leadership};
pub use error::{Error, Outcome};
pub use frame::{Batch, Frame, Op};
pub use keep_alive::KeepAlive;
pub use lock::{LOCK_TTL, Lock, LockCall};
pub use machine::{
    DefineMachine, DeleteMachine, DeleteMachineReply, GetMachine, ListMachines, ListMachinesReply,
    Machine, State, StateTimeout,
};
pub use observe::Observe;
pub use pipeline::{
    FRAMES_IN_FLIGHT, FrameReceiver, FrameSender, Pipeline, PipelineCall, PipelineSendError,
};
pub use reply::{
    AddReply, BatchReply, DeletePrefixReply, DeleteReply, FrameReply, ListReply, ListedEntry,
    OpReply, ReadReply, TransitionReply, WriteReply,
};
pub use request::{Add, Delete, DeletePrefix, List, Read, Transition, Write};
pub use retry::Retry;
pub use session::{
    CloseSession, CloseSessionReply, ListSessions, ListSessionsReply, OpenSession, RenewSession,
    Session,
};
pub use soloist::v1::error::Reason;
pub use soloist::v1::{Info, Limits};
pub use tonic::Code;
pub use transport::Transport;
pub use value::{Condition, Entry, Value};
pub use watch::{Cause, Event, Watch, WatchCall, WatchMessage};
