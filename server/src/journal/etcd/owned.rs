//! What an owner's requests to etcd have in common: they are fenced by its epoch, and made until etcd answers.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{
    Compare, Error, ErrorKind, Etcd, Get, KeyRange, KeyValue, Op, OpAnswer, RangeAnswer, Txn,
    TxnAnswer,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::keys::Keys;
use super::messages::Owner;
use crate::journal::interface::Event;
use crate::metrics::JournalCells;
use crate::mutants::mutant;

/// The first pause before etcd is asked again; the first time there is none, because another member may answer. Each pause is
/// twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest pause while etcd does not answer.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long to wait before etcd is asked again while it has no space.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// How long a refusal tells that etcd has no space: a little longer than until the next try.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// The store, as its owner writes to it.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) etcd: Etcd,
    pub(super) keys: Keys,
    pub(super) epoch: i64,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) cells: Arc<JournalCells>,
    /// Bytes of the records since the last snapshot.
    pub(super) log_bytes: AtomicU64,
    /// Bytes of the last snapshot.
    pub(super) snapshot_bytes: AtomicU64,
    pub(super) no_space: NoSpace,
    /// Whether there is little space in etcd, or none.
    pub(super) is_space_scarce: AtomicBool,
}

/// Whether etcd refuses what is put, as far as the last answers tell.
#[derive(Debug)]
pub(super) struct NoSpace {
    began: Instant,
    /// When it refused last, in milliseconds since `began`, and one more. 0 if it has taken something since.
    refused_at: AtomicU64,
    changed: Notify,
}

/// Why the journal ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// The owner closed the store.
    Closed,
    /// The store belongs to another node, at this address.
    HandedOff(String),
    /// The owner dropped its end of the journal.
    OwnerGone,
    /// This process is not the owner any more, or what it needs is not there.
    Failed(String),
}

/// What to do while etcd has no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// To make the same request until there is.
    Wait,
    /// To do without.
    GiveUp,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Stop(Stop),
    /// etcd has no space.
    Full(Error),
    /// etcd refuses for another reason than its space: trying again is in vain.
    Refused(Error),
}

