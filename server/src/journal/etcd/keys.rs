//! The keys of a cluster in etcd, all under `/soloist/{cluster}/`.
//!
//! | key | value | lease |
//! |---|---|---|
//! | `c` | `Cluster`; made once, together with `l/` 0 | |
//! | `o` | `Owner`; its mod_revision is the *epoch* | the owner's |
//! | `n/{node}` | `Node` | its own |
//! | `h` | `HandOff`; a wish for another owner | its own |
//! | `l/{seq}` | `Record`; number 0 is a place without a record | |
//! | `p/{seq}/{epoch}/{i}` | a part of a record that is too large for one request | |
//! | `s/{epoch}.{attempt}/{i}` | a chunk of a snapshot | |
//! | `m` | `Manifest` of the snapshot | |
//!
//! Numbers have a fixed length, so that keys are in the order of their numbers. Parts are sorted by their record first: those
//! of records that are not needed any more are one range, whoever put them.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// The keys of one cluster. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// `/soloist/{cluster}/`.
    prefix: Bytes,
}

/// One attempt to make a snapshot. No two have the same chunks, so that a chunk is never overwritten: not even by a request
/// that etcd gets late, or twice. A later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation {
    pub(crate) epoch: i64,
    pub(crate) attempt: u32,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{:08x}", self.epoch, self.attempt)
    }
}

impl Keys {
    /// The keys of the cluster of this name, which has no slash.
    pub(crate) fn new(cluster: &str) -> Self {
        debug_assert!(!cluster.contains('/'), "{cluster}");
        Self {
            prefix: format!("/soloist/{cluster}/").into(),
        }
    }

    fn key(&self, name: fmt::Arguments<'_>) -> Bytes {
        let mut key = Vec::with_capacity(self.prefix.len() + 64);
        key.extend_from_slice(&self.prefix);
        // Writing to a vector cannot fail.
        let _ = std::io::Write::write_fmt(&mut key, name);
        key.into()
    }

    /// Everything of the cluster.
    pub(crate) fn all(&self) -> Range<Bytes> {
        below(self.prefix.clone())
    }

    pub(crate) fn cluster(&self) -> Bytes {
        self.key(format_args!("c"))
    }

    pub(crate) fn owner(&self) -> Bytes {
        self.key(format_args!("o"))
    }

    pub(crate) fn node(&self, node: &str) -> Bytes {
        self.key(format_args!("n/{node}"))
    }

    pub(crate) fn hand_off(&self) -> Bytes {
        self.key(format_args!("h"))
    }

    pub(crate) fn nodes(&self) -> Range<Bytes> {
        below(self.key(format_args!("n/")))
    }

    /// The name of the node with this key.
    pub(crate) fn node_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let name = key.strip_prefix(&self.prefix[..])?.strip_prefix(b"n/")?;
        std::str::from_utf8(name).ok()
    }

    pub(crate) fn record(&self, seq: u64) -> Bytes {
        self.key(format_args!("l/{seq:016x}"))
    }

    pub(crate) fn records(&self) -> Range<Bytes> {
        below(self.key(format_args!("l/")))
    }

    /// Record `seq`, and all after it.
    pub(crate) fn records_from(&self, seq: u64) -> Range<Bytes> {
        self.record(seq)..self.records().end
    }

    /// The number of the record with this key.
    pub(crate) fn seq_of(&self, key: &[u8]) -> Option<u64> {
        let number = key.strip_prefix(&self.prefix[..])?.strip_prefix(b"l/")?;
        let number = std::str::from_utf8(number).ok()?;
        (number.len() == 16).then(|| u64::from_str_radix(number, 16).ok())?
    }

    /// A part of record `seq`, put by the owner with this epoch.
    pub(crate) fn part(&self, seq: u64, epoch: i64, part: u32) -> Bytes {
        self.key(format_args!("p/{seq:016x}/{epoch:016x}/{part:08x}"))
    }

    /// The parts of all records before `seq`, whoever put them.
    pub(crate) fn parts_before(&self, seq: u64) -> Range<Bytes> {
        self.key(format_args!("p/"))..self.key(format_args!("p/{seq:016x}"))
    }

    pub(crate) fn chunk(&self, of: Generation, chunk: u32) -> Bytes {
        self.key(format_args!("s/{of}/{chunk:08x}"))
    }

    pub(crate) fn chunks(&self, of: Generation) -> Range<Bytes> {
        below(self.key(format_args!("s/{of}/")))
    }

    /// The chunks of all attempts before this one.
    pub(crate) fn chunks_before(&self, of: Generation) -> Range<Bytes> {
        self.key(format_args!("s/"))..self.key(format_args!("s/{of}"))
    }

    pub(crate) fn manifest(&self) -> Bytes {
        self.key(format_args!("m"))
    }
}

