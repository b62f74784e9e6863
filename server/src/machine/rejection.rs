//! Rejections: why the state machine refuses an operation.

use std::time::Duration;

use super::condition::Condition;
use super::value::{Entry, Key, Name, Revision};

/// An operation was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The key, session, machine or request id that the refusal is about.
    pub subject: Key,
    /// Why the operation was refused.
    pub cause: Cause,
}

impl Rejection {
    pub(super) fn of(subject: &Key, cause: Cause) -> Box<Self> {
        Box::new(Self {
            subject: subject.clone(),
            cause,
        })
    }

    /// About how many bytes the refusal takes in memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let more = match &self.cause {
            Cause::ExpectationFailed(mismatch) => mismatch.byte_len(),
            Cause::TransitionRefused(refused) | Cause::StateNotFinal(refused) => {
                size_of::<RefusedTransition>() + size_of_val(&*refused.allowed)
            }
            Cause::EntriesInState(stranded) => size_of_val(&**stranded),
            _ => 0,
        };
        size_of::<Self>() + self.subject.as_str().len() + more
    }
}

/// Why an operation was refused. `rpc/status/` maps each cause to a gRPC code and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The key's revision, create_revision, value or session is not the one that the condition asks for.
    ExpectationFailed(Box<Mismatch>),
    /// The key exists, and the condition says that it must not.
    KeyExists {
        /// The key's revision.
        revision: Revision,
    },
    /// The key does not exist, and has to.
    KeyNotFound,
    /// The value is not an int.
    NotAnInt {
        /// The kind of the value: "text" or "bytes".
        kind: &'static str,
    },
    /// The sum does not fit into 64 bits.
    Overflow {
        /// The present value.
        value: i64,
        /// The number that was to be added.
        delta: i64,
    },
    /// The sum is out of bounds.
    BoundReached {
        /// Which bound: "min" or "max".
        bound: &'static str,
        /// The bound.
        limit: i64,
        /// The present value.
        value: i64,
        /// The number that was to be added.
        delta: i64,
    },
    /// The key is not in the state that the condition asks for.
    StateMismatch {
        /// The state that the condition asks for.
        expected: Name,
        /// The state that the key is in; `None` if the key does not exist or has no machine.
        actual: Option<Name>,
    },
    /// The key's machine does not allow this transition.
    TransitionRefused(Box<RefusedTransition>),
    /// The key is in a state that is not final, and so cannot be deleted.
    StateNotFinal(Box<RefusedTransition>),
    /// No machine covers the key.
    NoMachine,
    /// The machine exists, and the condition says that it must not.
    MachineExists {
        /// The machine's revision.
        revision: Revision,
    },
    /// The machine does not exist.
    MachineNotFound,
    /// The machine's revision is not the one that the condition asks for.
    MachineChanged {
        /// The revision that the condition asks for; 0: no machine.
        expected: Revision,
        /// The machine's revision; 0: no machine.
        actual: Revision,
    },
    /// Keys are in the way of a change of a machine: they are in a state that would be gone, or that is not final; or they
    /// exist under the new prefix already.
    EntriesInState(Box<StrandedKeys>),
    /// The prefix overlaps with that of another machine.
    PrefixTaken {
        /// The other machine.
        machine: Name,
        /// The other machine's prefix.
        key_prefix: Key,
    },
    /// The machine has a state that can never be reached, and that no key is in.
    StateUnreachable {
        /// The state.
        state: Name,
    },
    /// No live session has this id.
    SessionNotFound {
        /// The session.
        id: Name,
    },
    /// A live session has this id already.
    SessionExists {
        /// The store revision at which the live session began.
        create_revision: Revision,
    },
    /// The session that is meant has ended, and a later one of the same id is live.
    SessionTakenOver {
        /// The session.
        id: Name,
        /// The store revision at which the session that is meant began.
        expected: Revision,
        /// The store revision at which the live session began.
        actual: Revision,
    },
    /// The request id was used before, for a request with other content.
    RequestIdReused,
    /// As many request ids are remembered as may be. None is forgotten early.
    RequestIdsFull {
        /// The limit.
        limit: usize,
        /// What the limit counts: "request_ids" or "bytes of request_ids and their answers".
        unit: &'static str,
        /// After how long there is room again.
        retry_after: Duration,
    },
    /// There are as many sessions or machines as may be.
    TooMany {
        /// What there would be too many of: "sessions" or "machines".
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The store would grow beyond its limit.
    StoreFull {
        /// The limit, in bytes.
        limit: u64,
        /// How many bytes there would be.
        actual: u64,
    },
    /// The disk that keeps the state is full, or nearly full.
    DiskFull(SpaceLow),
    /// The answer to the frame would hold more bytes of values than its limit.
    AnswerTooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// How many bytes there would be.
        actual: usize,
    },
}

/// Where the state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceOf {
    /// The disk of the data directory.
    Disk,
    /// The files of etcd, which its quota bounds.
    Etcd,
}

/// How little space is left for the state, where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceLow {
    /// Where that is.
    pub of: SpaceOf,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that must be free for changes to be taken.
    pub least: u64,
    /// Bytes that the store's own files take: at most these can come back by deletes.
    pub files: u64,
}

/// A condition that does not hold, and the entry that it was tested on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The condition. A long value in it is cut.
    pub expected: Condition,
    /// The entry; `None` if the key does not exist. A long value in it is cut.
    pub actual: Option<Entry>,
}

impl Mismatch {
    fn byte_len(&self) -> usize {
        let expected = match &self.expected {
            Condition::Value(value) => value.byte_len(),
            _ => 0,
        };
        let actual = self.actual.as_ref().map_or(0, Entry::more_byte_len);
        size_of::<Self>() + expected + actual
    }
}

/// A transition or a deletion that the key's machine does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedTransition {
    /// The machine.
    pub machine: Name,
    /// The state that the key is in.
    pub from: Name,
    /// The state that the key was to move to; `None` if it was to be deleted.
    pub to: Option<Name>,
    /// The states that the key may move to, in the order of their bytes, as far as an error shows them.
    pub allowed: Vec<Name>,
}

/// Keys that are in the way of a change of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrandedKeys {
    /// How many keys, counted up to [`Self::COUNT_MAX`].
    pub count: usize,
    /// One of them.
    pub example: Key,
    /// The state that they are in; `None` if no machine covers them yet.
    pub state: Option<Name>,
}

impl StrandedKeys {
    /// Counting stops here, because nothing else is served meanwhile.
    pub const COUNT_MAX: usize = 1_000;
}

/// An atomic frame was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedAt {
    /// The index of the operation that was refused, from 0; `None` if the frame was refused before its operations were
    /// looked at.
    pub index: Option<usize>,
    /// Why it was refused.
    pub rejection: Box<Rejection>,
}
