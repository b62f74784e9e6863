//! A record of the log as bytes: the message, then its CRC-32C. Each record also contains the CRC-32C of the record before, so
//! records form a chain.

use bytes::Bytes;
use prost::Message as _;

use super::stored::{Damaged, FORMAT, LogRecord, encode_with, unknown_format};
use crate::machine::Effect;
use crate::mutants::mutant;

/// A position in the log: the number and checksum of a record. The next record must continue it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) crc: u32,
}

/// The position before the first record.
pub(crate) const START: Position = Position { seq: 0, crc: 0 };

/// Appends the CRC-32C of `bytes`, continued from the checksum `before`. Returns it.
pub(crate) fn seal(bytes: &mut Vec<u8>, before: u32) -> u32 {
    let crc = crc32c::crc32c_append(before, bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    crc
}

/// Checks and removes the checksum that [`seal`] appended. Returns both parts.
pub(crate) fn unseal(bytes: &[u8], before: u32) -> Result<(&[u8], u32), Damaged> {
    let Some((bytes, crc)) = bytes.split_last_chunk() else {
        return Err(Damaged("too short".into()));
    };
    let crc = u32::from_le_bytes(*crc);
    let actual = crc32c::crc32c_append(before, bytes);
    if crc != actual && !mutant("no-checksum") {
        return Err(Damaged(format!(
            "checksum is {actual:08x}, but should be {crc:08x}"
        )));
    }
    Ok((bytes, crc))
}

/// An encoded record with its checksum. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct EncodedRecord {
    pub(crate) position: Position,
    pub(crate) bytes: Bytes,
}

impl EncodedRecord {
    /// Encodes the record after `last`.
    pub(crate) fn of(record: &LogRecord, last: Position) -> Self {
        debug_assert_eq!(record.seq, last.seq + 1);
        let mut bytes = Vec::with_capacity(record.encoded_len() + size_of::<u32>());
        record.encode(&mut bytes).expect("a vector grows as needed");
        Self::sealed(bytes, record.seq)
    }

    /// Encodes the record after `last`, with the effects of a batch.
    pub(crate) fn with(record: &LogRecord, effects: &[Effect], last: Position) -> Self {
        debug_assert_eq!(record.seq, last.seq + 1);
        Self::sealed(encode_with(record, effects), record.seq)
    }

    fn sealed(mut bytes: Vec<u8>, seq: u64) -> Self {
        // Not continued from the checksum of the record before: that one is a field of the message.
        let crc = seal(&mut bytes, 0);
        Self {
            position: Position { seq, crc },
            bytes: bytes.into(),
        }
    }
}

/// Decodes record number `seq`, which must continue `last`.
///
/// # Errors
/// [`Damaged`] if the checksum, the format or the number is wrong, or the record continues another one than `last`.
pub(crate) fn decode(
    seq: u64,
    bytes: &[u8],
    last: Position,
) -> Result<(LogRecord, Position), Damaged> {
    let (record, position) = decode_alone(seq, bytes)?;
    if record.previous_crc != last.crc && !mutant("no-chain") {
        return Err(Damaged(format!(
            "it follows a record with checksum {:08x}, but the record before has {:08x}",
            record.previous_crc, last.crc
        )));
    }
    Ok((record, position))
}

/// Decodes record number `seq`, whatever the record before.
pub(crate) fn decode_alone(seq: u64, bytes: &[u8]) -> Result<(LogRecord, Position), Damaged> {
    let (record, position) = decode_any(bytes)?;
    if record.seq != seq {
        return Err(Damaged(format!("found record {} in its place", record.seq)));
    }
    Ok((record, position))
}

/// Decodes a record of any number.
pub(crate) fn decode_any(bytes: &[u8]) -> Result<(LogRecord, Position), Damaged> {
    let (bytes, crc) = unseal(bytes, 0)?;
    let record = LogRecord::decode(bytes)?;
    if record.format != FORMAT {
        return Err(Damaged(unknown_format(record.format)));
    }
    let seq = record.seq;
    Ok((record, Position { seq, crc }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, previous: Position) -> EncodedRecord {
        let record = LogRecord {
            format: FORMAT,
            epoch: 1,
            seq,
            revision: 7,
            time: 1,
            previous_crc: previous.crc,
            effects: Vec::new(),
            ..LogRecord::default()
        };
        EncodedRecord::of(&record, previous)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let first = record(1, START);
        let second = record(2, first.position);
        let (read, position) = decode(2, &second.bytes, first.position).unwrap();
        assert_eq!((read.revision, position), (7, second.position));
        assert!(decode(3, &second.bytes, first.position).is_err());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let first = record(1, START);
        for bit in 0..first.bytes.len() * 8 {
            let mut bytes = first.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Damaged(what) = decode_alone(1, &bytes).unwrap_err();
            assert!(what.contains("checksum"), "bit {bit}: {what}");
        }
        for len in 0..first.bytes.len() {
            assert!(decode_alone(1, &first.bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_record_of_another_past_is_refused() {
        let first = record(1, START);
        let other = Position {
            crc: first.position.crc ^ 1,
            ..first.position
        };
        let second = record(2, other);
        let Damaged(what) = decode(2, &second.bytes, first.position).unwrap_err();
        assert!(what.contains("follows"), "{what}");
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = LogRecord {
            format: FORMAT + 1,
            ..LogRecord::default()
        }
        .encode_to_vec();
        seal(&mut bytes, 0);
        let Damaged(what) = decode_alone(0, &bytes).unwrap_err();
        assert!(what.contains("format is 2"), "{what}");
    }
}
