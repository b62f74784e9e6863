//! Removes what a new snapshot makes superfluous: records, parts, the chunks of older snapshots, and what etcd keeps of them.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use soloist_etcd::{ErrorKind, Get, Op};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::keys::Generation;
use super::messages::Manifest;
use super::owned::{NoAnswer, Owned, WhenFull, between};

/// Most records that one request removes. etcd does nothing else meanwhile.
const RECORDS_MAX: u64 = 500;

/// How long etcd keeps what was removed, so that a standby whose watch has broken goes on where it was.
const COMPACT_AFTER: Duration = Duration::from_secs(60);

/// How often it is looked whether space is scarce. Then what was removed is not kept.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Revisions that wait to be compacted.
const COMPACTIONS_MAX: usize = 8;

/// Removes what is not needed beside this snapshot. The log keeps the records from `keep_from` on, and never loses its last.
/// Returns etcd's revision after it.
pub(super) async fn truncate(
    owned: &Owned,
    manifest: &Manifest,
    keep_from: Option<u64>,
) -> Result<i64, NoAnswer> {
    // The snapshot's record stays, too: it tells that log and snapshot belong together.
    let first_kept = keep_from.unwrap_or(u64::MAX).min(manifest.seq);
    let mut from = first(owned).await?.unwrap_or(first_kept);
    while from < first_kept {
        let to = first_kept.min(from + RECORDS_MAX);
        let began = Instant::now();
        let records = owned.keys.record(from)..owned.keys.record(to);
        remove(owned, vec![Op::Delete(between(records))]).await?;
        // Commits have their turn.
        sleep(began.elapsed()).await;
        from = to;
    }
    let of = Generation {
        epoch: manifest.epoch,
        attempt: manifest.attempt,
    };
    let chunks = Op::Delete(between(owned.keys.chunks_before(of)));
    let parts = Op::Delete(between(owned.keys.parts_before(first_kept)));
    remove(owned, vec![chunks, parts]).await
}

/// Removes keys. That needs no space.
async fn remove(owned: &Owned, changes: Vec<Op>) -> Result<i64, NoAnswer> {
    owned.apply(changes, WhenFull::GiveUp).await
}

/// The number of the first record.
async fn first(owned: &Owned) -> Result<Option<u64>, NoAnswer> {
    let get = Get {
        limit: 1,
        keys_only: true,
        ..Get::range(between(owned.keys.records()))
    };
    let found = owned.get(&get);
    let found = found.await?;
    Ok(found
        .kvs
        .first()
        .and_then(|found| owned.keys.seq_of(&found.key)))
}

/// Has etcd forget what was removed, a minute later.
#[derive(Clone, Debug)]
pub(super) struct Compactor(mpsc::Sender<(Instant, i64)>);

/// The other end.
pub(super) struct Compactions(mpsc::Receiver<(Instant, i64)>);

pub(super) fn compactor() -> (Compactor, Compactions) {
    let (sender, receiver) = mpsc::channel(COMPACTIONS_MAX);
    (Compactor(sender), Compactions(receiver))
}

impl Compactor {
    pub(super) fn compact_later(&self, revision: i64) {
        // If there is no room, the next one has it.
        let _ = self.0.try_send((Instant::now() + COMPACT_AFTER, revision));
    }
}

impl Compactions {
    /// Compacts what is due, for ever. Nothing depends on it but space, so nothing is tried twice.
    pub(super) async fn run(mut self, owned: &Owned) -> Infallible {
        while let Some((at, revision)) = self.0.recv().await {
            while Instant::now() < at && !owned.is_space_scarce.load(Ordering::Relaxed) {
                sleep_until(at.min(Instant::now() + LOOK_INTERVAL)).await;
            }
            match owned.etcd.compact(revision).await {
                Ok(()) => debug!(revision, "compacted etcd"),
                Err(error) if error.kind == ErrorKind::Compacted => {}
                Err(error) => {
                    warn!("cannot compact etcd; trying again after the next snapshot: {error}")
                }
            }
        }
        std::future::pending().await
    }
}
