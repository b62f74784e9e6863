//! Operations in a form that is small enough to keep millions of.

use crate::operation::{
    Action, Actual, Entry, Expectation, MessageKind, Observed, Operation, Outcome, Refusal,
    StateNumber, Value,
};

/// The byte of a state that is `None`.
const NO_STATE: u8 = u8::MAX;

/// An [`Operation`] in 72 bytes, about half of what it takes otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedOperation {
    start: u64,
    end: u64,
    argument: u64,
    expected: u64,
    observed: u64,
    observed_revision: i64,
    revision: i64,
    client: u32,
    message: u32,
    key: u32,
    /// Low half: the action. High half: the kind of message.
    action: u8,
    /// Low half: the expectation. Bit 4: the argument is a digest. Bit 5: there is an argument.
    expect: u8,
    /// Low five bits: the outcome. Bit 5: the observed value is a digest.
    outcome: u8,
    /// Of a Transition, the new state. Otherwise the state of the observed entry.
    state: u8,
}

const ARGUMENT_DIGEST: u8 = 1 << 4;
const HAS_ARGUMENT: u8 = 1 << 5;
const OBSERVED_DIGEST: u8 = 1 << 5;

fn state_byte(state: Option<StateNumber>) -> u8 {
    state.unwrap_or(NO_STATE)
}

fn byte_state(byte: u8) -> Option<StateNumber> {
    (byte != NO_STATE).then_some(byte)
}

impl From<&Operation> for PackedOperation {
    fn from(from: &Operation) -> Self {
        let mut packed = Self {
            start: from.start,
            end: from.end,
            argument: 0,
            expected: 0,
            observed: 0,
            observed_revision: 0,
            revision: 0,
            client: from.client,
            message: from.message,
            key: from.key,
            action: 0,
            expect: 0,
            outcome: 0,
            state: NO_STATE,
        };
        packed.set_action(from.action, from.message_kind);
        packed.set_expect(from.expect);
        packed.set_outcome(from.outcome);
        packed
    }
}

impl PackedOperation {
    /// [`Operation::start`].
    pub fn start(&self) -> u64 {
        self.start
    }

    /// [`Operation::end`].
    pub fn end(&self) -> u64 {
        self.end
    }

    /// [`Operation::key`].
    pub fn key(&self) -> u32 {
        self.key
    }

    /// The order of operations in a history: by start. Operations of one message stay together in a stable sort.
    pub fn order(&self) -> (u64, u32, u32) {
        (self.start, self.client, self.message)
    }

    fn set_argument(&mut self, value: Value) {
        let (bits, is_digest) = value.bits();
        self.argument = bits;
        self.expect |= HAS_ARGUMENT | (is_digest * ARGUMENT_DIGEST);
    }

