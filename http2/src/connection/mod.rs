//! One HTTP/2 connection of a server, without a socket.
//!
//! - `state` is the connection; `event` is what it tells its user.
//! - `receive` makes frames of bytes and events of frames. `headers`, `data` and `control` handle them.
//! - `send` has what the user sends, `closing` how streams and the connection end.
//! - `streams` holds the open streams, and `index` finds them. `sending` has what goes out: the `output`, the client's windows,
//!   the streams that wait. `windows` counts what comes in.
//! - `budget` limits how often something may happen.

mod budget;
mod closing;
mod control;
mod data;
mod event;
mod headers;
mod index;
mod output;
mod receive;
mod send;
mod sending;
mod state;
mod streams;
mod windows;

pub use event::{Event, Side, StreamKey, Then};
pub use send::Gone;
pub use state::Connection;