/// All keys that begin with `prefix`, which ends with a slash.
fn below(prefix: Bytes) -> Range<Bytes> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    prefix..end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_in(key: &Bytes, range: &Range<Bytes>, expected: bool) {
        assert_eq!(range.contains(key), expected, "{key:?} in {range:?}");
    }

    #[test]
    fn keys_are_as_they_are_documented() {
        let keys = Keys::new("prod");
        let of = Generation {
            epoch: 0x2a,
            attempt: 3,
        };
        for (key, expected) in [
            (keys.cluster(), "/soloist/prod/c"),
            (keys.owner(), "/soloist/prod/o"),
            (keys.node("a"), "/soloist/prod/n/a"),
            (keys.hand_off(), "/soloist/prod/h"),
            (keys.record(255), "/soloist/prod/l/00000000000000ff"),
            (
                keys.part(1, 42, 7),
                "/soloist/prod/p/0000000000000001/000000000000002a/00000007",
            ),
            (
                keys.chunk(of, 16),
                "/soloist/prod/s/000000000000002a.00000003/00000010",
            ),
            (keys.manifest(), "/soloist/prod/m"),
        ] {
            assert_eq!(key, expected);
        }
        assert_eq!(keys.seq_of(&keys.record(u64::MAX)), Some(u64::MAX));
        assert_eq!(keys.seq_of(&Keys::new("dev").record(1)), None);
        assert_eq!(keys.seq_of(b"/soloist/prod/l/ff"), None);
        assert_eq!(keys.node_of(&keys.node("b.1")), Some("b.1"));
        assert_eq!(keys.node_of(&keys.owner()), None);
    }

    #[test]
    fn ranges_hold_what_they_say() {
        let keys = Keys::new("prod");
        for (seq, expected) in [(8, false), (9, false), (10, true), (1 << 40, true)] {
            assert_in(&keys.record(seq), &keys.records_from(10), expected);
            assert_in(&keys.record(seq), &keys.records(), true);
        }
        for (seq, epoch, expected) in [(0, 9, true), (9, i64::MAX, true), (10, 1, false)] {
            let part = keys.part(seq, epoch, u32::MAX);
            assert_in(&part, &keys.parts_before(10), expected);
        }
        let generation = |epoch, attempt| Generation { epoch, attempt };
        for (of, expected) in [
            (generation(1, 99), true),
            (generation(5, 2), true),
            (generation(5, 3), false),
            (generation(5, 4), false),
            (generation(16, 0), false),
        ] {
            let chunk = keys.chunk(of, 0);
            assert_in(&chunk, &keys.chunks_before(generation(5, 3)), expected);
            assert_in(&chunk, &keys.chunks(of), true);
        }
        for key in [keys.cluster(), keys.record(0), keys.owner(), keys.node("z")] {
            assert_in(&key, &keys.all(), true);
            assert_in(&key, &Keys::new("prod2").all(), false);
            assert_in(&key, &Keys::new("pro").all(), false);
        }
    }
}
