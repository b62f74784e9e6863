//! How plain frames are packed. That the machine does what they say is in `programs.rs`, whose plain frames are packed, too.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::generate::operation;
use super::*;

type Frame = Vec<(Operation, Option<RequestId>)>;

fn frame() -> impl Strategy<Value = Frame> {
    let request_id = option::weighted(0.1, (0..9u128).prop_map(|n| request_id("id", n)));
    vec((operation(), request_id), 0..5)
}

fn add(frames: &mut PlainFrames, frame: &Frame) {
    for (operation, request_id) in frame {
        frames.operation(operation.clone(), request_id.clone());
    }
    frames.end_frame();
}

fn packed(all: &[Frame]) -> PlainFrames {
    let mut frames = PlainFrames::default();
    for frame in all {
        add(&mut frames, frame);
    }
    frames
}

/// The key of an operation, and which kind it is.
fn shown(operation: OperationRef<'_>) -> (String, &'static str) {
    let (key, kind) = match operation {
        OperationRef::Read(key) => (key, "read"),
        OperationRef::Write(key) => (key, "write"),
        OperationRef::Add(key) => (key, "add"),
        OperationRef::Transition(key) => (key, "transition"),
        OperationRef::Delete(key) => (key, "delete"),
        OperationRef::Other(operation) => match operation {
            Operation::Read(read) => (read.key.as_str(), "read"),
            Operation::Write(write) => (write.key.as_str(), "write"),
            Operation::Add(add) => (add.key.as_str(), "add"),
            Operation::Transition(transition) => (transition.key.as_str(), "transition"),
            Operation::Delete(delete) => (delete.key.as_str(), "delete"),
        },
    };
    (key.to_owned(), kind)
}

proptest! {
    #[test]
    fn packed_operations_come_out_as_they_went_in(all in vec(frame(), 0..5)) {
        let frames = packed(&all);
        let plain: Vec<_> = all.iter().flatten().cloned().collect();
        let operations: Vec<_> = plain.iter().map(|(operation, _)| operation.clone()).collect();
        let request_ids: Vec<_> = plain.into_iter().filter_map(|(_, id)| id).collect();
        prop_assert_eq!(frames.frame_count(), all.len());
        prop_assert_eq!(frames.operation_count(), operations.len());
        prop_assert_eq!(frames.request_ids(), &request_ids[..]);
        let is_read = |operation: &Operation| matches!(operation, Operation::Read(_));
        prop_assert_eq!(frames.only_reads(), operations.iter().all(is_read));
        let bytes = operations.iter().map(Operation::byte_len).sum::<usize>();
        let least = bytes + size_of_val(&operations[..]);
        prop_assert!(frames.byte_len() >= least);
        let borrowed: Vec<_> = frames.operations().map(shown).collect();
        let expected = operations.iter().map(|operation| shown(OperationRef::Other(operation)));
        prop_assert_eq!(borrowed, expected.collect::<Vec<_>>());
        prop_assert_eq!(frames.into_operations(), operations);
    }

    #[test]
    fn what_was_added_since_a_mark_is_taken_back_or_split_off(
        before in vec(frame(), 0..3),
        after in vec(frame(), 0..3),
    ) {
        let mut frames = packed(&before);
        let mark = frames.mark();
        prop_assert_eq!(mark.is_start(), before.is_empty());
        for frame in &after {
            add(&mut frames, frame);
        }
        let added: Vec<_> = frames.operations_since(&mark).map(shown).collect();
        let mut both = frames.clone();
        let behind = both.split_off(&mark);
        prop_assert_eq!(added, behind.operations().map(shown).collect::<Vec<_>>());
        prop_assert_eq!(frames.bytes_since(&mark), behind.bytes_since(&PlainFrames::default().mark()));
        prop_assert_eq!(behind, packed(&after));
        prop_assert_eq!(both, packed(&before));
        frames.truncate(&mark);
        prop_assert_eq!(frames, packed(&before));
    }
}
