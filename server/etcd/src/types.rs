//! Requests and answers, as plain values.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// Where etcd is, and how to talk to it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://HOST:PORT` or `https://HOST:PORT` of each member.
    pub endpoints: Vec<String>,
    /// For `https`.
    pub tls: Option<Tls>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// How long a request may take, connecting included.
    pub timeout: Duration,
}

/// Files for TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The CAs to trust. `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate of this client, with the chain above it. Needs `key`.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value. Empty if only keys were asked for.
    pub value: Bytes,
    /// The revision that made the key.
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// How often it was put since it was made.
    pub version: i64,
    /// The lease that the key ends with. 0 for none.
    pub lease: i64,
}

/// Which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// One.
    One(Bytes),
    /// All that begin so.
    Prefix(Bytes),
    /// From the first up to the second, which is not among them.
    Between(Bytes, Bytes),
}

/// What must hold for a transaction to do its first branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was changed last at this revision. 0 for a key that is missing.
    ModRevision(Bytes, i64),
    /// There is such a key.
    Exists(Bytes),
    /// There is no such key.
    Missing(Bytes),
    /// The key has this value.
    Value(Bytes, Bytes),
}

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
        /// The lease that the key ends with. 0 for none.
        lease: i64,
    },
    /// Removes keys.
    Delete(KeyRange),
    /// Reads keys. It sees what the transaction has changed before it.
    Get {
        /// Which.
        range: KeyRange,
        /// At most so many. 0 for all.
        limit: i64,
        /// Without values.
        keys_only: bool,
    },
}

/// A transaction: `then` if all of `when` holds, else `otherwise`. What it changes has one revision.
///
/// One that reads nothing and changes nothing is answered by the member alone, which may know nothing of the others: it confirms
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub when: Vec<Compare>,
    /// What is done if it holds.
    pub then: Vec<Op>,
    /// What is done otherwise.
    pub otherwise: Vec<Op>,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnAnswer {
    /// Whether everything in `when` held.
    pub succeeded: bool,
    /// The revision of the store after it.
    pub revision: i64,
    /// One for each part of the branch that was done.
    pub answers: Vec<OpAnswer>,
}

/// What a part of a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpAnswer {
    /// The key was written.
    Put,
    /// So many keys were removed.
    Deleted(i64),
    /// What was read.
    Got(RangeAnswer),
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeAnswer {
    /// The revision of the store when it was read, also if an older one was asked for.
    pub revision: i64,
    /// In the order of the keys.
    pub kvs: Vec<KeyValue>,
    /// There are more keys than the limit let through.
    pub more: bool,
    /// All keys of the range, whatever the limit.
    pub count: i64,
}

/// A read. It is linearizable: etcd has made sure, after it was asked, that it is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Which keys.
    pub range: KeyRange,
    /// At most so many. 0 for all.
    pub limit: i64,
    /// Without values.
    pub keys_only: bool,
    /// As of this revision. 0 for the latest.
    pub revision: i64,
}

impl Get {
    /// One key, as it is now.
    pub fn one(key: impl Into<Bytes>) -> Self {
        Self::range(KeyRange::One(key.into()))
    }

    /// All keys that begin so, as they are now.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self::range(KeyRange::Prefix(prefix.into()))
    }

    /// All of these keys, as they are now.
    #[must_use]
    pub fn range(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            keys_only: false,
            revision: 0,
        }
    }
}

/// A lease: keys that were put with it end when nobody has kept it alive for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// Its time, whole seconds. etcd makes a time that is too short longer.
    pub ttl: Duration,
}

/// What a watch has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchAnswer {
    /// The last revision among the events.
    pub revision: i64,
    /// In order. All events of a revision come together.
    pub events: Vec<WatchEvent>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// It was written.
    Put(KeyValue),
    /// It was removed, or has ended with its lease.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision that removed it.
        mod_revision: i64,
    },
}

impl WatchEvent {
    /// The revision of the change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { mod_revision, .. } => *mod_revision,
        }
    }

    /// The key that was changed.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// The version of etcd, such as `3.5.30`.
    pub version: String,
    /// Bytes of its file.
    pub db_size: i64,
    /// Bytes of them that are in use: the others go with defragmentation.
    pub db_in_use: i64,
    /// Its quota in bytes. 0 if it does not tell, as etcd 3.5.
    pub db_quota: i64,
    /// The number of the leader. 0 for none.
    pub leader: u64,
    /// The term of the leader.
    pub raft_term: u64,
    /// The revision that it has applied.
    pub revision: i64,
    /// Alarms, and what else is wrong.
    pub errors: Vec<String>,
}

impl KeyRange {
    /// The first key, and the first one after the range. Empty for a single key.
    pub(crate) fn bounds(&self) -> (Bytes, Bytes) {
        match self {
            Self::One(key) => (key.clone(), Bytes::new()),
            Self::Between(from, to) => (from.clone(), to.clone()),
            Self::Prefix(prefix) if prefix.is_empty() => (EVERYTHING, EVERYTHING),
            Self::Prefix(prefix) => (prefix.clone(), after_prefix(prefix)),
        }
    }
}

/// As the beginning: the first key. As the end: none.
pub(crate) const EVERYTHING: Bytes = Bytes::from_static(b"\0");

/// The first key after all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    EVERYTHING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"a", b"b"),
            (b"/soloist/x/", b"/soloist/x0"),
            (b"a\xff\xff", b"b"),
            (b"\xff", b"\0"),
        ];
        for (prefix, end) in cases {
            let range = KeyRange::Prefix(Bytes::from_static(prefix));
            assert_eq!(range.bounds().1, end);
        }
    }
}
