//! The persister: the thread that writes the log.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as tokio_mpsc;
use tracing::{debug, error, info, warn};

use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::log::{Log, PRUNE_RECORDS_MAX, SyncWhen};
use super::queue::{Work, queue};
use super::snapshot::NewSnapshot;
use super::snapshotter::Snapshotter;
use super::space::{DiskSpace, SpaceWanted};
use super::wal::WalDamage;
use super::watermark::Watermark;
use crate::config::{Durability, SPACE_INTERVAL};
use crate::journal::interface::{
    AnswerWhen, Command, Event, Journal, LogBatch, QUEUE_CAPACITY, Space,
};
use crate::journal::record::{EncodedRecord, Position};
use crate::journal::stored::{self, FORMAT, Header, LogRecord, StoreMeta};
use crate::machine::{CopyHead, CopySlice, Time};
use crate::metrics::{JournalCells, now_nanos};
use crate::mutants::mutant;

/// The first pause before a full disk is tried again. Each pause is twice as long as the one before.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a full disk is tried again.
const FULL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long the persister must be idle before it removes records from the log.
const PRUNE_PAUSE: Duration = Duration::from_millis(10);

/// Most records that one transaction removes while there is little space.
const PRUNE_RECORDS_MAX_LOW: u64 = 1 << 16;

/// Bytes that the engine may keep in the log's file besides the records.
const LOG_SLACK_BYTES: u64 = 512 << 10;

/// The files of an open store, and how they are written.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) wal_bytes_max: u64,
    pub(super) watermark: Watermark,
    /// The meta record, as it is in the log, but without a snapshot that is being replaced.
    pub(super) meta: StoreMeta,
    /// The last record.
    pub(super) position: Position,
    /// Bytes of the records since the last snapshot.
    pub(super) log_bytes: u64,
    pub(super) durability: Durability,
    pub(super) space: SpaceWanted,
    /// Whether the disk was too full to write `meta`: nothing else may be written before.
    pub(super) meta_waits: bool,
    /// Where the journal counts.
    pub(super) cells: Arc<JournalCells>,
}

impl OpenStore {
    /// Starts the persister. The thread ends when it gets [`Command::Close`], when the owner is gone, or after a failure.
    pub(super) fn start(self, snapshot_log_bytes: u64) -> (Journal, JoinHandle<()>) {
        let (commands, own_queue, receiver) = queue();
        let (sender, events) = tokio_mpsc::channel(QUEUE_CAPACITY);
        let mut space = DiskSpace::new(Arc::clone(&self.disk), self.space, Arc::clone(&self.cells));
        self.cells.log_bytes.set(self.log_bytes);
        match self.meta_waits {
            true => space.full(),
            false => space.look(),
        };
        let journal = Journal {
            space: space.told,
            commands: Box::new(commands),
            events,
            seq: self.position.seq,
            answers: match self.durability {
                Durability::Sync => AnswerWhen::Committed,
                Durability::Interval(_) | Durability::None => AnswerWhen::Applied,
            },
            snapshot_log_bytes,
        };
        let persister = Persister {
            synced_at: Instant::now(),
            snapshot: None,
            space,
            checked_present_at: None,
            removable: 0,
            snapshot_log_bytes,
            between_bytes: 0,
            is_compact: true,
            events: sender,
            own_queue,
            store: self,
        };
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || persister.run(&receiver))
            .expect("the system can start a thread");
        (journal, thread)
    }

    /// The last record that no recovery needs, because both snapshots contain it. `None` if there are not two snapshots.
    fn last_unneeded_record(&self) -> Option<u64> {
        match &self.meta.snapshots[..] {
            [older, _newer] => Some(older.seq),
            _ => None,
        }
    }
}

