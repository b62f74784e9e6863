//! Recorders: what they take, what they refuse, and how they come together.

use crate::{
    Action, Asked, Checks, Found, History, Key, NEVER, Outcome, Record, RecordError, Recorder,
    Room, Seen, Travel, Value, Verdict, check,
};

fn ask(action: Action) -> Asked {
    Asked {
        key: 0,
        action,
        expect: None,
    }
}

fn done(revision: i64, seen: Seen) -> Outcome {
    Outcome::Done { revision, seen }
}

#[test]
fn recorders_come_together_in_the_order_of_starts() {
    let room = Room::new(1_000);
    let [mut one, mut other] = [0, 1].map(|client| Recorder::new(client, room.clone()));
    let first = one.begin(Travel::Batch, 2, 5).unwrap();
    let second = other.begin(Travel::Call, 1, 3).unwrap();
    one.end(
        first,
        9,
        [ask(Action::Add(1)), ask(Action::Add(1))]
            .into_iter()
            .zip([1, 2])
            .map(|(it, sum)| (it, done(4, Seen::Sum(sum)))),
    );
    other.give_up(second, [ask(Action::Write(Value::Int(9)))]);
    let list = one.begin(Travel::Batch, 1, 10).unwrap();
    one.end_list(list, 11, 4, [(0, None)]);
    let keys = vec![Key::new("a", Some(Found::default()))];
    let history = History::merge(keys, Vec::new(), [one, other]).unwrap();
    let starts: Vec<u64> = history.operations.iter().map(Record::start).collect();
    assert_eq!(starts, [3, 5, 5, 10]);
    assert_eq!(history.operations[0].end(), NEVER);
    let report = check(&history, Checks::default()).unwrap();
    assert!(
        matches!(report.verdict, Verdict::Violation(_)),
        "the list does not show the batch"
    );
}

#[test]
fn a_recorder_with_open_messages_does_not_finish() {
    let mut recorder = Recorder::new(0, Room::new(10));
    let _begun = recorder.begin(Travel::Call, 1, 0).unwrap();
    assert_eq!(recorder.finish(), Err(RecordError::Open { messages: 1 }));
}

#[test]
fn a_full_history_takes_no_more() {
    let mut recorder = Recorder::new(0, Room::new(2));
    for start in 0..2 {
        let begun = recorder.begin(Travel::Call, 1, start).unwrap();
        recorder.give_up(begun, [ask(Action::Delete)]);
    }
    let error = recorder.begin(Travel::Call, 1, 2).unwrap_err();
    assert_eq!(error, RecordError::Full { limit: 2 });
    assert_eq!(
        error.to_string(),
        "the history is full: its limit is 2 operations"
    );
    assert_eq!(recorder.finish().unwrap().len(), 2);
}
