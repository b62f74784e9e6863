//! The thread that writes the log, and the one that writes a snapshot beside it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as tokio_mpsc;
use tracing::{debug, error, info, warn};

use super::disk::{self, Disk, FileName, Slot};
use super::log::{Commit, Encoded, Log, Sync};
use super::snapshot::SnapshotWriter;
use super::stored::{self, FORMAT, Head, Meta, Record, SnapshotMeta};
use super::watermark::Watermark;
use super::{Answers, Command, Event, Fault, Journal, PageWriter, Position, QUEUE, Segment, Space};
use crate::config::{Durability, SPACE_INTERVAL, UNSYNCED_BYTES_MAX};
use crate::machine::{CopyHead, CopySlice, Time};
use crate::mutants::mutant;

/// How long a full disk is left alone before it is tried again, at first and at last.
const FULL_PAUSE: Duration = Duration::from_millis(100);
const FULL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long nothing may happen before the log is shortened.
const PRUNE_PAUSE: Duration = Duration::from_millis(10);

/// A snapshot that was written.
#[derive(Debug)]
pub(crate) struct NewSnapshot {
    meta: SnapshotMeta,
    bytes: u64,
    key_count: u64,
    took: Duration,
}

/// What the log's thread has.
#[derive(Debug)]
pub(super) struct Persister {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) watermark: Watermark,
    pub(super) meta: Meta,
    pub(super) position: Position,
    /// Bytes of the log since the last snapshot.
    pub(super) log_bytes: u64,
    pub(super) durability: Durability,
    pub(super) least_free_bytes: u64,
}

impl Persister {
    /// Starts the thread. It ends when it is told to close, when the owner is gone, or after a failure.
    pub(super) fn start(self, snapshot_bytes: u64) -> (Journal, JoinHandle<()>) {
        let (commands, receiver) = mpsc::sync_channel(QUEUE);
        let (sender, events) = tokio_mpsc::channel(QUEUE);
        let journal = Journal {
            commands,
            events,
            seq: self.position.seq,
            answers: match self.durability {
                Durability::Sync => Answers::Committed,
                Durability::Interval(_) | Durability::None => Answers::AtOnce,
            },
            snapshot_bytes,
        };
        let writing = Writing {
            synced_at: Instant::now(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            prune: self.older_snapshot(),
            snapshot: None,
            space: Space::Enough,
            space_seen: None,
            events: sender,
            of: self,
        };
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || writing.run(&receiver))
            .expect("the system has another thread");
        (journal, thread)
    }

    /// Up to where the log is no more needed: the older snapshot has it, too.
    fn older_snapshot(&self) -> Option<u64> {
        match &self.meta.snapshots[..] {
            [older, _newer] => Some(older.seq),
            _ => None,
        }
    }
}

/// The log's thread at work.
struct Writing {
    of: Persister,
    events: tokio_mpsc::Sender<Event>,
    synced_at: Instant,
    /// The records that are not synced yet: the engine forgets them when it has to be opened anew.
    unsynced: Vec<Encoded>,
    unsynced_bytes: usize,
    /// Records up to here are to be taken away.
    prune: Option<u64>,
    snapshot: Option<JoinHandle<()>>,
    space: Space,
    space_seen: Option<Instant>,
}

