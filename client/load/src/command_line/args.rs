//! The command line: what may be said, each flag within its limits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::agents::Agents;
use crate::plan::slo::Slo;
use crate::run::verdict::SEARCH_TIMEOUT;
use crate::workload::generator::Script;

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
/// Processes that do a run together at most: each has a connection to the one that leads them.
pub(crate) const AGENTS_MAX: u64 = 256;
/// Operations per second at most that can be asked for: one a nanosecond.
const RATE_MAX: f64 = 1e9;

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
    pub(crate) workload: Option<Script>,
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
    /// (0.99 unless given); latest[:THETA], zipfian from the newest key on; hotspot[:KEYS:OPS], where so much of the
    /// operations goes to so much of the keys (0.2:0.8 unless given); or sequential. Default: uniform; YCSB's own for a
    /// to f.
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
    /// Speak HTTP/2 without TLS. There is no other way yet, so this changes nothing.
    #[arg(long)]
    pub(crate) plaintext: bool,
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
    /// Nothing about progress.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// No live view on a terminal: a line a second instead.
    #[arg(long)]
    pub(crate) no_tui: bool,
}

/// How operations travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Every operation is a call, of the generated client.
    Unary,
    /// Every worker is one bidirectional stream of frames.
    Pipeline,
    /// Every operation is a call, in HTTP/2 frames of our own: the cheapest way to make calls.
    Raw,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs; one object.
    Json,
    /// A line for each interval.
    Csv,
    /// One page with plots, which needs nothing else.
    Html,
    /// Tables.
    Markdown,
    /// Percentiles, as HdrHistogram's plotter reads them.
    Hdr,
    /// A histogram for each interval, as HdrHistogram's log readers read them.
    Hlog,
}

impl Format {
    /// What the end of a file's name says.
    pub(crate) fn of_file(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "txt" => Some(Self::Text),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "html" | "htm" => Some(Self::Html),
            "md" => Some(Self::Markdown),
            "hgrm" => Some(Self::Hdr),
            "hlog" => Some(Self::Hlog),
            _ => None,
        }
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValueKind {
    /// 64-bit integers.
    Int,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
}

/// How the operations of an open loop are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrival {
    /// Evenly.
    Constant,
    /// As a Poisson process.
    Poisson,
}

/// How the rate of an open loop goes on; ghz's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadScheduleKind {
    /// It stays.
    Const,
    /// It changes in steps.
    Step,
    /// It changes all the time.
    Line,
}

/// What becomes of operations under way at the end; ghz's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurationStop {
    /// They are waited for.
    Wait,
    /// They are given up, and have failed.
    Close,
    /// They are given up, and do not count.
    Ignore,
}

/// The name that a flag's value has on the command line.
pub(crate) fn value_name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.expect("no value is skipped").get_name().to_owned()
}

/// Which of several processes this is, all of which do a run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 0.
    pub(crate) index: u64,
    pub(crate) of: u64,
}

/// So many reads for so many writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            part.parse::<f64>()
                .ok()
                .filter(|part| (0.0..=1e9).contains(part))
        };
        text.split_once(':')
            .and_then(|(reads, writes)| {
                Some(Self {
                    reads: part(reads)?,
                    writes: part(writes)?,
                })
            })
            .filter(|ratio| ratio.reads + ratio.writes > 0.0)
            .ok_or_else(|| "it has the form READS:WRITES, such as 95:5".to_owned())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.reads, self.writes)
    }
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum KeyDist {
    /// All alike.
    Uniform,
    /// Key number k in proportion to 1/(k+1)^theta.
    Zipfian {
        /// 0 is uniform; the larger, the more the first keys are asked for.
        theta: f64,
    },
    /// The same, counted from the newest key.
    Latest {
        /// As of `Zipfian`.
        theta: f64,
    },
    /// Some keys more than others.
    Hotspot {
        /// The hot part of the keys: the first ones.
        keys: f64,
        /// The part of the operations that goes there.
        ops: f64,
    },
    /// One after the other, each worker from a place of its own.
    Sequential,
}

/// YCSB's, and with it what most published figures use.
const THETA: f64 = 0.99;

impl FromStr for KeyDist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let theta = |text: &str| match text.parse::<f64>() {
            Ok(theta) if (0.0..=100.0).contains(&theta) => Ok(theta),
            _ => Err(format!("theta is a number from 0 to 100, not {text:?}")),
        };
        let share = |text: &str| match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
            _ => Err(format!("a share is a number between 0 and 1, not {text:?}")),
        };
        match (name, &parameters[..]) {
            ("uniform", []) => Ok(Self::Uniform),
            ("zipfian", []) => Ok(Self::Zipfian { theta: THETA }),
            ("zipfian", [text]) => Ok(Self::Zipfian {
                theta: theta(text)?,
            }),
            ("latest", []) => Ok(Self::Latest { theta: THETA }),
            ("latest", [text]) => Ok(Self::Latest {
                theta: theta(text)?,
            }),
            ("hotspot", []) => Ok(Self::Hotspot {
                keys: 0.2,
                ops: 0.8,
            }),
            ("hotspot", [keys, ops]) => Ok(Self::Hotspot {
                keys: share(keys)?,
                ops: share(ops)?,
            }),
            ("sequential", []) => Ok(Self::Sequential),
            _ => Err(
                "it is uniform, zipfian[:THETA], latest[:THETA], hotspot[:KEYS:OPS] or sequential"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for KeyDist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipfian { theta } => write!(f, "zipfian:{theta}"),
            Self::Latest { theta } => write!(f, "latest:{theta}"),
            Self::Hotspot { keys, ops } => write!(f, "hotspot:{keys}:{ops}"),
            Self::Sequential => f.write_str("sequential"),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let number = digits.parse::<f64>().ok().map(|number| number * unit);
    number
        .filter(|number| *number > 0.0 && *number <= RATE_MAX)
        .ok_or_else(|| {
            format!("it is a number above 0 and up to {RATE_MAX:e} a second, with a suffix k or m for thousands or millions")
        })
}

fn percentile(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| "each is a number from 0 to 100".to_owned())
}

