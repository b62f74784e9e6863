//! Nodes, and an owner that the test drives.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::sim::SimEtcd;
use soloist_etcd::{Etcd, KeyRange, Op, Txn};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::config::{COPY_ASIDE_BYTES_MAX, Limits};
use crate::journal::etcd::follow::{Follower, Following, Reason};
use crate::journal::etcd::journal::start;
use crate::journal::etcd::keys::Keys;
use crate::journal::etcd::messages;
use crate::journal::etcd::owned::between;
use crate::journal::etcd::standby_tests::process::Process;
use crate::journal::etcd::takeover::Challenge;
use crate::journal::interface::{Command, Event, Journal, LogBatch, Space};
use crate::journal::pages::digest_of;
use crate::machine::{CopyId, CopySlice, StateMachine, StoreLimits, Time, Value, Write};
use crate::progress::Progress;

pub(super) use crate::journal::etcd::standby_tests::process::{HOUR, digest, until_reason};

pub(super) const QUOTA: u64 = 2 << 30;

/// A process of a node, whose history has ten changes.
pub(super) struct Node(Process);

impl Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl Node {
    pub(super) async fn start(etcd: &SimEtcd, node: &str) -> Self {
        Self::with(etcd.client(node), node).await
    }

    /// Starts a process that has this client.
    pub(super) async fn with(client: Etcd, node: &str) -> Self {
        let limits = StoreLimits {
            ring_changes: 10,
            ..Limits::DEFAULT.store_limits()
        };
        let now = || Time::since_epoch(1_000 * HOUR);
        Self(Process::start(client, node, 1, limits, Arc::new(now)).await)
    }

    /// Has its history have so many changes.
    pub(super) fn with_history(mut self, changes: usize) -> Self {
        self.0.cluster.limits.ring_changes = changes;
        self
    }

    /// Waits until there is no owner, and takes over.
    pub(super) async fn own(&self) -> Owner {
        self.own_with_quota(QUOTA).await
    }

    pub(super) async fn own_with_quota(&self, quota: u64) -> Owner {
        let mut follower = self.follower().await;
        let reason = until_reason(&mut follower).await;
        self.take_over(&mut follower, reason, quota).await
    }

    pub(super) async fn take_over(
        &self,
        follower: &mut Follower,
        reason: Reason,
        quota: u64,
    ) -> Owner {
        let won = match follower.challenge(reason).await.unwrap() {
            Challenge::Won(won) => won,
            Challenge::Lost => panic!("another node is the owner"),
        };
        let (journal, task) = start(&self.cluster, &won, quota);
        let mut machine = won.machine;
        machine.keep_effects();
        Owner {
            seq: journal.seq,
            journal,
            task,
            machine,
            time: won.time,
            at: won.at,
            copy: None,
            spaces: Vec::new(),
            made: 0,
        }
    }

    /// Puts the record of this node, as its own process does.
    pub(super) async fn register(&self, caught_up: bool, format_max: u32) {
        let record = messages::Node {
            address: self.cluster.address.clone(),
            version: "test".into(),
            format_min: 1,
            format_max,
            instance: self.cluster.instance.clone(),
            caught_up,
        };
        let put = Op::Put {
            key: self.cluster.keys.node(&self.cluster.node),
            value: record.encode_to_vec().into(),
            lease: *self.cluster.lease.borrow(),
        };
        let txn = Txn {
            then: vec![put],
            ..Txn::default()
        };
        self.cluster.etcd.txn(&txn).await.unwrap();
    }
}

/// Follows until the follower has everything, and has seen the owner.
pub(super) async fn follow(follower: &mut Follower) {
    let (seen, mut sees) = watch::channel(Following::default());
    let there = sees.wait_for(|seen| seen.caught_up);
    tokio::select! {
        _ = follower.follow(&seen) => {}
        _ = there => {}
    }
}

/// What a node starts with that has nothing.
pub(super) async fn cold_digest(etcd: &SimEtcd) -> Bytes {
    let mut follower = Node::start(etcd, "cold").await.follower().await;
    digest(&mut follower)
}

/// The numbers of the records in etcd.
pub(super) fn records(etcd: &SimEtcd) -> Vec<u64> {
    let keys = Keys::new("test");
    let found = etcd.look(between(keys.records()));
    found
        .iter()
        .filter_map(|found| keys.seq_of(&found.key))
        .collect()
}

/// How many keys there are in a range.
pub(super) fn count(etcd: &SimEtcd, range: KeyRange) -> usize {
    etcd.look(range).len()
}

