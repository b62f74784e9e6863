//! How a history is recorded while clients run.
//!
//! Each thread has a [`Recorder`] of its own, so that recording takes no lock; [`History::merge`] puts them together. What
//! was in flight when recording stopped must be in the history too, as unknown: otherwise what it did has no cause, and a
//! right answer looks wrong. So a recorder counts what was begun and not ended, and does not finish while there is some.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{History, Key, Machine};
use crate::operation::{Action, Entry, Expectation, NEVER, Operation, Outcome, Seen, Travel};
use crate::packed::Record;

/// A recorder that cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// There are as many operations as may be kept. Nothing may be sent any more: it would be missing.
    Full { limit: u64 },
    /// Messages were begun, and neither ended nor given up.
    Open { messages: u64 },
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full { limit } => {
                write!(
                    formatter,
                    "the history is full: its limit is {limit} operations"
                )
            }
            Self::Open { messages } => write!(
                formatter,
                "{messages} messages were begun and their end was not recorded"
            ),
        }
    }
}

impl std::error::Error for RecordError {}

/// How many operations all recorders of a run may keep together.
#[derive(Clone, Debug)]
pub struct Room {
    left: Arc<AtomicU64>,
    limit: u64,
}

/// A recorder takes room for so many operations at once, so that recorders seldom meet.
const ROOM_TAKEN: u64 = 256;

impl Room {
    /// An operation takes 72 bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(limit)),
            limit,
        }
    }

    /// Takes room for `least` operations at least.
    fn take(&self, least: u64) -> Result<u64, RecordError> {
        let mut taken = 0;
        let take = |left: u64| {
            taken = left.min(least.max(ROOM_TAKEN));
            (taken >= least).then(|| left - taken)
        };
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => Ok(taken),
            Err(_) => Err(RecordError::Full { limit: self.limit }),
        }
    }
}

/// A message that was begun: to be given back with its answer.
#[derive(Debug)]
#[must_use = "what was begun must be ended"]
pub struct Begun {
    message: u32,
    travel: Travel,
    start: u64,
    operations: u64,
}

/// What was asked of one key.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub key: u32,
    pub action: Action,
    pub expect: Option<Expectation>,
}

/// Records what one client does. Times are nanoseconds of one monotonic clock since the run began, the same for all.
#[derive(Debug)]
pub struct Recorder {
    client: u32,
    records: Vec<Record>,
    messages: u32,
    open: u64,
    room: Room,
    /// How many operations more may be begun without asking.
    taken: u64,
}

impl Recorder {
    /// `client` is a number that no other recorder has. A client may have any number of messages in flight.
    pub fn new(client: u32, room: Room) -> Self {
        Self {
            client,
            records: Vec::new(),
            messages: 0,
            open: 0,
            room,
            taken: 0,
        }
    }

    /// To be called before a message with so many operations is sent (a List: so many keys as it may show).
    ///
    /// # Errors
    ///
    /// If there is no room: then it must not be sent.
    pub fn begin(
        &mut self,
        travel: Travel,
        operations: u64,
        start: u64,
    ) -> Result<Begun, RecordError> {
        if self.taken < operations {
            self.taken += self.room.take(operations - self.taken)?;
        }
        self.taken -= operations;
        let message = self.messages;
        self.messages += 1;
        self.open += 1;
        Ok(Begun {
            message,
            travel,
            start,
            operations,
        })
    }

    /// To be called after the answer came, with what became of each operation, in the order of the message.
    ///
    /// # Panics
    ///
    /// If there are more operations than room was taken for.
    pub fn end(
        &mut self,
        begun: Begun,
        end: u64,
        operations: impl IntoIterator<Item = (Asked, Outcome)>,
    ) {
        let before = self.records.len();
        for (asked, outcome) in operations {
            self.records.push(Record::from(&Operation {
                client: self.client,
                message: begun.message,
                travel: begun.travel,
                key: asked.key,
                start: begun.start,
                end,
                action: asked.action,
                expect: asked.expect,
                outcome,
            }));
        }
        let recorded = (self.records.len() - before) as u64;
        self.taken += (begun.operations.checked_sub(recorded)).expect("room was taken for all");
        self.open -= 1;
    }

    /// To be called when there was no answer and will be none, or when recording stops: each operation is done or not.
    pub fn give_up(&mut self, begun: Begun, asked: impl IntoIterator<Item = Asked>) {
        let unknown = asked.into_iter().map(|asked| (asked, Outcome::Unknown));
        self.end(begun, NEVER, unknown);
    }

    /// A page of a List, or a Batch that only reads: `shown` has every key that the page could have shown, with nothing
    /// for the ones that are not on it.
    pub fn end_list(
        &mut self,
        begun: Begun,
        end: u64,
        revision: i64,
        shown: impl IntoIterator<Item = (u32, Option<Entry>)>,
    ) {
        let reads = shown.into_iter().map(|(key, entry)| {
            let asked = Asked {
                key,
                action: Action::Read,
                expect: None,
            };
            let seen = Seen::Entry(entry);
            (asked, Outcome::Done { revision, seen })
        });
        self.end(begun, end, reads);
    }

    /// What was recorded.
    ///
    /// # Errors
    ///
    /// If messages are still open.
    pub fn finish(self) -> Result<Vec<Record>, RecordError> {
        match self.open {
            0 => Ok(self.records),
            messages => Err(RecordError::Open { messages }),
        }
    }
}

impl History {
    /// Puts together what the recorders of a run have.
    ///
    /// # Errors
    ///
    /// If one of them is not finished.
    pub fn merge(
        keys: Vec<Key>,
        machines: Vec<Machine>,
        recorders: impl IntoIterator<Item = Recorder>,
    ) -> Result<Self, RecordError> {
        let mut operations = Vec::new();
        for recorder in recorders {
            operations.append(&mut recorder.finish()?);
        }
        // Stable: the operations of one message stay in their order.
        operations.sort_by_key(Record::order);
        Ok(Self {
            settings: serde_json::Value::Null,
            keys,
            machines,
            operations,
            watches: Vec::new(),
        })
    }
}
