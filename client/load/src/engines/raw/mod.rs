//! The engine `raw`: one loop for all workers of a thread, over HTTP/2 frames of our own.
//!
//! [`driver`] is the loop. [`starts`] says when calls start, [`workers`] which and what becomes of them, [`connections`] where
//! they travel. [`rpc`] has the RPCs, [`requests`] the encoded messages, and [`answer_cache`] recognises answers.

mod answer_cache;
mod connections;
pub(crate) mod driver;
mod requests;
mod rpc;
mod starts;
mod workers;
