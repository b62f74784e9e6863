//! HTTP/1 for operators and their tools: probes, metrics, and a page to look at, on an address and a thread of their own.
//!
//! ```text
//! listener -> connection -> routes -> probes, metrics, … -> Site
//! ```
//!
//! The thread is none of those that serve gRPC: `/livez` must be answered while they are stuck, and a scrape must not hold up a
//! call. It runs from before the store is opened until the server has ended. [`Site`] is all that an answer is made of.

mod connection;
mod listener;
mod probes;
mod request;
mod response;
mod routes;
mod site;

pub(crate) use listener::Http;
pub(crate) use site::{Serving, Site};
