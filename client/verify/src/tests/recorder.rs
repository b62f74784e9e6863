//! Recorders: what they record, what they refuse, and how they are merged.

use crate::{
    Action, Capacity, History, Initial, Key, MessageKind, NEVER, Observed, Options, Outcome,
    PackedOperation, RecordError, Recorder, Request, Value, Verdict, check,
};

fn ask(action: Action) -> Request {
    Request {
        key: 0,
        action,
        expect: None,
    }
}

fn done(revision: i64, observed: Observed) -> Outcome {
    Outcome::Done { revision, observed }
}

#[test]
fn merged_operations_are_in_the_order_of_starts() {
    let capacity = Capacity::new(1_000);
    let [mut one, mut other] = [0, 1].map(|client| Recorder::new(client, capacity.clone()));
    let first = one.begin(MessageKind::Batch, 2, 5).unwrap();
    let second = other.begin(MessageKind::Call, 1, 3).unwrap();
    one.end(
        first,
        9,
        [ask(Action::Add(1)), ask(Action::Add(1))]
            .into_iter()
            .zip([1, 2])
            .map(|(it, sum)| (it, done(4, Observed::Sum(sum)))),
    );
    other.end_unknown(second, [ask(Action::Write(Value::Int(9)))]);
    let list = one.begin(MessageKind::Batch, 1, 10).unwrap();
    one.end_list(list, 11, 4, [(0, None)]);
    let keys = vec![Key::new("a", Some(Initial::default()))];
    let history = History::merge(keys, Vec::new(), [one, other]).unwrap();
    let starts: Vec<u64> = history
        .operations
        .iter()
        .map(PackedOperation::start)
        .collect();
    assert_eq!(starts, [3, 5, 5, 10]);
    assert_eq!(history.operations[0].end(), NEVER);
    let report = check(&history, Options::default()).unwrap();
    assert!(
        matches!(report.verdict, Verdict::NotLinearizable(_)),
        "the list does not show the batch"
    );
}

#[test]
fn a_recorder_with_open_messages_does_not_finish() {
    let mut recorder = Recorder::new(0, Capacity::new(10));
    let _begun = recorder.begin(MessageKind::Call, 1, 0).unwrap();
    assert_eq!(recorder.finish(), Err(RecordError::Open { messages: 1 }));
}

#[test]
fn a_full_history_takes_no_more() {
    let mut recorder = Recorder::new(0, Capacity::new(2));
    for start in 0..2 {
        let begun = recorder.begin(MessageKind::Call, 1, start).unwrap();
        recorder.end_unknown(begun, [ask(Action::Delete)]);
    }
    let error = recorder.begin(MessageKind::Call, 1, 2).unwrap_err();
    assert_eq!(error, RecordError::Full { limit: 2 });
    assert_eq!(
        error.to_string(),
        "the history is full: its limit is 2 operations"
    );
    assert_eq!(recorder.finish().unwrap().len(), 2);
}