fn metadata(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "it has the form NAME:VALUE".to_owned())?;
    let name = name.trim().to_ascii_lowercase();
    let is_token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err("a name has letters, digits, '-', '_' and '.'".to_owned());
    }
    if name.starts_with("grpc-") || name.ends_with("-bin") || name == "content-type" || name == "te"
    {
        return Err(format!("{name} is not for users to set"));
    }
    let value = value.trim();
    if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err("a value is printable ASCII".to_owned());
    }
    Ok((name, value.to_owned()))
}

fn part(text: &str) -> Result<Part, String> {
    text.split_once('/')
        .and_then(|(index, of)| {
            let (index, of) = (index.parse().ok()?, of.parse().ok()?);
            (index < of && of <= AGENTS_MAX).then_some(Part { index, of })
        })
        .ok_or_else(|| format!("it has the form K/N, K below N and N up to {AGENTS_MAX}"))
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it has the form KEY=VALUE".to_owned()),
    }
}

/// A number within its limits, with a suffix k or m if that is easier to write.
pub(crate) fn count(
    min: u64,
    max: u64,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
            Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
            _ => (text, 1),
        };
        let number = digits.parse::<u64>().ok();
        number
            .and_then(|number| number.checked_mul(unit))
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| {
                format!(
                    "it is a whole number from {min} to {max}, with a suffix k or m for thousands or millions"
                )
            })
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("it is a whole number from 0 to {}", u64::MAX))
}

/// The longest time that can be asked for: beyond, someone has mistaken the unit.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let form = "it is a number with a unit, such as 500ms, 10s, 2m or 1h";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(form.to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| form.to_owned())?;
    match Duration::try_from_secs_f64(number * unit) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err("it is from 0s to 168h".to_owned()),
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("it is more than 0".to_owned()),
        duration => Ok(duration),
    }
}

fn address(text: &str) -> Result<String, String> {
    let form = || "it has the form HOST:PORT".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err(form());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        RunArgs::command().debug_assert();
    }

    #[test]
    fn counts() {
        let cases = [
            ("1", Ok(1)),
            ("20k", Ok(20_000)),
            ("3M", Ok(3_000_000)),
            ("0", Err("from 1 to 5000000")),
            ("6m", Err("from 1 to 5000000")),
            ("-1", Err("whole number from 1 to 5000000")),
            ("1.5k", Err("whole number")),
            ("k", Err("whole number")),
            ("", Err("whole number")),
            ("99999999999999999999", Err("whole number")),
            ("9999999999999999999k", Err("from 1 to 5000000")),
        ];
        for (text, expected) in cases {
            check(text, count(1, 5_000_000)(text), expected);
        }
    }

    #[test]
    fn durations() {
        let cases = [
            ("500ms", Ok(Duration::from_millis(500))),
            ("1.5s", Ok(Duration::from_millis(1_500))),
            ("2m", Ok(Duration::from_secs(120))),
            ("1h", Ok(Duration::from_secs(3_600))),
            ("0s", Err("more than 0")),
            ("10", Err("with a unit")),
            ("s", Err("with a unit")),
            ("-1s", Err("from 0s")),
            ("1000h", Err("to 168h")),
            ("1e999s", Err("to 168h")),
        ];
        for (text, expected) in cases {
            check(text, duration(text), expected);
        }
    }

    #[test]
    fn key_distributions() {
        let cases = [
            ("uniform", Ok(KeyDist::Uniform)),
            ("zipfian", Ok(KeyDist::Zipfian { theta: 0.99 })),
            ("zipfian:1.2", Ok(KeyDist::Zipfian { theta: 1.2 })),
            ("zipfian:-1", Err("theta")),
            ("zipfian:NaN", Err("theta")),
            ("uniform:1", Err("uniform, zipfian")),
            ("latest", Ok(KeyDist::Latest { theta: 0.99 })),
            (
                "hotspot:0.1:0.9",
                Ok(KeyDist::Hotspot {
                    keys: 0.1,
                    ops: 0.9,
                }),
            ),
            ("hotspot:1:2", Err("share")),
            ("sequential", Ok(KeyDist::Sequential)),
        ];
        for (text, expected) in cases {
            check(text, text.parse(), expected);
        }
    }

    fn check<T: fmt::Debug + PartialEq>(
        text: &str,
        actual: Result<T, String>,
        expected: Result<T, &str>,
    ) {
        match (actual, expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected, "{text:?}"),
            (Err(actual), Err(part)) => assert!(actual.contains(part), "{text:?}: {actual}"),
            (actual, expected) => panic!("{text:?}: {actual:?}, expected {expected:?}"),
        }
    }
}
