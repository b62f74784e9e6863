//! The thread that writes a snapshot, beside the thread that writes the log.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as tokio_mpsc;

use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::queue::Work;
use super::snapshot::{NewSnapshot, SnapshotWriter};
use crate::config::WAL_BYTES_MAX;
use crate::journal::interface::Event;
use crate::journal::pages::PageWriter;
use crate::journal::stored::{Header, SnapshotMeta};
use crate::machine::{CopyHead, CopySlice};

/// The snapshot thread pauses this many times as long as it has just written, so that commits of the log find the disk free
/// most of the time.
const SNAPSHOT_PAUSE: u32 = 3;

/// The longest pause: on a slow disk, a snapshot must end before the next one is due.
const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Bytes of a snapshot that is written whatever space is left.
const SNAPSHOT_SMALL_BYTES: u64 = 2 << 20;

/// Bytes that a larger snapshot leaves on the disk for the log meanwhile: one checkpoint.
const SNAPSHOT_FREE_BYTES_MIN: u64 = 2 * WAL_BYTES_MAX;

/// A snapshot that is to be written.
pub(super) struct Snapshotter {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) slot: SnapshotSlot,
    pub(super) header: Header,
    pub(super) copy: CopyHead,
    /// The slices of the copy, one after each [`Event::NextSlice`].
    pub(super) slices: tokio_mpsc::Receiver<CopySlice>,
    pub(super) events: tokio_mpsc::Sender<Event>,
    /// Where the end of the snapshot is reported.
    pub(super) done: SyncSender<Work>,
}

impl Snapshotter {
    /// Starts the thread.
    pub(super) fn start(self) -> io::Result<JoinHandle<()>> {
        let thread = thread::Builder::new().name("snapshot".into());
        thread.spawn(move || self.run())
    }

    fn run(mut self) {
        let name = FileName::Snapshot(self.slot);
        let written = catch_unwind(AssertUnwindSafe(|| self.write()));
        let written = written.unwrap_or_else(|_| {
            Err(FileError::damaged(
                name,
                "in memory",
                "the snapshot thread panicked",
            ))
        });
        if !matches!(written, Ok(Some(_))) {
            // An incomplete snapshot is useless, and takes space.
            let file = self.disk.open(name);
            let _ = file.and_then(|file| file.set_len(0));
        }
        if let Some(written) = written.transpose() {
            // An error means that the persister is gone.
            let _ = self.done.send(Work::SnapshotDone(written));
        }
    }

    /// Fails if a snapshot that is not small leaves too little space: the last of it is for the log.
    fn check_space(&self, written: u64) -> Result<(), FileError> {
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        match written > SNAPSHOT_SMALL_BYTES && free < SNAPSHOT_FREE_BYTES_MIN {
            true => Err(FileError::io(
                FileName::Snapshot(self.slot),
                io::ErrorKind::StorageFull.into(),
            )),
            false => Ok(()),
        }
    }

    /// Writes the slices to the file. Returns `None` if the owner is gone, or has abandoned the snapshot.
    fn write(&mut self) -> Result<Option<NewSnapshot>, FileError> {
        let began = Instant::now();
        let mut file = SnapshotWriter::create(&*self.disk, self.slot)?;
        let mut pages = PageWriter::new(self.header.clone(), &self.copy);
        let (digest, key_count) = loop {
            if self.events.blocking_send(Event::NextSlice).is_err() {
                return Ok(None);
            }
            let Some(slice) = self.slices.blocking_recv() else {
                return Ok(None);
            };
            let end = pages.write(&slice);
            self.check_space(file.written_bytes())?;
            let writing = Instant::now();
            file.write(pages.take_pages())?;
            // Leave the disk and the core to the log.
            thread::sleep((SNAPSHOT_PAUSE * writing.elapsed()).min(SNAPSHOT_PAUSE_MAX));
            if let Some(end) = end {
                break end;
            }
        };
        let bytes = file.finish()?;
        Ok(Some(NewSnapshot {
            meta: SnapshotMeta {
                slot: self.slot.number(),
                seq: self.header.seq,
                revision: self.header.revision,
                digest,
            },
            bytes,
            key_count,
            took: began.elapsed(),
        }))
    }
}
