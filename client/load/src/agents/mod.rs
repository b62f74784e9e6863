//! Several generators that do one run together, on this machine or on others.
//!
//! Whoever leads connects to each agent, sends it the command and its part of it, waits until all are connected to the
//! server, tells all to start, and puts together what they report. Both sides speak lines of JSON over TCP. An agent
//! puts load on whatever server it is told to, so it listens on the loopback interface unless told otherwise.

pub(crate) mod lead;
mod protocol;
pub(crate) mod serve;
