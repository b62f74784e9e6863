//! The flags, each within its limits. What they mean together is for [`resolve`](crate::command_line::resolve).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::command_line::call_flags::CallFlags;
use crate::command_line::parse::{
    address, bytes, count, duration, duration_or_zero, metadata, part, percentile, rate, seed, tag,
};
use crate::command_line::security_flags::SecurityFlags;
use crate::plan::choices::{
    Agents, Arrival, DurationStop, Engine, KeyDist, LoadScheduleKind, Part, Ratio, ValueKind,
};
use crate::plan::key_names::KEY_PREFIX;
use crate::plan::labels::{EVIDENCE_FILE, SEARCH_TIMEOUT};
use crate::plan::mix::NamedWorkload;
use crate::plan::slo::Slo;
use crate::report::format::{CalibrationFormat, ComparisonFormat, Format};

/// The most readers, writers, watches or workers of a mix. Each is a stream, with memory of its own on both sides.
const WORKERS_MAX: u64 = 100_000;
/// The most keys: the table of a zipfian distribution takes 16 bytes for each.
const KEYS_MAX: u64 = 100_000_000;
/// The largest written value, in bytes. Servers allow 1 MiB by default.
const VALUE_BYTES_MAX: u64 = 64 << 20;
/// The most frames in flight, and operations in a frame. The limits of the server are checked once they are known.
const PIPELINE_MAX: u64 = 65_536;
const FRAME_OPS_MAX: u64 = 1 << 20;
const THREADS_MAX: u64 = 1_024;
const CONNECTIONS_MAX: u64 = 10_000;
/// The most operations in flight in an open loop: each takes some 100 bytes in this process.
const IN_FLIGHT_MAX: u64 = 10_000_000;
/// The highest rate of a search, in operations per second: the highest that a schedule can have.
const SEARCH_RATE_MAX: u64 = 1_000_000_000;

/// The flags of a run. A flag that was not given is `None` if its default depends on other flags.
#[derive(Clone, Debug, Parser)]
#[command(name = "soloist-load", args_override_self = true)]
pub(crate) struct RunArgs {
    /// The server to measure; also https://HOST:PORT, which is with TLS, and unix:PATH. Without it, the tool starts a server of
    /// its own.
    ///
    /// The nodes of a cluster have commas in between: HOST:PORT,HOST:PORT. Calls go to the node that owns the store, and follow
    /// it to others.
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub(crate) address: Option<String>,

    #[command(flatten, next_help_heading = "What to send")]
    pub(crate) what: WhatArgs,
    #[command(flatten, next_help_heading = "What to send to any gRPC service")]
    pub(crate) call: CallFlags,
    #[command(flatten, next_help_heading = "When to send")]
    pub(crate) when: WhenArgs,
    #[command(flatten, next_help_heading = "When to stop")]
    pub(crate) stop: StopArgs,
    #[command(flatten, next_help_heading = "How to send")]
    pub(crate) how: HowArgs,
    #[command(flatten, next_help_heading = "Whom to trust")]
    pub(crate) security: SecurityFlags,
    #[command(flatten, next_help_heading = "What to report")]
    pub(crate) report: ReportArgs,
}

impl RunArgs {
    /// The server to measure, if there is one.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref().or(self.how.target.as_deref())
    }
}

