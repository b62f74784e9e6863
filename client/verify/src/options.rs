//! How to check, and how far to go.

use std::time::Duration;

use crate::patience::Patience;

/// When the black-box search is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlackBox {
    /// Of keys that revisions show to be wrong: to say whether values do so too.
    WhereWrong,
    /// Of every key.
    Always,
    /// Of every key, and nothing else: for answers without revisions.
    Only,
}

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct Checks<'a> {
    pub black_box: BlackBox,
    /// For each key; but the time is for all.
    pub effort: Effort<'a>,
    /// How long making the evidence small may take: where it is over, the evidence is true, and longer.
    pub shrinking: Duration,
}

impl Default for Checks<'_> {
    fn default() -> Self {
        Self {
            black_box: BlackBox::WhereWrong,
            effort: Effort::default(),
            shrinking: Duration::MAX,
        }
    }
}

/// How far a search may go.
#[derive(Clone, Copy, Debug)]
pub struct Effort<'a> {
    /// Bytes of configurations at one time: each takes 72, and more if over 128 operations are in flight.
    pub bytes: usize,
    /// Configurations altogether, for one key.
    pub in_all: u64,
    pub patience: Patience<'a>,
}

impl Default for Effort<'_> {
    /// 64 MiB, three times over in sets; and so many configurations that it is time that ends a search of a run's history.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            in_all: 1_000_000_000,
            patience: Patience::ENDLESS,
        }
    }
}

/// Why a search gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// More operations were in flight at once than [`SLOTS`].
    InFlight,
    Memory,
    /// [`Effort::in_all`].
    Configurations,
    Time,
}

/// The most operations of one key in flight at once that a search can follow.
pub const SLOTS: usize = 64 * 64;
