//! The state and its operations: no I/O, no clock, no randomness. The same calls give the same answers anywhere.

mod advance;
mod answer_room;
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
mod requests;
mod sessions;
mod state_machine;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod value;
mod watch;

pub use bounds::{Beyond, Bounds};
pub use change::{Change, ChangeCause, Keeps};
pub use condition::{Condition, Expect};
pub use copies::CopyId;
pub use copy::{CopyHead, CopyLost, CopySlice};
pub use effect::{Effect, OpenedSession};
pub(crate) use index::ALLOWED_BYTES;
pub use operation::{
    Add, AddOutcome, AddTerms, AllOutcome, CloseOutcome, Delete, DeleteOutcome, EachOutcome, List,
    ListOutcome, ListShows, LivingSession, OpenOutcome, OpenSession, Operation, Outcome, Page,
    Read, ReadOutcome, Rest, Session, SessionLife, SetLifetime, Transition, TransitionOutcome,
    TransitionTerms, Write, WriteAnswer, WriteOutcome, WriteTerms,
};
pub use protocol::{DefineMachine, Machine, Purpose, State, Timeout};
pub use rejection::{Cause, DiskLow, Mismatch, RefusedMove, RejectedAt, Rejection, Stranded};
pub use replay::Unfit;
pub use requests::{Answer, Answered, Fingerprint, Request};
pub use sessions::SESSION_SLICE;
pub use state_machine::{StateMachine, StoreLimits, Usage};
pub use time::Time;
#[cfg(feature = "bench")]
pub(crate) use tree::Store;
pub use value::{Attached, Entry, Key, Lifetime, Name, Place, Revision, Value};
pub use watch::{Lost, News, Watch, WatchBatch, WatchFrom, WatchShows, WatchTarget};
