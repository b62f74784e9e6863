//! One operation of a history: what was asked of one key, when, and what was answered.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};

/// The time of an answer that never came.
pub const NEVER: u64 = u64::MAX;

/// A value, as far as it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Int(i64),
    /// Text or bytes: 64 bits of hash. Two of a million values are the same by chance once in 30 million runs.
    Digest(u64),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::digest(0, text.as_bytes())
    }

    pub fn bytes(bytes: &[u8]) -> Self {
        Self::digest(1, bytes)
    }

    /// Text and bytes of the same content are different values to the store.
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

/// The number of a state in its key's machine, from 0 to 254.
pub type StateNumber = u8;

/// What was stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    pub value: Value,
    /// The store revision of the key's last change.
    pub revision: i64,
    /// None without a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateNumber>,
}

/// What must hold, or the operation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    Exists(bool),
    /// 0: the key is not there.
    Revision(i64),
    Value(Value),
    State(StateNumber),
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Also what a List says of one key.
    Read,
    Write(Value),
    /// Without bounds.
    Add(i64),
    Delete,
    Transition {
        to: StateNumber,
        /// The value that is put in the place of the one before.
        value: Option<Value>,
    },
}

/// What an answer tells of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Nothing but that it was done.
    Untold,
    /// What was there: of a Read, of a Delete, of a Write that asked for it.
    Entry(Option<Entry>),
    /// The value that an Add left.
    Sum(i64),
    /// The state that a Transition began in.
    From(StateNumber),
}

/// What a refused expectation tells of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actual {
    Untold,
    /// 0: the key was not there.
    Revision(i64),
    Value(Option<Value>),
    State(Option<StateNumber>),
}

/// Why an operation was refused: always something that it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// What was expected did not hold.
    Expectation(Actual),
    /// The machine has no such move from this state.
    Move { from: StateNumber },
    /// A Delete in this state, which is not final.
    NotFinal { state: StateNumber },
    /// A Transition of what is not there.
    Missing,
    /// A Transition of a key without a machine.
    NoMachine,
    /// An Add to text or bytes.
    NotInt,
    /// An Add past 64 bits.
    Overflow,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done {
        /// The store revision of the answer: that of the change, or the one at which nothing was to change.
        revision: i64,
        seen: Seen,
    },
    Refused(Refusal),
    /// Certainly not done, for a reason that tells nothing of the key: overload, a deadline before the start, an
    /// operation of a Batch that was refused.
    NotDone,
    /// Done once at some time after it was asked (and before `end`, if that is known), or never.
    Unknown,
}

/// How an operation travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Travel {
    /// Alone: a unary call.
    Call,
    /// In a frame of a Pipeline that is not atomic: after all that its client asked for before, others not in between.
    Frame,
    /// In a Batch or a List: everything of the message at one moment.
    Batch,
    /// In an atomic frame of a Pipeline: both.
    AtomicFrame,
}

impl Travel {
    pub fn is_atomic(self) -> bool {
        matches!(self, Self::Batch | Self::AtomicFrame)
    }

    pub fn is_ordered(self) -> bool {
        matches!(self, Self::Frame | Self::AtomicFrame)
    }
}

/// One operation on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: u32,
    /// Its client's number for the message that it travelled in.
    pub message: u32,
    pub travel: Travel,
    pub key: u32,
    /// Nanoseconds since the run began, taken before it was sent.
    pub start: u64,
    /// The same, taken after the answer came; [`NEVER`] if none did.
    pub end: u64,
    pub action: Action,
    pub expect: Option<Expectation>,
    pub outcome: Outcome,
}

impl Operation {
    /// The message that it is part of, among those of all clients.
    pub fn message_id(&self) -> (u32, u32) {
        (self.client, self.message)
    }

    /// The store revision that was answered, whatever was done.
    pub fn revision(&self) -> Option<i64> {
        match self.outcome {
            Outcome::Done { revision, .. } => Some(revision),
            _ => None,
        }
    }

    /// Whether it is known to have changed the key.
    pub fn is_change(&self) -> bool {
        let Outcome::Done { seen, .. } = self.outcome else {
            return false;
        };
        match self.action {
            Action::Read => false,
            Action::Delete => seen != Seen::Entry(None),
            // Nothing is added; or, to a missing key, 0. Which of them it was, the sum does not tell.
            Action::Add(delta) => delta != 0,
            Action::Write(_) | Action::Transition { .. } => true,
        }
    }

    /// Whether it certainly left the key as it was.
    pub fn is_observation(&self) -> bool {
        match self.outcome {
            Outcome::Refused(_) | Outcome::NotDone => true,
            Outcome::Done { seen, .. } => match self.action {
                Action::Read => true,
                Action::Delete => seen == Seen::Entry(None),
                _ => false,
            },
            Outcome::Unknown => self.action == Action::Read,
        }
    }

    /// The entry that was there, if the answer shows one.
    pub fn entry(&self) -> Option<Entry> {
        match self.outcome {
            Outcome::Done {
                seen: Seen::Entry(entry),
                ..
            } => entry,
            _ => None,
        }
    }
}
