//! Where the server is, and how every part of this tool connects to it: over TCP, with TLS, or by a Unix socket.
//!
//! [`destination`] is the one place that knows an address and the files for it. It gives the client library's client and
//! channel, a [`socket`] for the engines of the generated clients, and the [`route`] for the engine `raw`, which has sockets of
//! its own ([`routes`] looks it up again). [`nodes`] are the addresses of one store, and which of them is in use. [`words`] has the library's errors with the flags of this tool. [`token`] is the file with the token, which may be replaced during a run.

pub(crate) mod destination;
pub(crate) mod nodes;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod socket;
pub(crate) mod token;
mod words;
