//! What to send: the operations of one worker.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use soloist::v1::{self, Op, ReadRequest, WriteRequest};

use super::keys::Keys;
use super::settings::Settings;

/// What an operation does. A worker does one kind only, like the seed's readers and writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// The values that the seed writes: 0 to 99.
const INT_END: i64 = 100;

/// An endless sequence of operations of one kind. The same settings, seed and worker number give the same sequence.
#[derive(Debug)]
pub(crate) struct Workload {
    kind: Kind,
    keys: Keys,
    /// What writers write, if not ints.
    text: Option<String>,
    rng: SmallRng,
}

impl Workload {
    /// `worker` counts from 0, readers first.
    pub(crate) fn new(settings: &Settings, keys: Keys, worker: u64) -> Self {
        // Steps of an odd constant (2^64 divided by the golden ratio), so that the workers of neighbouring seeds
        // have nothing in common.
        let seed = settings.seed ^ (worker + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut rng = SmallRng::seed_from_u64(seed);
        let text = settings.value_size.map(|size| {
            (0..size)
                .map(|_| char::from(rng.random_range(b'a'..=b'z')))
                .collect()
        });
        Self {
            kind: match worker < settings.readers {
                true => Kind::Read,
                false => Kind::Write,
            },
            keys,
            text,
            rng,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The next operation.
    pub(crate) fn next_op(&mut self) -> Op {
        let key = self.keys.draw(&mut self.rng).to_string();
        let op = match self.kind {
            Kind::Read => v1::op::Op::Read(ReadRequest { key, expect: None }),
            Kind::Write => v1::op::Op::Write(WriteRequest {
                key,
                value: Some(self.next_value()),
                ..WriteRequest::default()
            }),
        };
        Op { op: Some(op) }
    }

    fn next_value(&mut self) -> v1::Value {
        let kind = match &self.text {
            Some(text) => v1::value::Kind::Text(text.clone()),
            None => v1::value::Kind::Int(self.rng.random_range(0..INT_END)),
        };
        v1::Value { kind: Some(kind) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Args;
    use super::*;

    fn ops(line: &str, worker: u64) -> Vec<Op> {
        let words = std::iter::once("soloist-load").chain(line.split_whitespace());
        let settings = Settings::new(&Args::parse_from(words)).unwrap();
        let keys = Keys::new(settings.keys, settings.key_dist);
        let mut workload = Workload::new(&settings, keys, worker);
        (0..50).map(|_| workload.next_op()).collect()
    }

    #[test]
    fn the_seed_repeats_a_sequence() {
        let flags = "--seed 1 --keys 1000 --key-dist zipfian";
        assert_eq!(ops(flags, 105), ops(flags, 105));
        assert_ne!(ops(flags, 105), ops(flags, 106));
        assert_ne!(
            ops(flags, 3),
            ops("--seed 2 --keys 1000 --key-dist zipfian", 3)
        );
    }

    #[test]
    fn writers_come_after_readers_and_write_the_values_of_the_seed() {
        for op in ops("--readers 2 --writers 1", 1) {
            let Some(v1::op::Op::Read(read)) = op.op else {
                panic!("{op:?}")
            };
            assert!(["0", "1", "2", "3", "4"].contains(&read.key.as_str()));
        }
        for op in ops("--readers 2 --writers 1", 2) {
            let Some(v1::op::Op::Write(write)) = op.op else {
                panic!("{op:?}")
            };
            let value = write.value.unwrap().kind;
            assert!(
                matches!(value, Some(v1::value::Kind::Int(0..=99))),
                "{value:?}"
            );
        }
    }

    #[test]
    fn texts_have_the_size_asked_for() {
        for op in ops("--readers 0 --value-size 300", 0) {
            let Some(v1::op::Op::Write(write)) = op.op else {
                panic!("{op:?}")
            };
            let value = write.value.unwrap().kind;
            assert!(matches!(&value, Some(v1::value::Kind::Text(text)) if text.len() == 300));
        }
    }
}
