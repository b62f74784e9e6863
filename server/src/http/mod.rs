//! HTTP/1 for operators and their tools: probes, metrics, and a page to look at, on an address and a thread of their own.
//!
//! ```text
//! listener -> connection -> routes -> probes, metrics, page, status -> Site
//! ```
//!
//! The thread is none of those that serve gRPC: `/livez` must be answered while they are stuck, and a scrape must not hold up a
//! call. It runs from before the store is opened until the server has ended. [`Site`] is all that an answer is made of. The page
//! and its numbers, `/status.json`, need the right `admin` where there is an access file; the others are open.

mod cluster;
mod connection;
mod listener;
mod page;
mod probes;
mod request;
mod response;
mod routes;
mod site;
mod status;

pub(crate) use listener::Http;
pub(crate) use site::{About, Serving, Site};