/// Why the thread ends.
enum End {
    Closed,
    /// The owner is gone.
    Left,
    Failed(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Writing {
    fn run(mut self, commands: &Receiver<Command>) {
        let end = self.work(commands);
        if let Some(snapshot) = self.snapshot.take() {
            // It ends when the owner sends it no more slices, and holds the disk until then.
            let _ = snapshot.join();
        }
        match end {
            Ok(never) => match never {},
            Err(End::Closed) => self.tell(Event::Closed),
            Err(End::Left) => debug!("the owner is gone"),
            Err(End::Failed(fault)) => {
                error!(%fault, "the journal cannot go on");
                self.tell(Event::Failed(fault.to_string()));
            }
        }
    }

    fn tell(&self, event: Event) {
        // An error means that the owner is gone, which is found out with the next command.
        let _ = self.events.blocking_send(event);
    }

    fn work(&mut self, commands: &Receiver<Command>) -> Result<Infallible, End> {
        loop {
            self.look_at_space();
            let command = match commands.recv_timeout(self.patience()) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => {
                    self.idle()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(End::Left),
            };
            match command {
                Command::Commit(segment) => self.commit(segment)?,
                Command::Snapshot {
                    head,
                    seq,
                    time,
                    slices,
                    done,
                } => self.snapshot(head, seq, time, slices, done)?,
                Command::SnapshotDone(done) => self.snapshot_done(done)?,
                Command::Close { revision, time } => {
                    self.of.meta.closed = true;
                    self.of.meta.used_revision = revision;
                    self.of.meta.time = stored::nanos(time);
                    self.of.disk.force_syncs();
                    self.sync_meta()?;
                    return Err(End::Closed);
                }
            }
        }
    }

    /// How long to wait for a command before [something else](Self::idle) is to be done.
    fn patience(&self) -> Duration {
        if self.events.is_closed() {
            return Duration::ZERO;
        }
        match (self.of.durability, self.unsynced.is_empty(), self.prune) {
            (Durability::Interval(interval), false, _) => {
                interval.saturating_sub(self.synced_at.elapsed())
            }
            (_, true, Some(_)) => PRUNE_PAUSE,
            _ => SPACE_INTERVAL,
        }
    }

    fn idle(&mut self) -> Result<(), End> {
        if self.events.is_closed() {
            return Err(End::Left);
        }
        let due = match self.of.durability {
            Durability::Interval(interval) if !self.unsynced.is_empty() => {
                self.synced_at.elapsed() >= interval
            }
            _ => self.prune.is_some(),
        };
        if due {
            self.write(None, Sync::Now)?;
        }
        Ok(())
    }

    fn commit(&mut self, segment: Segment) -> Result<(), End> {
        let Segment {
            seq,
            revision,
            time,
            effects,
        } = segment;
        let record = Record {
            format: FORMAT,
            epoch: self.of.meta.epoch,
            seq,
            revision,
            time: stored::nanos(time),
            previous_crc: self.of.position.crc,
            effects: effects.iter().map(stored::Effect::from).collect(),
        };
        let encoded = Encoded::of(&record, self.of.position);
        drop((record, effects));
        let sync = match self.of.durability {
            Durability::Interval(interval)
                if self.synced_at.elapsed() < interval
                    && self.unsynced_bytes < UNSYNCED_BYTES_MAX =>
            {
                Sync::Later
            }
            _ => Sync::Now,
        };
        let bytes = encoded.bytes.len() as u64;
        let sync = match sync {
            Sync::Now if mutant("no-sync") => Sync::Later,
            sync => sync,
        };
        if mutant("answer-before-sync") {
            let log_bytes = self.of.log_bytes;
            self.tell(Event::Committed { seq, log_bytes });
        }
        if mutant("watermark-before-sync") {
            self.of.watermark.set(seq);
        }
        self.write(Some(encoded), sync)?;
        self.of.log_bytes = self.of.log_bytes.saturating_add(bytes);
        if mutant("answer-before-sync") {
            return Ok(());
        }
        self.tell(Event::Committed {
            seq,
            log_bytes: self.of.log_bytes,
        });
        Ok(())
    }

    /// Writes a record, and whatever else is to be written.
    fn write(&mut self, record: Option<Encoded>, sync: Sync) -> Result<(), End> {
        let from = self.unsynced.len();
        if let Some(record) = record {
            self.unsynced_bytes += record.bytes.len();
            self.of.position = record.position;
            self.unsynced.push(record);
        }
        let prune = self.prune;
        let more = self.commit_when_there_is_space(from, None, prune, sync)?;
        if !more {
            self.prune = None;
        }
        Ok(())
    }

    fn sync_meta(&mut self) -> Result<(), End> {
        let meta = self.of.meta.clone();
        let from = self.unsynced.len();
        self.commit_when_there_is_space(from, Some(&meta), None, Sync::Now)?;
        Ok(())
    }

    /// Commits the unsynced records from `from` on, and the rest. Waits where the disk is full until it is not. Returns
    /// whether there is more to prune.
    fn commit_when_there_is_space(
        &mut self,
        mut from: usize,
        meta: Option<&Meta>,
        prune: Option<u64>,
        sync: Sync,
    ) -> Result<bool, End> {
        let more = loop {
            let commit = Commit {
                records: &self.unsynced[from..],
                meta,
                prune,
            };
            match self.of.log.commit(&commit, sync) {
                Ok(more) => break more,
                Err(fault) if fault.is_full() => {
                    let there = self.wait_for_space()?;
                    // What was not synced is gone with the engine that had it.
                    from = self.unsynced.partition_point(|of| of.position.seq <= there);
                }
                Err(fault) => return Err(fault.into()),
            }
        };
        if sync == Sync::Now {
            self.synced();
        }
        Ok(more)
    }

    /// Everything that was written is on disk.
    fn synced(&mut self) {
        self.synced_at = Instant::now();
        self.unsynced_bytes = 0;
        let last = self.unsynced.drain(..).next_back();
        // Where the system syncs when it likes, the mark could be on disk before what it marks.
        if let Some(last) = last
            && self.of.durability != Durability::None
        {
            self.of.watermark.set(last.position.seq);
        }
    }

    /// Waits until the log can be written again, and opens it anew: after an error the engine takes nothing more, and only
    /// what is on disk tells which commits are there. Returns the last record.
    fn wait_for_space(&mut self) -> Result<u64, End> {
        warn!("the disk is full: waiting for space");
        let mut pause = FULL_PAUSE;
        loop {
            let free = self.of.disk.free_bytes().unwrap_or(0);
            self.tell_space(Space::Full {
                free,
                least: self.of.least_free_bytes,
            });
            thread::sleep(pause);
            if self.events.is_closed() {
                return Err(End::Left);
            }
            if free == 0 {
                continue;
            }
            // Looking costs a check of the whole log.
            pause = (2 * pause).min(FULL_PAUSE_MAX);
            match Log::open(&*self.of.disk) {
                Ok(log) => {
                    let last = log.last()?.map_or(0, |last| last.seq);
                    let synced = match self.unsynced.first() {
                        Some(first) => first.position.seq - 1,
                        None => self.of.position.seq,
                    };
                    if last < synced {
                        return Err(End::Failed(Fault::damaged(
                            FileName::Log,
                            format!("at record {synced}"),
                            "it is gone after the disk was full",
                        )));
                    }
                    self.of.log = log;
                    self.space_seen = None;
                    return Ok(match mutant("full-is-committed") {
                        true => self.of.position.seq,
                        false => last,
                    });
                }
                Err(fault) if fault.is_full() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    fn look_at_space(&mut self) {
        if self
            .space_seen
            .is_some_and(|seen| seen.elapsed() < SPACE_INTERVAL)
        {
            return;
        }
        self.space_seen = Some(Instant::now());
        // The engine doubles a file that is too small.
        let log = disk::len(&*self.of.disk, FileName::Log);
        let least = match self.of.least_free_bytes {
            0 => 0,
            least => least.max(log.unwrap_or(0)),
        };
        match self.of.disk.free_bytes() {
            Ok(free) if free < least => self.tell_space(Space::Low { free, least }),
            Ok(_) => self.tell_space(Space::Enough),
            Err(error) => warn!(%error, "cannot tell how much space there is"),
        }
    }

    fn tell_space(&mut self, space: Space) {
        if std::mem::discriminant(&space) != std::mem::discriminant(&self.space) {
            match space {
                Space::Enough => info!("there is enough disk space again"),
                Space::Low { free, least } => {
                    warn!(
                        free,
                        least, "little disk space is left: no growth from here on"
                    );
                }
                Space::Full { .. } => {}
            }
            self.tell(Event::Space(space));
        }
        self.space = space;
    }

    fn snapshot(
        &mut self,
        head: CopyHead,
        seq: u64,
        time: Time,
        slices: Receiver<CopySlice>,
        done: SyncSender<Command>,
    ) -> Result<(), End> {
        debug_assert_eq!(seq, self.of.position.seq, "it comes after its last segment");
        let stored_head = Head {
            seq,
            record_crc: self.of.position.crc,
            ..Head::of(&self.of.meta.store_id, head.revision, time)
        };
        let last = self.of.meta.snapshots.last();
        let slot = last.map_or(Slot::A, |last| Slot::of_number(last.slot).other());
        let (disk, events) = (self.of.disk.clone(), self.events.clone());
        let writing = move || {
            let write = || write_snapshot(&*disk, slot, stored_head, &head, &slices, &events);
            let written = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| {
                let name = FileName::Snapshot(slot);
                Err(Fault::damaged(name, "in memory", "its thread gave up"))
            });
            if !matches!(written, Ok(Some(_))) {
                // Half of it is of no use, and takes space.
                let file = disk.open(FileName::Snapshot(slot));
                let _ = file.and_then(|file| file.set_len(0));
            }
            if let Some(written) = written.transpose() {
                // An error means that nobody needs it any more.
                let _ = done.send(Command::SnapshotDone(written));
            }
        };
        let thread = thread::Builder::new()
            .name("snapshot".into())
            .spawn(writing);
        match thread {
            Ok(thread) => {
                self.snapshot = Some(thread);
                Ok(())
            }
            Err(error) => self.snapshot_done(Err(Fault::io(FileName::Snapshot(slot), error))),
        }
    }

    fn snapshot_done(&mut self, done: Result<NewSnapshot, Fault>) -> Result<(), End> {
        let made = done.is_ok();
        match done {
            Ok(new) => {
                let snapshots = &mut self.of.meta.snapshots;
                if snapshots.len() == 2 {
                    snapshots.remove(0);
                }
                info!(
                    keys = new.key_count,
                    revision = new.meta.revision,
                    bytes = new.bytes,
                    took = ?new.took,
                    "made a snapshot"
                );
                snapshots.push(new.meta);
                self.sync_meta()?;
                self.prune = self.of.older_snapshot();
                if mutant("prune-too-much") {
                    self.prune = Some(self.of.position.seq);
                }
                self.of.log_bytes = 0;
            }
            Err(fault) => warn!(%fault, "could not make a snapshot; trying again later"),
        }
        self.tell(Event::SnapshotEnded { made });
        Ok(())
    }
}

/// Writes a snapshot of the slices that come. None if they end too early: the owner is gone, or has given it up.
fn write_snapshot(
    disk: &dyn Disk,
    slot: Slot,
    head: Head,
    copy: &CopyHead,
    slices: &Receiver<CopySlice>,
    events: &tokio_mpsc::Sender<Event>,
) -> Result<Option<NewSnapshot>, Fault> {
    let began = Instant::now();
    let (seq, revision) = (head.seq, head.revision);
    let mut file = SnapshotWriter::create(disk, slot)?;
    let mut pages = PageWriter::new(head, copy);
    let (digest, key_count) = loop {
        if events.blocking_send(Event::NextSlice).is_err() {
            return Ok(None);
        }
        let Ok(slice) = slices.recv() else {
            return Ok(None);
        };
        let end = pages.slice(&slice);
        file.pages(pages.take())?;
        if let Some(end) = end {
            break end;
        }
    };
    let bytes = file.end()?;
    Ok(Some(NewSnapshot {
        meta: SnapshotMeta {
            slot: slot.number(),
            seq,
            revision,
            digest,
        },
        bytes,
        key_count,
        took: began.elapsed(),
    }))
}
