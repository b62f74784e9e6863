//! Keys, revisions and leases, as etcd keeps them. Nothing here waits or draws lots.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::client::txn_bytes;
use crate::types::EVERYTHING;
use crate::{
    Compare, ErrorKind, Get, KeyRange, KeyValue, Lease, Op, OpAnswer, RangeAnswer, Txn, TxnAnswer,
    WatchEvent,
};

/// etcd's defaults, `--max-txn-ops` and `--max-request-bytes`.
const TXN_OPS_MAX: usize = 128;
const REQUEST_BYTES_MAX: usize = 1_572_864;

/// One and a half election timeouts, in whole seconds.
const LEASE_SECONDS_MIN: u64 = 2;
const LEASE_SECONDS_MAX: u64 = 9_000_000_000;

/// What etcd keeps besides key and value, about.
const KEY_OVERHEAD: u64 = 64;

/// A refusal: kind, and etcd's text.
pub(super) type Refusal = (ErrorKind, &'static str);

const TOO_MANY_OPS: Refusal = (
    ErrorKind::Refused,
    "etcdserver: too many operations in txn request",
);
const EMPTY_KEY: Refusal = (ErrorKind::Refused, "etcdserver: key is not provided");
const DUPLICATE_KEY: Refusal = (
    ErrorKind::Refused,
    "etcdserver: duplicate key given in txn request",
);
const TOO_LARGE: Refusal = (ErrorKind::TooLarge, "etcdserver: request is too large");
const NO_SPACE: Refusal = (
    ErrorKind::NoSpace,
    "etcdserver: mvcc: database space exceeded",
);
const LEASE_GONE: Refusal = (
    ErrorKind::LeaseGone,
    "etcdserver: requested lease not found",
);
const LEASE_TTL: Refusal = (ErrorKind::Refused, "etcdserver: too large lease TTL");
const FUTURE: Refusal = (
    ErrorKind::Refused,
    "etcdserver: mvcc: required revision is a future revision",
);
pub(super) const COMPACTED: Refusal = (
    ErrorKind::Compacted,
    "etcdserver: mvcc: required revision has been compacted",
);

/// The data of an etcd.
#[derive(Clone, Debug)]
pub(super) struct Store {
    revision: i64,
    compacted: i64,
    /// The versions of each key, the oldest first.
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// The events of each revision.
    log: BTreeMap<i64, Vec<WatchEvent>>,
    leases: BTreeMap<i64, LeaseState>,
    in_use: u64,
    /// Bytes of the file. It shrinks only by defragmentation.
    file: u64,
    /// Bytes that the file may have.
    quota: u64,
    /// The alarm: it stays until it is disarmed.
    is_full: bool,
}

#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    /// None if the key was removed.
    kv: Option<KeyValue>,
}