/// What to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WhatArgs {
    /// Concurrent workers that only read. Default: 100.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(0, WORKERS_MAX), conflicts_with_all = ["ratio", "workload", "concurrency"])]
    pub(crate) readers: Option<u64>,
    /// Concurrent workers that only write. Default: 10.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(0, WORKERS_MAX), conflicts_with_all = ["ratio", "workload", "concurrency"])]
    pub(crate) writers: Option<u64>,
    /// Let every worker read and write, in this proportion, such as 95:5.
    #[arg(long, value_name = "R:W", conflicts_with = "workload")]
    pub(crate) ratio: Option<Ratio>,
    /// A workload by name. a to f are those of YCSB. counter adds to counters. cas writes a key if it is unchanged since
    /// the worker read it. transition moves keys from idle to inflight to closing. renew renews a session for each
    /// worker. watch measures how long writes take to reach watches. mixed does everything that a history can be
    /// checked for.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) workload: Option<NamedWorkload>,
    /// Concurrent workers of --ratio, --workload or --call. Default: 110; 50 for --call.
    #[arg(short = 'c', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, WORKERS_MAX))]
    pub(crate) concurrency: Option<u64>,
    /// Watches that --workload watch opens. Default: 10.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, WORKERS_MAX))]
    pub(crate) watchers: Option<u64>,
    /// How many keys there are. Default: 5; 1k for the workloads a to f.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, KEYS_MAX))]
    pub(crate) keys: Option<u64>,
    /// What the names of all keys begin with, so that a run does not write into keys of others. May be empty.
    #[arg(long, value_name = "TEXT", default_value = KEY_PREFIX)]
    pub(crate) key_prefix: String,
    /// Afterwards delete every key that begins with --key-prefix, whoever has written it, and the machine of --workload
    /// transition.
    #[arg(long)]
    pub(crate) clean: bool,
    /// How the key of each operation is drawn: uniform; zipfian[:THETA], which draws key number k in proportion to
    /// 1/(k+1)^THETA (THETA is 0.99 unless given); latest[:THETA], which is zipfian from the newest key on; or
    /// sequential. Default: uniform; for the workloads a to f, what YCSB says.
    #[arg(long, value_name = "DIST")]
    pub(crate) key_dist: Option<KeyDist>,
    /// Size of each written text or bytes value, such as 100 or 4KiB. Default: 1000 for the workloads a to f; the others write ints.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes(VALUE_BYTES_MAX))]
    pub(crate) value_size: Option<u64>,
    /// Kind of the written values. Default: int, from 0 to 99; text with --value-size.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) value: Option<ValueKind>,
    /// Write no value twice. Always on with --verify, --ratio and --workload.
    #[arg(long)]
    pub(crate) distinct: bool,
    /// The share of the run that this process does, as one of several agents.
    #[arg(long, value_name = "K/N", hide = true, default_value = "0/1", value_parser = part)]
    pub(crate) part: Part,
    /// Seed of all random choices. Default: a new one, which the report names.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

/// When to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WhenArgs {
    /// Open loop: start this many operations per second, however long the answers take. Without it, each worker sends
    /// its next operation when the previous one is answered, and the server sets the pace.
    #[arg(short = 'r', long, alias = "rate", alias = "qps", value_name = "N", value_parser = rate)]
    pub(crate) rps: Option<f64>,
    /// How the operations of an open loop are spaced: evenly, or at random like the calls of many independent users.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Arrival::Constant)]
    pub(crate) arrival: Arrival,
    /// The most operations in flight in an open loop. An operation that is due beyond that is dropped, and counted.
    #[arg(long, value_name = "N", default_value = "100k", allow_negative_numbers = true, value_parser = count(1, IN_FLIGHT_MAX))]
    pub(crate) max_in_flight: u64,
    /// How the rate changes: not at all; by --load-step every --load-step-duration; or evenly, by --load-step a second.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = LoadScheduleKind::Const)]
    pub(crate) load_schedule: LoadScheduleKind,
    /// The rate at which a step or line schedule begins.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) load_start: Option<f64>,
    /// By how much the rate changes. May be negative.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) load_step: Option<f64>,
    /// The rate that stays once it is reached.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) load_end: Option<f64>,
    /// How long each step of a step schedule lasts.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) load_step_duration: Option<Duration>,
    /// After how long the rate stops changing.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) load_max_duration: Option<Duration>,
}

/// When to stop.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Measure for this long (500ms, 10s, 1m30s). Default: 1s; with -n, as long as the operations take.
    #[arg(short = 'z', long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Measure this many operations, with a suffix k or m for thousands or millions.
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, u64::MAX))]
    pub(crate) requests: Option<u64>,
    /// Measure for at most this long, even if -n asks for more operations.
    #[arg(short = 'x', long, value_name = "TIME", value_parser = duration, conflicts_with = "duration")]
    pub(crate) max_duration: Option<Duration>,
    /// Send operations for this long before measuring begins.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration_or_zero)]
    pub(crate) warmup: Duration,
    /// What happens to operations in flight when the measured time ends: wait for them and count their latencies; close
    /// them and count them as failed; or ignore them.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = DurationStop::Wait)]
    pub(crate) duration_stop: DurationStop,
}

