//! One operation of a history: what was asked of one key, when, and what was answered. Two forms: [`Operation`] to think
//! with, [`Record`] to keep millions of.

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

    fn bits(self) -> (u64, u8) {
        match self {
            Self::Int(int) => (int.cast_unsigned(), 0),
            Self::Digest(digest) => (digest, 1),
        }
    }

    fn from_bits(bits: u64, is_digest: bool) -> Self {
        match is_digest {
            true => Self::Digest(bits),
            false => Self::Int(bits.cast_signed()),
        }
    }
}

/// The number of a state in its key's machine, from 0 to 254.
pub type StateNumber = u8;

/// How a state that is not there is kept.
const NO_STATE: u8 = u8::MAX;

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

/// An [`Operation`] in 72 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    start: u64,
    end: u64,
    argument: u64,
    expected: u64,
    seen: u64,
    seen_revision: i64,
    revision: i64,
    client: u32,
    message: u32,
    key: u32,
    /// Low half: the action; high half: the travel.
    action: u8,
    /// Low half: the expectation; bits 4 and 5: the argument is a digest, is there.
    expect: u8,
    /// Low five bits: the outcome; then: what is seen is a digest.
    outcome: u8,
    /// Where a Transition goes to; otherwise the state of the entry that was seen.
    state: u8,
}

/// A record whose bytes mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

const ARGUMENT_DIGEST: u8 = 1 << 4;
const ARGUMENT_THERE: u8 = 1 << 5;
const SEEN_DIGEST: u8 = 1 << 5;

fn state_byte(state: Option<StateNumber>) -> u8 {
    state.unwrap_or(NO_STATE)
}

fn byte_state(byte: u8) -> Option<StateNumber> {
    (byte != NO_STATE).then_some(byte)
}

impl From<&Operation> for Record {
    fn from(from: &Operation) -> Self {
        let mut record = Self {
            start: from.start,
            end: from.end,
            argument: 0,
            expected: 0,
            seen: 0,
            seen_revision: 0,
            revision: 0,
            client: from.client,
            message: from.message,
            key: from.key,
            action: 0,
            expect: 0,
            outcome: 0,
            state: NO_STATE,
        };
        record.set_action(from.action, from.travel);
        record.set_expect(from.expect);
        record.set_outcome(from.outcome);
        record
    }
}

impl Record {
    pub const BYTES: usize = 72;

    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn key(&self) -> u32 {
        self.key
    }

    pub fn order(&self) -> (u64, u32, u32) {
        (self.start, self.client, self.message)
    }

    fn set_argument(&mut self, value: Value) {
        let (bits, is_digest) = value.bits();
        self.argument = bits;
        self.expect |= ARGUMENT_THERE | (is_digest * ARGUMENT_DIGEST);
    }

    fn set_action(&mut self, action: Action, travel: Travel) {
        let tag = match action {
            Action::Read => 0,
            Action::Write(value) => {
                self.set_argument(value);
                1
            }
            Action::Add(delta) => {
                self.set_argument(Value::Int(delta));
                2
            }
            Action::Delete => 3,
            Action::Transition { to, value } => {
                self.state = to;
                if let Some(value) = value {
                    self.set_argument(value);
                }
                4
            }
        };
        let travel = match travel {
            Travel::Call => 0,
            Travel::Frame => 1,
            Travel::Batch => 2,
            Travel::AtomicFrame => 3,
        };
        self.action = tag | (travel << 4);
    }

    fn set_expect(&mut self, expect: Option<Expectation>) {
        let (tag, bits) = match expect {
            None => (0, 0),
            Some(Expectation::Exists(exists)) => (1, u64::from(exists)),
            Some(Expectation::Revision(revision)) => (2, revision.cast_unsigned()),
            Some(Expectation::Value(Value::Int(int))) => (3, int.cast_unsigned()),
            Some(Expectation::Value(Value::Digest(digest))) => (4, digest),
            Some(Expectation::State(state)) => (5, u64::from(state)),
        };
        self.expect |= tag;
        self.expected = bits;
    }

    fn see(&mut self, value: Value) {
        let (bits, is_digest) = value.bits();
        self.seen = bits;
        self.outcome |= is_digest * SEEN_DIGEST;
    }

    fn set_outcome(&mut self, outcome: Outcome) {
        let tag = match outcome {
            Outcome::Unknown => 0,
            Outcome::NotDone => 1,
            Outcome::Done { revision, seen } => {
                self.revision = revision;
                match seen {
                    Seen::Untold => 2,
                    Seen::Entry(None) => 3,
                    Seen::Entry(Some(entry)) => {
                        self.see(entry.value);
                        self.seen_revision = entry.revision;
                        // A Transition is not answered with an entry, so the byte is free.
                        self.state = state_byte(entry.state);
                        4
                    }
                    Seen::Sum(sum) => {
                        self.see(Value::Int(sum));
                        5
                    }
                    Seen::From(state) => {
                        self.seen = u64::from(state);
                        6
                    }
                }
            }
            Outcome::Refused(Refusal::Expectation(actual)) => match actual {
                Actual::Untold => 7,
                Actual::Revision(revision) => {
                    self.seen_revision = revision;
                    8
                }
                Actual::Value(None) => 9,
                Actual::Value(Some(value)) => {
                    self.see(value);
                    10
                }
                Actual::State(state) => {
                    self.seen = u64::from(state_byte(state));
                    11
                }
            },
            Outcome::Refused(Refusal::Move { from }) => {
                self.seen = u64::from(from);
                12
            }
            Outcome::Refused(Refusal::NotFinal { state }) => {
                self.seen = u64::from(state);
                13
            }
            Outcome::Refused(Refusal::Missing) => 14,
            Outcome::Refused(Refusal::NoMachine) => 15,
            Outcome::Refused(Refusal::NotInt) => 16,
            Outcome::Refused(Refusal::Overflow) => 17,
        };
        self.outcome |= tag;
    }

