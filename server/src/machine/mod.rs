//! The state and its operations: no I/O, no clock, no randomness. The same calls give the same answers anywhere.

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
mod effect;
mod followers;
mod frames;
mod history;
mod index;
mod machines;
mod once;
mod operation;
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
pub(crate) use index::ALLOWED_BYTES;
pub use operation::{
    Add, AddOptions, AddOutcome, AllOutcome, CloseOutcome, Delete, DeleteOutcome, EachOutcome,
    HasMore, List, ListOutcome, ListShows, OnExisting, OpenOutcome, OpenSession, Operation,
    Outcome, Page, Read, ReadOutcome, Session, SessionLife, SetLifetime, Transition,
    TransitionOptions, TransitionOutcome, Write, WriteOptions, WriteOutcome, WriteShows,
};
pub use protocol::{DefineMachine, Machine, Purpose, State, Timeout};
pub use rejection::{
    Cause, DiskLow, Mismatch, RefusedTransition, RejectedAt, Rejection, StrandedKeys,
};
pub use replay::ReplayError;
pub use request_ids::{AppliedRequest, Fingerprint, RequestId, SavedOutcome};
pub use sessions::SESSION_SLICE;
pub use state_machine::{StateMachine, StoreLimits, Usage};
pub use time::Time;
#[cfg(feature = "bench")]
pub(crate) use tree::Tree;
pub use value::{Attached, Entry, Key, KeyState, Lifetime, Name, Revision, Value};
pub use watch::{Updates, Watch, WatchBatch, WatchError, WatchFrom, WatchShows, WatchTarget};
