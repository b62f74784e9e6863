//! The task that owns the state, and the handle by which everyone else asks it.

mod answer;
mod backups;
mod calls;
mod clock;
mod commit;
mod dispatch;
mod error;
mod handle;
mod mailbox;
mod message;
mod quota;
mod reply;
mod run;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod uncommitted;
mod watches;

pub use backups::OpenBackup;
pub use clock::Clock;
#[cfg(test)]
pub(crate) use commit::{CommitQueue, HeldReply};
pub use error::{CallError, JournalLost, Unknown};
pub use handle::OwnerHandle;
pub use message::{EachFrame, Usage};
pub use quota::{ConnectionQuota, QuotaGuard};
pub use reply::{Pending, Timer};
pub use run::spawn;
pub(crate) use run::spawn_with;
pub use state::OwnerLimits;
pub use watches::{NewWatch, NextBatch, OpenWatch, WatchId};
