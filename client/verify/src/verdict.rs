//! What comes of a check.

use crate::history::History;
use crate::options::Why;

/// What a violation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Revisions of the store contradict each other.
    Revisions,
    /// No order of the operations on a key explains its values.
    Values,
    /// One explains its values, but none its values and revisions. (Or whether one does was too much to find out.)
    KeyRevisions,
    /// Each key can be explained, but not all with the same messages of unknown outcome done.
    Messages,
    /// A watch was told something else than happened.
    Watch,
}

/// What cannot have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub kind: Kind,
    pub key: Option<String>,
    pub what: String,
    /// The smallest part of the history that was found to show it: it is itself a history, with the same verdict.
    pub evidence: History,
}

/// A search that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp {
    pub key: String,
    pub operations: usize,
    /// Those of them of unknown outcome.
    pub unknown: usize,
    /// So many configurations had been looked at.
    pub configurations: u64,
    pub why: Why,
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Linearizable,
    /// The first of each kind, and of keys up to a few.
    Violation(Vec<Violation>),
    /// Nothing was found wrong, but not everything was found out.
    GaveUp(Vec<GaveUp>),
}

/// The verdict, and how it was come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub verdict: Verdict,
    pub operations: usize,
    /// Keys with operations.
    pub keys: usize,
    /// Operations of unknown outcome; and how many of them somebody saw done.
    pub unknown: usize,
    pub unknown_seen: usize,
    /// Keys explained by revisions alone; the others were searched.
    pub keys_explained: usize,
    /// The most configurations that a search had at one time.
    pub configurations: usize,
}

/// A history that cannot be checked: it was not made by recorders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHistory(pub(crate) String);

impl std::fmt::Display for BadHistory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "not a history: {}", self.0)
    }
}

impl std::error::Error for BadHistory {}
