//! Operations as they are kept by the million.

use crate::operation::{
    Action, Actual, Entry, Expectation, Operation, Outcome, Refusal, Seen, StateNumber, Travel,
    Value,
};

/// How a state that is not there is kept.
const NO_STATE: u8 = u8::MAX;

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
    pub fn operation(&self) -> Operation {
        // The bits come from `From<&Operation>` alone.
        let state = |bits: u64| bits as u8;
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
            _ => unreachable!("no operation is packed so"),
        };
        let travel = match self.action >> 4 {
            0 => Travel::Call,
            1 => Travel::Frame,
            2 => Travel::Batch,
            3 => Travel::AtomicFrame,
            _ => unreachable!("no operation is packed so"),
        };
        let expect = match self.expect & 0x0f {
            0 => None,
            1 => Some(Expectation::Exists(self.expected != 0)),
            2 => Some(Expectation::Revision(self.expected.cast_signed())),
            3 => Some(Expectation::Value(Value::Int(self.expected.cast_signed()))),
            4 => Some(Expectation::Value(Value::Digest(self.expected))),
            5 => Some(Expectation::State(state(self.expected))),
            _ => unreachable!("no operation is packed so"),
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
            6 => done(Seen::From(state(self.seen))),
            7 => unmet(Actual::Untold),
            8 => unmet(Actual::Revision(self.seen_revision)),
            9 => unmet(Actual::Value(None)),
            10 => unmet(Actual::Value(Some(value))),
            11 => unmet(Actual::State(byte_state(state(self.seen)))),
            12 => Outcome::Refused(Refusal::Move {
                from: state(self.seen),
            }),
            13 => Outcome::Refused(Refusal::NotFinal {
                state: state(self.seen),
            }),
            14 => Outcome::Refused(Refusal::Missing),
            15 => Outcome::Refused(Refusal::NoMachine),
            16 => Outcome::Refused(Refusal::NotInt),
            17 => Outcome::Refused(Refusal::Overflow),
            _ => unreachable!("no operation is packed so"),
        };
        Operation {
            client: self.client,
            message: self.message,
            travel,
            key: self.key,
            start: self.start,
            end: self.end,
            action,
            expect,
            outcome,
        }
    }
}
