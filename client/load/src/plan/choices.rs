//! What may be chosen: a type for each flag that takes one of several words.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

/// Processes that do a run together at most: each has a connection to the one that leads them.
pub(crate) const AGENTS_MAX: u64 = 256;
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
            ("sequential", []) => Ok(Self::Sequential),
            _ => Err("must be uniform, zipfian[:THETA], latest[:THETA] or sequential".to_owned()),
        }
    }
}

impl fmt::Display for KeyDist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipfian { theta } => write!(f, "zipfian:{theta}"),
            Self::Latest { theta } => write!(f, "latest:{theta}"),
            Self::Sequential => f.write_str("sequential"),
        }
    }
}

/// Which agents do a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agents {
    /// So many, started here for this run.
    Local(u64),
    /// These, which are there already.
    At(Vec<String>),
}

impl FromStr for Agents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(count) = text.strip_prefix("local:") {
            return count
                .parse()
                .ok()
                .filter(|count| (1..=AGENTS_MAX).contains(count))
                .map(Self::Local)
                .ok_or_else(|| format!("local:N is 1 to {AGENTS_MAX} agents"));
        }
        let addresses: Vec<String> = text.split(',').map(str::to_owned).collect();
        if addresses.len() as u64 > AGENTS_MAX {
            return Err(format!("there are at most {AGENTS_MAX} agents"));
        }
        match addresses.iter().all(|address| address.contains(':')) {
            true => Ok(Self::At(addresses)),
            false => Err("it is HOST:PORT,HOST:PORT,... or local:N".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("sequential", Ok(KeyDist::Sequential)),
        ];
        for (text, expected) in cases {
            check(text, text.parse(), expected);
        }
    }

    #[test]
    fn agents_are_named() {
        let at = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|&of| of.to_owned());
            Ok(Agents::At(addresses.collect()))
        };
        for (text, expected) in [
            ("local:3", Ok(Agents::Local(3))),
            ("a:1,b:2", at(&["a:1", "b:2"])),
            ("local:0", Err("1 to 256")),
            ("local:x", Err("1 to 256")),
            ("a", Err("HOST:PORT")),
            ("", Err("HOST:PORT")),
        ] {
            match (text.parse::<Agents>(), expected) {
                (Ok(actual), Ok(expected)) => assert_eq!(actual, expected),
                (Err(actual), Err(part)) => assert!(actual.contains(part), "{text}: {actual}"),
                (actual, _) => panic!("{text}: {actual:?}"),
            }
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
