//! Nodes, and owners that write the log by hand.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::sim::SimEtcd;
use soloist_etcd::{Compare, Etcd, Get, KeyRange, Op, Txn};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::config::Limits;
use crate::journal::error::OpenError;
use crate::journal::etcd::chunks::ChunkWriter;
use crate::journal::etcd::follow::{Follower, Following, Reason};
use crate::journal::etcd::keys::{Generation, Keys};
use crate::journal::etcd::messages::{self, Contents, Manifest, Parts};
use crate::journal::etcd::takeover::{Challenge, Won};
use crate::journal::pages::{digest_of, write_all};
use crate::journal::record::{EncodedRecord, Position};
use crate::journal::stored::{FORMAT, Header, LogRecord, to_nanos};
use crate::machine::{
    OnExisting, OpenSession, SetLifetime, StateMachine, Time, Value, Write, WriteOptions,
};
use crate::progress::Progress;

pub(super) use super::process::{HOUR, Process, TTL, digest, until_reason};

/// A simulated etcd, and when the test began.
pub(super) struct World {
    pub(super) etcd: SimEtcd,
    began: Instant,
}

impl World {
    pub(super) fn new() -> Self {
        Self::seeded(1)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self::of(SimEtcd::new(seed))
    }

    pub(super) fn of(etcd: SimEtcd) -> Self {
        let began = Instant::now();
        Self { etcd, began }
    }

    /// Starts a process of a node.
    pub(super) async fn node(&self, node: &str, instance: u32) -> Node {
        Node::start(self, node, instance, Duration::ZERO).await
    }

    /// Starts a process of a node whose clock is ahead of the others'.
    pub(super) async fn node_ahead(&self, node: &str, ahead: Duration) -> Node {
        Node::start(self, node, 1, ahead).await
    }
}

/// A process of a node.
pub(super) struct Node(Process);

impl Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl Node {
    async fn start(world: &World, node: &str, number: u32, ahead: Duration) -> Self {
        let began = world.began;
        let now = move || Time::since_epoch(1_000 * HOUR) + ahead + began.elapsed();
        let limits = Limits::DEFAULT.store_limits();
        let client = world.etcd.client(node);
        Self(Process::start(client, node, number, limits, Arc::new(now)).await)
    }

    /// Has the process stand by, and take over when there is no owner.
    pub(super) async fn own(&self) -> Owner {
        let mut follower = self.follower().await;
        let reason = until_reason(&mut follower).await;
        self.owner(won(&mut follower, reason).await)
    }

    pub(super) fn owner(&self, won: Won) -> Owner {
        let mut machine = won.machine;
        machine.keep_effects();
        Owner {
            etcd: self.cluster.etcd.clone(),
            keys: self.cluster.keys.clone(),
            epoch: won.epoch,
            machine,
            position: won.position,
            time: won.time,
            at: won.at,
            attempts: 0,
            snapshot_before: None,
        }
    }
}

/// Follows for a moment. Returns how it ended, if it did.
pub(super) async fn until_ended(
    follower: &mut Follower,
    seen: &watch::Sender<Following>,
) -> Option<Result<Reason, OpenError>> {
    timeout(TTL, follower.follow(seen)).await.ok()
}

/// Follows until the error.
pub(super) async fn until_refused(follower: &mut Follower) -> OpenError {
    let seen = watch::channel(Following::default()).0;
    let ended = timeout(HOUR, follower.follow(&seen)).await;
    ended.unwrap().unwrap_err()
}

/// Follows for a while.
pub(super) async fn follow_for(follower: &mut Follower, span: Duration) {
    let seen = watch::channel(Following::default()).0;
    let ended = timeout(span, follower.follow(&seen)).await;
    assert!(ended.is_err(), "{ended:?}");
}

/// Follows up to a record.
pub(super) async fn follow_to(follower: &mut Follower, seq: u64) -> Following {
    let (seen, mut sees) = watch::channel(Following::default());
    let there = sees.wait_for(|seen| seen.caught_up && seen.seq >= seq);
    let there = timeout(HOUR, async {
        tokio::select! {
            ended = follower.follow(&seen) => panic!("{ended:?}"),
            there = there => there.unwrap().clone(),
        }
    });
    there.await.unwrap()
}

