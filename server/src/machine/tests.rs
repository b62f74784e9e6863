//! Tables of operations and what they must answer.

mod model;

use super::*;

/// Everything may be stored.
const ROOMY: u64 = u64::MAX;

/// Everything may be shown.
const ALL: usize = usize::MAX;

fn int(int: i64) -> Value {
    Value::Int(int)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.into())
}

fn read(key: &str) -> Operation {
    read_if(key, None)
}

fn read_if(key: &str, expect: impl Into<Option<Condition>>) -> Operation {
    Operation::Read(Read {
        key: key.into(),
        expect: expect.into().map(Box::new),
    })
}

fn write(key: &str, value: Value) -> Operation {
    write_if(key, value, None)
}

fn write_if(key: &str, value: Value, expect: impl Into<Option<Condition>>) -> Operation {
    Operation::Write(Write {
        key: key.into(),
        expect: expect.into().map(Box::new),
        value,
        answer: WriteAnswer::Revisions,
    })
}

fn replace(key: &str, value: Value) -> Operation {
    Operation::Write(Write {
        key: key.into(),
        expect: None,
        value,
        answer: WriteAnswer::Previous,
    })
}

fn add(key: &str, delta: i64) -> Operation {
    Operation::Add(Add {
        key: key.into(),
        expect: None,
        delta,
        bounds: None,
    })
}

fn delete(key: &str) -> Operation {
    Operation::Delete(Delete {
        key: key.into(),
        expect: None,
    })
}

fn added(
    value: i64,
    applied: i64,
    revision: Revision,
    create_revision: Revision,
) -> Result<Outcome, Cause> {
    Ok(Outcome::Add(AddOutcome {
        revision,
        create_revision,
        value,
        applied,
    }))
}

fn deleted(previous: Option<Entry>, revision: Revision) -> Result<Outcome, Cause> {
    Ok(Outcome::Delete(DeleteOutcome { revision, previous }))
}

fn entry(value: Value, revision: Revision, create_revision: Revision) -> Entry {
    Entry {
        value,
        revision,
        create_revision,
    }
}

/// The answer to a read of a key that is there.
fn found(value: Value, revision: Revision, create_revision: Revision) -> Option<Entry> {
    Some(entry(value, revision, create_revision))
}

fn shows(entry: Option<Entry>, revision: Revision) -> Result<Outcome, Cause> {
    Ok(Outcome::Read(ReadOutcome { entry, revision }))
}

fn wrote(revision: Revision, create_revision: Revision) -> Result<Outcome, Cause> {
    replaced(None, revision, create_revision)
}

fn replaced(
    previous: Option<Entry>,
    revision: Revision,
    create_revision: Revision,
) -> Result<Outcome, Cause> {
    Ok(Outcome::Write(WriteOutcome {
        revision,
        create_revision,
        previous,
    }))
}

fn mismatch(expected: Condition, actual: Option<Entry>) -> Result<Outcome, Cause> {
    Err(Cause::ExpectationFailed(Box::new(Mismatch {
        expected,
        actual,
    })))
}

/// Does the steps one after another and compares each answer; a refusal must leave no trace.
fn check(
    store_bytes_max: u64,
    steps: impl IntoIterator<Item = (Operation, Result<Outcome, Cause>)>,
) {
    let mut machine = StateMachine::new(store_bytes_max);
    for (step, (operation, expected)) in steps.into_iter().enumerate() {
        let before = (machine.usage(), machine.entries.clone());
        let answer = machine
            .apply_each(vec![operation.clone()], ALL)
            .results
            .pop()
            .unwrap();
        let refused = answer.is_err();
        assert_eq!(
            answer.map_err(|rejection| rejection.cause),
            expected,
            "step {step}: {operation:?}"
        );
        if refused {
            assert_eq!(
                before,
                (machine.usage(), machine.entries.clone()),
                "step {step}"
            );
        }
        machine.assert_consistent();
    }
}

impl StateMachine {
    /// What must hold after every operation.
    fn assert_consistent(&self) {
        let used: u64 = self
            .entries
            .iter()
            .map(|(key, entry)| (key.as_str().len() + entry.value.byte_len() + 64) as u64)
            .sum();
        assert_eq!(self.used_bytes, used);
        for (key, entry) in &self.entries {
            assert!(
                0 < entry.create_revision
                    && entry.create_revision <= entry.revision
                    && entry.revision <= self.revision,
                "{key:?}: {entry:?} at {}",
                self.revision
            );
        }
    }
}

