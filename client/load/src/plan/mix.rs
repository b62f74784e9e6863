//! What the workers do: the workloads, and how their keys are named.

use clap::ValueEnum;

use crate::plan::choices::Ratio;

/// What the keys of YCSB's workloads begin with; and the digits after that.
pub(crate) const ADDED_PREFIX: &str = "user";
const ADDED_DIGITS: usize = 10;
/// The last digits of names that a scan leaves open: it is of the keys that differ in no others.
pub(crate) const SCAN_DIGITS: usize = 2;

/// What the keys of the mixed workload begin with.
pub(crate) const MIXED_PREFIX: &str = "load/mixed/";
/// What the keys that are watched begin with.
pub(crate) const WATCHED_PREFIX: &str = "load/watched/";
/// What the keys of machines begin with.
pub(crate) const MACHINE_PREFIX: &str = "load/connection/";
/// The states of a connection.
pub(crate) const STATES: [&str; 3] = ["idle", "inflight", "closing"];

/// The least size of texts and bytes that can all be distinct: what tells one from every other.
pub(crate) const DISTINCT_BYTES_MIN: u64 = 16;

/// A workload that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamedWorkload {
    /// YCSB A, update heavy: 50% reads, 50% writes.
    A,
    /// YCSB B, read mostly: 95% reads, 5% writes.
    B,
    /// YCSB C: reads only.
    C,
    /// YCSB D, read latest: 95% reads of the newest keys, 5% new keys.
    D,
    /// YCSB E, short ranges: 95% List of up to 100 entries, 5% new keys.
    E,
    /// YCSB F, read-modify-write: 50% reads, 50% reads followed by a compare-and-set.
    F,
    /// Adds to counters.
    Counter,
    /// Compare-and-set on contended keys.
    Cas,
    /// Moves keys through the states of a connection.
    Transition,
    /// Renews sessions.
    Renew,
    /// Writes that are watched.
    Watch,
    /// Reads, writes, compare-and-sets, additions, deletes, batches and lists.
    Mixed,
}

/// What the workers do, all together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mix {
    /// Readers and writers, each with workers of their own.
    ReadersAndWriters {
        readers: u64,
        writers: u64,
    },
    /// Workers that do both.
    Ratio(Ratio),
    Named(NamedWorkload),
}

impl Mix {
    /// How many workers there are: `concurrency`, unless readers and writers have workers of their own.
    pub(crate) fn workers(self, concurrency: u64) -> u64 {
        match self {
            Self::ReadersAndWriters { readers, writers } => readers + writers,
            Self::Ratio(_) | Self::Named(_) => concurrency,
        }
    }

    /// Whether keys are there before the first operation.
    pub(crate) fn wants_keys(self) -> bool {
        match self {
            Self::ReadersAndWriters { .. } => false,
            Self::Ratio(_) => true,
            Self::Named(script) => !matches!(script, NamedWorkload::Renew | NamedWorkload::Mixed),
        }
    }

    /// Whether it has calls that no frame can carry.
    pub(crate) fn needs_calls(self) -> bool {
        matches!(
            self,
            Self::Named(NamedWorkload::E | NamedWorkload::Renew | NamedWorkload::Mixed)
        )
    }

    /// Whether what is sent follows from answers.
    pub(crate) fn learns(self) -> bool {
        matches!(
            self,
            Self::Named(NamedWorkload::Cas | NamedWorkload::F | NamedWorkload::Mixed)
        )
    }

    /// Whether it writes.
    pub(crate) fn writes(self) -> bool {
        match self {
            Self::ReadersAndWriters { writers, .. } => writers > 0,
            Self::Ratio(ratio) => ratio.writes > 0.0,
            Self::Named(script) => !matches!(script, NamedWorkload::C | NamedWorkload::Renew),
        }
    }

    /// The name of a key.
    pub(crate) fn key_name(self, number: u64) -> String {
        match self {
            Self::Named(
                NamedWorkload::A
                | NamedWorkload::B
                | NamedWorkload::C
                | NamedWorkload::D
                | NamedWorkload::E
                | NamedWorkload::F,
            ) => {
                format!("{ADDED_PREFIX}{number:0ADDED_DIGITS$}")
            }
            Self::Named(NamedWorkload::Transition) => format!("{MACHINE_PREFIX}{number}"),
            Self::Named(NamedWorkload::Mixed) => format!("{MIXED_PREFIX}{number}"),
            Self::Named(NamedWorkload::Watch) => format!("{WATCHED_PREFIX}{number}"),
            _ => number.to_string(),
        }
    }

    /// Whether it adds keys, which are numbered after those of the beginning.
    pub(crate) fn adds_keys(self) -> bool {
        matches!(self, Self::Named(NamedWorkload::D | NamedWorkload::E))
    }

    /// The number of a key that it may have added, by its name.
    pub(crate) fn added_key(self, name: &str) -> Option<u64> {
        let digits = self.added_digits(name)?;
        (digits.len() == ADDED_DIGITS).then(|| digits.parse().ok())?
    }

    /// The numbers of the keys that a scan of it is of, by what their names begin with.
    pub(crate) fn added_keys(self, prefix: &str) -> Option<std::ops::Range<u64>> {
        let digits = self.added_digits(prefix)?;
        let scan = 10_u64.pow(SCAN_DIGITS as u32);
        let first = (digits.len() + SCAN_DIGITS == ADDED_DIGITS)
            .then(|| digits.parse::<u64>().ok())??
            * scan;
        Some(first..first + scan)
    }

    fn added_digits(self, text: &str) -> Option<&str> {
        let digits = text
            .strip_prefix(ADDED_PREFIX)
            .filter(|_| self.adds_keys())?;
        digits
            .bytes()
            .all(|it| it.is_ascii_digit())
            .then_some(digits)
    }
}
