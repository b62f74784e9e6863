//! The persister: the thread that writes the log.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as tokio_mpsc;
use tracing::{debug, error, info, warn};

use super::disk::{self, Disk};
use super::error::FileError;
use super::file_name::{FileName, SnapshotSlot};
use super::interface::{AnswerWhen, Command, DiskSpace, Event, Journal, LogBatch, QUEUE_CAPACITY};
use super::log::{Log, SyncWhen};
use super::record::{EncodedRecord, Position};
use super::snapshot::NewSnapshot;
use super::snapshotter::Snapshotter;
use super::stored::{self, FORMAT, Header, LogRecord, StoreMeta};
use super::wal::WalDamage;
use super::watermark::Watermark;
use crate::config::{Durability, SPACE_INTERVAL};
use crate::machine::{CopyHead, CopySlice, Time};
use crate::mutants::mutant;

/// The first pause before a full disk is tried again. Each pause is twice as long as the one before.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a full disk is tried again.
const FULL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long the persister must be idle before it removes records from the log.
const PRUNE_PAUSE: Duration = Duration::from_millis(10);

/// The files of an open store, and how they are written.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) wal_bytes_max: u64,
    pub(super) watermark: Watermark,
    /// The meta record, as it is in the log.
    pub(super) meta: StoreMeta,
    /// The last record.
    pub(super) position: Position,
    /// Bytes of the records since the last snapshot.
    pub(super) log_bytes: u64,
    pub(super) durability: Durability,
    /// Bytes that must be free on the disk for changes to be accepted.
    pub(super) min_free_bytes: u64,
}