/// The state of the thread.
struct Persister {
    store: OpenStore,
    events: tokio_mpsc::Sender<Event>,
    /// The persister's own queue, for the snapshot thread. The queue ends with the owner.
    own_queue: Weak<SyncSender<Work>>,
    /// When every record was durable for the last time.
    synced_at: Instant,
    /// The last snapshot thread.
    snapshot: Option<JoinHandle<()>>,
    space: DiskSpace,
    /// When the files were last looked for.
    checked_present_at: Option<Instant>,
    /// What the owner was told with [`Event::Removable`].
    removable: u64,
    /// See [`Journal::snapshot_log_bytes`].
    snapshot_log_bytes: u64,
    /// Bytes of the records between the two snapshots, as far as this process knows.
    between_bytes: u64,
    /// Whether the log's file was looked at since records were removed.
    is_compact: bool,
}

/// Why the thread ends.
enum Stop {
    /// The owner closed the store.
    Closed,
    /// The owner dropped its end of the journal.
    OwnerGone,
    /// A file cannot be read or written.
    Failed(FileError),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::Failed(error)
    }
}

impl Persister {
    fn run(mut self, queue: &Receiver<Work>) {
        let stopped = self.run_until_stopped(queue);
        if let Some(snapshot) = self.snapshot.take() {
            // The snapshot thread uses the disk until it sees that no more slices come.
            let _ = snapshot.join();
        }
        match stopped {
            Ok(never) => match never {},
            Err(Stop::Closed) => self.send(Event::Closed),
            Err(Stop::OwnerGone) => debug!("the owner is gone"),
            Err(Stop::Failed(error)) => {
                error!(%error, "the journal failed");
                self.send(Event::Failed(error.to_string()));
            }
        }
    }

    fn send(&self, event: Event) {
        // An error means that the owner is gone. Receiving the next command reports that.
        let _ = self.events.blocking_send(event);
    }

    fn run_until_stopped(&mut self, queue: &Receiver<Work>) -> Result<Infallible, Stop> {
        if self.store.meta_waits {
            self.write_meta()?;
        }
        self.prune()?;
        loop {
            self.look_at_disk()?;
            self.compact()?;
            let command = match queue.recv_timeout(self.idle_timeout()) {
                Ok(Work::Command(command)) => command,
                Ok(Work::SnapshotDone(done)) => {
                    self.finish_snapshot(done)?;
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.on_idle()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::OwnerGone),
            };
            match command {
                Command::Commit(batch) => self.commit(batch)?,
                Command::Snapshot {
                    head: copy,
                    seq,
                    time,
                    bytes,
                    slices,
                } => match self.space.fits_snapshot(self.next_slot(), bytes) {
                    true => self.start_snapshot(copy, seq, time, slices)?,
                    false => {
                        let name = FileName::Snapshot(self.next_slot());
                        let full = io::Error::from(io::ErrorKind::StorageFull);
                        self.finish_snapshot(Err(FileError::io(name, full)))?;
                    }
                },
                // Nobody else can own the directory: it is locked.
                Command::Confirm => self.send(Event::Confirmed),
                Command::HandOff { .. } => self.send(Event::HandOffRefused(
                    "the store is on the disk of this machine, so no other node can go on with it"
                        .into(),
                )),
                Command::Close { revision, time } => {
                    self.store.meta.closed = true;
                    self.store.meta.used_revision = revision;
                    self.store.meta.time = stored::to_nanos(time);
                    self.write_meta()?;
                    return Err(Stop::Closed);
                }
            }
        }
    }

    /// How long to wait for a command before [`on_idle`](Self::on_idle) has something to do.
    fn idle_timeout(&self) -> Duration {
        if self.events.is_closed() {
            return Duration::ZERO;
        }
        match self.store.durability {
            Durability::Interval(interval) if !self.store.log.is_synced() => {
                interval.saturating_sub(self.synced_at.elapsed())
            }
            _ if self.store.log.has_to_prune() => match self.is_space_low() {
                true => Duration::ZERO,
                false => PRUNE_PAUSE,
            },
            _ => self.space.interval(),
        }
    }