pub(super) async fn won(follower: &mut Follower, reason: Reason) -> Won {
    match timeout(HOUR, follower.challenge(reason))
        .await
        .unwrap()
        .unwrap()
    {
        Challenge::Won(won) => *won,
        Challenge::Lost => panic!("another node is the owner"),
    }
}

/// An owner that writes the log by hand.
pub(super) struct Owner {
    etcd: Etcd,
    keys: Keys,
    pub(super) epoch: i64,
    pub(super) machine: StateMachine,
    pub(super) position: Position,
    time: Time,
    at: Instant,
    attempts: u32,
    /// Whether the next record says that a snapshot is of the state before it.
    snapshot_before: Option<Bytes>,
}

impl Owner {
    pub(super) fn now(&self) -> Time {
        self.time + self.at.elapsed()
    }

    pub(super) fn apply(&mut self, key: &str, value: Value, lifetime: SetLifetime) {
        let now = self.now();
        let write = Write {
            key: key.into(),
            value: Some(value),
            options: Some(Box::new(WriteOptions {
                lifetime,
                ..WriteOptions::default()
            })),
        };
        self.machine.write(write, None, now).unwrap();
    }

    /// Writes a key, and commits it.
    pub(super) async fn write(&mut self, key: &str, value: i64) {
        self.apply(key, Value::Int(value), SetLifetime::Unlimited);
        self.commit(false).await;
    }

    pub(super) async fn open_session(&mut self, id: &str, ttl: Duration) {
        let open = OpenSession {
            id: id.into(),
            ttl,
            on_existing: OnExisting::Refuse,
        };
        let now = self.now();
        self.machine.open_session(open, None, now).unwrap();
        self.commit(false).await;
    }

    fn next(&mut self, closed: bool) -> EncodedRecord {
        let mut effects = Vec::new();
        self.machine.take_effects(&mut effects);
        let record = LogRecord {
            format: FORMAT,
            epoch: self.epoch.cast_unsigned(),
            seq: self.position.seq + 1,
            revision: self.machine.revision(),
            time: to_nanos(self.now()),
            previous_crc: self.position.crc,
            effects: Vec::new(),
            closed,
            snapshot_before: self.snapshot_before.is_some(),
        };
        let record = EncodedRecord::with(&record, &effects, self.position);
        self.position = record.position;
        record
    }

    /// Commits what was applied.
    pub(super) async fn commit(&mut self, closed: bool) {
        let record = self.next(closed);
        let contents = Contents::Whole(record.bytes);
        self.put_record(record.position.seq, contents).await;
    }

    /// Commits what was applied in parts.
    pub(super) async fn commit_parts(&mut self, part_bytes: usize) {
        let record = self.next(false);
        let seq = record.position.seq;
        let parts: Vec<_> = record.bytes.chunks(part_bytes).collect();
        for (number, part) in (0..).zip(&parts) {
            let key = self.keys.part(seq, self.epoch, number);
            self.put(key, part.to_vec()).await;
        }
        let contents = Contents::Parts(Parts {
            epoch: self.epoch,
            count: u32::try_from(parts.len()).unwrap(),
            bytes: record.bytes.len() as u64,
            crc: crc32c::crc32c(&record.bytes),
        });
        self.put_record(seq, contents).await;
    }

    async fn put_record(&self, seq: u64, contents: Contents) {
        let value = messages::Record {
            contents: Some(contents),
        };
        let put = |key, value: Vec<u8>| Op::Put {
            key,
            value: value.into(),
            lease: 0,
        };
        let txn = Txn {
            when: vec![
                Compare::ModRevision(self.keys.owner(), self.epoch),
                Compare::Missing(self.keys.record(seq)),
                Compare::Exists(self.keys.record(seq - 1)),
            ],
            then: vec![put(self.keys.record(seq), value.encode_to_vec())],
            otherwise: Vec::new(),
        };
        assert!(self.etcd.txn(&txn).await.unwrap().succeeded);
    }

    async fn put(&self, key: Bytes, value: Vec<u8>) {
        let txn = Txn {
            then: vec![Op::Put {
                key,
                value: value.into(),
                lease: 0,
            }],
            ..Txn::default()
        };
        self.etcd.txn(&txn).await.unwrap();
    }

