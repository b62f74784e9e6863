//! Request ids: a request that comes again gets the outcome of the first one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use super::operation::{
    AddOutcome, AllOutcome, CloseOutcome, DeleteOutcome, DeletePrefixOutcome, OpenOutcome, Outcome,
    TransitionOutcome, WriteOutcome,
};
use super::rejection::Cause;
use super::time::Time;
use super::value::{Entry, Name};

/// What one remembered request counts beyond its id and the values in its outcome: about the outcome itself, the table's
/// entry, and the allocator's rounding.
const REQUEST_OVERHEAD_BYTES: usize = 256;

/// Recognises a request that comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The id that the client chose.
    pub id: Name,
    /// The fingerprint of the request's content. A request with the same id and another fingerprint is refused.
    pub fingerprint: Fingerprint,
}

/// Stands for the content of a request: requests of different content have different fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u128);

/// A request with an id that was applied, and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedRequest {
    /// When it was applied.
    pub at: Time,
    /// The request's id.
    pub request_id: RequestId,
    /// The outcome, which later requests with the same id get.
    pub outcome: SavedOutcome,
}

impl RequestId {
    /// What the request counts when it is remembered, without the values in its outcome.
    pub(super) fn byte_len(&self) -> u64 {
        (REQUEST_OVERHEAD_BYTES + self.id.as_str().len()) as u64
    }
}

/// Whether a request can make the store larger. One that cannot is applied in a full store, too, and its outcome is
/// remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// It can.
    Possible,
    /// It only deletes or ends something.
    None,
}

impl AppliedRequest {
    pub(super) fn byte_len(&self) -> usize {
        self.request_id.id.as_str().len() + self.outcome.byte_len()
    }
}

/// The requests of the latest time window, by id, with their outcomes. None is forgotten before its time: a full table
/// refuses new ids instead.
#[derive(Debug)]
pub(super) struct RequestIds {
    window: Duration,
    count_max: usize,
    bytes_max: usize,
    by_id: BTreeMap<Name, SavedRequest>,
    /// The same requests in the order in which they were applied: the oldest is forgotten first.
    order: VecDeque<(Time, Name)>,
    /// How many requests were forgotten so far.
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

/// The outcome of a request with an id, saved for replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedOutcome {
    /// Of one operation.
    One(Outcome),
    /// Of an atomic frame.
    All(AllOutcome),
    /// Of opening a session.
    Opened(OpenOutcome),
    /// Of closing a session.
    Closed(CloseOutcome),
    /// Of deleting a slice of the keys with a prefix.
    DeletedPrefix(DeletePrefixOutcome),
}

/// An outcome that can be saved and replayed.
pub(super) trait Replayable: Clone + Sized {
    fn save(self) -> SavedOutcome;

    /// The saved outcome, marked as replayed; `None` if it is of another kind.
    fn replay(saved: &SavedOutcome) -> Option<Self>;
}

/// An operation in a call of its own and the same operation in a frame are saved alike: each can be a replay of the other.
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
            // A Read has no request id, so it is never saved.
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
    DeletedPrefix: DeletePrefixOutcome;
}

impl SavedOutcome {
    /// Bytes of the values in the outcome, and what they take in memory.
    pub(super) fn byte_len(&self) -> usize {
        let previous = |entry: &Option<Box<Entry>>| {
            entry
                .as_ref()
                .map_or(0, |entry| size_of::<Entry>() + entry.value.byte_len())
        };
        match self {
            Self::One(Outcome::Write(outcome)) => previous(&outcome.previous),
            Self::One(Outcome::Delete(outcome)) => previous(&outcome.previous),
            Self::All(outcome) => outcome.byte_len(),
            Self::DeletedPrefix(outcome) => outcome
                .more_after
                .as_ref()
                .map_or(0, |key| key.as_str().len()),
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

    /// Bytes of all remembered requests.
    pub(super) fn byte_len(&self) -> u64 {
        self.bytes as u64
    }

    /// The saved outcome of the request, if it was applied before. If it was not, there is room to remember it.
    ///
    /// # Errors
    /// [`Cause::RequestIdReused`], or [`Cause::RequestIdsFull`] if there is no room.
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

    /// Whether a request with this id was applied, whatever its content.
    pub(super) fn is_replay(&self, request_id: &RequestId) -> bool {
        self.by_id.contains_key(request_id.id.as_str())
    }

    /// Returns how many bytes the outcome saved under this id takes; none if there is none.
    pub(super) fn saved_byte_len(&self, request_id: &RequestId) -> usize {
        let saved = self.by_id.get(request_id.id.as_str());
        saved.map_or(0, |saved| saved.outcome.byte_len())
    }

    /// Saves the outcome of a request that was applied.
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
        // The id is known already only in a replay of the log with a longer window than the log was written with: the old
        // request had been forgotten when this one was applied.
        if let Some(before) = self.by_id.insert(request_id.id.clone(), remembered) {
            self.bytes -= before.bytes;
        }
    }

    /// The requests that are remembered now, as a range of numbers: requests are numbered from 0 in the order in which they
    /// were applied.
    pub(super) fn remembered(&self) -> Range<u64> {
        self.forgotten..self.forgotten + self.order.len() as u64
    }

    /// Copies the first of the numbered requests that are still remembered: at most `count_max`, and about `bytes_max`
    /// bytes. Returns them, and the number to go on from.
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
            // The id was used again since: that request has a later number.
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

    /// When the oldest request is to be forgotten.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.order.front().map(|(at, _)| *at + self.window)
    }

    /// Forgets the oldest request if its time is over. Returns whether it did.
    pub(super) fn forget_due(&mut self, now: Time) -> bool {
        if self.next_due().is_none_or(|due| due > now) {
            return false;
        }
        let (at, id) = self.order.pop_front().expect("next_due found a request");
        self.forgotten += 1;
        // The id may have been used again since: that request is younger.
        if self
            .by_id
            .get(&id)
            .is_some_and(|remembered| remembered.at == at)
        {
            let remembered = self.by_id.remove(&id);
            self.bytes -= remembered.expect("the id was just found").bytes;
        }
        true
    }
}