    fn set_action(&mut self, action: Action, kind: MessageKind) {
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
        let kind = match kind {
            MessageKind::Call => 0,
            MessageKind::Frame => 1,
            MessageKind::Batch => 2,
            MessageKind::AtomicFrame => 3,
        };
        self.action = tag | (kind << 4);
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

    fn set_observed(&mut self, value: Value) {
        let (bits, is_digest) = value.bits();
        self.observed = bits;
        self.outcome |= is_digest * OBSERVED_DIGEST;
    }

    fn set_outcome(&mut self, outcome: Outcome) {
        let tag = match outcome {
            Outcome::Unknown => 0,
            Outcome::NotDone => 1,
            Outcome::Done { revision, observed } => {
                self.revision = revision;
                match observed {
                    Observed::NotReported => 2,
                    Observed::Entry(None) => 3,
                    Observed::Entry(Some(entry)) => {
                        self.set_observed(entry.value);
                        self.observed_revision = entry.revision;
                        // The answer to a Transition has no entry, so the byte is free.
                        self.state = state_byte(entry.state);
                        4
                    }
                    Observed::Sum(sum) => {
                        self.set_observed(Value::Int(sum));
                        5
                    }
                    Observed::FromState(state) => {
                        self.observed = u64::from(state);
                        6
                    }
                }
            }
            Outcome::Refused(Refusal::Expectation(actual)) => match actual {
                Actual::NotReported => 7,
                Actual::Revision(revision) => {
                    self.observed_revision = revision;
                    8
                }
                Actual::Value(None) => 9,
                Actual::Value(Some(value)) => {
                    self.set_observed(value);
                    10
                }
                Actual::State(state) => {
                    self.observed = u64::from(state_byte(state));
                    11
                }
            },
            Outcome::Refused(Refusal::IllegalTransition { from }) => {
                self.observed = u64::from(from);
                12
            }
            Outcome::Refused(Refusal::NotFinal { state }) => {
                self.observed = u64::from(state);
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
    pub fn unpack(&self) -> Operation {
        Operation {
            client: self.client,
            message: self.message,
            message_kind: self.message_kind(),
            key: self.key,
            start: self.start,
            end: self.end,
            action: self.action(),
            expect: self.expect(),
            outcome: self.outcome(),
        }
    }

    fn message_kind(&self) -> MessageKind {
        match self.action >> 4 {
            0 => MessageKind::Call,
            1 => MessageKind::Frame,
            2 => MessageKind::Batch,
            3 => MessageKind::AtomicFrame,
            _ => unreachable!("`set_action` writes no other number"),
        }
    }

    fn action(&self) -> Action {
        let argument = (self.expect & HAS_ARGUMENT != 0)
            .then(|| Value::from_bits(self.argument, self.expect & ARGUMENT_DIGEST != 0));
        match (self.action & 0x0f, argument) {
            (0, None) => Action::Read,
            (1, Some(value)) => Action::Write(value),
            (2, Some(Value::Int(delta))) => Action::Add(delta),
            (3, None) => Action::Delete,
            (4, value) => Action::Transition {
                to: self.state,
                value,
            },
            _ => unreachable!("`set_action` writes no other number, and its argument"),
        }
    }

    fn expect(&self) -> Option<Expectation> {
        Some(match self.expect & 0x0f {
            0 => return None,
            1 => Expectation::Exists(self.expected != 0),
            2 => Expectation::Revision(self.expected.cast_signed()),
            3 => Expectation::Value(Value::Int(self.expected.cast_signed())),
            4 => Expectation::Value(Value::Digest(self.expected)),
            5 => Expectation::State(self.expected as u8),
            _ => unreachable!("`set_expect` writes no other number"),
        })
    }

    fn outcome(&self) -> Outcome {
        let revision = self.revision;
        let done = |observed| Outcome::Done { revision, observed };
        let unmet = |actual| Outcome::Refused(Refusal::Expectation(actual));
        let value = Value::from_bits(self.observed, self.outcome & OBSERVED_DIGEST != 0);
        let state = self.observed as u8;
        match self.outcome & 0x1f {
            0 => Outcome::Unknown,
            1 => Outcome::NotDone,
            2 => done(Observed::NotReported),
            3 => done(Observed::Entry(None)),
            4 => done(Observed::Entry(Some(Entry {
                value,
                revision: self.observed_revision,
                state: byte_state(self.state),
            }))),
            5 => done(Observed::Sum(self.observed.cast_signed())),
            6 => done(Observed::FromState(state)),
            7 => unmet(Actual::NotReported),
            8 => unmet(Actual::Revision(self.observed_revision)),
            9 => unmet(Actual::Value(None)),
            10 => unmet(Actual::Value(Some(value))),
            11 => unmet(Actual::State(byte_state(state))),
            12 => Outcome::Refused(Refusal::IllegalTransition { from: state }),
            13 => Outcome::Refused(Refusal::NotFinal { state }),
            14 => Outcome::Refused(Refusal::Missing),
            15 => Outcome::Refused(Refusal::NoMachine),
            16 => Outcome::Refused(Refusal::NotInt),
            17 => Outcome::Refused(Refusal::Overflow),
            _ => unreachable!("`set_outcome` writes no other number"),
        }
    }
}
