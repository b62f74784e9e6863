//! Stores the state on disk, so that a restarted server has it again.
//!
//! ```text
//! owner -- LogBatch -> persister thread -> tail         the write-ahead log: one record a commit
//!   ^                         |         -> log.redb     older records, moved there by checkpoints
//!   |                         |         -> watermark    the last record that is known to be durable
//!   +------- Event -----------+
//! owner -- CopySlice -> snapshot thread -> snapshot-a.redb, snapshot-b.redb, in turn
//! ```
//!
//! Imports go one way. From the bottom: `stored` (messages on disk) and `record` (a message with its checksum); `disk`,
//! `engine` and the files `wal`, `log`, `pages`, `snapshot` and `watermark`; `interface` (the two queues) and the threads
//! `persister` and `snapshotter`; `replaying` and `replay`, `coherence`, `recover`, `create` and `open`; `backup` and `inspect`.

pub(crate) mod backup;
mod coherence;
mod create;
mod directory;
mod directory_id;
mod disk;
mod disk_file;
mod engine;
mod error;
mod file_name;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod inspect;
mod interface;
mod log;
mod open;
mod pages;
mod persister;
mod read_only;
mod record;
mod recover;
mod replay;
mod replaying;
#[cfg(test)]
mod sim_disk;
mod snapshot;
mod snapshotter;
mod space;
mod stored;
mod wal;
mod watermark;

#[cfg(test)]
pub(crate) use coherence::newest_record;
#[cfg(test)]
pub(crate) use create::{create, make_room};
#[cfg(test)]
pub(crate) use directory::Directory;
pub(crate) use directory::IfMissing;
#[cfg(test)]
pub(crate) use disk::Disk;
pub use error::OpenError;
#[cfg(test)]
pub(crate) use file_name::{FileName, SnapshotSlot};
pub(crate) use interface::{AnswerWhen, Command, Event, Journal, LogBatch, Space};
#[cfg(test)]
pub(crate) use interface::{CommandSink, QUEUE_CAPACITY};
#[cfg(test)]
pub(crate) use open::{OpenedStore, open};
pub(crate) use open::{StoreOptions, open_directory};
#[cfg(test)]
pub(crate) use sim_disk::SimDisk;
