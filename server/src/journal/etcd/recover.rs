//! Reads the store of a cluster from etcd: its snapshot, and the records after it. Creates the store if there is none.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use soloist_etcd::{Compare, Get, KeyRange, Op, OpAnswer, RangeAnswer, Txn};
use tokio::task::yield_now;
use tracing::{debug, info};

use super::chunks::ChunkReader;
use super::cluster::{Cluster, FORMATS};
use super::keys::{Generation, Keys};
use super::messages::{self, Contents, Manifest, Parts, Record};
use super::recent::Recent;
use super::trying;
use crate::journal::error::OpenError;
use crate::journal::pages::{PageReader, Restored};
use crate::journal::record::{self, Position};
use crate::journal::replaying::{Misfit, Replaying, restore_history};
use crate::journal::stored::{Damaged, FORMAT, LogRecord};
use crate::machine::{StateMachine, StoreLimits};
use crate::progress::{Progress, Unit};

/// Bytes that one answer of etcd should have, and how many records it has until their size is known.
const ANSWER_BYTES: u64 = 4 << 20;
const ANSWER_RECORDS: i64 = 8;
const ANSWER_RECORDS_MAX: i64 = 512;

/// No record is longer: what is with a commit at once, encoded.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// The error about data in etcd that contradicts itself, or is missing.
pub(super) fn inconsistent(what: impl Into<String>) -> OpenError {
    OpenError::Inconsistent { what: what.into() }
}

/// The error about a record.
pub(super) fn misfit(seq: u64, misfit: Misfit) -> OpenError {
    inconsistent(match misfit {
        Misfit::Missing(expected) => format!(
            "the log in etcd has no record {expected}, but record {seq}: etcd has lost data"
        ),
        Misfit::Damaged(error) => format!("record {seq} in etcd is damaged: {error}"),
        Misfit::Contradiction => {
            format!("record {seq} in etcd contradicts the state before it")
        }
    })
}

/// The value of a key, as a message.
pub(super) fn decode<M: prost::Message + Default>(
    what: &str,
    value: &Bytes,
) -> Result<M, OpenError> {
    let decoded = M::decode(value.clone());
    decoded.map_err(|error| inconsistent(format!("{what} in etcd is damaged: {error}")))
}

/// What is read of the log at once.
pub(super) struct Records {
    /// Records with their numbers, in order. `None` stands for the place before the first record.
    pub(super) records: Vec<(u64, Option<Bytes>)>,
    /// How many there are, with those that were not read yet.
    pub(super) count: u64,
    /// Whether there are more.
    pub(super) more: bool,
}

/// What a node starts with.
pub(super) struct Loaded {
    pub(super) state: Replaying,
    /// Whether the last record is the last of an owner that ended in order.
    pub(super) closed: bool,
    /// The records that are there and fill the history.
    pub(super) recent: Recent,
}

impl Cluster {
    /// Returns the store_id. Creates the store if there is none.
    ///
    /// # Errors
    /// If the store has a format that this server does not know, or etcd refuses.
    pub(super) async fn create(&self) -> Result<String, OpenError> {
        let key = self.keys.cluster();
        let new = messages::Cluster {
            format: *FORMATS.end(),
            store_id: self.new_store_id.clone(),
        };
        let put = |key: Bytes, value: Vec<u8>| Op::Put {
            key,
            value: value.into(),
            lease: 0,
        };
        let txn = Txn {
            when: vec![Compare::Missing(key.clone())],
            then: vec![
                put(key.clone(), new.encode_to_vec()),
                put(self.keys.record(0), Record::default().encode_to_vec()),
            ],
            otherwise: vec![get(KeyRange::One(key))],
        };
        let answer = trying::transact(&self.etcd, "create the store", &txn).await?;
        let cluster = match &answer.answers[..] {
            [OpAnswer::Got(RangeAnswer { kvs, .. })] if !kvs.is_empty() => {
                decode::<messages::Cluster>("the record of the cluster", &kvs[0].value)?
            }
            _ if answer.succeeded => {
                info!(
                    store_id = new.store_id,
                    "created the store of a new cluster"
                );
                new
            }
            _ => return Err(inconsistent("etcd does not say what it has")),
        };
        match cluster.format {
            format if FORMATS.contains(&format) => Ok(cluster.store_id),
            format => Err(OpenError::Etcd {
                what: format!(
                    "the cluster has format {format}, but this server reads formats {} to {}: start a later version of the server",
                    FORMATS.start(),
                    FORMATS.end()
                ),
            }),
        }
    }