impl OpenStore {
    /// Starts the persister. The thread ends when it gets [`Command::Close`], when the owner is gone, or after a failure.
    pub(super) fn start(self, snapshot_log_bytes: u64) -> (Journal, JoinHandle<()>) {
        let (commands, receiver) = mpsc::sync_channel(QUEUE_CAPACITY);
        let (sender, events) = tokio_mpsc::channel(QUEUE_CAPACITY);
        let journal = Journal {
            commands,
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
            space: DiskSpace::Enough,
            space_checked_at: None,
            events: sender,
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
    /// When every record was durable for the last time.
    synced_at: Instant,
    /// The last snapshot thread.
    snapshot: Option<JoinHandle<()>>,
    /// The disk space as the owner knows it.
    space: DiskSpace,
    space_checked_at: Option<Instant>,
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
    fn run(mut self, commands: &Receiver<Command>) {
        let stopped = self.run_until_stopped(commands);
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

    fn run_until_stopped(&mut self, commands: &Receiver<Command>) -> Result<Infallible, Stop> {
        self.prune()?;
        loop {
            self.look_at_disk()?;
            let command = match commands.recv_timeout(self.idle_timeout()) {
                Ok(command) => command,
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
                    slices,
                    done,
                } => self.start_snapshot(copy, seq, time, slices, done)?,
                Command::SnapshotDone(done) => self.finish_snapshot(done)?,
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
            _ if self.store.log.has_to_prune() => PRUNE_PAUSE,
            _ => SPACE_INTERVAL,
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
        let LogBatch {
            seq,
            revision,
            time,
            effects,
        } = batch;
        let record = LogRecord {
            format: FORMAT,
            epoch: self.store.meta.epoch,
            seq,
            revision,
            time: stored::to_nanos(time),
            previous_crc: self.store.position.crc,
            effects: effects.iter().map(stored::Effect::from).collect(),
        };
        let encoded = EncodedRecord::of(&record, self.store.position);
        drop((record, effects));
        let sync = match self.store.durability {
            Durability::Interval(interval) if self.synced_at.elapsed() < interval => {
                SyncWhen::Later
            }
            Durability::Sync | Durability::Interval(_) => SyncWhen::Now,
            // Records become durable with each checkpoint, as the write-ahead log gets full.
            Durability::None => SyncWhen::Later,
        };
        let bytes = encoded.bytes.len() as u64;
        self.retry_while_full(|log| {
            // The record may have been written before the disk was full, but it may not be durable: a checkpoint makes it so.
            match log.end() >= seq {
                true => log.checkpoint(),
                false => log.append(&encoded, sync),
            }
        })?;
        self.store.position = encoded.position;
        self.store.log_bytes = self.store.log_bytes.saturating_add(bytes);
        self.send(Event::Committed {
            seq,
            log_bytes: self.store.log_bytes,
        });
        Ok(())
    }

    /// Writes the meta record, durably.
    fn write_meta(&mut self) -> Result<(), Stop> {
        let meta = self.store.meta.clone();
        self.retry_while_full(|log| log.set_meta(&meta))
    }

    /// Has the log remove the records that no recovery needs.
    fn prune(&mut self) -> Result<(), Stop> {
        match self.store.last_unneeded_record() {
            Some(_) if mutant("prune-too-much") => self.store.log.prune(self.store.position.seq)?,
            Some(seq) => self.store.log.prune(seq)?,
            None => {}
        }
        Ok(())
    }

    /// Calls `write` with the log, again and again while the disk is full. Then updates the watermark.
    fn retry_while_full(
        &mut self,
        mut write: impl FnMut(&mut Log) -> Result<(), FileError>,
    ) -> Result<(), Stop> {
        loop {
            match write(&mut self.store.log) {
                Ok(()) => break,
                Err(error) if error.is_full() => self.reopen_when_space()?,
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

    /// Waits for space, and opens the log again. After an error the engine accepts no more writes, and only the files tell
    /// which writes reached the disk.
    fn reopen_when_space(&mut self) -> Result<(), Stop> {
        warn!("the disk is full: waiting for space");
        let mut pause = FULL_PAUSE;
        loop {
            let free = self.store.disk.free_bytes().unwrap_or(0);
            self.set_space(DiskSpace::Full {
                free,
                least: self.store.min_free_bytes,
            });
            thread::sleep(pause);
            if self.events.is_closed() {
                return Err(Stop::OwnerGone);
            }
            if free == 0 {
                continue;
            }
            // Opening the log checks all of its file: do not do that too often.
            pause = (2 * pause).min(FULL_PAUSE_MAX);
            match Log::open(&*self.store.disk, self.store.wal_bytes_max) {
                Ok(log) => return self.replace_log(log),
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error.into()),
            }
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
        self.space_checked_at = None;
        self.prune()
    }

    /// Looks at the disk, at most once in [`SPACE_INTERVAL`]: whether the files are still there, and how much space is free.
    /// Tells the owner if the space got scarce or sufficient.
    fn look_at_disk(&mut self) -> Result<(), Stop> {
        if self
            .space_checked_at
            .is_some_and(|checked_at| checked_at.elapsed() < SPACE_INTERVAL)
        {
            return Ok(());
        }
        self.space_checked_at = Some(Instant::now());
        let present = self.store.disk.check_present();
        present.map_err(|error| FileError::io(FileName::Log, error))?;
        // The engine doubles a file that is too small, so it may need as much space again.
        let log = disk::len(&*self.store.disk, FileName::Log);
        let least = match self.store.min_free_bytes {
            0 => 0,
            least => least.max(log.unwrap_or(0)),
        };
        match self.store.disk.free_bytes() {
            Ok(free) if free < least => self.set_space(DiskSpace::Low { free, least }),
            Ok(_) => self.set_space(DiskSpace::Enough),
            Err(error) => warn!(%error, "cannot read the free disk space"),
        }
        Ok(())
    }

    /// Tells the owner of a change of the disk space.
    fn set_space(&mut self, space: DiskSpace) {
        if std::mem::discriminant(&space) != std::mem::discriminant(&self.space) {
            match space {
                DiskSpace::Enough => info!("enough disk space is free again"),
                DiskSpace::Low { free, least } => {
                    warn!(
                        free,
                        least, "disk space is low: refusing changes that make the store larger"
                    );
                }
                DiskSpace::Full { .. } => {}
            }
            self.send(Event::Space(space));
        }
        self.space = space;
    }

    /// Starts the thread that writes a snapshot, in the place of the older one.
    fn start_snapshot(
        &mut self,
        copy: CopyHead,
        seq: u64,
        time: Time,
        slices: Receiver<CopySlice>,
        done: SyncSender<Command>,
    ) -> Result<(), Stop> {
        debug_assert_eq!(
            seq, self.store.position.seq,
            "a snapshot contains every record"
        );
        // A snapshot must never be newer than the log is after a power loss.
        self.retry_while_full(Log::sync)?;
        let header = Header {
            directory_id: self.store.meta.directory_id.clone(),
            seq,
            record_crc: self.store.position.crc,
            ..Header::of(&self.store.meta.store_id, copy.revision, time)
        };
        let last = self.store.meta.snapshots.last();
        let slot = last.map_or(SnapshotSlot::A, |last| {
            SnapshotSlot::of_number(last.slot).other()
        });
        let snapshotter = Snapshotter {
            disk: self.store.disk.clone(),
            slot,
            header,
            copy,
            slices,
            events: self.events.clone(),
            done,
        };
        match snapshotter.start() {
            Ok(thread) => {
                self.snapshot = Some(thread);
                Ok(())
            }
            Err(error) => self.finish_snapshot(Err(FileError::io(FileName::Snapshot(slot), error))),
        }
    }

    /// Notes a complete snapshot in the log, and tells the owner of its end.
    fn finish_snapshot(&mut self, done: Result<NewSnapshot, FileError>) -> Result<(), Stop> {
        let made = done.is_ok();
        match done {
            Ok(new) => {
                let snapshots = &mut self.store.meta.snapshots;
                if snapshots.len() == 2 {
                    snapshots.remove(0);
                }
                info!(
                    keys = new.key_count,
                    revision = new.meta.revision,
                    bytes = new.bytes,
                    took_ms = new.took.as_millis() as u64,
                    "made a snapshot"
                );
                snapshots.push(new.meta);
                self.write_meta()?;
                self.prune()?;
                self.store.log_bytes = 0;
            }
            Err(error) => warn!(%error, "cannot write a snapshot; trying again later"),
        }
        self.send(Event::SnapshotEnded { made });
        Ok(())
    }
}
