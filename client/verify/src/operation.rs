//! One operation of a history: the request for one key, its times, and the outcome.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};

/// The end of an operation that was never answered.
pub const NEVER: u64 = u64::MAX;

/// A value, as far as the checker has to tell values apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// An integer, the only kind of value that Add takes.
    Int(i64),
    /// Text or bytes, as a hash of 64 bits. A run that writes a million values has two of one hash by chance once in
    /// 30 million runs.
    Digest(u64),
}

impl Value {
    /// The value of a text.
    pub fn text(text: &str) -> Self {
        Self::digest(0, text.as_bytes())
    }

    /// The value of some bytes. To the store, text and bytes of the same content are different values.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::digest(1, bytes)
    }

    fn digest(kind: u8, content: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        (kind, content).hash(&mut hasher);
        Self::Digest(hasher.finish())
    }

    pub(crate) fn bits(self) -> (u64, u8) {
        match self {
            Self::Int(int) => (int.cast_unsigned(), 0),
            Self::Digest(digest) => (digest, 1),
        }
    }

    pub(crate) fn from_bits(bits: u64, is_digest: bool) -> Self {
        match is_digest {
            true => Self::Digest(bits),
            false => Self::Int(bits.cast_signed()),
        }
    }
}

/// The number of a state in its [`Machine`](crate::Machine), from 0 to 254.
pub type StateNumber = u8;

/// The revision in an answer that has none, such as those of another store. It can be in a file only.
pub(crate) const NO_REVISION: i64 = -1;

fn no_revision() -> i64 {
    NO_REVISION
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_no_revision(revision: &i64) -> bool {
    *revision == NO_REVISION
}

/// What the store holds under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The store revision of the key's last change. Absent from the history of a store without revisions.
    #[serde(default = "no_revision", skip_serializing_if = "is_no_revision")]
    pub revision: i64,
    /// The state of the key in its machine. `None` if the key has no machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateNumber>,
}

/// A condition: the store refuses the operation if it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// The key exists, or does not.
    Exists(bool),
    /// The key's last change has this revision. 0: the key does not exist.
    Revision(i64),
    /// The key has this value.
    Value(Value),
    /// The key is in this state.
    State(StateNumber),
}

/// What the client asked the store to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Reads the key. A List is recorded as a Read of every key that it could have shown.
    Read,
    /// Sets the value.
    Write(Value),
    /// Adds to the value, a missing key counting as 0. Without bounds but those of 64 bits.
    Add(i64),
    /// Deletes the key.
    Delete,
    /// Moves the key to another state of its machine.
    Transition {
        /// The new state.
        to: StateNumber,
        /// The new value. `None` keeps the present one.
        value: Option<Value>,
    },
}

/// What the answer to an operation that was done reports about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// Nothing: only that the operation was done.
    #[serde(rename = "untold")]
    NotReported,
    /// The entry before the operation, `None` if the key did not exist: of a Read, of a Delete, of a Write that asked for
    /// it.
    Entry(Option<Entry>),
    /// The value after an Add.
    Sum(i64),
    /// The state before a Transition.
    #[serde(rename = "from")]
    FromState(StateNumber),
}

/// What the refusal of an operation reports about the key whose [`Expectation`] did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actual {
    /// Nothing.
    #[serde(rename = "untold")]
    NotReported,
    /// The revision of the key's last change. 0: the key did not exist.
    Revision(i64),
    /// The value. `None`: the key did not exist.
    Value(Option<Value>),
    /// The state. `None`: the key did not exist, or has no machine.
    State(Option<StateNumber>),
}

/// Why the store refused an operation. Each reason is a fact about the key, which the checker holds against the other
/// answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The [`Expectation`] did not hold.
    Expectation(Actual),
    /// A Transition that the machine does not allow from the key's state.
    #[serde(rename = "move")]
    IllegalTransition {
        /// The key's state.
        from: StateNumber,
    },
    /// A Delete of a key whose state is not final.
    NotFinal {
        /// The key's state.
        state: StateNumber,
    },
    /// A Transition of a key that does not exist.
    Missing,
    /// A Transition of a key without a machine.
    NoMachine,
    /// An Add to text or bytes.
    NotInt,
    /// An Add whose sum needs more than 64 bits.
    Overflow,
}

