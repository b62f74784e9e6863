//! The command line `soloist`: what a Soloist server does, from a shell.
//!
//! `command_line` has what may be typed, and `commands` does it. `connect` makes the client, `failure` says what went wrong and with
//! which exit code. `output` has the three forms of answers, `draw` the pictures of machines, and `process` runs commands of the
//! user. `wire` makes messages of what was typed.
//!
//! A room imports only the rooms that ARCHITECTURE.md names.

mod command_line;
mod commands;
mod connect;
mod draw;
mod failure;
mod output;
mod process;
mod wire;

pub use commands::main;
