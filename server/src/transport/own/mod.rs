//! The server's own transport for HTTP/2, on the crate `soloist-http2`, which knows the protocol and no socket.
//!
//! One task serves a connection, and everything that belongs to it: there is no task for a call.
//!
//! - `connection` is that task: the calls of one read, then one write of everything that became ready.
//! - `calls` is the table of the calls, each in the place that its stream has in `soloist-http2`; `call` is one of them, from its
//!   handler to the last byte of its answer. `ready` knows which of them are to be polled.
//! - `request` makes a request of the fields of a head, and `answer` header blocks of an answer.
//! - `alarm` is what waits for time: the client's next step, and pings.

mod alarm;
mod answer;
mod call;
mod calls;
mod connection;
mod limits;
mod ready;
mod request;

pub(super) use connection::{Ended, OwnConnection};
