//! The task that owns the state, and the handle through which everybody else calls it.
//!
//! ```text
//! handle -> mailbox -> run -> dispatch -> calls -> machine
//!    ^                                      |
//!    +------------- reply <-------------- answer -> commit -> journal
//! ```
//!
//! The handle puts a message into the mailbox. The task's loop takes messages in batches, and `dispatch` calls the
//! method for each kind of message, in `calls` or `frames`. Without a journal the answer is sent at once; with one it is held in `commit` until
//! every change that it may show is on disk, and in `shown` until it is confirmed, if another process can take the store over.

mod answer;
mod backups;
mod calls;
mod clock;
mod commit;
mod connection_gate;
mod dispatch;
mod error;
mod frames;
mod gate;
mod group_commit;
mod hand_off;
mod handle;
mod heartbeat;
mod mailbox;
mod message;
mod quota;
mod reply;
mod run;
mod shares;
mod shown;
mod snapshot;
mod state;
mod successor;
mod tally;
#[cfg(test)]
mod tests;
mod times;
mod uncommitted;
mod watches;
mod weak;

pub use backups::OpenBackup;
pub use clock::Clock;
#[cfg(test)]
pub(crate) use commit::CommitQueue;
pub use error::{CallError, HandOffError, JournalLost, Unknown};
pub use handle::OwnerHandle;
pub use heartbeat::Heartbeat;
pub use message::{KeysInStates, Usage};
pub use quota::{CallGuard, ClientMemory, ConnectionQuota, NoRoom, QuotaGuard};
#[cfg(test)]
pub(crate) use reply::HeldReply;
pub use reply::{Pending, Timer};
pub use run::spawn;
pub(crate) use run::spawn_with;
pub use state::OwnerLimits;
pub use successor::Successor;
pub use times::{CallTimes, TimesSpent};
pub use watches::{NewWatch, NextBatch, OpenWatch, WatchId};
pub use weak::WeakOwner;
