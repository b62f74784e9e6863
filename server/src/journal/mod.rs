//! Keeps the state, so that a server that starts has it again.
//!
//! The owner tells a journal what has happened, and is told when it is kept (`interface`). One journal writes to the disk of
//! this machine: `local`. What any journal needs stands above it: records (`record`), the messages that they are made of
//! (`stored`), the pages of a copy (`pages`), replay (`replaying`), and backups.

pub(crate) mod backup;
mod error;
pub(crate) mod etcd;
#[cfg(test)]
mod fuzz_tests;
mod interface;
mod local;
mod pages;
mod record;
mod replaying;
mod stored;

pub use error::OpenError;
pub(crate) use interface::{AnswerWhen, Command, Event, Journal, LogBatch, Space};
#[cfg(test)]
pub(crate) use interface::{CommandSink, QUEUE_CAPACITY};
#[cfg(test)]
pub(crate) use local::{
    Directory, Disk, FileName, OpenedStore, SimDisk, SnapshotSlot, create, make_room,
    newest_record, open,
};
pub(crate) use local::{IfMissing, StoreOptions, inspect, open_directory, restore};
