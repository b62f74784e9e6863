//! Watches that go on after each break where they were.

use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use soloist_verify::{Watch, WatchUpdate};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::calls::{Answer, call, choose};
use super::clients::seen;
use super::world::{KEYS, World, pause};
use crate::machine::{
    HasMore, Revision, Updates, WatchBatch, WatchError, WatchFrom, WatchShows, WatchTarget,
};
use crate::owner::{CallError, ConnectionQuota, NewWatch, NextBatch, OpenWatch};

const WATCHERS: u64 = 2;

const PATIENCE: Duration = Duration::from_secs(3);

/// No life has as many changes.
const HISTORY_OF_A_LIFE: usize = 100_000;

pub(super) fn start(world: &Rc<World>) -> JoinSet<Vec<Watch>> {
    let mut watchers = JoinSet::new();
    for number in 0..WATCHERS {
        let watcher = Watcher {
            world: Rc::clone(world),
            rng: world.rng(number + 50),
            told: vec![told_after(0)],
            revision: 0,
        };
        watchers.spawn_local(watcher.run());
    }
    watchers
}

struct Watcher {
    world: Rc<World>,
    rng: StdRng,
    told: Vec<Watch>,
    /// All up to here was told.
    revision: Revision,
}

fn told_after(revision: Revision) -> Watch {
    Watch {
        keys: (0..4).collect(),
        after: revision,
        updates: Vec::new(),
    }
}

impl Watcher {
    async fn run(mut self) -> Vec<Watch> {
        while !self.world.ends() {
            let Some(node) = choose(&self.world, &mut self.rng) else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            self.watch(node).await;
            match self.rng.random_bool(0.2) {
                // Long enough to miss more than a short history has.
                true => pause(&mut self.rng, 1_000, 4_000).await,
                false => pause(&mut self.rng, 1, 50).await,
            }
        }
        self.told
    }

    /// Watches at one node, until that ends.
    async fn watch(&mut self, node: usize) {
        let process = self.world.process(node);
        let new = NewWatch {
            target: WatchTarget::Prefix("k/".into()),
            from: WatchFrom::After(self.revision),
            shows: WatchShows::After,
        };
        let opened = call(
            &self.world,
            &mut self.rng,
            node,
            PATIENCE,
            |owner, deadline| async move {
                let watch = owner.watch(new, deadline).await?;
                Ok((owner, watch))
            },
        );
        let (owner, watch) = match opened.await {
            Answer::Done(opened) => opened,
            Answer::Error(CallError::Watch(error)) => return self.refused(&error),
            Answer::Error(_) | Answer::NotOwner | Answer::Broken => return,
        };
        self.world.count(|counts| counts.watches_resumed += 1);
        loop {
            let next = next(&self.world, node, process, &owner, &watch).await;
            let Some(batch) = next else { return };
            if self.world.process(node) != process {
                return;
            }
            self.note(batch);
            if self.world.ends() {
                return;
            }
        }
    }

    /// Goes on with what there is, if too much was missed.
    fn refused(&mut self, error: &WatchError) {
        match *error {
            WatchError::Compacted { oldest, .. } if self.world.history < HISTORY_OF_A_LIFE => {
                self.world.count(|counts| counts.watches_too_late += 1);
                self.revision = oldest;
                self.told.push(told_after(oldest));
            }
            // No owner has less of the history than another.
            _ => panic!(
                "seed {}: {error:?} after {}",
                self.world.seed, self.revision
            ),
        }
    }

    fn note(&mut self, batch: WatchBatch) {
        let Updates::Changes(changes) = batch.updates else {
            panic!("it did not ask for entries");
        };
        let now = self.world.now();
        let told = &mut self.told.last_mut().unwrap().updates;
        self.world
            .count(|counts| counts.events += changes.len() as u64);
        for change in changes {
            let key = KEYS.iter().position(|key| change.key.as_str() == *key);
            let update = WatchUpdate::Event {
                key: u32::try_from(key.unwrap()).unwrap(),
                revision: change.revision,
                entry: change.entry.as_ref().map(seen),
            };
            told.push((now, update));
        }
        let progress = WatchUpdate::Progress {
            revision: batch.revision,
        };
        told.push((now, progress));
        self.revision = batch.revision;
    }
}

/// The next batch with something in it, as soon as the process runs. None if the watch has ended.
async fn next(
    world: &Rc<World>,
    node: usize,
    process: u64,
    owner: &crate::owner::OwnerHandle,
    watch: &OpenWatch,
) -> Option<WatchBatch> {
    let waits = async {
        loop {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            let quota = ConnectionQuota::new(1 << 20);
            match owner.next_batch(watch, quota, deadline).await {
                Ok(NextBatch::Batch(batch, _)) => {
                    if !batch.updates.is_empty() {
                        return Some(batch);
                    }
                    if batch.has_more == HasMore::No {
                        tokio::select! {
                            biased;
                            () = owner.closed() => return None,
                            () = watch.changed() => {}
                        }
                    }
                }
                Ok(NextBatch::QuotaUsedUp) => {}
                Err(CallError::NotStarted | CallError::Overloaded { .. }) => {}
                Err(_) => return None,
            }
        }
    };
    let ends = async {
        while !world.ends() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let batch = tokio::select! {
        biased;
        batch = waits => batch?,
        () = world.until_it_ends(node, process) => return None,
        () = ends => return None,
    };
    world.until_it_runs(node, process).await.ok()?;
    Some(batch)
}
