//! What was typed, turned into a plan.

pub(crate) mod args;
pub(crate) mod config_file;
pub(crate) mod parse;
pub(crate) mod resolve;
pub(crate) mod words;

use clap::{Parser, Subcommand};

use args::{AgentArgs, CalibrateArgs, CheckArgs, CompareArgs, FindMaxArgs, RunArgs, SweepArgs};

/// Measures a state server: many concurrent workers, each sending its next operation when the previous one is answered,
/// or all together so many operations per second (--rps).
///
/// Without HOST:PORT it starts a server of its own on a free loopback port, on threads of its own, and drives that
/// over TCP like any other.
///
/// Exit codes: 0 done; 1 the server could not be reached, or operations failed; 2 bad arguments; 3 the answers cannot
/// all be true (--verify); 4 whether they can was not found out in time (--search-timeout); 99 an objective was not met (--slo); 130 interrupted by Ctrl-C or 143 by SIGTERM, after
/// reporting what was measured.
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

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Finds the highest rate that meets every --slo: doubles it until one is missed, halves the distance until it is
    /// small, and repeats what it has found.
    FindMax(Box<FindMaxArgs>),
    /// Measures latency at several rates.
    Sweep(Box<SweepArgs>),
    /// Compares the runs in two files, or repeats both and compares those.
    Compare(CompareArgs),
    /// Does runs for others, that lead several agents with --agents.
    Agent(AgentArgs),
    /// Checks a history that --verify has kept: whether its answers can all be true.
    Check(CheckArgs),
    /// Measures this tool itself, against servers of known behaviour.
    Calibrate(CalibrateArgs),
    /// Prints the JSON schema of reports.
    Schema,
}
