//! The command line: what may be said, each flag within its limits.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::command_line::parse::{
    address, count, duration, duration_or_zero, metadata, part, percentile, rate, seed, tag,
};
use crate::plan::choices::{
    Agents, Arrival, DurationStop, Engine, KeyDist, LoadScheduleKind, Part, Ratio, ValueKind,
};
use crate::plan::labels::{EVIDENCE_FILE, SEARCH_TIMEOUT};
use crate::plan::mix::NamedWorkload;
use crate::plan::slo::Slo;
use crate::report::format::Format;

/// Workers of each kind at most. Each is a stream with memory of its own on both sides.
const WORKERS_MAX: u64 = 100_000;
/// Keys at most: a zipfian table takes 16 bytes for each.
const KEYS_MAX: u64 = 100_000_000;
/// The largest written value, in bytes; servers allow 1 MiB by default.
const VALUE_BYTES_MAX: u64 = 64 << 20;
/// Frames in flight and operations per frame at most; what the server allows is checked when it is known.
const PIPELINE_MAX: u64 = 65_536;
const FRAME_OPS_MAX: u64 = 1 << 20;
/// Threads and connections at most.
const THREADS_MAX: u64 = 1_024;
const CONNECTIONS_MAX: u64 = 10_000;
/// Operations under way at most, in an open loop: each takes some 100 bytes here.
const IN_FLIGHT_MAX: u64 = 10_000_000;
/// What a run is to do, as it is said on the command line. What is not said is `None` here, where the default depends
/// on other flags.
#[derive(Clone, Debug, Parser)]
#[command(name = "soloist-load", args_override_self = true)]
pub(crate) struct RunArgs {
    /// The server to drive. None: one of its own.
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub(crate) address: Option<String>,

    #[command(flatten, next_help_heading = "What to send")]
    pub(crate) what: WhatArgs,
    #[command(flatten, next_help_heading = "When to send")]
    pub(crate) when: WhenArgs,
    #[command(flatten, next_help_heading = "When to stop")]
    pub(crate) stop: StopArgs,
    #[command(flatten, next_help_heading = "How to send")]
    pub(crate) how: HowArgs,
    #[command(flatten, next_help_heading = "What to report")]
    pub(crate) report: ReportArgs,
}

/// What to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WhatArgs {
    /// Concurrent workers that read. Default: 100, the seed's.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(0, WORKERS_MAX), conflicts_with_all = ["ratio", "workload", "concurrency"])]
    pub(crate) readers: Option<u64>,
    /// Concurrent workers that write. Default: 10, the seed's.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(0, WORKERS_MAX), conflicts_with_all = ["ratio", "workload", "concurrency"])]
    pub(crate) writers: Option<u64>,
    /// Workers that read and write in this proportion, such as 95:5.
    #[arg(long, value_name = "R:W", conflicts_with = "workload")]
    pub(crate) ratio: Option<Ratio>,
    /// A workload by name: a to f are YCSB's; counter adds; cas writes if the key is as it was seen last; transition
    /// moves keys from idle to inflight to closing; renew renews a session for each worker; watch measures how long
    /// writes take to reach watches; mixed does everything that a history can be checked for.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) workload: Option<NamedWorkload>,
    /// Concurrent workers of --ratio and --workload. Default: 110.
    #[arg(short = 'c', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, WORKERS_MAX))]
    pub(crate) concurrency: Option<u64>,
    /// Watches that --workload watch opens. Default: 10.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, WORKERS_MAX))]
    pub(crate) watchers: Option<u64>,
    /// Keys, named "0", "1" and so on. Default: 5; 1k for a to f.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, KEYS_MAX))]
    pub(crate) keys: Option<u64>,
    /// How keys are chosen: uniform; zipfian[:THETA], where key number k is asked for in proportion to 1/(k+1)^THETA
    /// (0.99 unless given); latest[:THETA], zipfian from the newest key on; or sequential. Default: uniform; YCSB's own
    /// for a to f.
    #[arg(long, value_name = "DIST")]
    pub(crate) key_dist: Option<KeyDist>,
    /// Size of written texts and bytes. Default: 1000 for a to f; otherwise ints are written.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = count(0, VALUE_BYTES_MAX))]
    pub(crate) value_size: Option<u64>,
    /// What is written. Default: ints from 0 to 99, the seed's; texts with --value-size.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) value: Option<ValueKind>,
    /// Write no value twice. Always so with --verify and in all workloads but the seed's.
    #[arg(long)]
    pub(crate) distinct: bool,
    /// The part of a run that this process does: one of several agents.
    #[arg(long, value_name = "K/N", hide = true, default_value = "0/1", value_parser = part)]
    pub(crate) part: Part,
    /// Seed of all random choices. Default: a new one, which the report tells.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

