//! Files: a history that was written is read again, and a damaged file is refused.

use proptest::prelude::*;

use crate::tests::notation::{history, history_of, is_linearizable, report_of};
use crate::tests::tables::watched;
use crate::{
    Action, Actual, Entry, Expectation, History, MessageKind, Observed, Operation, Options,
    Outcome, PackedOperation, ReadError, Refusal, Value, ValueSearch, Verdict, check,
};

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Digest)
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (value(), any::<i64>(), prop::option::of(0..255_u8)).prop_map(|(value, revision, state)| {
        Entry {
            value,
            revision,
            state,
        }
    })
}

fn observed(action: Action) -> BoxedStrategy<Observed> {
    match action {
        Action::Transition { .. } => (0..255_u8).prop_map(Observed::FromState).boxed(),
        Action::Add(_) => any::<i64>().prop_map(Observed::Sum).boxed(),
        _ => prop_oneof![
            Just(Observed::NotReported),
            prop::option::of(entry()).prop_map(Observed::Entry)
        ]
        .boxed(),
    }
}

fn outcome(action: Action) -> impl Strategy<Value = Outcome> {
    let actual = prop_oneof![
        Just(Actual::NotReported),
        any::<i64>().prop_map(Actual::Revision),
        prop::option::of(value()).prop_map(Actual::Value),
        prop::option::of(0..255_u8).prop_map(Actual::State),
    ];
    let refusal = prop_oneof![
        actual.prop_map(Refusal::Expectation),
        (0..255_u8).prop_map(|from| Refusal::IllegalTransition { from }),
        (0..255_u8).prop_map(|state| Refusal::NotFinal { state }),
        prop::sample::select(vec![
            Refusal::Missing,
            Refusal::NoMachine,
            Refusal::NotInt,
            Refusal::Overflow
        ]),
    ];
    prop_oneof![
        Just(Outcome::Unknown),
        Just(Outcome::NotDone),
        refusal.prop_map(Outcome::Refused),
        (any::<i64>(), observed(action))
            .prop_map(|(revision, observed)| Outcome::Done { revision, observed }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let action = prop_oneof![
        Just(Action::Read),
        Just(Action::Delete),
        value().prop_map(Action::Write),
        any::<i64>().prop_map(Action::Add),
        (0..255_u8, prop::option::of(value()))
            .prop_map(|(to, value)| Action::Transition { to, value }),
    ];
    let expect = prop_oneof![
        any::<bool>().prop_map(Expectation::Exists),
        any::<i64>().prop_map(Expectation::Revision),
        value().prop_map(Expectation::Value),
        (0..255_u8).prop_map(Expectation::State),
    ];
    let message_kind = prop::sample::select(vec![
        MessageKind::Call,
        MessageKind::Frame,
        MessageKind::Batch,
        MessageKind::AtomicFrame,
    ]);
    let numbers = (any::<u32>(), any::<u32>(), 0..4_u32, any::<[u64; 2]>());
    (numbers, action, prop::option::of(expect), message_kind).prop_flat_map(
        |(numbers, action, expect, message_kind)| {
            outcome(action).prop_map(move |outcome| {
                let (client, message, key, mut times) = numbers;
                times.sort_unstable();
                let [start, end] = times;
                Operation {
                    client,
                    message,
                    message_kind,
                    key,
                    start,
                    end,
                    action,
                    expect,
                    outcome,
                }
            })
        },
    )
}

fn bytes(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    history.write_to(&mut bytes).unwrap();
    bytes
}

proptest! {
    #[test]
    fn a_history_is_read_as_it_was_written(operations in prop::collection::vec(operation(), 0..20)) {
        for operation in &operations {
            prop_assert_eq!(PackedOperation::from(operation).unpack(), *operation);
        }
        let mut history = history_of(operations);
        history.settings = serde_json::json!({"seed": 7});
        prop_assert_eq!(History::read_from(&bytes(&history)[..], 20).unwrap(), history);
    }
}

fn some() -> History {
    watched(
        "0-1 write 1 1@1; 2-3 b.write x x@2; 4- add 1 unknown",
        "1 a 1; 1 .",
    )
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let history = some();
    let bytes = bytes(&history);
    assert_eq!(History::read_from(&bytes[..], 3).unwrap(), history);
    // The last line break may be missing.
    for length in 0..bytes.len() - 1 {
        let error = History::read_from(&bytes[..length], 3).unwrap_err();
        let expected = match length {
            0 => matches!(error, ReadError::NotAHistory),
            _ => matches!(error, ReadError::Truncated),
        };
        assert!(expected, "{length}: {error}");
    }
}

#[test]
fn a_file_with_a_flipped_bit_is_refused() {
    let bytes = bytes(&some());
    let before_version = br#"{"head":{"version":"#;
    assert!(bytes.starts_with(before_version));
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[place] ^= 1 << bit;
            let error = History::read_from(&other[..], 3).unwrap_err();
            let is_damaged = matches!(error, ReadError::Damaged { .. } | ReadError::Truncated);
            let expected = match place {
                0 => matches!(error, ReadError::NotAHistory),
                _ if place == before_version.len() => {
                    is_damaged || matches!(error, ReadError::OtherVersion { .. })
                }
                _ => is_damaged,
            };
            assert!(expected, "byte {place}: {error}");
        }
    }
}