/// How to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HowArgs {
    /// The server to measure, as without the flag; for a cluster, the addresses of its nodes with commas in between.
    #[arg(short = 'a', long = "address", value_name = "HOST:PORT", value_parser = address, conflicts_with = "address")]
    pub(crate) target: Option<String>,
    /// How operations travel: as unary calls, in frames on a Pipeline stream, or as unary calls with the least CPU time.
    /// Default: pipeline, unless the workload has calls that no frame carries; then unary, and for --call.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) engine: Option<Engine>,
    /// Frames that each worker keeps in flight; calls with --engine unary or raw.
    #[arg(short = 'P', long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = count(1, PIPELINE_MAX))]
    pub(crate) pipeline: u64,
    /// Operations in each frame of --engine pipeline.
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = count(1, FRAME_OPS_MAX))]
    pub(crate) frame_ops: u64,
    /// Connections of all threads together. Default: one per thread, or more if the workers need more than 256 streams on
    /// each.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, CONNECTIONS_MAX))]
    pub(crate) connections: Option<u64>,
    /// Threads that run the workers. Default: one per core, but no more than connections or workers.
    #[arg(short = 't', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, THREADS_MAX))]
    pub(crate) threads: Option<u64>,
    /// The deadline of each operation, which the server gets too. Default: the server's own limit, and 10s in this tool.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// How long a connection or stream may take to open.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    /// Give up the run if there is no server for this long. Lost connections are made again at once, and then after waits that
    /// grow from 10 ms to 1 s. Default: 60s with -n alone, which is longer than it takes to replace a pod; a run with -z
    /// or -x goes on to its end.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) reconnect_timeout: Option<Duration>,
    /// Share the run among agents: HOST:PORT,HOST:PORT,... for agents that are running, or local:N to start N of them.
    /// Rates and counts (-n) are shared out. Workers, connections and everything else each agent has in full. Files of
    /// certificates and tokens are those of the agent's machine.
    #[arg(long, value_name = "AGENTS", conflicts_with = "verify")]
    pub(crate) agents: Option<Agents>,
    /// A header for every call, as NAME:VALUE. May be repeated.
    #[arg(short = 'H', long = "metadata", value_name = "NAME:VALUE", value_parser = metadata)]
    pub(crate) metadata: Vec<(String, String)>,
}

