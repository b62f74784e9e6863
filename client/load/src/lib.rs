//! The load generator `soloist-load`: measures a Soloist server, and checks that its answers are linearizable.
//!
//! What to send, when to send and when to stop are three values: `workload`, `pace` and its `stop`. The loops of `engines`
//! put them together. `record` keeps each answer, and `report` has the formats in which the result is told. `run` leads from
//! connecting to the report, `connect` makes every connection, `agents` shares a run among several processes, and `commands` is the program around it.
//! `command_line` turns flags into a `plan`, which is plain values.
//!
//! A folder imports only folders below it; ARCHITECTURE.md has the table.

mod agents;
mod calibrate;
mod command_line;
mod commands;
mod connect;
mod descriptors;
mod engines;
mod grpc;
mod histogram;
mod http2;
mod pace;
mod plan;
mod record;
mod report;
mod run;
mod workload;

pub use commands::main;
