//! RequestId ids: what was asked before gets its first answer again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use super::operation::{
    AddOutcome, AllOutcome, CloseOutcome, DeleteOutcome, OpenOutcome, Outcome, TransitionOutcome,
    WriteOutcome,
};
use super::rejection::Cause;
use super::time::Time;
use super::value::{Entry, Name};

/// What one remembered request costs beside its id and the values in its answer: the answer itself, its place in the
/// table, and the allocator's rounding.
const REQUEST_OVERHEAD_BYTES: usize = 256;

/// What one result of a remembered batch costs beside its values.
const RESULT_BYTES: usize = size_of::<Outcome>();

/// Names a request, so that it can be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// What its sender calls it.
    pub id: Name,
    /// What it asks for, in short: differs if that does.
    pub fingerprint: Fingerprint,
}

/// Stands for the content of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u128);

/// A request that was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedRequest {
    /// When.
    pub at: Time,
    /// The request.
    pub request_id: RequestId,
    /// The answer.
    pub outcome: SavedOutcome,
}

impl AppliedRequest {
    pub(super) fn byte_len(&self) -> usize {
        self.request_id.id.as_str().len() + self.outcome.byte_len()
    }
}

/// The answers to the latest requests.
#[derive(Debug)]
pub(super) struct RequestIds {
    window: Duration,
    count_max: usize,
    bytes_max: usize,
    by_id: BTreeMap<Name, SavedRequest>,
    /// In the order in which they were remembered.
    order: VecDeque<(Time, Name)>,
    /// How many were forgotten.
    forgotten: u64,
    bytes: usize,
}

#[derive(Debug)]
struct SavedRequest {
    at: Time,
    fingerprint: Fingerprint,
    outcome: SavedOutcome,
    bytes: usize,
}

/// An answer to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedOutcome {
    /// To one operation.
    One(Outcome),
    /// To a frame that was done as a whole.
    All(AllOutcome),
    /// To the begin of a session.
    Opened(OpenOutcome),
    /// To its end.
    Closed(CloseOutcome),
}

/// What can be remembered.
pub(super) trait Replayable: Clone + Sized {
    fn save(self) -> SavedOutcome;

    /// The same again, if the answer is one of this kind.
    fn replay(saved: &SavedOutcome) -> Option<Self>;
}

/// Single operations are remembered alike, whether they came in a call of their own or in a frame.
impl Replayable for Outcome {
    fn save(self) -> SavedOutcome {
        SavedOutcome::One(self)
    }

    fn replay(saved: &SavedOutcome) -> Option<Self> {
        let SavedOutcome::One(outcome) = saved else {
            return None;
        };
        let mut outcome = outcome.clone();
        match &mut outcome {
            // Never remembered, as it has no request id.
            Self::Read(_) => return None,
            Self::Write(WriteOutcome { replayed, .. })
            | Self::Add(AddOutcome { replayed, .. })
            | Self::Transition(TransitionOutcome { replayed, .. })
            | Self::Delete(DeleteOutcome { replayed, .. }) => *replayed = true,
        }
        Some(outcome)
    }
}

macro_rules! replayable_operation {
    ($($kind:ident: $outcome:ident;)*) => {$(
        impl Replayable for $outcome {
            fn save(self) -> SavedOutcome {
                Outcome::$kind(self).save()
            }

            fn replay(saved: &SavedOutcome) -> Option<Self> {
                match Outcome::replay(saved) {
                    Some(Outcome::$kind(outcome)) => Some(outcome),
                    _ => None,
                }
            }
        }
    )*};
}

replayable_operation! {
    Write: WriteOutcome;
    Add: AddOutcome;
    Transition: TransitionOutcome;
    Delete: DeleteOutcome;
}

macro_rules! replayable {
    ($($kind:ident: $outcome:ident;)*) => {$(
        impl Replayable for $outcome {
            fn save(self) -> SavedOutcome {
                SavedOutcome::$kind(self)
            }

            fn replay(saved: &SavedOutcome) -> Option<Self> {
                match saved {
                    SavedOutcome::$kind(outcome) => Some(Self {
                        replayed: true,
                        ..outcome.clone()
                    }),
                    _ => None,
                }
            }
        }
    )*};
}

replayable! {
    All: AllOutcome;
    Opened: OpenOutcome;
    Closed: CloseOutcome;
}

