//! The load generator behind `soloist-load`.
//!
//! *What to send* (`workload`), *when to send* (`pace`, or as soon as a worker is free) and *when to stop* (`pace::stop`)
//! are three values, and `engines` has the loops that put them together. `record` keeps what the workers see, `run` leads
//! from the beginning to what was measured, and `report` has the forms in which that is told. `commands` is the program.

mod agents;
mod calibrate;
mod command_line;
mod commands;
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