/// What to report.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Write the report to this file instead of standard output. May be repeated, each time with its own -O.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Form of the report. Default: by the extension of the file, or text.
    #[arg(short = 'O', long, value_enum, value_name = "FORM")]
    pub(crate) format: Vec<Format>,
    /// More percentiles to report, such as 75,95.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = percentile)]
    pub(crate) percentiles: Vec<f64>,
    /// Length of the intervals that the report shows one by one.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// An objective, such as p99<5ms, read:p99.9<=20ms, error_rate<0.1% or rps>=10000. May be repeated. The exit code is
    /// 99 if one is not met.
    #[arg(long, value_name = "OBJECTIVE")]
    pub(crate) slo: Vec<Slo>,
    /// Record every operation, and check that all answers together are linearizable. The exit code is 3 if they are not.
    #[arg(long)]
    pub(crate) verify: bool,
    /// How long --verify may search for an order of the operations, all keys together, where revisions do not show one.
    /// The exit code is 4 if the search ends undecided.
    #[arg(long, value_name = "TIME", requires = "verify", default_value = SEARCH_TIMEOUT, value_parser = duration)]
    pub(crate) search_timeout: Duration,
    /// Keep the history of --verify in this file, as JSON Lines, for `soloist-load check`.
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub(crate) history: Option<PathBuf>,
    /// Repeat the run this many times. The report is that of the last run; baselines have all runs, because one run
    /// proves nothing.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(1, 1_000))]
    pub(crate) runs: u64,
    /// Save the reports of all runs in this file, for later comparisons.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_baseline: Option<PathBuf>,
    /// Compare the runs with those of a file that --save-baseline wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Exit with 1 if a figure is worse than in the baseline by more than this many percent.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "5", require_equals = true, requires = "baseline")]
    pub(crate) fail_on_regression: Option<f64>,
    /// A file with flags, in TOML: a line such as rps = 1000 for each. Flags and environment variables (SOLOIST_LOAD_RPS)
    /// override it. "soloist-load config" prints what holds.
    #[arg(
        id = "config",
        long = "config",
        value_name = "FILE",
        env = "SOLOIST_LOAD_CONFIG"
    )]
    pub(crate) _config_file: Option<PathBuf>,
    /// A name for the run, which the report shows.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// A note that the report keeps, as KEY=VALUE. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    pub(crate) tag: Vec<(String, String)>,
    /// Exit with 0 even if operations failed.
    #[arg(long)]
    pub(crate) allow_errors: bool,
    /// Show no progress.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Also print the settings, the machine, the command that repeats the run, and more percentiles. Files (-o) always
    /// have them.
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
    /// Print a line a second instead of the live view on a terminal.
    #[arg(long)]
    pub(crate) no_tui: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FindMaxArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The first rate, in operations per second.
    #[arg(long, value_name = "N", default_value = "1k", value_parser = count(1, SEARCH_RATE_MAX), help_heading = "How to search")]
    pub(crate) start: u64,
    /// How long each run warms up before it measures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "How to search")]
    pub(crate) settle: Duration,
    /// How long each run measures.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration, help_heading = "How to search")]
    pub(crate) window: Duration,
    /// How close, in percent, the result must be to the lowest rate that failed.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "5",
        help_heading = "How to search"
    )]
    pub(crate) precision: f64,
    /// How many runs must meet the objectives at the result.
    #[arg(long, value_name = "N", default_value = "3", value_parser = count(1, 100), help_heading = "How to search")]
    pub(crate) repeat: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The rates, in operations per second, such as 1k,2k,5k. Default: ten rates, from a tenth of what a closed loop
    /// reaches up to all of it.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = count(1, SEARCH_RATE_MAX), help_heading = "How to search")]
    pub(crate) rates: Vec<u64>,
    /// How long each run warms up before it measures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "How to search")]
    pub(crate) settle: Duration,
    /// How long each run measures.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration, help_heading = "How to search")]
    pub(crate) window: Duration,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// A JSON file: the report of one run, or the reports of several runs (--save-baseline).
    #[arg(value_name = "A.json")]
    pub(crate) a: PathBuf,
    /// The file to compare with A.
    #[arg(value_name = "B.json")]
    pub(crate) b: PathBuf,
    /// Repeat the run of A and the run of B this many times, in turn, and compare these runs instead.
    #[arg(long, value_name = "N", value_parser = count(1, 1_000))]
    pub(crate) runs: Option<u64>,
    /// Form of the comparison.
    #[arg(short = 'O', long, value_enum, value_name = "FORM", default_value_t = ComparisonFormat::Text)]
    pub(crate) format: ComparisonFormat,
    /// Exit with 1 if a figure of B is worse than that of A by more than this many percent.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "5", require_equals = true)]
    pub(crate) fail_on_regression: Option<f64>,
    /// With --runs, delete the keys of each run after it, as --clean does for a run.
    #[arg(long, requires = "runs")]
    pub(crate) clean: bool,
    /// Show no progress.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A history that --history kept, or the operations that showed a violation.
    #[arg(value_name = "HISTORY")]
    pub(crate) file: PathBuf,
    /// Search every key for an order that explains its values, even if revisions show one.
    #[arg(long)]
    pub(crate) search: bool,
    /// Search every key for an order that explains its values, and look at no revision: for the history of a store whose
    /// answers have none.
    #[arg(long, conflicts_with = "search")]
    pub(crate) without_revisions: bool,
    /// How long to search, all keys together. The exit code is 4 if the search ends undecided.
    #[arg(long, value_name = "TIME", default_value = SEARCH_TIMEOUT, value_parser = duration)]
    pub(crate) search_timeout: Duration,
    /// The file for the operations that show a violation.
    #[arg(long, value_name = "FILE", default_value = EVIDENCE_FILE)]
    pub(crate) evidence: PathBuf,
    /// Show no progress.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    /// How long each measurement takes.
    #[arg(short = 'z', long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Form of the report.
    #[arg(short = 'O', long, value_enum, value_name = "FORM", default_value_t = CalibrationFormat::Text)]
    pub(crate) format: CalibrationFormat,
    /// Seed of all random choices.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// The address to listen on. Everyone who can connect to it can make this machine put load on any server.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7411")]
    pub(crate) listen: SocketAddr,
    /// Exit after one run.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Check a file for --config, instead of printing: its keys and values, with the flags and the environment over it, and
    /// the files that a run would read before it connects. Exit code 0 if a run would take it, otherwise 2.
    #[arg(long, value_name = "FILE", help_heading = "Checking")]
    pub(crate) check: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_finds_no_fault_in_the_flags() {
        RunArgs::command().debug_assert();
    }
}
