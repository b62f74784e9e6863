//! Request ids: what was asked before gets its first answer again.

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
pub struct Request {
    /// What its sender calls it.
    pub id: Name,
    /// What it asks for, in short: differs if that does.
    pub fingerprint: Fingerprint,
}

/// Stands for the content of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u128);

/// A request that was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// When.
    pub at: Time,
    /// The request.
    pub request: Request,
    /// The answer.
    pub answer: Answer,
}

impl Answered {
    pub(super) fn byte_len(&self) -> usize {
        self.request.id.as_str().len() + self.answer.byte_len()
    }
}

/// The answers to the latest requests.
#[derive(Debug)]
pub(super) struct Requests {
    window: Duration,
    count_max: usize,
    bytes_max: usize,
    by_id: BTreeMap<Name, Remembered>,
    /// In the order in which they were remembered.
    order: VecDeque<(Time, Name)>,
    /// How many were forgotten.
    forgotten: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Remembered {
    at: Time,
    fingerprint: Fingerprint,
    answer: Answer,
    bytes: usize,
}

/// An answer to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
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
    fn answer(self) -> Answer;

    /// The same again, if the answer is one of this kind.
    fn replay(answer: &Answer) -> Option<Self>;
}

/// Single operations are remembered alike, whether they came in a call of their own or in a frame.
impl Replayable for Outcome {
    fn answer(self) -> Answer {
        Answer::One(self)
    }

    fn replay(answer: &Answer) -> Option<Self> {
        let Answer::One(outcome) = answer else {
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
            fn answer(self) -> Answer {
                Outcome::$kind(self).answer()
            }

            fn replay(answer: &Answer) -> Option<Self> {
                match Outcome::replay(answer) {
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
            fn answer(self) -> Answer {
                Answer::$kind(self)
            }

            fn replay(answer: &Answer) -> Option<Self> {
                match answer {
                    Answer::$kind(outcome) => Some(Self {
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

impl Answer {
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

impl Requests {
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
    pub(super) fn find(&self, request: &Request, now: Time) -> Result<Option<&Answer>, Cause> {
        if let Some(remembered) = self.by_id.get(request.id.as_str()) {
            return if remembered.fingerprint == request.fingerprint {
                Ok(Some(&remembered.answer))
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

    pub(super) fn remembers(&self, request: &Request) -> bool {
        self.by_id.contains_key(request.id.as_str())
    }

    pub(super) fn remember(&mut self, request: &Request, answer: Answer, now: Time) {
        let bytes = REQUEST_OVERHEAD_BYTES + request.id.as_str().len() + answer.byte_len();
        self.bytes += bytes;
        self.order.push_back((now, request.id.clone()));
        let remembered = Remembered {
            at: now,
            fingerprint: request.fingerprint,
            answer,
            bytes,
        };
        // There is one only where what was kept is done again, with a longer window than it was: its time was over.
        if let Some(before) = self.by_id.insert(request.id.clone(), remembered) {
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
    ) -> (Vec<Answered>, u64) {
        let mut answered = Vec::new();
        let mut next = range.start.max(self.forgotten);
        let mut bytes = 0;
        while next < range.end && answered.len() < count_max && bytes < bytes_max {
            let (at, id) = &self.order[(next - self.forgotten) as usize];
            next += 1;
            let remembered = &self.by_id[id.as_str()];
            if remembered.at != *at {
                continue;
            }
            bytes += remembered.bytes;
            answered.push(Answered {
                at: *at,
                request: Request {
                    id: id.clone(),
                    fingerprint: remembered.fingerprint,
                },
                answer: remembered.answer.clone(),
            });
        }
        (answered, next)
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
