//! Appends records to the log in etcd, one after another.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{Compare, Op, Txn, TxnAnswer};
use tokio::time::Instant;
use tracing::error;

use super::messages::{Contents, Record};
use super::owned::{NoAnswer, Owned, Stop, WhenFull, found, put, read};
use super::parts;
use super::recent::Recent;
use crate::journal::interface::{Event, LogBatch};
use crate::journal::record::{EncodedRecord, Position};
use crate::journal::stored::{self, FORMAT, LogRecord};
use crate::machine::{Revision, Time};
use crate::mutants::mutant;

/// The end of the log, to which only this process adds.
#[derive(Debug)]
pub(super) struct Log {
    /// The last record.
    pub(super) last: Position,
    pub(super) recent: Recent,
    /// Whether a snapshot is made of the state after the last record. The next one says so.
    pub(super) snapshot_before: bool,
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Appended {
    /// It is in the log.
    Yes,
    /// Something else was in the way than the log and the owner; only if the [`Append`] has conditions of its own.
    No,
}

/// A record to append, and what is done with it.
pub(super) struct Append {
    pub(super) seq: u64,
    pub(super) value: Bytes,
    /// Further conditions, and what else is changed.
    pub(super) when: Vec<Compare>,
    pub(super) then: Vec<Op>,
    pub(super) full: WhenFull,
}

impl Log {
    /// Appends a batch as one record, and tells the owner.
    pub(super) async fn commit(&mut self, owned: &Owned, batch: LogBatch) -> Result<(), Stop> {
        let began = Instant::now();
        let seq = batch.seq;
        let operations = batch.effects.len();
        let record = self.encode(owned, batch);
        let bytes = record.bytes.len();
        let fatal = |error: NoAnswer| error.fatal("commit a record");
        let contents = parts::contents(owned, seq, record.bytes).await;
        let value = Record::of(contents.map_err(fatal)?);
        let append = Append {
            seq,
            value: value.encode_to_vec().into(),
            when: Vec::new(),
            then: Vec::new(),
            full: WhenFull::Wait,
        };
        match append.append(owned).await.map_err(fatal)? {
            Appended::Yes => {}
            Appended::No => return Err(lost_data(seq)),
        }
        self.last = record.position;
        self.recent.add(seq, operations, bytes);
        let bytes = bytes as u64;
        let log_bytes = owned.log_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let cells = &owned.cells;
        cells.commits.add(began.elapsed());
        cells.commit_bytes.add(bytes);
        cells.commit_operations.add(operations as u64);
        cells.log_bytes.set(log_bytes);
        cells.seq.set(seq);
        owned.send(Event::Committed { seq, log_bytes }).await;
        Ok(())
    }

    fn encode(&mut self, owned: &Owned, batch: LogBatch) -> EncodedRecord {
        let LogBatch {
            seq,
            revision,
            time,
            effects,
        } = batch;
        let record = LogRecord {
            snapshot_before: std::mem::take(&mut self.snapshot_before),
            ..self.next(owned, revision, time)
        };
        debug_assert_eq!(record.seq, seq, "batches come in order");
        EncodedRecord::with(&record, &effects, self.last)
    }

    /// The next record, without effects.
    fn next(&self, owned: &Owned, revision: Revision, time: Time) -> LogRecord {
        LogRecord {
            format: FORMAT,
            epoch: owned.epoch.cast_unsigned(),
            seq: self.last.seq + 1,
            revision,
            time: stored::to_nanos(time),
            previous_crc: self.last.crc,
            ..LogRecord::default()
        }
    }

