//! Calls a Soloist server: typed reads and writes with conditions, pipelines of frames, and errors that tell
//! whether anything was applied and whether the same call may be sent again.
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
//! // Compare-and-set: replaces what was just written, and nothing else.
//! client
//!     .write("greeting", "good morning")
//!     .expect(Condition::Revision(written.revision))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The parts: [`Client`] makes calls, [`Pipeline`] carries many [`Frame`]s at once, [`Error`] says what went wrong.
//! The messages on the wire, and the plain generated clients, are in the crate `soloist`.
//!
//! Feature `load` (on by default) adds the module `load` and the binary `soloist-load`. Use
//! `default-features = false` to call a server from a service: then none of what they need is compiled.

mod call;
mod client;
mod error;
mod pipeline;
mod reply;
mod request;
mod value;

#[cfg(feature = "load")]
pub mod load;

pub use call::Call;
pub use client::{CONNECT_TIMEOUT, Client, ClientBuilder, TIMEOUT};
pub use error::{Error, Outcome};
pub use pipeline::{
    FRAMES_IN_FLIGHT, FrameReceiver, FrameSender, Pipeline, PipelineCall, PipelineSendError,
};
pub use reply::{
    AddReply, BatchReply, DeleteReply, FrameReply, ListReply, ListedEntry, OpReply, ReadReply,
    WriteReply,
};
pub use request::{Add, Batch, Delete, Frame, List, Op, Read, Write};
pub use soloist::v1::error::Reason;
pub use soloist::v1::{Info, Limits};
pub use tonic::Code;
pub use value::{Condition, Entry, Value};
