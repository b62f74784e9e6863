//! The thread that writes the log.

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

/// How long a full disk is left alone before it is tried again, at first and at last.
const FULL_PAUSE: Duration = Duration::from_millis(100);
const FULL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long nothing may happen before the log is shortened.
const PRUNE_PAUSE: Duration = Duration::from_millis(10);

/// What the log's thread has.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) wal_bytes_max: u64,
    pub(super) watermark: Watermark,
    pub(super) meta: StoreMeta,
    pub(super) position: Position,
    /// Bytes of the log since the last snapshot.
    pub(super) log_bytes: u64,
    pub(super) durability: Durability,
    pub(super) min_free_bytes: u64,
}

impl OpenStore {
    /// Starts the thread. It ends when it is told to close, when the owner is gone, or after a failure.
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
struct Persister {
    store: OpenStore,
    events: tokio_mpsc::Sender<Event>,
    synced_at: Instant,
    snapshot: Option<JoinHandle<()>>,
    space: DiskSpace,
    space_checked_at: Option<Instant>,
}

/// Why the thread ends.
enum Stop {
    Closed,
    /// The owner is gone.
    OwnerGone,
    Failed(FileError),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::Failed(error)
    }
}

impl Persister {
    fn run(mut self, commands: &Receiver<Command>) {
        let end = self.run_until_stopped(commands);
        if let Some(snapshot) = self.snapshot.take() {
            // It ends when the owner sends it no more slices, and holds the disk until then.
            let _ = snapshot.join();
        }
        match end {
            Ok(never) => match never {},
            Err(Stop::Closed) => self.send(Event::Closed),
            Err(Stop::OwnerGone) => debug!("the owner is gone"),
            Err(Stop::Failed(error)) => {
                error!(%error, "the journal cannot go on");
                self.send(Event::Failed(error.to_string()));
            }
        }
    }

    fn send(&self, event: Event) {
        // An error means that the owner is gone, which is found out with the next command.
        let _ = self.events.blocking_send(event);
    }