/// When to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WhenArgs {
    /// Open loop: so many operations per second, whatever becomes of them. Without it, each worker sends its next
    /// operation when the previous one is answered, and the server sets the pace.
    #[arg(short = 'r', long, alias = "rate", alias = "qps", value_name = "N", value_parser = rate)]
    pub(crate) rps: Option<f64>,
    /// How they are spaced: evenly, or by chance as independent users would.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Arrival::Constant)]
    pub(crate) arrival: Arrival,
    /// Operations under way at most in an open loop; what is due beyond is dropped, and counted.
    #[arg(long, value_name = "N", default_value = "100k", allow_negative_numbers = true, value_parser = count(1, IN_FLIGHT_MAX))]
    pub(crate) max_in_flight: u64,
    /// How the rate goes on: it stays; it changes by --load-step every --load-step-duration; or by --load-step a second.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = LoadScheduleKind::Const)]
    pub(crate) load_schedule: LoadScheduleKind,
    /// The rate at the beginning of a step or line schedule.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) load_start: Option<f64>,
    /// By how much the rate changes; may be negative.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) load_step: Option<f64>,
    /// The rate at which it stays from then on.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) load_end: Option<f64>,
    /// How long each step lasts.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) load_step_duration: Option<Duration>,
    /// When the rate stops changing.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) load_max_duration: Option<Duration>,
}

/// When to stop.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Stop after this time of measuring (500ms, 10s, 2m). Default: 1s, or none with -n.
    #[arg(short = 'z', long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Stop after this many operations, with a suffix k or m for thousands or millions.
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, u64::MAX))]
    pub(crate) requests: Option<u64>,
    /// Stop after this time of measuring, whatever -n says.
    #[arg(short = 'x', long, value_name = "TIME", value_parser = duration, conflicts_with = "duration")]
    pub(crate) max_duration: Option<Duration>,
    /// Time before measuring begins.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration_or_zero)]
    pub(crate) warmup: Duration,
    /// What becomes of operations that are under way at the end: they are waited for and their latencies count; or
    /// they are given up and count as failed; or they are given up and do not count.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = DurationStop::Wait)]
    pub(crate) duration_stop: DurationStop,
}

/// How to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HowArgs {
    /// How operations travel.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) engine: Option<Engine>,
    /// Frames (with --engine unary and raw: calls) that each worker keeps in flight.
    #[arg(short = 'P', long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = count(1, PIPELINE_MAX))]
    pub(crate) pipeline: u64,
    /// Operations in each frame.
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = count(1, FRAME_OPS_MAX))]
    pub(crate) frame_ops: u64,
    /// Connections in all. Default: one per thread, or as many more as the workers need, at 256 streams each.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, CONNECTIONS_MAX))]
    pub(crate) connections: Option<u64>,
    /// Threads that drive the workers. Default: one per core, but not more than connections or workers.
    #[arg(short = 't', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, THREADS_MAX))]
    pub(crate) threads: Option<u64>,
    /// How long the server may take over each operation; sent with it, and waited for a little longer. Default: what
    /// the server allows, and no wait beyond 10s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// How long connections and streams may take to open.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    /// Have several processes do the run: agents that are there (HOST:PORT,HOST:PORT), or local:N, started for it. Rates
    /// and counts are shared out among them; workers and the rest each has whole.
    #[arg(long, value_name = "AGENTS", conflicts_with = "verify")]
    pub(crate) agents: Option<Agents>,
    /// A header to send with every call, as NAME:VALUE. May be repeated.
    #[arg(short = 'H', long = "metadata", value_name = "NAME:VALUE", value_parser = metadata)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Send this bearer token with every call. It does not appear in reports.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SOLOIST_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