#[derive(Clone, Debug)]
struct LeaseState {
    ttl: Duration,
    granted_at: i64,
    expires: Instant,
    /// When etcd looks and removes it: a little later.
    ends: Instant,
    keys: BTreeSet<Bytes>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            log: BTreeMap::new(),
            leases: BTreeMap::new(),
            in_use: 0,
            file: 0,
            quota: u64::MAX,
            is_full: false,
        }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Bytes of the file, and those in use.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.file, self.in_use)
    }

    pub(super) fn quota(&self) -> u64 {
        self.quota
    }

    pub(super) fn set_quota(&mut self, quota: u64) {
        self.quota = quota;
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn fill(&mut self) {
        self.is_full = true;
    }

    /// Gives the file's unused space back.
    pub(super) fn defragment(&mut self) {
        self.file = self.in_use;
    }

    /// Ends the alarm. If there is still no space, the next put raises it again.
    pub(super) fn disarm(&mut self) {
        self.is_full = false;
    }

    /// A transaction that etcd answers from the member alone: nothing in it is written, and nothing read.
    pub(super) fn is_local(txn: &Txn) -> bool {
        txn.then.is_empty() && txn.otherwise.is_empty()
    }

    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnAnswer, Refusal> {
        check(txn)?;
        let is_put = |op: &Op| matches!(op, Op::Put { .. });
        if txn.then.iter().chain(&txn.otherwise).any(is_put) {
            self.room()?;
        }
        let succeeded = txn.when.iter().all(|compare| self.holds(compare));
        let ops = match succeeded {
            true => &txn.then,
            false => &txn.otherwise,
        };
        for op in ops {
            if let Op::Put { lease, .. } = op
                && *lease != 0
                && !self.leases.contains_key(lease)
            {
                return Err(LEASE_GONE);
            }
        }
        let mut events = Vec::new();
        let answers = ops.iter().map(|op| self.do_op(op, &mut events)).collect();
        self.end_revision(events);
        Ok(TxnAnswer {
            succeeded,
            revision: self.revision,
            answers,
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let find = |key| self.now(key);
        match compare {
            Compare::ModRevision(key, revision) => {
                find(key).map_or(0, |kv| kv.mod_revision) == *revision
            }
            Compare::Exists(key) => find(key).is_some(),
            Compare::Missing(key) => find(key).is_none(),
            Compare::Value(key, value) => find(key).is_some_and(|kv| kv.value == *value),
        }
    }

    fn now(&self, key: &Bytes) -> Option<&KeyValue> {
        self.keys.get(key)?.last()?.kv.as_ref()
    }

    /// `events` has what the transaction has changed so far.
    fn do_op(&mut self, op: &Op, events: &mut Vec<WatchEvent>) -> OpAnswer {
        let next = self.revision + 1;
        match op {
            Op::Put { key, value, lease } => {
                events.push(WatchEvent::Put(self.put(key, value, *lease, next)));
                OpAnswer::Put
            }
            Op::Delete(range) => {
                let keys = self.keys_at(range, next);
                for key in &keys {
                    self.remove(key, next);
                    events.push(WatchEvent::Delete {
                        key: key.clone(),
                        mod_revision: next,
                    });
                }
                OpAnswer::Deleted(keys.len().try_into().unwrap_or(i64::MAX))
            }
            Op::Get {
                range,
                limit,
                keys_only,
            } => {
                let shown = match events.is_empty() {
                    true => self.revision,
                    false => next,
                };
                OpAnswer::Got(self.read(range, *limit, *keys_only, next, shown))
            }
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, lease: i64, revision: i64) -> KeyValue {
        let old = self.now(key).cloned();
        if let Some(old) = &old {
            self.detach(old);
        }
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(key.clone());
        }
        let kv = KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.map_or(1, |old| old.version + 1),
            lease,
        };
        self.push(key, revision, Some(kv.clone()));
        kv
    }

    fn remove(&mut self, key: &Bytes, revision: i64) {
        if let Some(old) = self.now(key).cloned() {
            self.detach(&old);
        }
        self.push(key, revision, None);
    }

    fn push(&mut self, key: &Bytes, revision: i64, kv: Option<KeyValue>) {
        let version = Version { revision, kv };
        self.in_use += version.bytes(key);
        self.file = self.file.max(self.in_use);
        self.keys.entry(key.clone()).or_default().push(version);
    }

    fn detach(&mut self, kv: &KeyValue) {
        if let Some(lease) = self.leases.get_mut(&kv.lease) {
            lease.keys.remove(&kv.key);
        }
    }

    fn end_revision(&mut self, events: Vec<WatchEvent>) {
        if !events.is_empty() {
            self.revision += 1;
            self.log.insert(self.revision, events);
        }
    }

    /// The keys of a range that there are at a revision.
    fn keys_at(&self, range: &KeyRange, revision: i64) -> Vec<Bytes> {
        let found = self.range(range);
        let found = found.filter(|(_, versions)| at(versions, revision).is_some());
        found.map(|(key, _)| key.clone()).collect()
    }

    fn range(&self, range: &KeyRange) -> impl Iterator<Item = (&Bytes, &Vec<Version>)> {
        let (from, to) = range.bounds();
        let from = match from == EVERYTHING {
            true => Bytes::new(),
            false => from,
        };
        let end = match () {
            () if to.is_empty() => Bound::Included(from.clone()),
            () if to == EVERYTHING => Bound::Unbounded,
            // An empty range, not a panic.
            () if to < from => Bound::Excluded(from.clone()),
            () => Bound::Excluded(to),
        };
        self.keys.range((Bound::Included(from), end))
    }

    fn read(
        &self,
        range: &KeyRange,
        limit: i64,
        keys_only: bool,
        revision: i64,
        shown: i64,
    ) -> RangeAnswer {
        let found = self.range(range);
        let found = found.filter_map(|(_, versions)| at(versions, revision));
        let mut kvs: Vec<_> = found.cloned().collect();
        let count = kvs.len();
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        kvs.truncate(limit.unwrap_or(usize::MAX));
        if keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeAnswer {
            revision: shown,
            more: kvs.len() < count,
            kvs,
            count: count.try_into().unwrap_or(i64::MAX),
        }
    }

    pub(super) fn get(&self, get: &Get) -> Result<RangeAnswer, Refusal> {
        if get.range.bounds().0.is_empty() {
            return Err(EMPTY_KEY);
        }
        let revision = match get.revision {
            revision if revision <= 0 => self.revision,
            revision if revision > self.revision => return Err(FUTURE),
            revision if revision < self.compacted => return Err(COMPACTED),
            revision => revision,
        };
        Ok(self.read(
            &get.range,
            get.limit,
            get.keys_only,
            revision,
            self.revision,
        ))
    }

    pub(super) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision > self.revision {
            return Err(FUTURE);
        }
        if revision <= self.compacted {
            return Err(COMPACTED);
        }
        self.compacted = revision;
        self.log = self.log.split_off(&revision);
        self.keys.retain(|_, versions| {
            let older = versions.partition_point(|version| version.revision <= revision);
            // The last one before is what is so at that revision.
            versions.drain(..older.saturating_sub(1));
            let first = versions.first();
            // A key that was removed before is gone.
            if first.is_some_and(|first| first.kv.is_none() && first.revision < revision) {
                versions.remove(0);
            }
            !versions.is_empty()
        });
        let bytes = |(key, versions): (&Bytes, &Vec<Version>)| {
            let versions = versions.iter().map(|version| version.bytes(key));
            versions.sum::<u64>()
        };
        self.in_use = self.keys.iter().map(bytes).sum();
        Ok(())
    }

    /// What a watch sees from a revision on, up to `revisions` of them, and the revision to go on from.
    pub(super) fn changes(
        &self,
        range: &KeyRange,
        from: i64,
        revisions: usize,
    ) -> (Vec<WatchEvent>, i64) {
        let (first, to) = range.bounds();
        let in_range = |key: &Bytes| match () {
            () if to.is_empty() => *key == first,
            () => (first == EVERYTHING || *key >= first) && (to == EVERYTHING || *key < to),
        };
        let mut events = Vec::new();
        let mut taken = 0;
        for (revision, all) in self.log.range(from..) {
            let seen = all.iter().filter(|event| in_range(event.key()));
            let before = events.len();
            events.extend(seen.cloned());
            if events.len() > before {
                taken += 1;
                if taken == revisions {
                    return (events, revision + 1);
                }
            }
        }
        (events, from.max(self.revision + 1))
    }

    /// Refuses if the quota is used up, and raises the alarm.
    fn room(&mut self) -> Result<(), Refusal> {
        if self.file >= self.quota {
            self.is_full = true;
        }
        match self.is_full {
            true => Err(NO_SPACE),
            false => Ok(()),
        }
    }

    pub(super) fn grant(
        &mut self,
        id: i64,
        ttl: Duration,
        now: Instant,
        look_after: Duration,
    ) -> Result<Lease, Refusal> {
        let seconds = ttl.as_millis().div_ceil(1_000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        if seconds > LEASE_SECONDS_MAX {
            return Err(LEASE_TTL);
        }
        self.room()?;
        let ttl = Duration::from_secs(seconds.max(LEASE_SECONDS_MIN));
        let lease = LeaseState {
            ttl,
            granted_at: self.revision,
            expires: now + ttl,
            ends: now + ttl + look_after,
            keys: BTreeSet::new(),
        };
        self.leases.insert(id, lease);
        Ok(Lease { id, ttl })
    }

    pub(super) fn keep_alive(
        &mut self,
        id: i64,
        now: Instant,
        look_after: Duration,
    ) -> Result<Duration, Refusal> {
        let lease = self.leases.get_mut(&id).ok_or(LEASE_GONE)?;
        if lease.expires <= now {
            // etcd waits until it has removed the lease, and then says so.
            self.end_lease(id);
            return Err(LEASE_GONE);
        }
        lease.expires = now + lease.ttl;
        lease.ends = lease.expires + look_after;
        Ok(lease.ttl)
    }

    pub(super) fn revoke(&mut self, id: i64) -> Result<(), Refusal> {
        match self.end_lease(id) {
            true => Ok(()),
            false => Err(LEASE_GONE),
        }
    }

    /// Removes a lease and its keys, all in one revision.
    pub(super) fn end_lease(&mut self, id: i64) -> bool {
        let Some(lease) = self.leases.remove(&id) else {
            return false;
        };
        let next = self.revision + 1;
        let mut events = Vec::new();
        for key in lease.keys {
            self.remove(&key, next);
            events.push(WatchEvent::Delete {
                key,
                mod_revision: next,
            });
        }
        self.end_revision(events);
        true
    }

    /// The lease that ends first.
    pub(super) fn next_end(&self) -> Option<(Instant, i64)> {
        let ends = self.leases.iter().map(|(id, lease)| (lease.ends, *id));
        ends.min()
    }

    /// A new leader begins the time of every lease anew.
    pub(super) fn refresh_leases(&mut self, now: Instant) {
        for lease in self.leases.values_mut() {
            lease.expires = now + lease.ttl;
            lease.ends = lease.expires;
        }
    }

    /// Forgets what came after a revision, as if an older copy had been restored.
    pub(super) fn roll_back(&mut self, revision: i64) {
        let revision = revision.clamp(self.compacted.max(1), self.revision);
        self.revision = revision;
        self.log.split_off(&(revision + 1));
        self.keys.retain(|_, versions| {
            versions.retain(|version| version.revision <= revision);
            !versions.is_empty()
        });
        self.leases.retain(|_, lease| lease.granted_at <= revision);
        let now = self.keys.values().filter_map(|versions| versions.last());
        let now: Vec<_> = now.filter_map(|version| version.kv.clone()).collect();
        for (id, lease) in &mut self.leases {
            let keys = now.iter().filter(|kv| kv.lease == *id);
            lease.keys = keys.map(|kv| kv.key.clone()).collect();
        }
    }
}

impl Version {
    fn bytes(&self, key: &Bytes) -> u64 {
        let value = self.kv.as_ref().map_or(0, |kv| kv.value.len());
        KEY_OVERHEAD + u64::try_from(key.len() + value).unwrap_or(u64::MAX)
    }
}

/// What a key was at a revision.
fn at(versions: &[Version], revision: i64) -> Option<&KeyValue> {
    let older = versions.partition_point(|version| version.revision <= revision);
    versions.get(older.checked_sub(1)?)?.kv.as_ref()
}

/// Refuses what etcd refuses before it looks at the data.
fn check(txn: &Txn) -> Result<(), Refusal> {
    let branches = [&txn.then, &txn.otherwise];
    let longest = branches.map(Vec::len).into_iter().max().unwrap_or(0);
    if longest.max(txn.when.len()) > TXN_OPS_MAX {
        return Err(TOO_MANY_OPS);
    }
    let compared = txn.when.iter().any(|compare| match compare {
        Compare::ModRevision(key, _)
        | Compare::Exists(key)
        | Compare::Missing(key)
        | Compare::Value(key, _) => key.is_empty(),
    });
    let is_empty = |op: &Op| match op {
        Op::Put { key, .. } => key.is_empty(),
        Op::Delete(range) | Op::Get { range, .. } => range.bounds().0.is_empty(),
    };
    if compared || branches.iter().any(|ops| ops.iter().any(is_empty)) {
        return Err(EMPTY_KEY);
    }
    branches.iter().try_for_each(|ops| check_overlaps(ops))?;
    // A transaction that writes nothing is not replicated, so its length does not matter.
    let writes = |op: &Op| !matches!(op, Op::Get { .. });
    if branches.iter().any(|ops| ops.iter().any(writes)) && txn_bytes(txn) > REQUEST_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    Ok(())
}

/// In one branch a key may be put only once, and then not be removed as well.
fn check_overlaps(ops: &[Op]) -> Result<(), Refusal> {
    let mut puts = BTreeSet::new();
    for op in ops {
        if let Op::Put { key, .. } = op
            && !puts.insert(key)
        {
            return Err(DUPLICATE_KEY);
        }
    }
    for op in ops {
        if let Op::Delete(range) = op {
            let (from, to) = range.bounds();
            let is_put = match () {
                () if to.is_empty() => puts.contains(&from),
                // etcd takes this for an end that is before the beginning, finds no overlap, and dies of it when it compacts
                // such a revision (3.5.30). Nobody should do it.
                () if to == EVERYTHING => puts.range::<Bytes, _>(&from..).next().is_some(),
                () if to < from => false,
                () => puts.range::<Bytes, _>(&from..&to).next().is_some(),
            };
            if is_put {
                return Err(DUPLICATE_KEY);
            }
        }
    }
    Ok(())
}
