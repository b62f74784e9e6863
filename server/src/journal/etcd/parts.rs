//! Puts what is too large for one request of etcd in parts. A reader sees them only once the record that names them is there.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::chunks::PART_BYTES;
use super::messages::{Contents, Parts};
use super::owned::{NoAnswer, Owned, WhenFull, put};

/// How many parts are under way at once.
const AT_ONCE: usize = 4;

/// Makes the contents of record `seq`. A large record is put in parts before this returns.
pub(super) async fn contents(owned: &Owned, seq: u64, record: Bytes) -> Result<Contents, NoAnswer> {
    if record.len() <= PART_BYTES {
        return Ok(Contents::Whole(record));
    }
    let count = record.len().div_ceil(PART_BYTES);
    let mut puts: FuturesUnordered<_> = FuturesUnordered::new();
    for part in 0..count {
        if puts.len() == AT_ONCE {
            puts.try_next().await?;
        }
        puts.push(put_part(owned, seq, part, &record));
    }
    while puts.try_next().await?.is_some() {}
    drop(puts);
    Ok(Contents::Parts(Parts {
        epoch: owned.epoch,
        count: count as u32,
        bytes: record.len() as u64,
        crc: crc32c::crc32c(&record),
    }))
}

async fn put_part(owned: &Owned, seq: u64, part: usize, record: &Bytes) -> Result<i64, NoAnswer> {
    let from = part * PART_BYTES;
    let value = record.slice(from..record.len().min(from + PART_BYTES));
    // The same bytes whenever it is put: an owner makes each record once.
    let key = owned.keys.part(seq, owned.epoch, part as u32);
    owned.apply(vec![put(key, value)], WhenFull::Wait).await
}
