//! Keeps what happens to the state, so that it is there again after a restart.
//!
//! ```text
//! owner -> segment -> persister thread -> tail            a record a commit
//!   ^                      |           |-> log.redb       those before, moved there many at a time
//!   |                      |           \-> watermark      how far it was at least
//!   +------ events --------+
//! owner -> slices of a copy -> snapshot thread -> snapshot-a.redb, snapshot-b.redb, in turn
//! ```

pub(crate) mod backup;
mod create;
mod directory;
mod disk;
mod engine;
mod error;
mod file_name;
pub(crate) mod inspect;
mod interface;
mod log;
mod open;
mod pages;
mod persister;
mod record;
mod recover;
mod replay;
#[cfg(test)]
mod sim_disk;
mod snapshot;
mod snapshotter;
mod stored;
mod wal;
mod watermark;

#[cfg(test)]
pub(crate) use directory::{Directory, IfMissing};
pub use error::OpenError;
#[cfg(test)]
pub(crate) use file_name::{FileName, SnapshotSlot};
#[cfg(test)]
pub(crate) use interface::QUEUE_CAPACITY;
pub(crate) use interface::{AnswerWhen, Command, DiskSpace, Event, Journal, LogBatch};
#[cfg(test)]
pub(crate) use open::{OpenedStore, open};
pub(crate) use open::{StoreOptions, open_directory};
#[cfg(test)]
pub(crate) use sim_disk::SimDisk;