/// The outcome of an operation, as far as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done {
        /// The store revision in the answer: that of the change; if nothing changed, the one at which that was so.
        /// Absent from the history of a store without revisions.
        #[serde(default = "no_revision", skip_serializing_if = "is_no_revision")]
        revision: i64,
        /// What the answer reports about the key.
        #[serde(rename = "seen")]
        observed: Observed,
    },
    /// Refused, because of the key's content.
    Refused(Refusal),
    /// Certainly not done, for a reason that says nothing about the key: overload, a deadline before the start, another
    /// operation of the same Batch that was refused.
    NotDone,
    /// Done once at some time after the start, or never. The time is before the end, if the operation has one.
    Unknown,
}

/// The kind of message that carried an operation. It decides which operations happen at one moment, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A unary call of this one operation.
    Call,
    /// A frame of a Pipeline that is not atomic. Its operations happen after all that the client sent in the stream
    /// before, and operations of other clients may happen between them.
    Frame,
    /// A Batch or a List. All of its operations happen at one moment.
    Batch,
    /// An atomic frame of a Pipeline: all of its operations happen at one moment, after all that the client sent in the
    /// stream before.
    AtomicFrame,
}

impl MessageKind {
    /// Tells whether all operations of the message happen at one moment.
    pub fn is_atomic(self) -> bool {
        matches!(self, Self::Batch | Self::AtomicFrame)
    }

    /// Tells whether the message happens after those that its client sent before.
    pub fn is_ordered(self) -> bool {
        matches!(self, Self::Frame | Self::AtomicFrame)
    }
}

/// One operation on one key. Times are nanoseconds since the start of the run, by one monotonic clock for all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The number of the client. A client may have any number of messages in flight.
    pub client: u32,
    /// The client's number for the message that carried the operation.
    pub message: u32,
    /// The kind of that message.
    pub message_kind: MessageKind,
    /// The place of the key in [`History::keys`](crate::History::keys).
    pub key: u32,
    /// A time before the message was sent.
    pub start: u64,
    /// A time after the answer came, or [`NEVER`].
    pub end: u64,
    /// What the client asked for.
    pub action: Action,
    /// The condition under which it asked for it.
    pub expect: Option<Expectation>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Operation {
    /// The message that carried the operation: the client, and its number for the message.
    pub fn message_id(&self) -> (u32, u32) {
        (self.client, self.message)
    }

    /// The store revision in the answer, if the operation is known to be done.
    pub fn revision(&self) -> Option<i64> {
        match self.outcome {
            Outcome::Done { revision, .. } => Some(revision),
            _ => None,
        }
    }

    /// Tells whether the operation is known to have changed the key.
    pub fn is_change(&self) -> bool {
        let Outcome::Done { observed, .. } = self.outcome else {
            return false;
        };
        match self.action {
            Action::Read => false,
            Action::Delete => observed != Observed::Entry(None),
            // An Add of 0 changes nothing, unless it made a missing key. The sum does not tell which.
            Action::Add(delta) => delta != 0,
            Action::Write(_) | Action::Transition { .. } => true,
        }
    }

    /// Tells whether the operation certainly left the key as it was.
    pub fn is_read_only(&self) -> bool {
        match self.outcome {
            Outcome::Refused(_) | Outcome::NotDone => true,
            Outcome::Done { observed, .. } => match self.action {
                Action::Read => true,
                Action::Delete => observed == Observed::Entry(None),
                _ => false,
            },
            Outcome::Unknown => self.action == Action::Read,
        }
    }

    /// The entry before the operation, if the answer shows one.
    pub fn entry(&self) -> Option<Entry> {
        match self.outcome {
            Outcome::Done {
                observed: Observed::Entry(entry),
                ..
            } => entry,
            _ => None,
        }
    }
}