    /// The operation.
    ///
    /// # Errors
    ///
    /// If the record was not made from one: then what it was read from is damaged.
    pub fn operation(&self) -> Result<Operation, BadRecord> {
        let state = |bits: u64| u8::try_from(bits).map_err(|_| BadRecord);
        let argument = (self.expect & ARGUMENT_THERE != 0)
            .then(|| Value::from_bits(self.argument, self.expect & ARGUMENT_DIGEST != 0));
        let action = match (self.action & 0x0f, argument) {
            (0, None) => Action::Read,
            (1, Some(value)) => Action::Write(value),
            (2, Some(Value::Int(delta))) => Action::Add(delta),
            (3, None) => Action::Delete,
            (4, value) => Action::Transition {
                to: self.state,
                value,
            },
            _ => return Err(BadRecord),
        };
        let travel = match self.action >> 4 {
            0 => Travel::Call,
            1 => Travel::Frame,
            2 => Travel::Batch,
            3 => Travel::AtomicFrame,
            _ => return Err(BadRecord),
        };
        let expect = match self.expect & 0x0f {
            0 => None,
            1 => Some(Expectation::Exists(self.expected != 0)),
            2 => Some(Expectation::Revision(self.expected.cast_signed())),
            3 => Some(Expectation::Value(Value::Int(self.expected.cast_signed()))),
            4 => Some(Expectation::Value(Value::Digest(self.expected))),
            5 => Some(Expectation::State(state(self.expected)?)),
            _ => return Err(BadRecord),
        };
        let value = Value::from_bits(self.seen, self.outcome & SEEN_DIGEST != 0);
        let revision = self.revision;
        let done = |seen| Outcome::Done { revision, seen };
        let unmet = |actual| Outcome::Refused(Refusal::Expectation(actual));
        let outcome = match self.outcome & 0x1f {
            0 => Outcome::Unknown,
            1 => Outcome::NotDone,
            2 => done(Seen::Untold),
            3 => done(Seen::Entry(None)),
            4 => done(Seen::Entry(Some(Entry {
                value,
                revision: self.seen_revision,
                state: byte_state(self.state),
            }))),
            5 => done(Seen::Sum(self.seen.cast_signed())),
            6 => done(Seen::From(state(self.seen)?)),
            7 => unmet(Actual::Untold),
            8 => unmet(Actual::Revision(self.seen_revision)),
            9 => unmet(Actual::Value(None)),
            10 => unmet(Actual::Value(Some(value))),
            11 => unmet(Actual::State(byte_state(state(self.seen)?))),
            12 => Outcome::Refused(Refusal::Move {
                from: state(self.seen)?,
            }),
            13 => Outcome::Refused(Refusal::NotFinal {
                state: state(self.seen)?,
            }),
            14 => Outcome::Refused(Refusal::Missing),
            15 => Outcome::Refused(Refusal::NoMachine),
            16 => Outcome::Refused(Refusal::NotInt),
            17 => Outcome::Refused(Refusal::Overflow),
            _ => return Err(BadRecord),
        };
        Ok(Operation {
            client: self.client,
            message: self.message,
            travel,
            key: self.key,
            start: self.start,
            end: self.end,
            action,
            expect,
            outcome,
        })
    }

    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let longs = [
            self.start,
            self.end,
            self.argument,
            self.expected,
            self.seen,
            self.seen_revision.cast_unsigned(),
            self.revision.cast_unsigned(),
        ];
        for (place, long) in bytes.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&long.to_le_bytes());
        }
        for (place, word) in
            (bytes[56..].chunks_exact_mut(4)).zip([self.client, self.message, self.key])
        {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[68..].copy_from_slice(&[self.action, self.expect, self.outcome, self.state]);
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let long = |index: usize| {
            let bytes = bytes[index * 8..][..8].try_into();
            u64::from_le_bytes(bytes.expect("eight bytes"))
        };
        let word = |index: usize| {
            let bytes = bytes[56 + index * 4..][..4].try_into();
            u32::from_le_bytes(bytes.expect("four bytes"))
        };
        Self {
            start: long(0),
            end: long(1),
            argument: long(2),
            expected: long(3),
            seen: long(4),
            seen_revision: long(5).cast_signed(),
            revision: long(6).cast_signed(),
            client: word(0),
            message: word(1),
            key: word(2),
            action: bytes[68],
            expect: bytes[69],
            outcome: bytes[70],
            state: bytes[71],
        }
    }
}
