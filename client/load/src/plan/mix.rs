//! The workloads: which operations the workers send.

use clap::ValueEnum;

use crate::plan::choices::Ratio;

/// The states through which the workload `transition` moves its keys.
pub(crate) const STATES: [&str; 3] = ["idle", "inflight", "closing"];

/// The least size, in bytes, of texts and bytes that are all distinct: a number in 16 hexadecimal digits makes them so.
pub(crate) const DISTINCT_BYTES_MIN: u64 = 16;

/// The workloads of `--workload`.
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
    /// Writes keys that watches observe.
    Watch,
    /// Reads, writes, compare-and-sets, additions, deletes, batches and lists: all that a history can be checked for.
    Mixed,
}

/// The operations of all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mix {
    /// Some workers only read, and the others only write.
    ReadersAndWriters {
        readers: u64,
        writers: u64,
    },
    /// Every worker reads and writes, in this proportion.
    Ratio(Ratio),
    Named(NamedWorkload),
    /// Every worker calls the method that the user names, of any gRPC service.
    Call,
}

impl Mix {
    /// Returns how many workers there are. `concurrency` is the number for mixes in which all workers do the same.
    pub(crate) fn workers(self, concurrency: u64) -> u64 {
        match self {
            Self::ReadersAndWriters { readers, writers } => readers + writers,
            Self::Ratio(_) | Self::Named(_) | Self::Call => concurrency,
        }
    }

    /// Returns whether the keys are written before the run.
    pub(crate) fn needs_keys(self) -> bool {
        match self {
            Self::ReadersAndWriters { .. } | Self::Call => false,
            Self::Ratio(_) => true,
            Self::Named(workload) => {
                !matches!(workload, NamedWorkload::Renew | NamedWorkload::Mixed)
            }
        }
    }

    /// Returns whether some of the operations are calls that no frame can carry.
    pub(crate) fn needs_calls(self) -> bool {
        matches!(
            self,
            Self::Named(NamedWorkload::E | NamedWorkload::Renew | NamedWorkload::Mixed)
                | Self::Call
        )
    }

    /// Returns whether answers decide what a worker sends next.
    pub(crate) fn depends_on_answers(self) -> bool {
        matches!(
            self,
            Self::Named(NamedWorkload::Cas | NamedWorkload::F | NamedWorkload::Mixed)
        )
    }

    /// Returns whether any worker writes.
    pub(crate) fn writes(self) -> bool {
        match self {
            Self::ReadersAndWriters { writers, .. } => writers > 0,
            Self::Ratio(ratio) => ratio.writes > 0.0,
            Self::Call => false,
            Self::Named(workload) => !matches!(workload, NamedWorkload::C | NamedWorkload::Renew),
        }
    }

    /// Returns whether the workers add keys. Their numbers follow those of the keys that are there before the run.
    pub(crate) fn adds_keys(self) -> bool {
        matches!(self, Self::Named(NamedWorkload::D | NamedWorkload::E))
    }
}