#[test]
fn writes_and_reads() {
    check(
        ROOMY,
        [
            (read("a"), shows(None, 0)),
            (write("a", int(1)), wrote(1, 1)),
            (read("a"), shows(found(int(1), 1, 1), 1)),
            (write("b", text("")), wrote(2, 2)),
            // The same value again is a change.
            (write("a", int(1)), wrote(3, 1)),
            (read("a"), shows(found(int(1), 3, 1), 3)),
            (read("b"), shows(found(text(""), 2, 2), 3)),
            (write("b", bytes(b"\0\xff")), wrote(4, 2)),
            (read("b"), shows(found(bytes(b"\0\xff"), 4, 2), 4)),
            // No normalisation: composed and decomposed e-acute are two keys.
            (write("\u{e9}", int(1)), wrote(5, 5)),
            (read("e\u{301}"), shows(None, 5)),
        ],
    );
}

#[test]
fn previous_is_shown_if_asked_for() {
    check(
        ROOMY,
        [
            (replace("a", int(1)), replaced(None, 1, 1)),
            (replace("a", int(2)), replaced(found(int(1), 1, 1), 2, 1)),
            (write("a", int(3)), wrote(3, 1)),
        ],
    );
}

#[test]
fn operations_and_answers_are_small() {
    // A frame of a thousand is moved about several times: its size is what a frame costs.
    assert!(size_of::<Operation>() <= 64);
    assert!(size_of::<Result<Outcome, Box<Rejection>>>() <= 64);
}

#[test]
fn additions() {
    let full = Operation::Add(Add {
        key: "n".into(),
        expect: None,
        delta: 5,
        bounds: Some(Box::new(Bounds {
            max: Some(3),
            beyond: Beyond::Saturate,
            ..Bounds::NONE
        })),
    });
    check(
        ROOMY,
        [
            (add("n", 2), added(2, 2, 1, 1)),
            (add("n", -5), added(-3, -5, 2, 1)),
            // Nothing added is no change, but creates.
            (add("n", 0), added(-3, 0, 2, 1)),
            (add("zero", 0), added(0, 0, 3, 3)),
            (full.clone(), added(2, 5, 4, 1)),
            (full.clone(), added(3, 1, 5, 1)),
            (full, added(3, 0, 5, 1)),
            (write("n", int(i64::MAX)), wrote(6, 1)),
            (
                add("n", 1),
                Err(Cause::Overflow {
                    value: i64::MAX,
                    delta: 1,
                }),
            ),
            (write("t", text("1")), wrote(7, 7)),
            (add("t", 1), Err(Cause::NotAnInt { kind: "text" })),
        ],
    );
}

#[test]
fn deletions() {
    check(
        ROOMY,
        [
            (delete("a"), deleted(None, 0)),
            (write("a", int(1)), wrote(1, 1)),
            (delete("a"), deleted(found(int(1), 1, 1), 2)),
            (read("a"), shows(None, 2)),
            (delete("a"), deleted(None, 2)),
            // A new life: revisions go on.
            (write("a", int(1)), wrote(3, 3)),
        ],
    );
}

#[test]
fn a_key_created_and_deleted_in_one_frame_takes_a_revision() {
    let mut machine = StateMachine::new(ROOMY);
    let answer = machine
        .apply_all(
            vec![delete("a"), add("a", 1), delete("a"), add("b", 0)],
            ALL,
        )
        .unwrap();
    let expected = [
        deleted(None, 1),
        added(1, 1, 1, 1),
        deleted(found(int(1), 1, 1), 1),
        added(0, 0, 1, 1),
    ];
    assert_eq!(answer.outcomes, expected.map(Result::unwrap));
    assert_eq!(machine.usage().key_count, 1);
    machine.assert_consistent();
}