/// What to report.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Write the report to this file instead of standard output. May be repeated, each with a -O of its own.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Form of the report. Without it, what the name of the file ends in, or text.
    #[arg(short = 'O', long, value_enum, value_name = "FORM")]
    pub(crate) format: Vec<Format>,
    /// Percentiles to report besides the usual ones, such as 75,95.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = percentile)]
    pub(crate) percentiles: Vec<f64>,
    /// Length of the intervals that are reported one by one.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// An objective, such as p99<5ms, read:p99.9<=20ms, error_rate<0.1% or rps>=10000. May be repeated. Exit code 99 if
    /// it is not met.
    #[arg(long, value_name = "OBJECTIVE")]
    pub(crate) slo: Vec<Slo>,
    /// Record every operation, and check that the answers can all be true. Exit code 3 if they cannot.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Where revisions do not explain a key, search for so long at most, all keys together. Exit code 4 if it is not
    /// decided by then.
    #[arg(long, value_name = "TIME", requires = "verify", default_value = SEARCH_TIMEOUT, value_parser = duration)]
    pub(crate) search_timeout: Duration,
    /// Keep the history that --verify records in this file, for `soloist-load check`.
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub(crate) history: Option<PathBuf>,
    /// Run so many times. What is reported is the last run; baselines are of all: one run proves nothing.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(1, 1_000))]
    pub(crate) runs: u64,
    /// Keep the reports of all runs in this file, for comparisons.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_baseline: Option<PathBuf>,
    /// Compare the runs with those that were kept in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Exit with 1 if a figure is worse than the baseline's by more than so many percent.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "5", require_equals = true, requires = "baseline")]
    pub(crate) fail_on_regression: Option<f64>,
    /// Take flags from this file of TOML, by their names, as in: rps = 1000. Those of the command line come after them.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What this run is called.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Something to remember with this run, as KEY=VALUE. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    pub(crate) tag: Vec<(String, String)>,
    /// Exit with 0 even if operations failed.
    #[arg(long)]
    pub(crate) allow_errors: bool,
    /// Show no progress.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Print the settings, the machine, the line that repeats the run, and more percentiles too. Files (-o) always have them.
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
    /// No live view on a terminal: a line a second instead.
    #[arg(long)]
    pub(crate) no_tui: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FindMaxArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The first rate, in operations per second.
    #[arg(long, value_name = "N", default_value = "1k", value_parser = count(1, 1_000_000_000), help_heading = "How to search")]
    pub(crate) start: u64,
    /// How long each run settles before it measures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "How to search")]
    pub(crate) settle: Duration,
    /// How long each run measures.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration, help_heading = "How to search")]
    pub(crate) window: Duration,
    /// How near, in percent, the result is to what is too much.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "5",
        help_heading = "How to search"
    )]
    pub(crate) precision: f64,
    /// How often the result has to hold.
    #[arg(long, value_name = "N", default_value = "3", value_parser = count(1, 100), help_heading = "How to search")]
    pub(crate) repeat: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The rates, in operations per second, such as 1k,2k,5k. Default: ten from a tenth of what a closed loop reaches to
    /// all of it.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = count(1, 1_000_000_000), help_heading = "How to search")]
    pub(crate) rates: Vec<u64>,
    /// How long each run settles before it measures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "How to search")]
    pub(crate) settle: Duration,
    /// How long each run measures.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration, help_heading = "How to search")]
    pub(crate) window: Duration,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Reports in JSON: of one run, or a list (--save-baseline).
    #[arg(value_name = "A.json")]
    pub(crate) a: PathBuf,
    /// What is held against them.
    #[arg(value_name = "B.json")]
    pub(crate) b: PathBuf,
    /// Repeat the run of A and the run of B so many times, in turn, and compare those.
    #[arg(long, value_name = "N", value_parser = count(1, 1_000))]
    pub(crate) runs: Option<u64>,
    /// Form of the comparison: text, json or markdown.
    #[arg(short = 'O', long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Exit with 1 if a figure of B is worse by more than so many percent.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "5", require_equals = true)]
    pub(crate) fail_on_regression: Option<f64>,
    /// Nothing about progress.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A history: of --history, or the operations that showed a violation.
    #[arg(value_name = "HISTORY")]
    pub(crate) file: PathBuf,
    /// Search every key for an order that explains its values, also where revisions explain them.
    #[arg(long)]
    pub(crate) search: bool,
    /// Search for so long at most, all keys together. Exit code 4 if it is not decided by then.
    #[arg(long, value_name = "TIME", default_value = SEARCH_TIMEOUT, value_parser = duration)]
    pub(crate) search_timeout: Duration,
    /// Where to write the operations that show a violation.
    #[arg(long, value_name = "FILE", default_value = EVIDENCE_FILE)]
    pub(crate) evidence: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    /// How long each measurement takes.
    #[arg(short = 'z', long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Form of the report: text or json.
    #[arg(short = 'O', long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Seed of all random choices.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Serves those who lead.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// Where to listen. Whoever reaches it can have it put load on any server.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7411")]
    pub(crate) listen: std::net::SocketAddr,
    /// End after one run.
    #[arg(long)]
    pub(crate) once: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        RunArgs::command().debug_assert();
    }
}
