//! The result of a check.

use crate::history::History;
use crate::options::StopReason;

/// The verdict, and what it is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whether the history is linearizable.
    pub verdict: Verdict,
    /// Operations in the history.
    pub operations: usize,
    /// Keys with operations.
    pub keys: usize,
    /// Operations of unknown outcome.
    pub unknown: usize,
    /// Operations of unknown outcome that another answer or a watch proves done.
    pub unknown_observed: usize,
    /// Keys that the order of their revisions explains. The others were searched.
    pub keys_by_revision: usize,
    /// The most configurations that a search kept at one time.
    pub configurations_max: usize,
}

/// Whether a history is linearizable.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// One order of the operations explains every answer.
    Linearizable,
    /// No order does. The violations: the first of each kind across keys, and of single keys up to four.
    NotLinearizable(Vec<Violation>),
    /// No violation was found, but these keys could not be checked within the limits.
    Undecided(Vec<UndecidedKey>),
}

/// Answers that cannot all be true.
///
/// Its `Display` shows it to people: what is wrong, what each key was before, and the operations of the evidence, one a
/// line, with times in microseconds since the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which promise is broken.
    pub kind: ViolationKind,
    /// The name of the key, if it is a violation of one key.
    pub key: Option<String>,
    /// What is wrong, in words.
    pub description: String,
    /// The smallest part of the history that was found to show it. It is a history itself, and checking it finds the
    /// violation again.
    pub evidence: History,
}

/// Which promise a violation breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// Revisions of the store contradict each other.
    Revisions,
    /// No order of the operations on a key explains its values.
    Values,
    /// An order of the operations on a key explains its values, but none explains its values and revisions. Also if the
    /// search for an order of the values reached a limit.
    KeyRevisions,
    /// Each key can be explained alone, but not all with the same atomic messages of unknown outcome done.
    Messages,
    /// A watch was told something that did not happen, or was not told something that did.
    Watch,
}

/// A key whose search reached a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndecidedKey {
    /// The name of the key.
    pub key: String,
    /// Operations on the key.
    pub operations: usize,
    /// Operations on the key of unknown outcome.
    pub unknown: usize,
    /// Configurations that the search had looked at.
    pub configurations: u64,
    /// The limit that was reached.
    pub reason: StopReason,
}

/// A history that cannot be checked, because it contradicts itself: no recorder makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHistory(pub(crate) String);

impl std::fmt::Display for InvalidHistory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "invalid history: {}", self.0)
    }
}

impl std::error::Error for InvalidHistory {}