#[test]
fn pages() {
    let mut machine = StateMachine::new(ROOMY);
    for key in ["b/2", "a", "b/1", "b/10", "c", "b", "\u{e9}"] {
        machine.apply_each(vec![write(key, text("1234567890"))], ALL);
    }
    let page = |prefix: &str, after: Option<&str>, page_size, page_bytes, shows| {
        let page = machine.list(&List {
            prefix: prefix.into(),
            after: after.map(Into::into),
            page_size,
            page_bytes,
            shows,
        });
        let keys: Vec<_> = page
            .entries
            .iter()
            .map(|(key, _)| key.as_str().to_owned())
            .collect();
        (keys.join(" "), page.rest)
    };
    use ListShows::{Entries, Keys};
    use Rest::{More, Nothing};
    for (prefix, after, page_size, page_bytes, shows, keys, rest) in [
        (
            "",
            None,
            100,
            1000,
            Entries,
            "a b b/1 b/10 b/2 c é",
            Nothing,
        ),
        ("b", None, 100, 1000, Entries, "b b/1 b/10 b/2", Nothing),
        ("b/", None, 100, 1000, Entries, "b/1 b/10 b/2", Nothing),
        ("b/", None, 2, 1000, Entries, "b/1 b/10", More),
        ("b/", None, 3, 1000, Entries, "b/1 b/10 b/2", Nothing),
        ("b/", Some("b/10"), 2, 1000, Entries, "b/2", Nothing),
        ("b/", Some("b/2"), 2, 1000, Entries, "", Nothing),
        // A key deleted meanwhile is as good a place to go on from.
        ("b/", Some("b/11"), 2, 1000, Entries, "b/2", Nothing),
        ("z", None, 2, 1000, Entries, "", Nothing),
        // 13 and 14 bytes.
        ("b/", None, 100, 27, Entries, "b/1 b/10", More),
        ("b/", None, 100, 26, Entries, "b/1", More),
        ("b/", None, 100, 1, Entries, "b/1", More),
        ("b/", None, 100, 10, Keys, "b/1 b/10 b/2", Nothing),
    ] {
        assert_eq!(
            page(prefix, after, page_size, page_bytes, shows),
            (keys.into(), rest),
            "{prefix:?} after {after:?}, {page_size}, {page_bytes}"
        );
    }
}

#[test]
fn conditions_on_a_key_that_is_there() {
    use Condition::{CreateRevision, Exists, Revision, Value};
    let is = || found(int(7), 2, 1);
    for (condition, refused) in [
        (Exists(true), None),
        (Exists(false), Some(Err(Cause::KeyExists { revision: 2 }))),
        (Revision(2), None),
        (Revision(1), Some(mismatch(Revision(1), is()))),
        (Revision(0), Some(mismatch(Revision(0), is()))),
        (CreateRevision(1), None),
        (CreateRevision(2), Some(mismatch(CreateRevision(2), is()))),
        (CreateRevision(0), Some(mismatch(CreateRevision(0), is()))),
        (Value(int(7)), None),
        (Value(int(8)), Some(mismatch(Value(int(8)), is()))),
        (Value(text("7")), Some(mismatch(Value(text("7")), is()))),
    ] {
        let prepared = [
            (write("a", int(6)), wrote(1, 1)),
            (write("a", int(7)), wrote(2, 1)),
        ];
        let (read_answer, write_answer) = match refused {
            None => (shows(is(), 2), wrote(3, 1)),
            Some(refused) => (refused.clone(), refused),
        };
        check(
            ROOMY,
            prepared.into_iter().chain([
                (read_if("a", condition.clone()), read_answer),
                (write_if("a", int(9), condition), write_answer),
            ]),
        );
    }
}

#[test]
fn conditions_on_a_key_that_is_not_there() {
    use Condition::{CreateRevision, Exists, Revision, Value};
    for (condition, refused) in [
        (Exists(true), Some(Err(Cause::KeyNotFound))),
        (Exists(false), None),
        (Revision(0), None),
        (Revision(1), Some(mismatch(Revision(1), None))),
        (CreateRevision(0), None),
        (CreateRevision(1), Some(mismatch(CreateRevision(1), None))),
        (Value(int(0)), Some(mismatch(Value(int(0)), None))),
    ] {
        let (read_answer, write_answer) = match refused {
            None => (shows(None, 0), wrote(1, 1)),
            Some(refused) => (refused.clone(), refused),
        };
        check(
            ROOMY,
            [
                (read_if("a", condition.clone()), read_answer),
                (write_if("a", int(9), condition), write_answer),
            ],
        );
    }
}

#[test]
fn text_and_bytes_of_the_same_content_differ() {
    let expected = Condition::Value(bytes(b"x"));
    check(
        ROOMY,
        [
            (write("a", text("x")), wrote(1, 1)),
            (
                read_if("a", expected.clone()),
                mismatch(expected, found(text("x"), 1, 1)),
            ),
        ],
    );
}

#[test]
fn a_full_store_refuses_growth_only() {
    // Room for one key of 1 byte with a value of 8.
    let limit = 64 + 1 + 8;
    let full = |actual| Err(Cause::StoreFull { limit: 73, actual });
    check(
        limit,
        [
            (write("a", int(1)), wrote(1, 1)),
            (write("b", int(1)), full(146)),
            (write("a", text("123456789")), full(74)),
            (write("a", text("12345678")), wrote(2, 1)),
            (write("a", text("")), wrote(3, 1)),
            (read("b"), shows(None, 3)),
            // What is refused for another reason says so.
            (
                write_if("b", int(1), Condition::Exists(true)),
                Err(Cause::KeyNotFound),
            ),
        ],
    );
}

