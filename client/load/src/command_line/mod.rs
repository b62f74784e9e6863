//! The command line: its flags, and the plan that they add up to.
//!
//! [`args`] has the flags, and [`parse`] reads their values. [`config_file`] adds the flags of a file before that.
//! [`resolve`] fills in the defaults and refuses contradictions; the result is a plan. [`words`] reads back the one-line
//! command of a report.

pub(crate) mod args;
pub(crate) mod config_file;
pub(crate) mod parse;
pub(crate) mod resolve;
pub(crate) mod words;

use clap::{Parser, Subcommand};

use args::{AgentArgs, CalibrateArgs, CheckArgs, CompareArgs, FindMaxArgs, RunArgs, SweepArgs};

/// Measures the operations per second and the latencies of a Soloist server.
///
/// Many concurrent workers send operations. In a closed loop, which is the default, each worker sends its next operation
/// when the previous one is answered. In an open loop (--rps), operations start at a given rate.
///
/// Without HOST:PORT, the tool starts a server of its own on a free port of the loopback interface, in threads of its
/// own, and measures it over TCP like any other server.
///
/// Exit codes: 0 success; 1 the server could not be reached, or operations failed; 2 bad arguments; 3 the answers are
/// not linearizable (--verify); 4 whether they are was not decided in time (--search-timeout), or too few runs to show a
/// regression (--fail-on-regression); 99 an objective was not met (--slo); 130 ended by Ctrl-C, or 143 by SIGTERM, after
/// reporting what was measured until then. A second signal ends the program at once.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "soloist-load",
    version,
    max_term_width = 110,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The subcommands. Without one, the tool does a run.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Finds the highest rate that meets every --slo: doubles the rate until an objective is missed, narrows the range
    /// between the last two rates, and repeats the result.
    FindMax(Box<FindMaxArgs>),
    /// Measures the latency at several rates.
    Sweep(Box<SweepArgs>),
    /// Compares the runs of two files, or repeats both runs and compares those.
    Compare(CompareArgs),
    /// Serves as an agent: does its share of the runs of another soloist-load, which names it with --agents.
    Agent(AgentArgs),
    /// Checks a history that --verify has kept: are all its answers together linearizable?
    Check(CheckArgs),
    /// Measures this tool itself, against servers of known behaviour.
    Calibrate(CalibrateArgs),
    /// Prints the JSON schema of reports.
    Schema,
}
