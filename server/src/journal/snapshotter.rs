//! The thread that writes a snapshot beside the log's.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as tokio_mpsc;

use super::disk::Disk;
use super::error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::interface::{Command, Event};
use super::pages::PageWriter;
use super::snapshot::{NewSnapshot, SnapshotWriter};
use super::stored::{Header, SnapshotMeta};
use crate::machine::{CopyHead, CopySlice};

/// How many times as long as it has written a snapshot's thread pauses, so that commits of the log find the disk free
/// most of the time; and how long at most, so that the snapshot of a slow disk ends before the next is due.
const SNAPSHOT_PAUSE: u32 = 3;
const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_millis(50);

/// A snapshot that is to be written.
pub(super) struct Snapshotter {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) slot: SnapshotSlot,
    pub(super) head: Header,
    pub(super) copy: CopyHead,
    pub(super) slices: Receiver<CopySlice>,
    pub(super) events: tokio_mpsc::Sender<Event>,
    /// Where its end is told.
    pub(super) done: SyncSender<Command>,
}

impl Snapshotter {
    /// Starts the thread.
    pub(super) fn start(self) -> io::Result<JoinHandle<()>> {
        let thread = thread::Builder::new().name("snapshot".into());
        thread.spawn(move || self.run())
    }

    fn run(self) {
        let name = FileName::Snapshot(self.slot);
        let written = catch_unwind(AssertUnwindSafe(|| self.write()));
        let written = written
            .unwrap_or_else(|_| Err(FileError::damaged(name, "in memory", "its thread gave up")));
        if !matches!(written, Ok(Some(_))) {
            // Half of it is of no use, and takes space.
            let file = self.disk.open(name);
            let _ = file.and_then(|file| file.set_len(0));
        }
        if let Some(written) = written.transpose() {
            // An error means that nobody needs it any more.
            let _ = self.done.send(Command::SnapshotDone(written));
        }
    }

    /// Writes the slices that come. None if they end too early: the owner is gone, or has given it up.
    fn write(&self) -> Result<Option<NewSnapshot>, FileError> {
        let began = Instant::now();
        let mut file = SnapshotWriter::create(&*self.disk, self.slot)?;
        let mut pages = PageWriter::new(self.head.clone(), &self.copy);
        let (digest, key_count) = loop {
            if self.events.blocking_send(Event::NextSlice).is_err() {
                return Ok(None);
            }
            let Ok(slice) = self.slices.recv() else {
                return Ok(None);
            };
            let end = pages.slice(&slice);
            let writing = Instant::now();
            file.pages(pages.take())?;
            // The disk and the core are the log's, too.
            thread::sleep((SNAPSHOT_PAUSE * writing.elapsed()).min(SNAPSHOT_PAUSE_MAX));
            if let Some(end) = end {
                break end;
            }
        };
        let bytes = file.end()?;
        Ok(Some(NewSnapshot {
            meta: SnapshotMeta {
                slot: self.slot.number(),
                seq: self.head.seq,
                revision: self.head.revision,
                digest,
            },
            bytes,
            key_count,
            took: began.elapsed(),
        }))
    }
}
