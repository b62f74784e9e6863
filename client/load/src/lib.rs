//! The load generator behind `soloist-load`.
//!
//! *What to send* (`workload`), *when to send* (`pacing`, or as soon as a worker is free) and *when to stop* (`stop`) are
//! three values, and `worker` is the one loop that puts them together over a `lane`, which is how operations travel.
//! `threads` runs many workers, `recorder` keeps what they see, `run` leads from the beginning to what was measured, and
//! `summary` makes of that what `reports` can show. `cli` is the program.

mod account;
mod agents;
mod answer;
mod args;
mod arrivals;
mod calibrate;
mod calibrating;
mod cli;
mod comparing;
mod config;
mod connection;
mod feed;
mod grpc;
mod history;
mod keys;
mod lane;
mod merge;
mod open_loop;
mod operation;
mod output;
mod pacer;
mod pacing;
mod prepare;
mod raw;
mod raw_call;
mod raw_crew;
mod raw_driver;
mod recorder;
mod reports;
mod run;
mod search;
mod searching;
mod session;
mod settings;
mod slo;
mod stop;
mod summary;
mod target;
mod threads;
mod timeline;
mod verifying;
mod view;
mod watchers;
mod worker;
mod workload;

pub use cli::main;

use cli::interrupted;
