//! The journal on the disk of this machine: a data directory.
//!
//! ```text
//! owner -- LogBatch -> persister thread -> tail         the write-ahead log: one record a commit
//!   ^                         |         -> log.redb     older records, moved there by checkpoints
//!   |                         |         -> watermark    the last record that is known to be durable
//!   +------- Event -----------+
//! owner -- CopySlice -> snapshot thread -> snapshot-a.redb, snapshot-b.redb, in turn
//! ```
//!
//! Imports go one way. From the bottom: `disk`, `engine` and the files `wal`, `log`, `snapshot` and `watermark`; `queue` and the
//! threads `persister` and `snapshotter`; `replay`, `coherence`, `recover`, `create` and `open`; `restore` and `inspect`.

mod coherence;
mod create;
mod directory;
mod directory_id;
mod disk;
mod disk_file;
mod engine;
mod file_error;
mod file_name;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod inspect;
mod log;
mod open;
mod persister;
mod queue;
mod read_only;
mod recover;
mod replay;
mod restore;
#[cfg(test)]
mod sim_disk;
mod snapshot;
mod snapshotter;
mod space;
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
#[cfg(test)]
pub(crate) use file_name::{FileName, SnapshotSlot};
#[cfg(test)]
pub(crate) use open::{OpenedStore, open};
pub(crate) use open::{StoreOptions, open_directory};
pub(crate) use restore::restore;
#[cfg(test)]
pub(crate) use sim_disk::SimDisk;
