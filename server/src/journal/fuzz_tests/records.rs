//! Records of the log, and their replay.

use prost::Message as _;
use prost::bytes::Bytes;
use soloist_fuzz::{Format, Shape, Target};

use super::{RECORD, WORDS, empty_machine};
use crate::journal::pages::{PageReader, digest_of, write_all};
use crate::journal::record::{START, decode, decode_alone, decode_any, seal};
use crate::journal::stored::{self, Damaged, Header, LogRecord, encode_with};
use crate::machine::{StateMachine, Time};
use crate::progress::Progress;

fn check(input: &[u8]) -> Shape {
    let Some((selector, message)) = input.split_first() else {
        return Shape::of("empty");
    };
    let mut bytes = message.to_vec();
    if selector % 16 != 15 {
        seal(&mut bytes, 0);
    }
    let (record, position) = match decode_any(&bytes) {
        Ok(decoded) => decoded,
        Err(Damaged(what)) => return Shape::of(&what),
    };
    assert_eq!(
        LogRecord::decode(record.encode_to_vec().as_slice()).as_ref(),
        Ok(&record)
    );
    assert!(decode_alone(position.seq.wrapping_add(1), &bytes).is_err());
    let continues = decode(position.seq, &bytes, START).is_ok();
    let time = stored::from_nanos(record.time);
    let head = LogRecord {
        effects: Vec::new(),
        ..record.clone()
    };
    let effects = match record.into_effects() {
        Ok(effects) => effects,
        Err(Damaged(what)) => return Shape::of(&what),
    };
    let message = LogRecord {
        effects: effects.iter().map(Into::into).collect(),
        ..head.clone()
    };
    assert_eq!(encode_with(&head, &effects), message.encode_to_vec());
    let count = effects.len();
    let mut machine = empty_machine();
    match machine.replay(effects) {
        Ok(()) => replayed(machine, time)
            .with(count.min(8))
            .with(continues.into()),
        Err(error) => Shape::of(&error.to_string()),
    }
}

/// A replayed state can be copied, the copy restored, and the state used.
fn replayed(mut machine: StateMachine, time: Time) -> Shape {
    let progress = Progress::default();
    let digest = digest_of(&mut machine, &progress);
    let header = Header::of("store", machine.revision(), time);
    let mut reader = PageReader::new(empty_machine());
    let copied = write_all(&mut machine, header, &progress, |page| reader.read(&page));
    let shape = match copied.and_then(|of_copy: Bytes| {
        assert_eq!(of_copy, digest);
        reader.finish()
    }) {
        Ok(mut restored) => {
            assert_eq!(digest_of(&mut restored.machine, &progress), digest);
            Shape::of("restored")
        }
        Err(Damaged(what)) => Shape::of(&what),
    };
    let used = machine.revision();
    machine.resume(time, used);
    machine.advance(time, usize::MAX);
    shape
}

#[test]
fn records_are_replayed_or_refused() {
    Target::new("records", Format::Protobuf)
        .seeds([[&[0][..], RECORD].concat()])
        .words(WORDS)
        .cost(5)
        .run(check);
}