    /// Does what is due while no command comes: a sync, or a checkpoint that removes records.
    fn on_idle(&mut self) -> Result<(), Stop> {
        if self.events.is_closed() {
            return Err(Stop::OwnerGone);
        }
        match self.store.durability {
            Durability::Interval(interval) if !self.store.log.is_synced() => {
                match self.synced_at.elapsed() >= interval {
                    true => self.retry_while_full(Log::sync),
                    false => Ok(()),
                }
            }
            _ if self.store.log.has_to_prune() => self.retry_while_full(Log::checkpoint),
            _ => Ok(()),
        }
    }

    /// Appends a batch to the log as one record.
    fn commit(&mut self, batch: LogBatch) -> Result<(), Stop> {
        let began = Instant::now();
        let LogBatch {
            seq,
            revision,
            time,
            effects,
        } = batch;
        let operations = effects.len() as u64;
        let record = LogRecord {
            format: FORMAT,
            epoch: self.store.meta.epoch,
            seq,
            revision,
            time: stored::to_nanos(time),
            previous_crc: self.store.position.crc,
            ..LogRecord::default()
        };
        let encoded = EncodedRecord::with(&record, &effects, self.store.position);
        drop(effects);
        let sync = match self.store.durability {
            Durability::Interval(interval) if self.synced_at.elapsed() < interval => {
                SyncWhen::Later
            }
            Durability::Sync | Durability::Interval(_) => SyncWhen::Now,
            // Records become durable with each checkpoint, as the write-ahead log gets full.
            Durability::None => SyncWhen::Later,
        };
        let bytes = encoded.bytes.len() as u64;
        // The engine takes up to twice as much.
        self.space.add_written(2 * bytes);
        self.retry_while_full(|log| {
            // The record may have been written before the disk was full, but it may not be durable: a checkpoint makes it so.
            match log.end() >= seq {
                true => log.checkpoint(),
                false => log.append(&encoded, sync),
            }
        })?;
        self.store.position = encoded.position;
        self.store.log_bytes = self.store.log_bytes.saturating_add(bytes);
        let cells = &self.store.cells;
        cells.commits.add(began.elapsed());
        cells.commit_bytes.add(bytes);
        cells.commit_operations.add(operations);
        cells.log_bytes.set(self.store.log_bytes);
        // Before the owner has room for more changes, it must know how much space is left for them.
        self.look_at_disk()?;
        self.send(Event::Committed {
            seq,
            log_bytes: self.store.log_bytes,
        });
        Ok(())
    }

    /// Writes the meta record, durably.
    fn write_meta(&mut self) -> Result<(), Stop> {
        let meta = self.store.meta.clone();
        self.retry_while_full(|log| log.set_meta(&meta))?;
        self.store.meta_waits = false;
        Ok(())
    }

    /// Has the log remove the records that no recovery needs.
    fn prune(&mut self) -> Result<(), Stop> {
        match self.store.last_unneeded_record() {
            Some(_) if mutant("prune-too-much") => self.store.log.prune(self.store.position.seq)?,
            Some(seq) => self.store.log.prune(seq)?,
            None => {}
        }
        let count = match self.is_space_low() {
            true => PRUNE_RECORDS_MAX_LOW,
            false => PRUNE_RECORDS_MAX,
        };
        self.store.log.set_prune_records_max(count);
        self.is_compact = false;
        Ok(())
    }

