//! The choices that flags offer: a type for each flag whose value is more than a number.
//!
//! The names of the variants, in kebab case, are the words on the command line and in reports.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

/// The most agents that may share a run. Each takes a connection of the leader.
pub(crate) const AGENTS_MAX: u64 = 256;

/// How operations travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Every operation is a unary call of the generated client.
    Unary,
    /// Every worker has one bidirectional Pipeline stream and sends frames of operations.
    Pipeline,
    /// Every operation is a unary call in HTTP/2 frames that this tool writes itself: the least CPU time per call.
    Raw,
}

/// The kind of value that workers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValueKind {
    /// Signed 64-bit integers.
    Int,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
}

/// How the operations of an open loop are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrival {
    /// At equal distances.
    Constant,
    /// At random, as a Poisson process: like the calls of many independent clients.
    Poisson,
}

/// How the rate of an open loop changes over time. The names are those of ghz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadScheduleKind {
    /// The rate never changes.
    Const,
    /// The rate changes in steps.
    Step,
    /// The rate changes continuously.
    Line,
}

/// What happens to operations in flight when the measured time ends. The names are those of ghz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurationStop {
    /// Wait for their answers.
    Wait,
    /// Give them up and count them as failed.
    Close,
    /// Give them up and do not count them.
    Ignore,
}

/// This process's place among the agents that share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from 0; less than `of`.
    pub(crate) index: u64,
    /// How many processes share the run: 1 if there are no agents.
    pub(crate) of: u64,
}

/// The proportion of reads to writes. Both are from 0 to 1e9, and at least one is above 0.
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
            .ok_or_else(|| "must have the form READS:WRITES, such as 95:5".to_owned())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.reads, self.writes)
    }
}

/// The distribution from which the key of each operation is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum KeyDist {
    /// Every key with the same probability.
    Uniform,
    /// Key number k with a probability proportional to 1/(k+1)^theta.
    Zipfian {
        /// From 0 to 100. 0 is uniform; the larger, the more often the first keys are drawn.
        theta: f64,
    },
    /// Zipfian, with the newest key as number 0.
    Latest {
        /// As in `Zipfian`.
        theta: f64,
    },
    /// One key after the other. Each worker begins at another key.
    Sequential,
}

/// The default of YCSB, and so the value behind most published figures.
const THETA: f64 = 0.99;

impl FromStr for KeyDist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let theta = |text: &str| match text.parse::<f64>() {
            Ok(theta) if (0.0..=100.0).contains(&theta) => Ok(theta),
            _ => Err(format!(
                "theta must be a number from 0 to 100, not {text:?}"
            )),
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

/// The agents that share a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agents {
    /// This many processes, started on this machine for the run: from 1 to [`AGENTS_MAX`].
    Local(u64),
    /// Agents that are running already, each as HOST:PORT.
    At(Vec<String>),
}

impl fmt::Display for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(count) => write!(f, "local:{count}"),
            Self::At(addresses) => f.write_str(&addresses.join(",")),
        }
    }
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
                .ok_or_else(|| format!("local:N must have an N from 1 to {AGENTS_MAX}"));
        }
        let addresses: Vec<String> = text.split(',').map(str::to_owned).collect();
        if addresses.len() as u64 > AGENTS_MAX {
            return Err(format!(
                "must name at most {AGENTS_MAX} agents, not {}",
                addresses.len()
            ));
        }
        match addresses.iter().all(|address| address.contains(':')) {
            true => Ok(Self::At(addresses)),
            false => Err("must be HOST:PORT,HOST:PORT,... or local:N".to_owned()),
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
