//! How to check a history, and how far a search may go.

use std::time::Duration;

use crate::deadline::Deadline;

/// How to check a history. The default checks everything, and takes as long as it takes.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// When to search for an order that explains the values alone.
    pub value_search: ValueSearch,
    /// How far the search of one key may go. The deadline in it is shared by all keys.
    pub limits: Limits<'a>,
    /// How long [`check`](crate::check()) may shrink the evidence of violations, by the clock of the deadline. Evidence
    /// that is not shrunk to the end is longer, and still true.
    pub shrink_timeout: Duration,
    /// Who is told how far the check is.
    pub observer: Observer<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            value_search: ValueSearch::OnViolation,
            limits: Limits::default(),
            shrink_timeout: Duration::MAX,
            observer: Observer::NONE,
        }
    }
}

/// A stage of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Each key is checked by its revisions.
    Revisions,
    /// The keys that these do not explain are searched for an order.
    Search,
    /// The proof of each violation is made small.
    Shrink,
}

/// Is told how far a check is.
#[derive(Clone, Copy)]
pub struct Observer<'a>(&'a dyn Fn(Stage, usize, usize));

impl std::fmt::Debug for Observer<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Observer")
    }
}

impl<'a> Observer<'a> {
    /// An observer that ignores what it is told.
    pub const NONE: Self = Self(&|_, _, _| ());

    /// An observer that passes on what it is told: the stage, how many keys or violations of it are done, and how many there
    /// are in it.
    pub fn new(observe: &'a dyn Fn(Stage, usize, usize)) -> Self {
        Self(observe)
    }

    pub(crate) fn tell(&self, stage: Stage, done: usize, total: usize) {
        (self.0)(stage, done, total);
    }
}

/// When to search for an order that explains the values alone, as if answers had no revisions (a black-box check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSearch {
    /// For a key whose revisions are wrong: to tell whether its values are wrong too.
    OnViolation,
    /// For every key, besides the check by revisions.
    Always,
    /// For every key, and nothing else: for a store whose answers have no revisions.
    Only,
}

/// How far the search of one key may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Bytes of the configurations that are kept at one time. One configuration takes 72 bytes, and more if over 128
    /// operations on the key are in flight at once.
    pub configuration_bytes: usize,
    /// Configurations that are looked at altogether.
    pub configurations: u64,
    /// When to stop, for all keys together: each gets an equal share of the time that is left.
    pub deadline: Deadline<'a>,
}

impl Default for Limits<'_> {
    /// 64 MiB of configurations (the search keeps up to three sets of that size), and a billion of them: so many that the
    /// search of a run's history is ended by its deadline.
    fn default() -> Self {
        Self {
            configuration_bytes: 64 << 20,
            configurations: 1_000_000_000,
            deadline: Deadline::NONE,
        }
    }
}

/// Why a search stopped before it had a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// More than [`IN_FLIGHT_MAX`] operations on the key were in flight at once.
    InFlight,
    /// [`Limits::configuration_bytes`] was reached.
    Memory,
    /// [`Limits::configurations`] was reached.
    Configurations,
    /// [`Limits::deadline`] has passed.
    Time,
}

/// The most operations on one key in flight at once that a search can follow.
pub const IN_FLIGHT_MAX: usize = 64 * 64;
