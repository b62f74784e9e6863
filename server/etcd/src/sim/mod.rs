//! A simulated etcd: all in memory, on tokio's time, which may be paused, with faults drawn from a seed.
//!
//! What it does with requests is what etcd does: a test runs the same programs on both. It needs no task: whatever is due is done
//! when somebody asks. So nothing happens while nobody asks, and it looks as if it had happened in time.

mod faults;
mod store;
mod world;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use faults::Faults;
use world::{Answer, Answered, Request, Sent, Step, World};

use crate::{
    Error, ErrorKind, Etcd, Get, KeyRange, KeyValue, Lease, Member, RangeAnswer, Txn, TxnAnswer,
    WatchAnswer,
};

/// A simulated etcd. Clones are the same one.
#[derive(Clone)]
pub struct SimEtcd(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
    /// Something has changed that a watch may be waiting for.
    changed: Notify,
}

impl fmt::Debug for SimEtcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimEtcd")
    }
}

/// What a node can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The cluster.
    All,
    /// Nothing: requests and answers are lost.
    Nothing,
    /// A member that is cut off from the others, and knows what it knew then. It goes on to answer transactions that neither read
    /// nor write.
    Minority,
}

impl SimEtcd {
    /// An empty etcd without faults. All lots are drawn from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            world: Mutex::new(World::new(seed)),
            changed: Notify::new(),
        }))
    }

    /// A client, whose way to etcd is that of a node.
    #[must_use]
    pub fn client(&self, node: &str) -> Etcd {
        Etcd::simulated(Client {
            sim: self.clone(),
            node: node.into(),
        })
    }

    /// Sets how long clients wait for an answer.
    pub fn set_timeout(&self, timeout: Duration) {
        self.world().timeout = timeout;
    }

    /// Sets the faults of a node.
    pub fn set_faults(&self, node: &str, faults: Faults) {
        self.change(|world| world.node(node).faults = Some(faults));
    }

    /// Sets the faults of all nodes that have none of their own.
    pub fn set_faults_of_all(&self, faults: Faults) {
        self.change(|world| world.faults = faults);
    }

    /// Sets what a node can reach.
    pub fn set_reach(&self, node: &str, reach: Reach) {
        self.change(|world| world.set_reach(node, reach));
    }

    /// Stops the client of a node, as if its process got no time to run: it sends nothing and takes no answer until it goes on.
    /// Then it finds all that has come meanwhile, and its timeouts have passed.
    pub fn set_stopped(&self, node: &str, stopped: bool) {
        self.change(|world| world.node(node).is_stopped = stopped);
    }

    /// How many reads of a node etcd has answered so far. An answer comes back some time after it was counted.
    #[must_use]
    pub fn reads_answered(&self, node: &str) -> u64 {
        self.change(|world| world.node(node).reads_answered)
    }

    /// How many keys there were in the ranges that a node has read so far. etcd goes through all keys of a range to count them,
    /// however few it shows: so this is what the reads have cost it.
    #[must_use]
    pub fn keys_counted(&self, node: &str) -> u64 {
        self.change(|world| world.node(node).keys_counted)
    }

    /// Without a quorum nothing is answered but transactions that neither read nor write, and no lease ends. What was asked
    /// meanwhile may be done when the quorum is back.
    pub fn set_quorum(&self, quorum: bool) {
        self.change(|world| world.set_quorum(quorum));
    }

    /// Another member becomes the leader: the time of all leases begins anew.
    pub fn elect(&self) {
        self.change(World::elect);
    }

    /// Ends all watches of a node.
    pub fn break_watches(&self, node: &str) {
        self.change(|world| world.node(node).generation += 1);
    }

    /// Raises the alarm: puts and new leases are refused.
    pub fn fill(&self) {
        self.change(|world| world.store.fill());
    }

    /// Sets the quota. When the file has reached it, the next put raises the alarm.
    pub fn set_quota(&self, bytes: u64) {
        self.change(|world| world.store.set_quota(bytes));
    }

    /// Gives back to the file what is not in use.
    pub fn defragment(&self) {
        self.change(|world| world.store.defragment());
    }

    /// Ends the alarm.
    pub fn disarm(&self) {
        self.change(|world| world.store.disarm());
    }

    /// Forgets what came after a revision, as when an old copy is restored. All watches end.
    pub fn roll_back(&self, revision: i64) {
        self.change(|world| world.roll_back(revision));
    }

    /// The revision of the store.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.change(|world| world.store.revision())
    }

    /// What is in etcd, whatever the faults.
    #[must_use]
    pub fn look(&self, range: KeyRange) -> Vec<KeyValue> {
        let get = Get::range(range);
        let found = self.change(|world| world.store.get(&get));
        found.map(|found| found.kvs).unwrap_or_default()
    }

    /// Lets what is due happen, then does something, then wakes the watches.
    fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let done = {
            let mut world = self.world();
            world.run_due(Instant::now());
            act(&mut world)
        };
        self.0.changed.notify_waiters();
        done
    }

    /// Waits while the client of a node is stopped.
    async fn runs(&self, node: &str) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.world().node(node).is_stopped {
                return;
            }
            changed.await;
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client of one node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    sim: SimEtcd,
    node: Arc<str>,
}