impl From<Stop> for NoAnswer {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(stop) => write!(f, "{stop:?}"),
            Self::Full(error) | Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl NoAnswer {
    /// For a request without which the journal cannot go on.
    pub(super) fn fatal(self, what: &str) -> Stop {
        match self {
            Self::Stop(stop) => stop,
            Self::Full(error) | Self::Refused(error) => {
                Stop::Failed(format!("cannot {what}: {error}"))
            }
        }
    }
}

impl NoSpace {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            refused_at: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Whether it has just refused something. After a while without a request nobody knows: then the alarms tell.
    pub(super) fn refuses(&self) -> bool {
        match self.refused_at.load(Ordering::Relaxed) {
            0 => false,
            at => self.now().saturating_sub(at) < REFUSED_FOR.as_millis() as u64,
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    fn set(&self, refuses: bool) {
        let at = match refuses {
            true => self.now(),
            false => 0,
        };
        if (self.refused_at.swap(at, Ordering::Relaxed) > 0) != refuses {
            self.changed.notify_one();
        }
    }

    /// Waits until it is another than before.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// A request that is made until etcd answers.
struct Trying {
    full: WhenFull,
    pause: Duration,
}

impl Trying {
    fn new(full: WhenFull) -> Self {
        Self {
            full,
            pause: Duration::ZERO,
        }
    }

    /// Waits before the next try, unless there is to be none.
    async fn after(&mut self, error: Error, no_space: &NoSpace) -> Result<(), NoAnswer> {
        if error.kind.is_lasting() {
            return Err(NoAnswer::Refused(error));
        }
        if error.kind == ErrorKind::NoSpace {
            no_space.set(true);
            if self.full == WhenFull::GiveUp {
                return Err(NoAnswer::Full(error));
            }
            sleep(FULL_PAUSE).await;
            return Ok(());
        }
        debug!(%error, "etcd does not answer, trying again");
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        self.pause = (2 * self.pause).clamp(PAUSE, PAUSE_MAX);
        Ok(())
    }
}

impl Owned {
    /// Holds as long as this process is the owner.
    pub(super) fn fence(&self) -> Compare {
        Compare::ModRevision(self.keys.owner(), self.epoch)
    }

    /// The conditions of a transaction that writes: first of all, that this process is the owner.
    pub(super) fn when(&self, others: impl IntoIterator<Item = Compare>) -> Vec<Compare> {
        let fence = (!mutant("no-epoch")).then(|| self.fence());
        fence.into_iter().chain(others).collect()
    }

    /// Reads the owner, which tells why a transaction was refused.
    pub(super) fn read_owner(&self) -> Op {
        read(self.keys.owner())
    }

    /// Makes the same transaction until etcd answers, for ever. An answer may be lost after the transaction was done, so it must
    /// be one that may be made twice.
    pub(super) async fn txn(&self, txn: &Txn, full: WhenFull) -> Result<TxnAnswer, NoAnswer> {
        let mut trying = Trying::new(full);
        loop {
            match self.etcd.txn(txn).await {
                Ok(answer) => {
                    if full == WhenFull::Wait {
                        self.no_space.set(false);
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    if error.kind == ErrorKind::Unavailable {
                        self.cells.commit_retries.add(1);
                    }
                    trying.after(error, &self.no_space).await?;
                }
            }
        }
    }

    /// Reads, linearizably, until etcd answers, for ever.
    pub(super) async fn get(&self, get: &Get) -> Result<RangeAnswer, NoAnswer> {
        let mut trying = Trying::new(WhenFull::Wait);
        loop {
            match self.etcd.get(get).await {
                Ok(answer) => return Ok(answer),
                Err(error) => trying.after(error, &self.no_space).await?,
            }
        }
    }

    /// Makes changes that may be made twice.
    pub(super) async fn apply(&self, changes: Vec<Op>, full: WhenFull) -> Result<i64, NoAnswer> {
        let txn = Txn {
            when: self.when([]),
            then: changes,
            otherwise: vec![self.read_owner()],
        };
        let answer = self.txn(&txn, full).await?;
        match answer.succeeded {
            true => Ok(answer.revision),
            false => Err(self.deposed(found(&answer, 0)).into()),
        }
    }

    /// The end of an owner that is the owner no more; `owner` is who is, if anybody is.
    pub(super) fn deposed(&self, owner: Option<&KeyValue>) -> Stop {
        let other = owner.and_then(|owner| Owner::decode(&*owner.value).ok());
        Stop::Failed(match other {
            Some(Owner { node, address, .. }) => format!(
                "this process does not own the store any more: node {node} at {address} has taken its place"
            ),
            None => "this process does not own the store any more: its lease has ended".into(),
        })
    }

    /// Tells the owner.
    pub(super) async fn send(&self, event: Event) {
        // An error means that the owner is gone. Whoever waits for that finds out.
        let _ = self.events.send(event).await;
    }
}

/// Writes a key without a lease.
pub(super) fn put(key: Bytes, value: Bytes) -> Op {
    Op::Put {
        key,
        value,
        lease: 0,
    }
}

/// Reads a key.
pub(super) fn read(key: Bytes) -> Op {
    Op::Get {
        range: KeyRange::One(key),
        limit: 0,
        keys_only: false,
    }
}

pub(super) fn between(range: Range<Bytes>) -> KeyRange {
    KeyRange::Between(range.start, range.end)
}

/// What part `at` of a transaction has found, if there was anything.
pub(super) fn found(answer: &TxnAnswer, at: usize) -> Option<&KeyValue> {
    match answer.answers.get(at)? {
        OpAnswer::Got(found) => found.kvs.first(),
        OpAnswer::Put | OpAnswer::Deleted(_) => None,
    }
}