    /// Begins a snapshot. The next record says so.
    pub(super) fn begin_snapshot(&mut self) -> (Manifest, Vec<Bytes>) {
        self.attempts += 1;
        let mut chunks = Vec::new();
        let mut writer = ChunkWriter::default();
        let header = Header {
            seq: self.position.seq,
            record_crc: self.position.crc,
            ..Header::of("new", self.machine.revision(), self.now())
        };
        let revision = header.revision;
        let digest = write_all(&mut self.machine, header, &Progress::default(), |page| {
            writer.add(&page);
            chunks.extend(writer.next_chunk());
            Ok::<_, std::convert::Infallible>(())
        });
        chunks.extend(writer.last_chunk());
        let digest = digest.unwrap();
        self.snapshot_before = Some(digest.clone());
        let manifest = Manifest {
            format: FORMAT,
            epoch: self.epoch,
            attempt: self.attempts,
            chunks: u32::try_from(chunks.len()).unwrap(),
            bytes: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            seq: self.position.seq,
            record_crc: self.position.crc,
            revision,
            digest,
            key_count: self.machine.usage().key_count as u64,
        };
        (manifest, chunks)
    }

    /// Ends a snapshot, and removes the records up to it, but for the last.
    pub(super) async fn end_snapshot(&mut self, snapshot: (Manifest, Vec<Bytes>)) {
        let last = snapshot.0.seq;
        self.end_snapshot_keeping(snapshot, last).await;
    }

    /// Ends a snapshot, and removes the records before `first`.
    pub(super) async fn end_snapshot_keeping(
        &mut self,
        (manifest, chunks): (Manifest, Vec<Bytes>),
        first: u64,
    ) {
        self.snapshot_before = None;
        let of = Generation {
            epoch: manifest.epoch,
            attempt: manifest.attempt,
        };
        for (number, chunk) in (0..).zip(chunks) {
            self.put(self.keys.chunk(of, number), chunk.to_vec()).await;
        }
        self.put(self.keys.manifest(), manifest.encode_to_vec())
            .await;
        self.truncate(first).await;
    }

    pub(super) fn abandon_snapshot(&mut self) {
        // The record that said so may have been committed.
        self.snapshot_before = None;
    }

    /// Opens a session, or ends it, if there is one.
    pub(super) async fn session(&mut self, opens: bool) {
        let now = self.now();
        self.machine.advance(now, usize::MAX);
        let sessions = self.machine.usage().session_count;
        if opens && sessions == 0 {
            self.open_session("s", Duration::from_secs(30)).await;
        } else {
            self.commit(false).await;
        }
    }

    /// Has etcd forget what was before.
    pub(super) async fn compact(&self) {
        let revision = self.etcd.get(&Get::one(self.keys.owner())).await;
        let _ = self.etcd.compact(revision.unwrap().revision).await;
    }

    /// Removes the records before this one.
    pub(super) async fn truncate(&self, seq: u64) {
        let range = self.keys.record(0)..self.keys.record(seq);
        let txn = Txn {
            then: vec![Op::Delete(KeyRange::Between(range.start, range.end))],
            ..Txn::default()
        };
        self.etcd.txn(&txn).await.unwrap();
    }

    /// Hands off to another process, with a last record.
    pub(super) async fn hand_off(&mut self, to: &Node) {
        let record = self.next(true);
        let value = messages::Record {
            contents: Some(Contents::Whole(record.bytes)),
        };
        let owner = messages::Owner {
            node: to.cluster.node.clone(),
            address: to.cluster.address.clone(),
            instance: to.cluster.instance.clone(),
        };
        let txn = Txn {
            when: vec![Compare::ModRevision(self.keys.owner(), self.epoch)],
            then: vec![
                Op::Put {
                    key: self.keys.record(record.position.seq),
                    value: value.encode_to_vec().into(),
                    lease: 0,
                },
                Op::Put {
                    key: self.keys.owner(),
                    value: owner.encode_to_vec().into(),
                    lease: *to.cluster.lease.borrow(),
                },
            ],
            otherwise: Vec::new(),
        };
        assert!(self.etcd.txn(&txn).await.unwrap().succeeded);
    }

    pub(super) fn digest(&mut self) -> Bytes {
        digest_of(&mut self.machine, &Progress::default())
    }
}
