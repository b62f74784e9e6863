//! The state machine: the whole state, and every operation on it.
//!
//! It does no I/O, reads no clock and uses no randomness: the present time is an argument. The same calls in the same
//! order give the same results on any computer, any day. Only the owner (`owner/`) holds a [`StateMachine`].
//!
//! It imports nothing from the rest of the server but `varint`, and `mutants` for faults that tests put in.
//!
//! Two words that sound alike: the *state machine* is this core. A *machine* is a user's protocol ([`Machine`]): the
//! states that the keys under a prefix go through.
//!
//! A Write ends in `write_at` of `apply.rs`. The files, each importing only files that come before it in this list:
//!
//! ```text
//! time, value                           moments; keys, values, entries
//! condition, rejection, bounds          what an operation expects, and why it is refused
//! protocol, operation, request_ids      machines; operations and outcomes; outcomes saved for replays
//! tree/                                 the entries, by key
//! change, effect, as_of                 what happened, as data; entries as of an earlier revision
//! copies, followers, history/           who is told of changes: copies, the log, watches
//! index/                                sessions, machines and ttls, and the keys that each of them can change
//! state_machine                         the state as a whole
//! check, answer_budget, once            conditions; how much an answer may hold; request ids
//! plain_frames                          many operations in one buffer, and who takes their outcomes
//! read, apply, frames, delete_prefix    operations, alone and many in one message
//! sessions, machines, advance           operations on sessions and machines; the passing of time
//! watch, copy, replay                   what watches are sent; copies of the state; the state made again from effects
//! ```

mod advance;
mod answer_budget;
mod apply;
mod as_of;
mod bounds;
mod change;
mod check;
mod condition;
mod copies;
mod copy;
mod delete_prefix;
mod effect;
mod followers;
mod frames;
mod history;
mod index;
mod machines;
mod once;
mod operation;
mod plain_frames;
mod protocol;
mod read;
mod rejection;
mod replay;
mod request_ids;
mod sessions;
mod state_machine;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod value;
mod watch;

pub use bounds::{Bounds, OnOverflow};
pub use change::{Change, ChangeCause, Keeps};
pub use condition::{Condition, Expect};
pub use copies::CopyId;
pub use copy::{CopyError, CopyHead, CopySlice};
pub use effect::{Effect, OpenedSession};
pub(crate) use frames::{Applying, PlainTally};
pub(crate) use index::ALLOWED_BYTES;
pub use operation::{
    Add, AddOptions, AddOutcome, AllOutcome, CloseOutcome, Delete, DeleteOutcome, DeletePrefix,
    DeletePrefixOutcome, EachOutcome, HasMore, List, ListOutcome, ListShows, OnExisting,
    OpenOutcome, OpenSession, Operation, Outcome, Page, Read, ReadOutcome, Session, SessionLife,
    SetLifetime, Transition, TransitionOptions, TransitionOutcome, Write, WriteOptions,
    WriteOutcome, WriteShows,
};
pub use plain_frames::{Mark, OperationRef, PlainAnswers, PlainFrames};
pub use protocol::{
    DefineMachine, DeleteMachine, KeysLeft, Machine, MachineNow, Purpose, State, Timeout,
};
pub use rejection::{
    Cause, Mismatch, RefusedTransition, RejectedAt, Rejection, SpaceLow, SpaceOf, StrandedKeys,
};
pub use replay::ReplayError;
pub use request_ids::{AppliedRequest, Fingerprint, RequestId, SavedOutcome};
pub use sessions::SESSION_SLICE;
pub use state_machine::{Ended, StateMachine, StoreLimits, Usage};
pub use time::Time;
#[cfg(feature = "bench")]
pub(crate) use tree::Tree;
pub use tree::{EntryRef, ValueRef};
pub use value::{Attached, Entry, Key, KeyState, Lifetime, Name, Revision, Value};
pub use watch::{Updates, Watch, WatchBatch, WatchError, WatchFrom, WatchShows, WatchTarget};
