//! Several agents that share one run, on this machine or on others.
//!
//! The leader connects to each agent and sends it the command and its share of the run. When all agents are connected to the
//! server, the leader lets them start together. In the end it merges their reports. Leader and agents exchange lines of JSON
//! over TCP.
//!
//! An agent puts load on any server that a leader names. So it listens on the loopback interface unless told otherwise.

pub(crate) mod lead;
mod protocol;
pub(crate) mod serve;
