//! The thread that writes the log.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as tokio_mpsc;
use tracing::{debug, error, info, warn};

use super::disk::{self, Disk};
use super::error::Fault;
use super::file_name::{FileName, Slot};
use super::interface::{Answers, Command, Event, Journal, QUEUE, Segment, Space};
use super::log::{Log, Sync};
use super::record::{Encoded, Position};
use super::snapshot::NewSnapshot;
use super::snapshotter::Snapshotter;
use super::stored::{self, FORMAT, Header, LogRecord, StoreMeta};
use super::wal::Harm;
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
pub(super) struct Persister {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) tail_bytes: u64,
    pub(super) watermark: Watermark,
    pub(super) meta: StoreMeta,
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
        self.prune()?;
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
        match self.of.durability {
            Durability::Interval(interval) if !self.of.log.is_synced() => {
                interval.saturating_sub(self.synced_at.elapsed())
            }
            _ if self.of.log.has_to_prune() => PRUNE_PAUSE,
            _ => SPACE_INTERVAL,
        }
    }

    fn idle(&mut self) -> Result<(), End> {
        if self.events.is_closed() {
            return Err(End::Left);
        }
        match self.of.durability {
            Durability::Interval(interval) if !self.of.log.is_synced() => {
                match self.synced_at.elapsed() >= interval {
                    true => self.when_there_is_space(Log::sync),
                    false => Ok(()),
                }
            }
            _ if self.of.log.has_to_prune() => self.when_there_is_space(Log::settle),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, segment: Segment) -> Result<(), End> {
        let Segment {
            seq,
            revision,
            time,
            effects,
        } = segment;
        let record = LogRecord {
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
            Durability::Interval(interval) if self.synced_at.elapsed() < interval => Sync::Later,
            Durability::Sync | Durability::Interval(_) => Sync::Now,
            // What the tail has no room for any more is on disk all the same.
            Durability::None => Sync::Later,
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
        let mut failed = false;
        self.when_there_is_space(|log| {
            // It may have got there before the disk was full; but who knows whether as far as the disk.
            let is_there = log.end() >= seq || (failed && mutant("full-is-committed"));
            failed = true;
            match is_there {
                true => log.settle(),
                false => log.append(&encoded, sync),
            }
        })?;
        self.of.position = encoded.position;
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

    fn sync_meta(&mut self) -> Result<(), End> {
        let meta = self.of.meta.clone();
        self.when_there_is_space(|log| log.set_meta(&meta))
    }

    /// Has the log shortened, as far as both snapshots have it.
    fn prune(&mut self) -> Result<(), End> {
        match self.of.older_snapshot() {
            Some(_) if mutant("prune-too-much") => self.of.log.prune(self.of.position.seq)?,
            Some(seq) => self.of.log.prune(seq)?,
            None => {}
        }
        Ok(())
    }

    /// Does something with the log. Waits where the disk is full until it is not, and does it again.
    fn when_there_is_space(
        &mut self,
        mut work: impl FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Result<(), End> {
        loop {
            match work(&mut self.of.log) {
                Ok(()) => break,
                Err(fault) if fault.is_full() => self.wait_for_space()?,
                Err(fault) => return Err(fault.into()),
            }
        }
        if self.of.log.is_synced() {
            self.synced_at = Instant::now();
            // A log that was shortened to nothing ends before what was in it.
            let end = self.of.log.end().max(self.of.position.seq);
            self.of.watermark.set(end);
        }
        Ok(())
    }

    /// Waits until the log can be written again, and opens it anew: after an error the engine takes nothing more, and only
    /// what is on disk tells what it did.
    fn wait_for_space(&mut self) -> Result<(), End> {
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
            match Log::open(&*self.of.disk, self.of.tail_bytes) {
                Ok(log) => return self.go_on_with(log),
                Err(fault) if fault.is_full() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// Takes a log that was opened anew in the place of the one that failed: it must have all that this one had.
    fn go_on_with(&mut self, log: Log) -> Result<(), End> {
        let end = self.of.log.end();
        let lost = match log.harm() {
            Some(Harm::Gap(what) | Harm::Unreadable(what)) => Some(what.clone()),
            None if log.end() < end => Some("it is gone after the disk was full".into()),
            None => None,
        };
        if let Some(what) = lost {
            let at = format!("at record {end}");
            return Err(End::Failed(Fault::damaged(FileName::Log, at, what)));
        }
        self.of.log = log;
        self.space_seen = None;
        self.prune()
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
        let stored_head = Header {
            seq,
            record_crc: self.of.position.crc,
            ..Header::of(&self.of.meta.store_id, head.revision, time)
        };
        let last = self.of.meta.snapshots.last();
        let slot = last.map_or(Slot::A, |last| Slot::of_number(last.slot).other());
        let snapshotter = Snapshotter {
            disk: self.of.disk.clone(),
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
                self.prune()?;
                self.of.log_bytes = 0;
            }
            Err(fault) => warn!(%fault, "could not make a snapshot; trying again later"),
        }
        self.tell(Event::SnapshotEnded { made });
        Ok(())
    }
}