impl Client {
    pub(crate) async fn txn(&self, txn: &Txn) -> Result<TxnAnswer, Error> {
        match self.call(Request::Txn(txn.clone())).await? {
            Answer::Txn(answer) => Ok(answer),
            _ => Err(self.mixed_up()),
        }
    }

    pub(crate) async fn get(&self, get: &Get) -> Result<RangeAnswer, Error> {
        match self.call(Request::Get(get.clone())).await? {
            Answer::Range(answer) => Ok(answer),
            _ => Err(self.mixed_up()),
        }
    }

    pub(crate) async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        match self.call(Request::Grant(ttl)).await? {
            Answer::Lease(lease) => Ok(lease),
            _ => Err(self.mixed_up()),
        }
    }

    pub(crate) async fn keep_alive(&self, lease: i64) -> Result<Duration, Error> {
        match self.call(Request::KeepAlive(lease)).await? {
            Answer::Left(left) => Ok(left),
            _ => Err(self.mixed_up()),
        }
    }

    pub(crate) async fn revoke(&self, lease: i64) -> Result<(), Error> {
        self.call(Request::Revoke(lease)).await.map(drop)
    }

    pub(crate) async fn compact(&self, revision: i64) -> Result<(), Error> {
        self.call(Request::Compact(revision)).await.map(drop)
    }

    pub(crate) async fn watch(&self, range: KeyRange, from: i64) -> Result<Watch, Error> {
        self.sim.runs(&self.node).await;
        let (begins, generation, patience) = {
            let mut world = self.sim.world();
            let node = world.node(&self.node);
            let generation = node.generation;
            (world.begin_watch(&self.node), generation, world.timeout)
        };
        match begins {
            Ok(at) => sleep_until(at).await,
            Err(at) => {
                sleep_until(at).await;
                return Err(self.error(ErrorKind::Unavailable, "the watch could not be made"));
            }
        }
        let from = match from {
            0 => self.sim.revision() + 1,
            from => from,
        };
        Ok(Watch {
            client: self.clone(),
            state: world::WatchState {
                range,
                next: from,
                generation,
                patience,
                silent_since: None,
                visible_at: None,
            },
        })
    }

    pub(crate) async fn members(&self) -> Vec<(String, Result<Member, Error>)> {
        let members = self.sim.change(|world| world.members(&self.node));
        let named = members.into_iter().enumerate().map(|(index, member)| {
            let name = format!("sim-{index}");
            let unreachable = || self.error(ErrorKind::Unavailable, "unreachable");
            (name, member.ok_or_else(unreachable))
        });
        named.collect()
    }

    async fn call(&self, request: Request) -> Result<Answer, Error> {
        self.sim.runs(&self.node).await;
        let answer = self.ask(request).await;
        self.sim.runs(&self.node).await;
        answer
    }

    /// Sends a request, and waits for its answer. If the future is dropped the request is under way all the same.
    async fn ask(&self, request: Request) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        let Sent {
            arrives,
            gives_up,
            loses_answer_at,
        } = self.sim.world().send(&self.node, request, answer);
        if arrives < gives_up {
            sleep_until(arrives).await;
            self.sim.change(|_| ());
        }
        let Ok(Ok(Answered {
            answer,
            comes_back_at,
        })) = timeout_at(gives_up, answered).await
        else {
            // Nobody answered, or the request is lost.
            sleep_until(loses_answer_at.unwrap_or(gives_up)).await;
            return Err(self.error(ErrorKind::Unavailable, "no answer"));
        };
        if let Some(at) = loses_answer_at {
            sleep_until(at.max(Instant::now())).await;
            return Err(self.error(ErrorKind::Unavailable, "the connection broke"));
        }
        sleep_until(comes_back_at.min(gives_up)).await;
        if comes_back_at > gives_up || !self.sim.world().is_reached(&self.node) {
            sleep_until(gives_up).await;
            return Err(self.error(ErrorKind::Unavailable, "no answer"));
        }
        answer.map_err(|(kind, why)| self.error(kind, why))
    }

    fn error(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, &format!("sim({})", self.node), why)
    }

    fn mixed_up(&self) -> Error {
        self.error(ErrorKind::Refused, "an answer to another request")
    }
}

/// A watch of a simulated etcd.
#[derive(Debug)]
pub(crate) struct Watch {
    client: Client,
    state: world::WatchState,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> Result<WatchAnswer, Error> {
        let Self { client, state } = self;
        loop {
            client.sim.runs(&client.node).await;
            let changed = client.sim.0.changed.notified();
            tokio::pin!(changed);
            // From now on no change is missed.
            changed.as_mut().enable();
            let step = {
                let mut world = client.sim.world();
                world.run_due(Instant::now());
                world.watch(&client.node, state)
            };
            match step {
                Step::Changes(answer) => return Ok(answer),
                Step::Ended((kind, why)) => return Err(client.error(kind, why)),
                Step::Wait(None) => changed.await,
                Step::Wait(Some(until)) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }
}