/// An owner.
pub(super) struct Owner {
    pub(super) journal: Journal,
    pub(super) task: JoinHandle<()>,
    pub(super) machine: StateMachine,
    /// The number of the last batch that was sent.
    pub(super) seq: u64,
    time: Time,
    at: Instant,
    copy: Option<(CopyId, mpsc::Sender<CopySlice>)>,
    /// What it was told of the space.
    pub(super) spaces: Vec<Space>,
    /// How many snapshots were made.
    pub(super) made: usize,
}

impl Owner {
    pub(super) fn now(&self) -> Time {
        self.time + self.at.elapsed()
    }

    /// Changes a key, without a commit.
    pub(super) fn write(&mut self, key: &str, value: impl Into<Value>) {
        let now = self.now();
        let write = Write {
            key: key.into(),
            value: Some(value.into()),
            options: None,
        };
        self.machine.write(write, None, now).unwrap();
    }

    /// Changes a key to a text of so many bytes, without a commit.
    pub(super) fn write_large(&mut self, key: &str, len: usize) {
        let text = key.chars().cycle().take(len).collect::<String>();
        self.write(key, Value::Text(text.into()));
    }

    pub(super) fn send(&self, command: Command) {
        self.journal.commands.send(command).unwrap();
    }

    /// Sends what was changed.
    pub(super) fn send_batch(&mut self) {
        let mut effects = Vec::new();
        self.machine.take_effects(&mut effects);
        self.seq += 1;
        self.send(Command::Commit(LogBatch {
            seq: self.seq,
            revision: self.machine.revision(),
            time: self.now(),
            effects,
        }));
    }

    /// The next event that is not about the space or a snapshot.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            let event = timeout(HOUR, self.journal.events.recv()).await;
            match event.unwrap().expect("the journal has not ended") {
                Event::NextSlice => self.next_slice().await,
                Event::SnapshotEnded { made } => {
                    self.made += usize::from(made);
                    if let Some((copy, _)) = self.copy.take() {
                        self.machine.end_copy(copy);
                    }
                    if !made {
                        return Event::SnapshotEnded { made };
                    }
                }
                Event::Space(space) => self.spaces.push(space),
                Event::Removable(_) => {}
                event => return event,
            }
        }
    }

    /// Serves the journal for a while, in which nothing else comes.
    pub(super) async fn rest(&mut self, span: Duration) {
        if let Ok(event) = timeout(span, self.event()).await {
            panic!("{event:?}");
        }
    }

    async fn next_slice(&mut self) {
        if let Some((copy, slices)) = &self.copy {
            let slice = self.machine.next_copy_slice(*copy, 100, 64 << 10);
            let _ = slices.send(slice.unwrap()).await;
        }
    }

    pub(super) async fn committed(&mut self) {
        match self.event().await {
            Event::Committed { seq, .. } => assert_eq!(seq, self.seq),
            event => panic!("{event:?}"),
        }
    }

    /// Changes a key, and waits until that is committed.
    pub(super) async fn commit(&mut self, key: &str, value: i64) {
        self.write(key, Value::Int(value));
        self.send_batch();
        self.committed().await;
    }

    /// Begins a snapshot.
    pub(super) fn begin_snapshot(&mut self) {
        let (sender, slices) = mpsc::channel(1);
        let (copy, head) = self.machine.begin_copy(COPY_ASIDE_BYTES_MAX);
        self.copy = Some((copy, sender));
        self.send(Command::Snapshot {
            head,
            seq: self.seq,
            time: self.now(),
            bytes: self.machine.usage().used_bytes,
            slices,
        });
    }

    /// Gives up the snapshot that is being made.
    pub(super) fn abandon_snapshot(&mut self) {
        if let Some((copy, _)) = self.copy.take() {
            self.machine.end_copy(copy);
        }
    }

    /// Waits until a snapshot is made, and the log shortened.
    pub(super) async fn snapshot(&mut self) {
        let made = self.made;
        self.begin_snapshot();
        self.rest(Duration::from_secs(20)).await;
        assert_eq!(self.made, made + 1, "the snapshot was made");
    }

    /// Why the journal has failed.
    pub(super) async fn failed(&mut self) -> String {
        match self.event().await {
            Event::Failed(why) => why,
            event => panic!("{event:?}"),
        }
    }

    pub(super) fn digest(&mut self) -> Bytes {
        digest_of(&mut self.machine, &Progress::default())
    }
}
