//! Records a history while clients run.
//!
//! Each thread has a [`Recorder`] of its own, so that recording takes no lock; [`History::merge`] puts them together.
//!
//! What was in flight when recording stopped must be in the history too, with an unknown outcome: otherwise its effect has no
//! cause, and a right answer looks wrong. So a recorder counts the messages that have no end yet, and does not finish while
//! there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{History, Key, Machine};
use crate::operation::{
    Action, Entry, Expectation, MessageKind, NEVER, Observed, Operation, Outcome,
};
use crate::packed::PackedOperation;

/// Why a recorder cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The history has as many operations as it may have. The client must send nothing more: it would be missing.
    Full {
        /// The limit, in operations.
        limit: u64,
    },
    /// Messages have a beginning and no end.
    Open {
        /// How many.
        messages: u64,
    },
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
            Self::Open { messages } => {
                write!(formatter, "{messages} messages were begun and not ended")
            }
        }
    }
}

impl std::error::Error for RecordError {}

/// How many operations all recorders of a run may keep together. Clones share one count.
#[derive(Clone, Debug)]
pub struct Capacity {
    left: Arc<AtomicU64>,
    limit: u64,
}

/// A recorder takes this much capacity at once, so that recorders seldom contend.
const CAPACITY_TAKEN: u64 = 256;

impl Capacity {
    /// Makes a capacity of `limit` operations. Each takes 72 bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(limit)),
            limit,
        }
    }

    /// Takes capacity for `least` operations or more, and returns for how many.
    fn take(&self, least: u64) -> Result<u64, RecordError> {
        let mut taken = 0;
        let take = |left: u64| {
            taken = left.min(least.max(CAPACITY_TAKEN));
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

/// A message that was begun. It has to go back to the recorder that made it, with [`Recorder::end`] or a variant of it.
#[derive(Debug)]
#[must_use = "a message that was begun must be ended"]
pub struct Invocation {
    message: u32,
    message_kind: MessageKind,
    start: u64,
    operations: u64,
}

/// What a client asked of one key.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The place of the key in [`History::keys`].
    pub key: u32,
    /// What the client asked for.
    pub action: Action,
    /// The condition under which it asked for it.
    pub expect: Option<Expectation>,
}

/// Records the operations of one client. Times are nanoseconds since the start of the run, by one monotonic clock for all
/// clients.
#[derive(Debug)]
pub struct Recorder {
    client: u32,
    operations: Vec<PackedOperation>,
    /// Messages that were begun so far: the number of the next one.
    messages: u32,
    /// Messages without an end.
    open: u64,
    capacity: Capacity,
    /// Operations that may be begun before more capacity has to be taken.
    taken: u64,
}

impl Recorder {
    /// Makes the recorder of a client. No other recorder of the run may have the number `client`.
    pub fn new(client: u32, capacity: Capacity) -> Self {
        Self {
            client,
            operations: Vec::new(),
            messages: 0,
            open: 0,
            capacity,
            taken: 0,
        }
    }

    /// Begins a message. To be called before it is sent. `operations` is how many operations it carries; of a List, how many
    /// keys it may show.
    ///
    /// # Errors
    ///
    /// [`RecordError::Full`] if the capacity does not suffice: then the message must not be sent.
    pub fn begin(
        &mut self,
        message_kind: MessageKind,
        operations: u64,
        start: u64,
    ) -> Result<Invocation, RecordError> {
        if self.taken < operations {
            self.taken += self.capacity.take(operations - self.taken)?;
        }
        self.taken -= operations;
        let message = self.messages;
        self.messages += 1;
        self.open += 1;
        Ok(Invocation {
            message,
            message_kind,
            start,
            operations,
        })
    }

    /// Ends a message with the outcome of each operation, in the order of the message. To be called after the answer came.
    ///
    /// # Panics
    ///
    /// If there are more operations than the message was begun with.
    pub fn end(
        &mut self,
        invocation: Invocation,
        end: u64,
        operations: impl IntoIterator<Item = (Request, Outcome)>,
    ) {
        let before = self.operations.len();
        for (request, outcome) in operations {
            self.operations.push(PackedOperation::from(&Operation {
                client: self.client,
                message: invocation.message,
                message_kind: invocation.message_kind,
                key: request.key,
                start: invocation.start,
                end,
                action: request.action,
                expect: request.expect,
                outcome,
            }));
        }
        let recorded = (self.operations.len() - before) as u64;
        self.taken += (invocation.operations.checked_sub(recorded))
            .expect("a message ends with the operations that it began with, or fewer");
        self.open -= 1;
    }

    /// Ends a message that was not answered and will not be, or that is in flight when recording stops: each operation may
    /// have been done, may still be, or may never be.
    pub fn end_unknown(
        &mut self,
        invocation: Invocation,
        requests: impl IntoIterator<Item = Request>,
    ) {
        let unknown = requests
            .into_iter()
            .map(|request| (request, Outcome::Unknown));
        self.end(invocation, NEVER, unknown);
    }

    /// Ends a page of a List, or a Batch that only reads. `entries` has every key that the page could have shown, with
    /// `None` for a key that is not on it.
    pub fn end_list(
        &mut self,
        invocation: Invocation,
        end: u64,
        revision: i64,
        entries: impl IntoIterator<Item = (u32, Option<Entry>)>,
    ) {
        let reads = entries.into_iter().map(|(key, entry)| {
            let request = Request {
                key,
                action: Action::Read,
                expect: None,
            };
            let observed = Observed::Entry(entry);
            (request, Outcome::Done { revision, observed })
        });
        self.end(invocation, end, reads);
    }

    /// Returns the operations, in the order of their ends.
    ///
    /// # Errors
    ///
    /// [`RecordError::Open`] if messages have no end yet.
    pub fn finish(self) -> Result<Vec<PackedOperation>, RecordError> {
        match self.open {
            0 => Ok(self.operations),
            messages => Err(RecordError::Open { messages }),
        }
    }
}

impl History {
    /// Puts the operations of several recorders together.
    ///
    /// # Errors
    ///
    /// [`RecordError::Open`] if a recorder has messages that have no end yet.
    pub fn merge(
        keys: Vec<Key>,
        machines: Vec<Machine>,
        recorders: impl IntoIterator<Item = Recorder>,
    ) -> Result<Self, RecordError> {
        let mut operations = Vec::new();
        for recorder in recorders {
            operations.append(&mut recorder.finish()?);
        }
        // The sort is stable, so the operations of one message stay in their order.
        operations.sort_by_key(PackedOperation::order);
        Ok(Self {
            keys,
            machines,
            operations,
            ..Self::default()
        })
    }
}