#[test]
fn a_file_that_was_edited_is_read_if_its_checksum_is_taken_out() {
    let text = String::from_utf8(bytes(&some())).unwrap();
    let edited = text.replace(r#""int":1"#, r#""int":5"#);
    assert_ne!(edited, text);
    let error = History::read_from(edited.as_bytes(), 3).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    let (lines, checksum) = edited.rsplit_once(r#","crc32c":"#).unwrap();
    assert!(checksum.ends_with("}}\n"), "{checksum}");
    let history = History::read_from(format!("{lines}}}}}\n").as_bytes(), 3).unwrap();
    assert_eq!(history.operations.len(), 3);
}

#[test]
fn a_file_that_is_too_long_or_goes_on_after_its_end_is_refused() {
    let bytes = bytes(&some());
    History::read_from(&bytes[..], 2).unwrap_err();
    History::read_from(&[&bytes[..], &[0]].concat()[..], 3).unwrap_err();
    assert!(is_linearizable(&history("0-1 write 1 1@1")));
}

/// A history of another store, by hand: no answer has a revision.
#[test]
fn a_history_without_revisions_is_read_and_checked_by_its_values() {
    let file = |seen: i64| {
        let operation = |start: u64, action: &str, outcome: &str| {
            format!(
                r#"{{"operation":{{"client":0,"message":{start},"travel":"call","key":"a","start":{start},"end":{},"action":{action},"outcome":{outcome}}}}}"#,
                start + 5
            )
        };
        [
            r#"{"head":{"version":1,"keys":[{"name":"a","found":{}}]}}"#.to_owned(),
            operation(
                10,
                r#"{"write":{"int":1}}"#,
                r#"{"done":{"seen":"untold"}}"#,
            ),
            operation(
                20,
                "\"read\"",
                r#"{"done":{"seen":{"entry":{"value":{"int":1}}}}}"#,
            ),
            operation(
                30,
                r#"{"write":{"int":2}}"#,
                r#"{"done":{"seen":"untold"}}"#,
            ),
            operation(
                40,
                "\"read\"",
                &format!(r#"{{"done":{{"seen":{{"entry":{{"value":{{"int":{seen}}}}}}}}}}}"#),
            ),
            r#"{"end":{"operations":4,"watches":0}}"#.to_owned(),
        ]
        .join("\n")
            + "\n"
    };
    for (seen, expected) in [(2, true), (1, false)] {
        let history = History::read_from(file(seen).as_bytes(), 10).unwrap();
        assert!(history.lacks_revisions());
        let refused = check(&history, Options::default()).unwrap_err();
        assert!(refused.to_string().contains("no revision"), "{refused}");
        let report = report_of(&history, ValueSearch::Only);
        assert_eq!(
            report.verdict == Verdict::Linearizable,
            expected,
            "{report:?}"
        );
        if let Verdict::NotLinearizable(violations) = report.verdict {
            let text = violations[0].to_string();
            assert!(!text.contains("revision -1"), "{text}");
            // The evidence is a history without revisions, too.
            let mut bytes = Vec::new();
            violations[0].evidence.write_to(&mut bytes).unwrap();
            let back = History::read_from(&bytes[..], 10).unwrap();
            assert_eq!(back, violations[0].evidence);
        }
    }
}
