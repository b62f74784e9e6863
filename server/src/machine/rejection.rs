//! How the state says no.

use std::time::Duration;

use super::condition::Condition;
use super::value::{Entry, Key, Name, Revision};

/// The state says no. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The key, session, machine or request id that was asked about.
    pub subject: Key,
    /// Why.
    pub cause: Cause,
}

impl Rejection {
    pub(super) fn of(subject: &Key, cause: Cause) -> Box<Self> {
        Box::new(Self {
            subject: subject.clone(),
            cause,
        })
    }
}

/// Why the state says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The key has another revision, create_revision, value or session than the condition asks for.
    ExpectationFailed(Box<Mismatch>),
    /// The key should not be there.
    KeyExists {
        /// The key's revision.
        revision: Revision,
    },
    /// The key should be there.
    KeyNotFound,
    /// The value is not an int.
    NotAnInt {
        /// What it is.
        kind: &'static str,
    },
    /// The sum does not fit into 64 bits.
    Overflow {
        /// The value there is.
        value: i64,
        /// What was to be added.
        delta: i64,
    },
    /// The sum would be past a bound.
    BoundReached {
        /// Which bound: "min" or "max".
        bound: &'static str,
        /// The bound.
        limit: i64,
        /// The value there is.
        value: i64,
        /// What was to be added.
        delta: i64,
    },
    /// The key is in another state than the condition asks for.
    StateMismatch {
        /// The state asked for.
        expected: Name,
        /// The state it is in; none if it is not there or has no machine.
        actual: Option<Name>,
    },
    /// The machine does not allow this move.
    TransitionRefused(Box<RefusedTransition>),
    /// The key cannot be deleted in its state.
    StateNotFinal(Box<RefusedTransition>),
    /// The key lies under no machine.
    NoMachine,
    /// There should be no such machine.
    MachineExists {
        /// Its revision.
        revision: Revision,
    },
    /// There is no such machine.
    MachineNotFound,
    /// The machine is of another revision.
    MachineChanged {
        /// The one asked for; 0: none.
        expected: Revision,
        /// The one it is; 0: none.
        actual: Revision,
    },
    /// Keys would be stranded.
    EntriesInState(Box<StrandedKeys>),
    /// Another machine has a prefix that overlaps.
    PrefixTaken {
        /// The other machine.
        machine: Name,
        /// Its prefix.
        key_prefix: Key,
    },
    /// A state of the machine can never be reached, and no key is in it.
    StateUnreachable {
        /// The state.
        state: Name,
    },
    /// There is no such session.
    SessionNotFound {
        /// The session.
        id: Name,
    },
    /// There is such a session.
    SessionExists {
        /// When it began.
        create_revision: Revision,
    },
    /// The session that is meant has ended, and another of its name has begun.
    SessionTakenOver {
        /// The session.
        id: Name,
        /// When the one that is meant began.
        expected: Revision,
        /// When the one there is began.
        actual: Revision,
    },
    /// The request id was used for something else.
    RequestIdReused,
    /// No more request ids can be remembered now.
    RequestIdsFull {
        /// What there may be.
        limit: usize,
        /// Of what: "request_ids" or "bytes of request_ids and their answers".
        unit: &'static str,
        /// When there is room again.
        retry_after: Duration,
    },
    /// There would be more of something than may be.
    TooMany {
        /// Of what: "sessions" or "machines".
        what: &'static str,
        /// What there may be.
        limit: usize,
    },
    /// The store would grow past its limit.
    StoreFull {
        /// The limit, in bytes.
        limit: u64,
        /// What it would be, in bytes.
        actual: u64,
    },
    /// The disk that the state is kept on is full, or nearly.
    DiskFull(DiskLow),
    /// The answer to the frame would grow past its limit.
    AnswerTooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// What it would be, in bytes.
        actual: usize,
    },
}

/// How much space is left on the disk that the state is kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLow {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that should be.
    pub least: u64,
}

/// What was expected and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The condition that was not met.
    pub expected: Condition,
    /// The entry as it is; none if the key is not there.
    pub actual: Option<Entry>,
}

/// A move that the machine does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedTransition {
    /// The machine.
    pub machine: Name,
    /// The state that the key is in.
    pub from: Name,
    /// The state that it should move to; none if it should be deleted.
    pub to: Option<Name>,
    /// Where it may move, in the order of their bytes.
    pub allowed: Vec<Name>,
}

/// Keys that a change of a machine would strand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrandedKeys {
    /// How many, counted up to [`Self::COUNT_MAX`].
    pub count: usize,
    /// One of them.
    pub example: Key,
    /// The state that they are in; none if they have none yet.
    pub state: Option<Name>,
}

impl StrandedKeys {
    /// From here on they are not counted: nothing else is served while they are.
    pub const COUNT_MAX: usize = 1_000;
}

/// An operation of a frame that is done as a whole or not at all was refused, and the frame with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedAt {
    /// The operation's place in the frame, from 0; none if the frame was refused before its operations were looked at.
    pub index: Option<usize>,
    /// Why.
    pub rejection: Box<Rejection>,
}
