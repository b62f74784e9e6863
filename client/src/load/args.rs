//! The command line: what may be said, each flag within its limits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

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

/// Measures a state server: many concurrent readers and writers, each sending its next operation when the previous
/// one is answered.
///
/// Without HOST:PORT it starts a server of its own on a free loopback port, on threads of its own, and drives that
/// over TCP like any other.
///
/// Exit codes: 0 done; 1 the server could not be reached, or operations failed; 2 bad arguments; 130 interrupted by
/// Ctrl-C or 143 by SIGTERM, after reporting what was measured.
#[derive(Clone, Debug, Parser)]
#[command(name = "soloist-load", version, max_term_width = 110)]
pub struct Args {
    /// The server to drive. None: one of its own.
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub(crate) address: Option<String>,

    /// Concurrent workers that read.
    #[arg(long, value_name = "N", default_value = "100", allow_negative_numbers = true, value_parser = count(0, WORKERS_MAX))]
    pub(crate) readers: u64,
    /// Concurrent workers that write.
    #[arg(long, value_name = "N", default_value = "10", allow_negative_numbers = true, value_parser = count(0, WORKERS_MAX))]
    pub(crate) writers: u64,

    /// Stop after this time of measuring (500ms, 10s, 2m). Default: 1s, or none with -n.
    #[arg(short = 'z', long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Stop after this many operations, with a suffix k or m for thousands or millions.
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = count(1, u64::MAX))]
    pub(crate) requests: Option<u64>,
    /// Time before measuring begins.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration_or_zero)]
    pub(crate) warmup: Duration,

    /// Keys, named "0", "1" and so on.
    #[arg(long, value_name = "N", default_value = "5", allow_negative_numbers = true, value_parser = count(1, KEYS_MAX))]
    pub(crate) keys: u64,
    /// How keys are chosen: uniform, or zipfian[:THETA], where key number k is asked for in proportion to
    /// 1/(k+1)^THETA (0.99 unless given).
    #[arg(long, value_name = "DIST", default_value = "uniform")]
    pub(crate) key_dist: KeyDist,
    /// Write texts of this many bytes. Without it: ints from 0 to 99.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = count(0, VALUE_BYTES_MAX))]
    pub(crate) value_size: Option<u64>,

    /// How operations travel.
    #[arg(long, value_enum, default_value_t = Engine::Pipeline)]
    pub(crate) engine: Engine,
    /// Frames (with --engine unary: calls) that each worker keeps in flight.
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
    /// Speak HTTP/2 without TLS. There is no other way yet, so this changes nothing.
    #[arg(long)]
    pub(crate) plaintext: bool,

    /// Seed of all random choices. Default: a new one, which the report tells.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Exit with 0 even if operations failed.
    #[arg(long)]
    pub(crate) allow_errors: bool,

    /// Write the report to this file instead of standard output.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Form of the report.
    #[arg(short = 'O', long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// No progress line.
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
}

/// How operations travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Every operation is a call.
    Unary,
    /// Every worker is one bidirectional stream of frames.
    Pipeline,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs; one object.
    Json,
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
}

/// YCSB's, and with it what most published figures use.
const THETA: f64 = 0.99;

impl FromStr for KeyDist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, theta) = match text.split_once(':') {
            Some((name, theta)) => (name, Some(theta)),
            None => (text, None),
        };
        match (name, theta) {
            ("uniform", None) => Ok(Self::Uniform),
            ("zipfian", None) => Ok(Self::Zipfian { theta: THETA }),
            ("zipfian", Some(theta)) => match theta.parse::<f64>() {
                Ok(theta) if (0.0..=100.0).contains(&theta) => Ok(Self::Zipfian { theta }),
                _ => Err(format!("theta is a number from 0 to 100, not {theta:?}")),
            },
            _ => Err("it is uniform or zipfian[:THETA]".to_owned()),
        }
    }
}

impl fmt::Display for KeyDist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipfian { theta } => write!(f, "zipfian:{theta}"),
        }
    }
}

/// A number within its limits, with a suffix k or m if that is easier to write.
fn count(min: u64, max: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
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

fn duration(text: &str) -> Result<Duration, String> {
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
        Args::command().debug_assert();
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
            ("uniform:1", Err("uniform or zipfian")),
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