    /// Makes the log's file smaller, if it is mostly empty and the space is needed.
    fn compact(&mut self) -> Result<(), Stop> {
        if self.is_compact || self.store.log.has_to_prune() {
            return Ok(());
        }
        self.is_compact = true;
        let needed = self.store.log_bytes.saturating_add(self.between_bytes);
        let is_worth_it = |bytes: u64| match self.is_space_low() {
            true => bytes > (2 * LOG_SLACK_BYTES).saturating_add(needed.saturating_mul(2)),
            // Commits wait while the pages are moved.
            false => bytes > needed.max(self.snapshot_log_bytes).saturating_mul(16),
        };
        let before = self.store.disk.occupied_bytes(FileName::Log);
        if !is_worth_it(before) {
            return Ok(());
        }
        let began = Instant::now();
        match self.store.log.compact() {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                debug!(%error, "no space to move the pages of log.redb");
                if !self.reopen_log()? {
                    self.reopen_when_space()?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        info!(
            before,
            after = self.store.disk.occupied_bytes(FileName::Log),
            took_ms = began.elapsed().as_millis() as u64,
            "gave space in log.redb back to the disk"
        );
        self.space.look_soon();
        Ok(())
    }

    fn is_space_low(&self) -> bool {
        !matches!(self.space.told, Space::Enough { .. })
    }

    /// Calls `write` with the log, again and again while the disk is full. Then updates the watermark.
    fn retry_while_full(
        &mut self,
        mut write: impl FnMut(&mut Log) -> Result<(), FileError>,
    ) -> Result<(), Stop> {
        loop {
            match write(&mut self.store.log) {
                Ok(()) => break,
                Err(error) if error.is_full() => {
                    if !self.space.give_up_reserve() || !self.reopen_log()? {
                        self.reopen_when_space()?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.store.log.is_synced() {
            self.synced_at = Instant::now();
            // A log without records ends before the records that a snapshot contains.
            let end = self.store.log.end().max(self.store.position.seq);
            self.store.watermark.set(end);
        }
        Ok(())
    }

    /// Waits for space, and opens the log again.
    fn reopen_when_space(&mut self) -> Result<(), Stop> {
        let mut pause = FULL_PAUSE;
        loop {
            let paused_at = Instant::now();
            while paused_at.elapsed() < pause {
                let told = self.space.full();
                self.tell(told);
                thread::sleep(FULL_PAUSE);
                if self.events.is_closed() {
                    return Err(Stop::OwnerGone);
                }
            }
            if self.store.disk.free_bytes().unwrap_or(0) == 0 {
                continue;
            }
            // Opening the log checks all of its file: do not do that too often.
            pause = (2 * pause).min(FULL_PAUSE_MAX);
            if self.reopen_log()? {
                return Ok(());
            }
        }
    }

    /// Opens the log again. After an error the engine accepts no more writes, and only the files tell which writes reached the
    /// disk. Returns false if the disk is full.
    fn reopen_log(&mut self) -> Result<bool, Stop> {
        match Log::open(&*self.store.disk, self.store.wal_bytes_max) {
            Ok(log) => self.replace_log(log).map(|()| true),
            Err(error) if error.is_full() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the log that failed by the same log, opened again. Fails if records are missing that the old one had.
    fn replace_log(&mut self, log: Log) -> Result<(), Stop> {
        let end = self.store.log.end();
        let loss = match log.damage() {
            Some(WalDamage::Gap(what) | WalDamage::Unreadable(what)) => Some(what.clone()),
            None if log.end() < end => Some("records are missing after the disk was full".into()),
            None => None,
        };
        if let Some(what) = loss {
            let at = format!("at record {end}");
            return Err(Stop::Failed(FileError::damaged(FileName::Log, at, what)));
        }
        self.store.log = log;
        self.space.look_soon();
        self.prune()
    }

    /// Looks at the disk from time to time: whether the files are still there, and how much space is free. Tells the owner of
    /// changes.
    fn look_at_disk(&mut self) -> Result<(), Stop> {
        if !self.space.is_look_due() {
            return Ok(());
        }
        if self
            .checked_present_at
            .is_none_or(|checked_at| checked_at.elapsed() >= SPACE_INTERVAL)
        {
            self.checked_present_at = Some(Instant::now());
            let present = self.store.disk.check_present();
            present.map_err(|error| FileError::io(FileName::Log, error))?;
        }
        let was_low = self.is_space_low();
        let told = self.space.look();
        self.tell(told);
        if self.is_space_low() && !was_low {
            self.is_compact = false;
        }
        let removable = self.removable();
        // Again and again while space is low: the owner may have to wait before it makes a snapshot.
        if removable != self.removable || (removable > 0 && self.is_space_low()) {
            self.removable = removable;
            self.send(Event::Removable(removable));
        }
        Ok(())
    }

    /// Bytes on disk that are not needed when another snapshot is made.
    fn removable(&self) -> u64 {
        let store = &self.store;
        if self.snapshot.as_ref().is_some_and(|of| !of.is_finished()) {
            return 0;
        }
        match &store.meta.snapshots[..] {
            // Both snapshots have everything.
            [older, _newer] if older.seq == store.position.seq => 0,
            [] => self.space.removable(self.next_slot(), 0),
            _ => {
                // Records take up to twice their bytes, and the engine keeps some pages for itself.
                let needed = store.log_bytes.saturating_mul(2);
                self.space
                    .removable(self.next_slot(), needed.saturating_add(LOG_SLACK_BYTES))
            }
        }
    }

    /// Tells the owner of a change of the disk space.
    fn tell(&self, space: Option<Space>) {
        if let Some(space) = space {
            self.send(Event::Space(space));
        }
    }

    /// The place of the next snapshot: that of the older one.
    fn next_slot(&self) -> SnapshotSlot {
        let last = self.store.meta.snapshots.last();
        last.map_or(SnapshotSlot::A, |last| {
            SnapshotSlot::of_number(last.slot).other()
        })
    }

    /// Starts the thread that writes a snapshot, in the place of the older one.
    fn start_snapshot(
        &mut self,
        copy: CopyHead,
        seq: u64,
        time: Time,
        slices: tokio_mpsc::Receiver<CopySlice>,
    ) -> Result<(), Stop> {
        debug_assert_eq!(
            seq, self.store.position.seq,
            "a snapshot contains every record"
        );
        let Some(queue) = self.own_queue.upgrade() else {
            return Err(Stop::OwnerGone);
        };
        // A snapshot must never be newer than the log is after a power loss.
        self.retry_while_full(Log::sync)?;
        let header = Header {
            directory_id: self.store.meta.directory_id.clone(),
            seq,
            record_crc: self.store.position.crc,
            ..Header::of(&self.store.meta.store_id, copy.revision, time)
        };
        let slot = self.next_slot();
        let snapshotter = Snapshotter {
            disk: self.store.disk.clone(),
            slot,
            header,
            copy,
            slices,
            events: self.events.clone(),
            done: SyncSender::clone(&queue),
        };
        match snapshotter.start() {
            Ok(thread) => {
                self.snapshot = Some(thread);
                // The file is emptied now. The next meta record says so, whether the new snapshot is made or not.
                let snapshots = &mut self.store.meta.snapshots;
                snapshots.retain(|of| of.slot != slot.number());
                Ok(())
            }
            Err(error) => self.finish_snapshot(Err(FileError::io(FileName::Snapshot(slot), error))),
        }
    }

    /// Notes a complete snapshot in the log, and tells the owner of its end.
    fn finish_snapshot(&mut self, done: Result<NewSnapshot, FileError>) -> Result<(), Stop> {
        let made = done.is_ok();
        self.removable = 0;
        match done {
            Ok(new) => {
                info!(
                    keys = new.key_count,
                    revision = new.meta.revision,
                    bytes = new.bytes,
                    took_ms = new.took.as_millis() as u64,
                    "made a snapshot"
                );
                self.store.cells.snapshots.add(new.took);
                self.store.cells.snapshot_at.set(now_nanos());
                self.store.meta.snapshots.push(new.meta);
                self.write_meta()?;
                self.prune()?;
                self.between_bytes = std::mem::take(&mut self.store.log_bytes);
                self.store.cells.log_bytes.set(0);
                self.space.look_soon();
            }
            Err(error) => {
                self.store.cells.snapshot_failures.add(1);
                warn!(%error, "cannot write a snapshot; trying again later");
            }
        }
        self.send(Event::SnapshotEnded { made });
        Ok(())
    }
}