    /// The last record of an owner that ends in order, and its value.
    pub(super) fn closing(&self, owned: &Owned, revision: Revision, time: Time) -> (u64, Bytes) {
        let record = LogRecord {
            closed: true,
            ..self.next(owned, revision, time)
        };
        let record = EncodedRecord::of(&record, self.last);
        let value = Record::of(Contents::Whole(record.bytes));
        (record.position.seq, value.encode_to_vec().into())
    }
}

impl Append {
    /// Appends the record, if this process is the owner. The same request is made until its outcome is known.
    pub(super) async fn append(self, owned: &Owned) -> Result<Appended, NoAnswer> {
        let Self {
            seq,
            value,
            when,
            then,
            full,
        } = self;
        let key = owned.keys.record(seq);
        // Without it, a request that comes very late could put a record that was truncated already.
        let previous = Compare::Exists(owned.keys.record(seq.saturating_sub(1)));
        let previous = (!mutant("no-previous-record")).then_some(previous);
        let has_conditions = !when.is_empty();
        let conditions = [Compare::Missing(key.clone())].into_iter();
        let txn = Txn {
            when: owned.when(conditions.chain(previous).chain(when)),
            then: [put(key.clone(), value.clone())]
                .into_iter()
                .chain(then)
                .collect(),
            otherwise: vec![owned.read_owner(), read(key)],
        };
        let answer = owned.txn(&txn, full).await?;
        match outcome(&answer, owned.epoch, &value) {
            Outcome::Committed => Ok(Appended::Yes),
            Outcome::Deposed => Err(owned.deposed(found(&answer, 0)).into()),
            Outcome::Neither if has_conditions => Ok(Appended::No),
            Outcome::Neither => Err(lost_data(seq).into()),
        }
    }
}

/// What the answer to the transaction means.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The record is in the log.
    Committed,
    /// The log goes on without this process.
    Deposed,
    /// The record is not there, though this process is the owner: a condition does not hold that nobody else can change.
    Neither,
}

fn outcome(answer: &TxnAnswer, epoch: i64, value: &Bytes) -> Outcome {
    if answer.succeeded {
        return Outcome::Committed;
    }
    let is_owner = found(answer, 0).is_some_and(|owner| owner.mod_revision == epoch);
    match found(answer, 1) {
        // An earlier request has put it, and its answer was lost. It counts even if this process was deposed since: whoever
        // came after it has read this record.
        Some(record) if record.value == *value => Outcome::Committed,
        Some(_) => Outcome::Deposed,
        None if is_owner => Outcome::Neither,
        None => Outcome::Deposed,
    }
}

/// The end of an owner whose log is not as it left it.
fn lost_data(seq: u64) -> Stop {
    let previous = seq.saturating_sub(1);
    error!(
        "etcd has lost data: record {previous} was committed, and is gone, though no other node owns the store. Was etcd set back \
         to an earlier time? Stop all nodes, and restore a backup into a new cluster"
    );
    Stop::Failed(format!("etcd has lost data: record {previous} is gone"))
}

#[cfg(test)]
mod tests {
    use soloist_etcd::{KeyValue, OpAnswer, RangeAnswer};

    use super::*;

    fn kv(value: &'static [u8], mod_revision: i64) -> KeyValue {
        KeyValue {
            key: Bytes::new(),
            value: Bytes::from_static(value),
            create_revision: 1,
            mod_revision,
            version: 1,
            lease: 0,
        }
    }

    #[test]
    fn what_an_answer_means() {
        let mine = Bytes::from_static(b"mine");
        let (owner, other) = (Some(kv(b"", 7)), Some(kv(b"", 8)));
        let (same, another) = (Some(kv(b"mine", 9)), Some(kv(b"another's", 9)));
        for (owner, record, expected) in [
            (owner.clone(), same.clone(), Outcome::Committed),
            (other.clone(), same.clone(), Outcome::Committed),
            (None, same, Outcome::Committed),
            (owner.clone(), another.clone(), Outcome::Deposed),
            (other.clone(), another, Outcome::Deposed),
            (other, None, Outcome::Deposed),
            (None, None, Outcome::Deposed),
            (owner, None, Outcome::Neither),
        ] {
            let found = |kv: Option<KeyValue>| {
                OpAnswer::Got(RangeAnswer {
                    kvs: kv.into_iter().collect(),
                    ..RangeAnswer::default()
                })
            };
            let answer = TxnAnswer {
                succeeded: false,
                revision: 9,
                answers: vec![found(owner), found(record)],
            };
            assert_eq!(outcome(&answer, 7, &mine), expected, "{answer:?}");
        }
        let done = TxnAnswer {
            succeeded: true,
            revision: 9,
            answers: vec![OpAnswer::Put],
        };
        assert_eq!(outcome(&done, 7, &mine), Outcome::Committed);
    }
}
