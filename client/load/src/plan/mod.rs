//! What a run is to do, as plain values: nothing here opens a connection, reads a clock or parses a command line.
//!
//! [`settings`] has everything that shapes a run. Its parts are the words that flags choose from ([`choices`]), the
//! workload ([`mix`], [`kind`]), the rate of an open loop ([`open_loop`], [`load_schedule`]), and whom to trust ([`security`]). [`labels`] and [`slo`] say
//! what the report is called and which objectives it must meet. `command` and `server_limits` are methods of the
//! settings: the flags that repeat a run, and the check against the limits of a server.

pub(crate) mod call;
pub(crate) mod choices;
mod command;
pub(crate) mod flag;
pub(crate) mod key_names;
pub(crate) mod kind;
pub(crate) mod labels;
pub(crate) mod load_schedule;
pub(crate) mod mix;
pub(crate) mod open_loop;
pub(crate) mod security;
mod server_limits;
pub(crate) mod settings;
pub(crate) mod slo;
