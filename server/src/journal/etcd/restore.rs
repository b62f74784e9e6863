//! Restores a backup to etcd, as a cluster that nobody has used yet: a snapshot of it, the place of record 0, and last the record of
//! the cluster.

use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{Compare, Etcd, Get, KeyRange, Op, Txn};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::chunks::ChunkWriter;
use super::cluster::FORMATS;
use super::keys::{Generation, Keys};
use super::messages::{Cluster, Manifest, Record};
use super::trying::{self, transact};
use crate::config::REVISIONS_SKIPPED_UNSYNCED;
use crate::journal::backup::{self, Backup};
use crate::journal::error::OpenError;
use crate::journal::pages::{begin, write_all};
use crate::journal::stored::{self, FORMAT, Header};
use crate::machine::{Revision, StoreLimits, Time};
use crate::progress::Progress;

/// What a restored cluster gets.
pub(crate) struct NewCluster<'a> {
    pub(crate) etcd: &'a Etcd,
    pub(crate) keys: &'a Keys,
    pub(crate) store_id: &'a str,
    pub(crate) now: Time,
}

/// No owner has this epoch.
const OF_RESTORE: Generation = Generation {
    epoch: 0,
    attempt: 0,
};

/// Pages that wait to be put.
const PAGES_MAX: usize = 8;

/// Restores a backup, in steps of `progress`, to a cluster that is not there, or with a restore that did not end. Its revisions
/// continue far after those of the backup, so that no revision is assigned twice. Returns what was restored, and the revision from
/// which the store continues.
///
/// # Errors
/// Those of [`backup::check`]; [`OpenError::Etcd`] if there is such a cluster, or etcd refuses.
pub(crate) async fn restore(
    path: &Path,
    to: &NewCluster<'_>,
    limits: &StoreLimits,
    progress: &Progress,
) -> Result<(Backup, Revision), OpenError> {
    // Read all of the backup first: a bad backup must leave etcd as it is.
    let mut restored = backup::read(path, limits, progress)?;
    to.make_room().await?;
    let backup = Backup::of(&mut restored, progress);
    let revision = backup.revision + REVISIONS_SKIPPED_UNSYNCED;
    let mut machine = restored.machine;
    machine.restore_revision_floor(revision);
    let time = stored::from_nanos(restored.header.time).max(to.now);
    let header = Header::of(to.store_id, revision, time);
    begin(progress, "writing to etcd", &machine);
    let (pages, mut written) = mpsc::channel(PAGES_MAX);
    let shown = progress.clone();
    let writing = spawn_blocking(move || {
        // A failed send means that etcd has refused what came before.
        write_all(&mut machine, header, &shown, |page| {
            pages.blocking_send(page)
        })
    });
    let mut chunks = Chunks::default();
    while let Some(page) = written.recv().await {
        chunks.writer.add(&page);
        while let Some(chunk) = chunks.writer.next_chunk() {
            chunks.put(to, chunk).await?;
        }
    }
    if let Some(chunk) = std::mem::take(&mut chunks.writer).last_chunk() {
        chunks.put(to, chunk).await?;
    }
    let Ok(Ok(digest)) = writing.await else {
        return Err(to.refused("the writer of the snapshot has ended early"));
    };
    to.finish(&Manifest {
        format: FORMAT,
        epoch: OF_RESTORE.epoch,
        attempt: OF_RESTORE.attempt,
        chunks: chunks.count,
        bytes: chunks.bytes,
        seq: 0,
        record_crc: 0,
        revision,
        digest,
        key_count: backup.key_count,
    })
    .await?;
    Ok((backup, revision))
}

/// What was put of the snapshot.
#[derive(Default)]
struct Chunks {
    writer: ChunkWriter,
    count: u32,
    bytes: u64,
}

impl Chunks {
    async fn put(&mut self, to: &NewCluster<'_>, chunk: Bytes) -> Result<(), OpenError> {
        let key = to.keys.chunk(OF_RESTORE, self.count);
        self.count += 1;
        self.bytes += chunk.len() as u64;
        // Nothing but a restore puts it, and the same again is the same.
        let txn = Txn {
            then: vec![put(key, chunk)],
            ..Txn::default()
        };
        transact(to.etcd, "write the snapshot", &txn)
            .await
            .map(drop)
    }
}

impl NewCluster<'_> {
    fn refused(&self, what: &str) -> OpenError {
        OpenError::Etcd { what: what.into() }
    }

    /// Checks that there is no such cluster, and removes what a restore that did not end has left.
    async fn make_room(&self) -> Result<(), OpenError> {
        let (all, left) = (self.keys.all(), self.keys.chunks(OF_RESTORE));
        let clear = Txn {
            when: vec![Compare::Missing(self.keys.cluster())],
            then: vec![Op::Delete(KeyRange::Between(left.start, left.end))],
            otherwise: Vec::new(),
        };
        let cleared = transact(self.etcd, "look for the cluster", &clear).await?;
        if !cleared.succeeded {
            return Err(self.refused(
                "there is such a cluster already: a restore needs a new name (--cluster)",
            ));
        }
        let get = Get {
            limit: 1,
            keys_only: true,
            ..Get::range(KeyRange::Between(all.start, all.end))
        };
        let found = trying::get(self.etcd, "look for the cluster", &get).await?;
        match found.kvs.first() {
            None => Ok(()),
            Some(kv) => Err(self.refused(&format!(
                "there is something at {} in etcd: a restore needs a new name (--cluster)",
                kv.key.escape_ascii()
            ))),
        }
    }

    /// Names the snapshot, and makes the cluster.
    async fn finish(&self, manifest: &Manifest) -> Result<(), OpenError> {
        let cluster = Cluster {
            format: *FORMATS.end(),
            store_id: self.store_id.into(),
        };
        let cluster = Bytes::from(cluster.encode_to_vec());
        let txn = Txn {
            when: vec![Compare::Missing(self.keys.cluster())],
            then: vec![
                put(self.keys.manifest(), manifest.encode_to_vec().into()),
                put(
                    self.keys.record(0),
                    Record::default().encode_to_vec().into(),
                ),
                put(self.keys.cluster(), cluster.clone()),
            ],
            otherwise: vec![Op::Get {
                range: KeyRange::One(self.keys.cluster()),
                limit: 0,
                keys_only: false,
            }],
        };
        let made = transact(self.etcd, "make the cluster", &txn).await?;
        let is_mine = || match made.answers.first() {
            Some(soloist_etcd::OpAnswer::Got(found)) => {
                found.kvs.first().is_some_and(|kv| kv.value == cluster)
            }
            _ => false,
        };
        // An earlier try may have been applied, and its answer lost.
        match made.succeeded || is_mine() {
            true => Ok(()),
            false => Err(self.refused("somebody else has made the cluster at the same time")),
        }
    }
}

fn put(key: Bytes, value: Bytes) -> Op {
    Op::Put {
        key,
        value,
        lease: 0,
    }
}