    /// Loads the newest snapshot and the records after it, in steps of `progress`, which it ends.
    ///
    /// # Errors
    /// If something is missing or damaged, or etcd refuses.
    pub(super) async fn load(&self, progress: &Progress) -> Result<Loaded, OpenError> {
        let loaded = self.load_newest(progress).await;
        progress.end();
        loaded
    }

    async fn load_newest(&self, progress: &Progress) -> Result<Loaded, OpenError> {
        loop {
            let manifest = self.manifest().await?;
            match self.try_load(manifest.as_ref(), progress).await {
                Err(_) | Ok(None) if self.manifest().await? != manifest => {
                    debug!("the snapshot was replaced while it was read: reading the newer one");
                }
                Ok(None) => return Err(inconsistent("chunks of the snapshot in etcd are missing")),
                Ok(Some(loaded)) => return Ok(loaded),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn manifest(&self) -> Result<Option<Manifest>, OpenError> {
        let get = Get::one(self.keys.manifest());
        let found = trying::get(&self.etcd, "read the manifest", &get).await?;
        let value = found.kvs.first().map(|found| &found.value);
        value.map(|value| decode("the manifest", value)).transpose()
    }

    /// Loads a snapshot and the records after it. `None` if chunks are missing.
    async fn try_load(
        &self,
        manifest: Option<&Manifest>,
        progress: &Progress,
    ) -> Result<Option<Loaded>, OpenError> {
        let state = match manifest {
            None => Replaying::from_nothing(self.limits.clone()),
            Some(manifest) => match self.read_snapshot(manifest, progress).await? {
                Some(restored) => Replaying::from_copy(restored),
                None => return Ok(None),
            },
        };
        let mut loading = Loading {
            before: manifest.map(|_| Before::new(&self.limits)),
            from: state.position,
            loaded: Loaded {
                state,
                closed: false,
                recent: Recent::new(&self.limits),
            },
        };
        let mut reader = RecordReader::from(0);
        let mut is_first = true;
        loop {
            let Records {
                records,
                count,
                more,
            } = reader.next(self).await?;
            if std::mem::take(&mut is_first) {
                progress.begin("replaying the log", Unit::Things("records"), Some(count));
            }
            for (seq, record) in records {
                loading.record(seq, record)?;
                progress.add(1);
                yield_now().await;
            }
            if !more {
                return loading.finish().map(Some);
            }
        }
    }

    /// Reads a snapshot. `None` if chunks are missing.
    async fn read_snapshot(
        &self,
        manifest: &Manifest,
        progress: &Progress,
    ) -> Result<Option<Restored>, OpenError> {
        let damaged =
            |Damaged(what)| inconsistent(format!("the snapshot in etcd is damaged: {what}"));
        if manifest.format != FORMAT {
            let what = crate::journal::stored::unknown_format(manifest.format);
            return Err(damaged(Damaged(what)));
        }
        let of = Generation {
            epoch: manifest.epoch,
            attempt: manifest.attempt,
        };
        progress.begin("reading the snapshot", Unit::Bytes, Some(manifest.bytes));
        let mut pages = PageReader::new(StateMachine::new(self.limits.clone()));
        let mut chunks = ChunkReader::default();
        for number in 0..manifest.chunks {
            let get = Get::one(self.keys.chunk(of, number));
            let found = trying::get(&self.etcd, "read the snapshot", &get);
            let Some(chunk) = found.await?.kvs.pop() else {
                return Ok(None);
            };
            progress.add(chunk.value.len() as u64);
            chunks.add(chunk.value);
            while let Some(page) = chunks.next_page().map_err(damaged)? {
                pages.read(&page).map_err(damaged)?;
                yield_now().await;
            }
        }
        if !chunks.is_empty() {
            return Err(damaged(Damaged("the last page is cut off".into())));
        }
        let restored = pages.finish().map_err(damaged)?;
        let header = &restored.header;
        let is_named = (header.seq, header.record_crc, &restored.digest)
            == (manifest.seq, manifest.record_crc, &manifest.digest);
        match is_named {
            true => Ok(Some(restored)),
            false => Err(inconsistent(
                "the snapshot in etcd is not the one that the manifest names",
            )),
        }
    }

    /// The bytes of a record whose value is this. `None` for the place before the first record, and if parts are gone: then
    /// newer records made this one superfluous.
    pub(super) async fn record(&self, seq: u64, value: &Bytes) -> Result<Option<Bytes>, OpenError> {
        match decode::<Record>("a record", value)?.contents {
            None => Ok(None),
            Some(Contents::Whole(bytes)) => Ok(Some(bytes)),
            Some(Contents::Parts(parts)) => self.read_parts(seq, &parts).await,
        }
    }

    async fn read_parts(&self, seq: u64, parts: &Parts) -> Result<Option<Bytes>, OpenError> {
        let expected = usize::try_from(parts.bytes).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(expected.min(RECORD_BYTES_MAX));
        for part in 0..parts.count {
            let get = Get::one(self.keys.part(seq, parts.epoch, part));
            let found = trying::get(&self.etcd, "read a record", &get).await?;
            let Some(part) = found.kvs.first() else {
                return Ok(None);
            };
            bytes.extend_from_slice(&part.value);
        }
        if (bytes.len() as u64, crc32c::crc32c(&bytes)) != (parts.bytes, parts.crc) {
            return Err(inconsistent(format!(
                "the parts of record {seq} in etcd are damaged"
            )));
        }
        Ok(Some(bytes.freeze()))
    }
}

fn get(range: KeyRange) -> Op {
    Op::Get {
        range,
        limit: 0,
        keys_only: false,
    }
}

/// Reads the log from a record on, some records at a time.
///
/// etcd counts all keys of the range that it is asked for, however few of them it shows. With ranges up to the end, it would go
/// through a log of n records n / 512 times. So the range has no more records than are asked for, as long as there are so many.
pub(super) struct RecordReader {
    next: u64,
    /// How many to ask for.
    count: i64,
    /// Whether the last answer had as many as were asked for. Otherwise the log may end, or go on with a greater number.
    was_full: bool,
}

impl RecordReader {
    /// Begins with record `seq`.
    pub(super) fn from(seq: u64) -> Self {
        Self {
            next: seq,
            count: ANSWER_RECORDS,
            was_full: false,
        }
    }

    /// What to ask for.
    fn range(&self, keys: &Keys) -> Range<Bytes> {
        let open = keys.records_from(self.next);
        match self.was_full {
            true => open.start..keys.record(self.next + self.count.unsigned_abs()),
            false => open,
        }
    }

    /// Reads the next records. The first may have a greater number than asked for: the ones before were removed.
    ///
    /// # Errors
    /// If they are damaged, or etcd refuses.
    pub(super) async fn next(&mut self, cluster: &Cluster) -> Result<Records, OpenError> {
        let range = self.range(&cluster.keys);
        let is_open = !self.was_full;
        let get = Get {
            limit: self.count,
            ..Get::range(KeyRange::Between(range.start, range.end))
        };
        let answer = trying::get(&cluster.etcd, "read the log", &get).await?;
        self.was_full = i64::try_from(answer.kvs.len()) == Ok(self.count);
        let mut bytes = 0;
        let mut records = Vec::with_capacity(answer.kvs.len());
        let mut is_cut = false;
        for found in &answer.kvs {
            let Some(seq) = cluster.keys.seq_of(&found.key) else {
                return Err(inconsistent(format!("a stranger's key: {:?}", found.key)));
            };
            bytes += found.value.len() as u64;
            let record = cluster.record(seq, &found.value).await?;
            if record.is_none() && seq > 0 {
                // Its parts are gone, and so it is itself by now.
                records.clear();
                is_cut = true;
            } else {
                records.push((seq, record));
            }
            self.next = seq + 1;
        }
        if let Some(mean) = bytes.checked_div(answer.kvs.len() as u64) {
            let count = i64::try_from(ANSWER_BYTES / mean.max(1)).unwrap_or(i64::MAX);
            self.count = count.clamp(ANSWER_RECORDS, ANSWER_RECORDS_MAX);
        }
        Ok(Records {
            records,
            count: u64::try_from(answer.count).unwrap_or(0),
            more: answer.more || is_cut || !is_open,
        })
    }
}

/// A state that is being loaded.
struct Loading {
    /// The records before the snapshot, until the first record after it.
    before: Option<Before>,
    /// The snapshot's record.
    from: Position,
    loaded: Loaded,
}

impl Loading {
    fn record(&mut self, seq: u64, record: Option<Bytes>) -> Result<(), OpenError> {
        let Some(bytes) = record else {
            return Ok(());
        };
        if seq <= self.from.seq {
            if let Some(before) = &mut self.before {
                let changes = before.add(seq, &bytes, self.from)?;
                self.loaded.recent.add(seq, changes, bytes.len());
            }
            return Ok(());
        }
        self.end_history();
        let Loaded {
            state,
            closed,
            recent,
        } = &mut self.loaded;
        let next = state
            .read(seq, &bytes)
            .map_err(|error| misfit(seq, error))?;
        *closed = next.closed;
        let (changes, bytes) = next.size();
        recent.add(seq, changes, bytes);
        state.apply(next).map_err(|error| misfit(seq, error))
    }

    fn end_history(&mut self) {
        if let Some(before) = self.before.take() {
            restore_history(&mut self.loaded.state.machine, before.records);
        }
    }

    fn finish(mut self) -> Result<Loaded, OpenError> {
        if let Some(before) = &self.before {
            self.loaded.closed = before.closed;
            // The last record of the log is never removed.
            if before.last != self.from.seq {
                return Err(inconsistent(format!(
                    "the log in etcd ends at record {}, but the snapshot is of record {}: etcd has lost data",
                    before.last, self.from.seq
                )));
            }
        }
        self.end_history();
        Ok(self.loaded)
    }
}

/// The last records before a snapshot, as many as watches need.
struct Before {
    records: VecDeque<LogRecord>,
    bytes: VecDeque<usize>,
    changes: usize,
    total_bytes: usize,
    changes_max: usize,
    bytes_max: usize,
    /// The number of the last one, and whether it is the last of an owner that ended in order.
    last: u64,
    closed: bool,
}

impl Before {
    fn new(limits: &StoreLimits) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: VecDeque::new(),
            changes: 0,
            total_bytes: 0,
            changes_max: limits.ring_changes,
            bytes_max: limits.ring_bytes,
            last: 0,
            closed: false,
        }
    }

    /// Adds the next record. Returns how many things happened.
    fn add(&mut self, seq: u64, bytes: &[u8], snapshot: Position) -> Result<usize, OpenError> {
        let decoded = record::decode_alone(seq, bytes);
        let (record, position) = decoded.map_err(|error| misfit(seq, Misfit::Damaged(error)))?;
        if seq == snapshot.seq && position != snapshot {
            return Err(inconsistent(format!(
                "the snapshot in etcd is of another record {seq} than the log has"
            )));
        }
        if seq != self.last + 1 {
            self.records.clear();
            self.bytes.clear();
            (self.changes, self.total_bytes) = (0, 0);
        }
        (self.last, self.closed) = (seq, record.closed);
        let changes = record.effects.len();
        self.changes += changes;
        self.total_bytes += bytes.len();
        self.records.push_back(record);
        self.bytes.push_back(bytes.len());
        while self.changes > self.changes_max || self.total_bytes > self.bytes_max {
            let (Some(first), Some(bytes)) = (self.records.pop_front(), self.bytes.pop_front())
            else {
                break;
            };
            self.changes -= first.effects.len();
            self.total_bytes -= bytes;
        }
        Ok(changes)
    }
}
