//! Makes snapshots: the pages of a copy in chunks, then the manifest, which names them, and then there is less to keep.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{Compare, Get, Txn};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::chunks::ChunkWriter;
use super::keys::Generation;
use super::messages::Manifest;
use super::owned::{NoAnswer, Owned, Stop, WhenFull, found, put, read};
use super::truncate::{Compactor, truncate};
use crate::journal::interface::Event;
use crate::journal::pages::PageWriter;
use crate::journal::record::Position;
use crate::journal::stored::{FORMAT, Header};
use crate::machine::{CopyHead, CopySlice, Time};
use crate::metrics::now_nanos;

/// The longest pause after a chunk. A pause is as long as the chunk took, so that commits find etcd free half of the time.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// A snapshot that is to be made.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) copy: CopyHead,
    /// The last record whose effects are in the copy.
    pub(super) position: Position,
    pub(super) time: Time,
    /// The copy, one slice after each [`Event::NextSlice`].
    pub(super) slices: mpsc::Receiver<CopySlice>,
    /// The records from here on stay in the log, whatever the snapshot has.
    pub(super) keep_from: Option<u64>,
    /// Bytes of the log that are not needed after it.
    pub(super) log_bytes: u64,
}

/// Makes one snapshot after another.
#[derive(Debug)]
pub(super) struct Snapshotter {
    store_id: String,
    attempts: u32,
    compactor: Compactor,
}

/// What was made.
struct Made {
    manifest: Manifest,
    began: Instant,
}

impl Snapshotter {
    pub(super) fn new(store_id: String, compactor: Compactor) -> Self {
        Self {
            store_id,
            attempts: 0,
            compactor,
        }
    }

    /// Serves the queue.
    pub(super) async fn run(&mut self, owned: &Owned, jobs: &mut mpsc::Receiver<Job>) -> Stop {
        while let Some(job) = jobs.recv().await {
            if let Err(stop) = self.serve(owned, job).await {
                return stop;
            }
        }
        // The other queue says how it ends.
        std::future::pending().await
    }

    async fn serve(&mut self, owned: &Owned, mut job: Job) -> Result<(), Stop> {
        let made = self.make(owned, &mut job).await;
        let made = match made {
            Ok(Some(made)) => made,
            // The owner has given it up. What was put goes with the next snapshot.
            Ok(None) => return Ok(()),
            Err(NoAnswer::Stop(stop)) => return Err(stop),
            Err(error) => {
                owned.cells.snapshot_failures.add(1);
                warn!("cannot make a snapshot; trying again later: {error}");
                owned.send(Event::SnapshotEnded { made: false }).await;
                return Ok(());
            }
        };
        let took = made.began.elapsed();
        info!(
            keys = made.manifest.key_count,
            revision = made.manifest.revision,
            bytes = made.manifest.bytes,
            took_ms = took.as_millis() as u64,
            "made a snapshot"
        );
        owned.cells.snapshots.add(took);
        owned.cells.snapshot_at.set(now_nanos());
        let before = owned.log_bytes.fetch_sub(job.log_bytes, Ordering::Relaxed);
        owned
            .cells
            .log_bytes
            .set(before.saturating_sub(job.log_bytes));
        let bytes = made.manifest.bytes;
        owned.snapshot_bytes.store(bytes, Ordering::Relaxed);
        owned.send(Event::SnapshotEnded { made: true }).await;
        // Another snapshot must not begin before this is done, or its chunks could be among those that go.
        match truncate(owned, &made.manifest, job.keep_from).await {
            Ok(revision) => self.compactor.compact_later(revision),
            Err(NoAnswer::Stop(stop)) => return Err(stop),
            Err(error) => {
                warn!("cannot shorten the log; trying again after the next snapshot: {error}")
            }
        }
        Ok(())
    }

    /// Makes a snapshot. `None` if the owner is gone, or has given it up.
    async fn make(&mut self, owned: &Owned, job: &mut Job) -> Result<Option<Made>, NoAnswer> {
        let began = Instant::now();
        self.attempts += 1;
        let of = Generation {
            epoch: owned.epoch,
            attempt: self.attempts,
        };
        let header = Header {
            seq: job.position.seq,
            record_crc: job.position.crc,
            ..Header::of(&self.store_id, job.copy.revision, job.time)
        };
        let revision = header.revision;
        let mut pages = PageWriter::new(header, &job.copy);
        let mut chunks = Chunks::new(of);
        let (digest, key_count) = loop {
            owned.send(Event::NextSlice).await;
            let Some(slice) = job.slices.recv().await else {
                return Ok(None);
            };
            let end = pages.write(&slice);
            for page in pages.take_pages() {
                chunks.writer.add(&page);
            }
            while let Some(chunk) = chunks.writer.next_chunk() {
                chunks.put(owned, chunk).await?;
                if job.slices.is_closed() {
                    return Ok(None);
                }
            }
            if let Some(end) = end {
                break end;
            }
        };
        let last = std::mem::take(&mut chunks.writer).last_chunk();
        if let Some(chunk) = last {
            chunks.put(owned, chunk).await?;
        }
        let manifest = Manifest {
            format: FORMAT,
            epoch: of.epoch,
            attempt: of.attempt,
            chunks: chunks.count,
            bytes: chunks.bytes,
            seq: job.position.seq,
            record_crc: job.position.crc,
            revision,
            digest,
            key_count,
        };
        put_manifest(owned, &manifest).await?;
        Ok(Some(Made { manifest, began }))
    }
}

/// The chunks of a snapshot that is being made.
struct Chunks {
    of: Generation,
    writer: ChunkWriter,
    count: u32,
    bytes: u64,
}

impl Chunks {
    fn new(of: Generation) -> Self {
        Self {
            of,
            writer: ChunkWriter::default(),
            count: 0,
            bytes: 0,
        }
    }

    async fn put(&mut self, owned: &Owned, chunk: Bytes) -> Result<(), NoAnswer> {
        let began = Instant::now();
        let key = owned.keys.chunk(self.of, self.count);
        self.count += 1;
        self.bytes += chunk.len() as u64;
        owned.apply(vec![put(key, chunk)], WhenFull::GiveUp).await?;
        sleep(began.elapsed().min(PAUSE_MAX)).await;
        Ok(())
    }
}

/// Names the snapshot that nodes start from. A request that comes late must not name an older one again, whose chunks are gone:
/// so it depends on the manifest that was there.
async fn put_manifest(owned: &Owned, manifest: &Manifest) -> Result<(), NoAnswer> {
    let key = owned.keys.manifest();
    let value = Bytes::from(manifest.encode_to_vec());
    let get = Get {
        keys_only: true,
        ..Get::one(key.clone())
    };
    let seen = owned.get(&get);
    let seen = seen
        .await?
        .kvs
        .first()
        .map_or(0, |found| found.mod_revision);
    let txn = Txn {
        when: owned.when([Compare::ModRevision(key.clone(), seen)]),
        then: vec![put(key.clone(), value.clone())],
        otherwise: vec![owned.read_owner(), read(key)],
    };
    let answer = owned.txn(&txn, WhenFull::GiveUp).await?;
    // An earlier request may have put it, and its answer was lost.
    let is_there = found(&answer, 1).is_some_and(|found| found.value == value);
    match answer.succeeded || is_there {
        true => Ok(()),
        false => Err(owned.deposed(found(&answer, 0)).into()),
    }
}