    fn run_until_stopped(&mut self, commands: &Receiver<Command>) -> Result<Infallible, Stop> {
        self.prune()?;
        loop {
            self.check_space();
            let command = match commands.recv_timeout(self.idle_timeout()) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => {
                    self.on_idle()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::OwnerGone),
            };
            match command {
                Command::Commit(segment) => self.commit(segment)?,
                Command::Snapshot {
                    head,
                    seq,
                    time,
                    slices,
                    done,
                } => self.start_snapshot(head, seq, time, slices, done)?,
                Command::SnapshotDone(done) => self.finish_snapshot(done)?,
                Command::Close { revision, time } => {
                    self.store.meta.closed = true;
                    self.store.meta.used_revision = revision;
                    self.store.meta.time = stored::to_nanos(time);
                    self.sync_meta()?;
                    return Err(Stop::Closed);
                }
            }
        }
    }

    /// How long to wait for a command before [something else](Self::idle) is to be done.
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

    fn commit(&mut self, segment: LogBatch) -> Result<(), Stop> {
        let LogBatch {
            seq,
            revision,
            time,
            effects,
        } = segment;
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
            // What the tail has no room for any more is on disk all the same.
            Durability::None => SyncWhen::Later,
        };
        let bytes = encoded.bytes.len() as u64;
        self.retry_while_full(|log| {
            // It may have got there before the disk was full; but who knows whether as far as the disk.
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

    fn sync_meta(&mut self) -> Result<(), Stop> {
        let meta = self.store.meta.clone();
        self.retry_while_full(|log| log.set_meta(&meta))
    }

    /// Has the log shortened, as far as both snapshots have it.
    fn prune(&mut self) -> Result<(), Stop> {
        match self.store.older_snapshot() {
            Some(_) if mutant("prune-too-much") => self.store.log.prune(self.store.position.seq)?,
            Some(seq) => self.store.log.prune(seq)?,
            None => {}
        }
        Ok(())
    }

    /// Does something with the log. Waits where the disk is full until it is not, and does it again.
    fn retry_while_full(
        &mut self,
        mut work: impl FnMut(&mut Log) -> Result<(), FileError>,
    ) -> Result<(), Stop> {
        loop {
            match work(&mut self.store.log) {
                Ok(()) => break,
                Err(error) if error.is_full() => self.reopen_when_space()?,
                Err(error) => return Err(error.into()),
            }
        }
        if self.store.log.is_synced() {
            self.synced_at = Instant::now();
            // A log that was shortened to nothing ends before what was in it.
            let end = self.store.log.end().max(self.store.position.seq);
            self.store.watermark.set(end);
        }
        Ok(())
    }

    /// Waits until the log can be written again, and opens it anew: after an error the engine takes nothing more, and only
    /// what is on disk tells what it did.
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
            // Looking costs a check of the whole log.
            pause = (2 * pause).min(FULL_PAUSE_MAX);
            match Log::open(&*self.store.disk, self.store.wal_bytes_max) {
                Ok(log) => return self.replace_log(log),
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes a log that was opened anew in the place of the one that failed: it must have all that this one had.
    fn replace_log(&mut self, log: Log) -> Result<(), Stop> {
        let end = self.store.log.end();
        let lost = match log.damage() {
            Some(WalDamage::Gap(what) | WalDamage::Unreadable(what)) => Some(what.clone()),
            None if log.end() < end => Some("it is gone after the disk was full".into()),
            None => None,
        };
        if let Some(what) = lost {
            let at = format!("at record {end}");
            return Err(Stop::Failed(FileError::damaged(FileName::Log, at, what)));
        }
        self.store.log = log;
        self.space_checked_at = None;
        self.prune()
    }

    fn check_space(&mut self) {
        if self
            .space_checked_at
            .is_some_and(|seen| seen.elapsed() < SPACE_INTERVAL)
        {
            return;
        }
        self.space_checked_at = Some(Instant::now());
        // The engine doubles a file that is too small.
        let log = disk::len(&*self.store.disk, FileName::Log);
        let least = match self.store.min_free_bytes {
            0 => 0,
            least => least.max(log.unwrap_or(0)),
        };
        match self.store.disk.free_bytes() {
            Ok(free) if free < least => self.set_space(DiskSpace::Low { free, least }),
            Ok(_) => self.set_space(DiskSpace::Enough),
            Err(error) => warn!(%error, "cannot tell how much space there is"),
        }
    }

    fn set_space(&mut self, space: DiskSpace) {
        if std::mem::discriminant(&space) != std::mem::discriminant(&self.space) {
            match space {
                DiskSpace::Enough => info!("there is enough disk space again"),
                DiskSpace::Low { free, least } => {
                    warn!(
                        free,
                        least, "little disk space is left: no growth from here on"
                    );
                }
                DiskSpace::Full { .. } => {}
            }
            self.send(Event::Space(space));
        }
        self.space = space;
    }

    fn start_snapshot(
        &mut self,
        head: CopyHead,
        seq: u64,
        time: Time,
        slices: Receiver<CopySlice>,
        done: SyncSender<Command>,
    ) -> Result<(), Stop> {
        debug_assert_eq!(
            seq, self.store.position.seq,
            "it comes after its last segment"
        );
        let stored_head = Header {
            seq,
            record_crc: self.store.position.crc,
            ..Header::of(&self.store.meta.store_id, head.revision, time)
        };
        let last = self.store.meta.snapshots.last();
        let slot = last.map_or(SnapshotSlot::A, |last| {
            SnapshotSlot::of_number(last.slot).other()
        });
        let snapshotter = Snapshotter {
            disk: self.store.disk.clone(),
            slot,
            head: stored_head,
            copy: head,
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
                    took = ?new.took,
                    "made a snapshot"
                );
                snapshots.push(new.meta);
                self.sync_meta()?;
                self.prune()?;
                self.store.log_bytes = 0;
            }
            Err(error) => warn!(%error, "could not make a snapshot; trying again later"),
        }
        self.send(Event::SnapshotEnded { made });
        Ok(())
    }
}