#[test]
fn operations_of_a_frame_stand_alone() {
    let mut machine = StateMachine::new(ROOMY);
    let answer = machine.apply_each(
        vec![
            write("a", int(1)),
            write_if("a", int(2), Condition::Exists(false)),
            write("b", int(3)),
            read("a"),
        ],
        ALL,
    );
    assert_eq!(answer.revision, 2);
    let causes: Vec<_> = answer
        .results
        .into_iter()
        .map(|result| result.map_err(|rejection| rejection.cause))
        .collect();
    assert_eq!(
        causes,
        [
            wrote(1, 1),
            Err(Cause::KeyExists { revision: 1 }),
            wrote(2, 2),
            shows(found(int(1), 1, 1), 2),
        ]
    );
}

#[test]
fn an_atomic_frame_has_one_revision() {
    let mut machine = StateMachine::new(ROOMY);
    machine.apply_each(vec![write("a", int(1))], ALL);
    let answer = machine
        .apply_all(
            vec![
                read("a"),
                write("a", int(2)),
                replace("a", int(3)),
                write("b", int(4)),
                read("a"),
            ],
            ALL,
        )
        .unwrap();
    assert_eq!(answer.revision, 2);
    let expected = [
        // As it was at that point, but at the frame's revision.
        shows(found(int(1), 1, 1), 2),
        wrote(2, 1),
        replaced(found(int(2), 2, 1), 2, 1),
        wrote(2, 2),
        shows(found(int(3), 2, 1), 2),
    ];
    assert_eq!(answer.outcomes, expected.map(Result::unwrap));
    machine.assert_consistent();
}

#[test]
fn an_atomic_frame_that_only_reads_takes_no_revision() {
    let mut machine = StateMachine::new(ROOMY);
    machine.apply_each(vec![write("a", int(1))], ALL);
    assert_eq!(machine.apply_all(vec![read("a")], ALL).unwrap().revision, 1);
    assert_eq!(machine.usage().revision, 1);
}

#[test]
fn a_refused_atomic_frame_leaves_no_trace() {
    let mut machine = StateMachine::new(ROOMY);
    machine.apply_each(vec![write("a", text("first")), write("b", int(2))], ALL);
    let before = (machine.usage(), machine.entries.clone());
    let refused = machine.apply_all(
        vec![
            write("a", text("a longer second")),
            write("new", int(1)),
            write("a", text("3rd")),
            read_if("b", Condition::Value(int(3))),
            write("b", int(4)),
        ],
        ALL,
    );
    let rejected = refused.unwrap_err();
    assert_eq!((rejected.index, rejected.rejection.key), (3, "b".into()));
    assert_eq!(before, (machine.usage(), machine.entries.clone()));
    machine.assert_consistent();
    // And the revision that was taken back is given to the next change.
    assert_eq!(
        machine.apply_each(vec![write("c", int(1))], ALL).revision,
        3
    );
}

#[test]
fn the_answer_to_a_frame_is_bounded() {
    let too_large = |actual| Err(Cause::AnswerTooLarge { limit: 10, actual });
    let prepared = || {
        let mut machine = StateMachine::new(ROOMY);
        machine.apply_each(vec![write("a", text("123456")), write("i", int(1))], ALL);
        machine
    };
    let mut machine = prepared();
    let answer = machine.apply_each(
        vec![
            read("a"),
            read("a"),
            read("missing"),
            replace("a", int(0)),
            write("a", text("1234")),
            read("a"),
        ],
        10,
    );
    assert_eq!(answer.answer_bytes, 10);
    let results: Vec<_> = answer
        .results
        .into_iter()
        .map(|result| result.map_err(|rejection| rejection.cause))
        .collect();
    assert_eq!(
        results,
        [
            shows(found(text("123456"), 1, 1), 2),
            too_large(12),
            shows(None, 2),
            too_large(12),
            wrote(3, 1),
            shows(found(text("1234"), 3, 1), 3),
        ]
    );

    let mut machine = prepared();
    let refused = machine.apply_all(vec![read("a"), write("i", int(2)), read("a")], 10);
    assert_eq!(refused.unwrap_err().index, 2);
    assert_eq!(machine.usage().revision, 2);
    let done = machine.apply_all(vec![read("a"), read("i")], 14);
    assert_eq!(done.unwrap().answer_bytes, 14);

    // A single read always has its answer.
    let read = Read {
        key: "a".into(),
        expect: None,
    };
    assert!(machine.read(&read).unwrap().entry.is_some());
}
