//! The journal of an owner: puts the parts together behind the queues that the owner knows.
//!
//! Everything is one task, whose parts take turns: the log, confirmations, snapshots, the space. They share nothing but the way
//! to etcd, so that a confirmation does not wait for a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tracing::{debug, error};

use super::cluster::Cluster;
use super::commit::Log;
use super::confirm;
use super::hand_off::HandOff;
use super::owned::{NoSpace, Owned, Stop};
use super::snapshot::{Job, Snapshotter};
use super::space::{self, EtcdSpace};
use super::takeover::Won;
use super::truncate::compactor;
use crate::config::ETCD_PATIENCE;
use crate::journal::interface::{
    AnswerWhen, Command, CommandSink, Event, Gone, Journal, QUEUE_CAPACITY,
};

/// The owner's end of the queues of commands.
#[derive(Debug)]
struct Commands {
    others: mpsc::Sender<Command>,
    /// Confirmations, which go past everything else.
    confirmations: mpsc::Sender<()>,
}

impl CommandSink for Commands {
    fn send(&self, command: Command) -> Result<(), Gone> {
        let sent = match command {
            Command::Confirm => self.confirmations.try_send(()).map_err(is_full),
            command => self.others.try_send(command).map_err(is_full),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(false) => Err(Gone),
            Err(true) => unreachable!("the queue has room for every command that can be in it"),
        }
    }
}

fn is_full<T>(error: TrySendError<T>) -> bool {
    matches!(error, TrySendError::Full(_))
}

/// Starts the journal of a node that has become the owner: a task of the present runtime. `quota` is what etcd was given, in
/// bytes. The task ends after [`Command::Close`] and
/// [`Event::HandedOff`], when the owner is gone, and when this process is the owner no more.
pub(crate) fn start(cluster: &Cluster, won: &Won, quota: u64) -> (Journal, JoinHandle<()>) {
    let (others, commands) = mpsc::channel(QUEUE_CAPACITY);
    let (confirmations, requests) = mpsc::channel(QUEUE_CAPACITY);
    let (sender, events) = mpsc::channel(QUEUE_CAPACITY);
    cluster.cells.log_bytes.set(won.log_bytes);
    cluster.cells.seq.set(won.position.seq);
    let owned = Owned {
        etcd: cluster.etcd.hedging(ETCD_PATIENCE),
        keys: cluster.keys.clone(),
        epoch: won.epoch,
        events: sender,
        cells: Arc::clone(&cluster.cells),
        log_bytes: AtomicU64::new(won.log_bytes),
        // About: a snapshot has the state.
        snapshot_bytes: AtomicU64::new(won.machine.usage().used_bytes),
        no_space: NoSpace::new(),
        is_space_scarce: AtomicBool::new(false),
    };
    let log = Log {
        last: won.position,
        recent: won.recent.clone(),
        snapshot_before: false,
    };
    let (node, store_id) = (cluster.node.clone(), won.store_id.clone());
    let task = tokio::spawn(run(owned, log, node, store_id, quota, commands, requests));
    let journal = Journal {
        commands: Box::new(Commands {
            others,
            confirmations,
        }),
        events,
        seq: won.position.seq,
        answers: AnswerWhen::Confirmed,
        space: space::UNKNOWN,
        snapshot_log_bytes: cluster.snapshot_log_bytes,
    };
    (journal, task)
}

async fn run(
    owned: Owned,
    log: Log,
    node: String,
    store_id: String,
    quota: u64,
    commands: mpsc::Receiver<Command>,
    requests: mpsc::Receiver<()>,
) {
    // The owner abandons a snapshot before it begins another.
    let (jobs, mut snapshots) = mpsc::channel(QUEUE_CAPACITY);
    let (compactor, compactions) = compactor();
    compactor.compact_later(owned.epoch);
    let mut snapshotter = Snapshotter::new(store_id, compactor);
    let mut space = EtcdSpace::new(quota);
    let stop = tokio::select! {
        biased;
        // Boxed, because it is large.
        stop = Box::pin(serve(&owned, log, &node, commands, jobs)) => stop,
        stop = confirm::run(&owned, requests) => match stop {
            Err(stop) => stop,
            Ok(never) => match never {},
        },
        stop = Box::pin(snapshotter.run(&owned, &mut snapshots)) => stop,
        never = space.run(&owned) => match never {},
        never = compactions.run(&owned) => match never {},
        () = owned.events.closed() => Stop::OwnerGone,
    };
    match stop {
        Stop::Closed => owned.send(Event::Closed).await,
        Stop::HandedOff(owner) => owned.send(Event::HandedOff { owner }).await,
        Stop::OwnerGone => debug!("the owner is gone"),
        Stop::Failed(why) => {
            error!("the journal failed: {why}");
            owned.send(Event::Failed(why)).await;
        }
    }
}

/// Serves the owner's commands, but for confirmations.
async fn serve(
    owned: &Owned,
    mut log: Log,
    node: &str,
    mut commands: mpsc::Receiver<Command>,
    jobs: mpsc::Sender<Job>,
) -> Stop {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Commit(batch) => {
                if let Err(stop) = log.commit(owned, batch).await {
                    return stop;
                }
            }
            Command::Snapshot {
                head,
                seq,
                time,
                bytes: _,
                slices,
            } => {
                debug_assert_eq!(seq, log.last.seq, "a copy is of the last record");
                log.snapshot_before = true;
                let job = Job {
                    copy: head,
                    position: log.last,
                    time,
                    slices,
                    keep_from: log.recent.first(),
                    log_bytes: owned.log_bytes.load(Ordering::Relaxed),
                };
                if jobs.try_send(job).is_err() {
                    owned.send(Event::SnapshotEnded { made: false }).await;
                }
            }
            Command::HandOff { to, revision, time } => {
                let hand_off = HandOff { to, revision, time };
                match log.hand_off(owned, node, &hand_off).await {
                    Ok(why) => owned.send(Event::HandOffRefused(why)).await,
                    Err(stop) => return stop,
                }
            }
            Command::Close { revision, time } => return log.close(owned, revision, time).await,
            Command::Confirm => unreachable!("it has a queue of its own"),
        }
    }
    Stop::OwnerGone
}