impl SavedOutcome {
    /// Bytes that it keeps.
    pub(super) fn byte_len(&self) -> usize {
        let previous = |entry: &Option<Box<Entry>>| {
            entry
                .as_ref()
                .map_or(0, |entry| size_of::<Entry>() + entry.value.byte_len())
        };
        match self {
            Self::One(Outcome::Write(outcome)) => previous(&outcome.previous),
            Self::One(Outcome::Delete(outcome)) => previous(&outcome.previous),
            Self::All(outcome) => outcome.answer_bytes + outcome.outcomes.len() * RESULT_BYTES,
            Self::One(_) | Self::Opened(_) | Self::Closed(_) => 0,
        }
    }
}

impl RequestIds {
    pub(super) fn new(window: Duration, count_max: usize, bytes_max: usize) -> Self {
        Self {
            window,
            count_max,
            bytes_max,
            by_id: BTreeMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The first answer to a request, if it came before. If it did not, there is room to remember it.
    pub(super) fn find(
        &self,
        request_id: &RequestId,
        now: Time,
    ) -> Result<Option<&SavedOutcome>, Cause> {
        if let Some(remembered) = self.by_id.get(request_id.id.as_str()) {
            return if remembered.fingerprint == request_id.fingerprint {
                Ok(Some(&remembered.outcome))
            } else {
                Err(Cause::RequestIdReused)
            };
        }
        let (limit, unit) = if self.by_id.len() >= self.count_max {
            (self.count_max, "request_ids")
        } else if self.bytes >= self.bytes_max {
            (self.bytes_max, "bytes of request_ids and their answers")
        } else {
            return Ok(None);
        };
        Err(Cause::RequestIdsFull {
            limit,
            unit,
            retry_after: self.next_due().map_or(Duration::ZERO, |at| at.since(now)),
        })
    }

    pub(super) fn is_replay(&self, request_id: &RequestId) -> bool {
        self.by_id.contains_key(request_id.id.as_str())
    }

    pub(super) fn remember(&mut self, request_id: &RequestId, outcome: SavedOutcome, now: Time) {
        let bytes = REQUEST_OVERHEAD_BYTES + request_id.id.as_str().len() + outcome.byte_len();
        self.bytes += bytes;
        self.order.push_back((now, request_id.id.clone()));
        let remembered = SavedRequest {
            at: now,
            fingerprint: request_id.fingerprint,
            outcome,
            bytes,
        };
        // There is one only where what was kept is done again, with a longer window than it was: its time was over.
        if let Some(before) = self.by_id.insert(request_id.id.clone(), remembered) {
            self.bytes -= before.bytes;
        }
    }

    /// Those that are remembered now, by how many were ever remembered before them.
    pub(super) fn remembered(&self) -> Range<u64> {
        self.forgotten..self.forgotten + self.order.len() as u64
    }

    /// The first of these that are still remembered, and where to go on.
    pub(super) fn copy(
        &self,
        range: Range<u64>,
        count_max: usize,
        bytes_max: usize,
    ) -> (Vec<AppliedRequest>, u64) {
        let mut applied = Vec::new();
        let mut next = range.start.max(self.forgotten);
        let mut bytes = 0;
        while next < range.end && applied.len() < count_max && bytes < bytes_max {
            let (at, id) = &self.order[(next - self.forgotten) as usize];
            next += 1;
            let remembered = &self.by_id[id.as_str()];
            if remembered.at != *at {
                continue;
            }
            bytes += remembered.bytes;
            applied.push(AppliedRequest {
                at: *at,
                request_id: RequestId {
                    id: id.clone(),
                    fingerprint: remembered.fingerprint,
                },
                outcome: remembered.outcome.clone(),
            });
        }
        (applied, next)
    }

    /// When the oldest is forgotten.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.order.front().map(|(at, _)| *at + self.window)
    }

    /// Forgets the oldest if its time is over.
    pub(super) fn forget_due(&mut self, now: Time) -> bool {
        if self.next_due().is_none_or(|due| due > now) {
            return false;
        }
        let (at, id) = self.order.pop_front().expect("there is one that is due");
        self.forgotten += 1;
        // It may have come again since.
        if self
            .by_id
            .get(&id)
            .is_some_and(|remembered| remembered.at == at)
        {
            let remembered = self.by_id.remove(&id);
            self.bytes -= remembered.expect("it was just there").bytes;
        }
        true
    }
}
