//! How operations travel: the loops that send and receive them.
//!
//! [`threads`] starts the threads of a run; each is a [`thread`]. With the engines `unary` and `pipeline`, [`calls`] runs a
//! task for each [`worker`], which sends over a [`lane`]: with [`unary`] calls ([`call_lane`]) or in frames ([`frame_lane`]). All
//! lanes of a connection share a [`link`], which makes the [`connection`] again when it ends; a [`sniffer`] tells it at once.
//! [`messages`] are calls of methods that the user names. With the engine `raw`, one loop runs all workers of a thread ([`raw`]). [`watchers`] is the loop of the watches.
//!
//! A connection that ends is made again, at once and then with a [`backoff`]. What the server has not taken of a connection
//! that it ended in order goes to the next one. Where there are several addresses, calls go to the node that owns the store:
//! [`owner`] finds it before a run, and an answer that names another node leads to a connection to that one.
//!
//! The loops differ; the [`rules`] that they follow are the same.

mod backoff;
mod call_lane;
mod calls;
mod connection;
mod ended;
mod frame_lane;
mod lane;
mod link;
mod messages;
pub(crate) mod owner;
mod raw;
mod rules;
mod sniffer;
pub(crate) mod thread;
pub(crate) mod threads;
mod unary;
mod watchers;
mod worker;
