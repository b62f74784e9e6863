//! Conditions of operations.

use super::*;

/// Reads a key under a condition, then writes it under the same condition.
fn check_condition(
    prepared: impl IntoIterator<Item = Call>,
    key: &str,
    condition: Condition,
    met: Result<(), Cause>,
) {
    let mut machine = StateMachine::new(roomy());
    for call in prepared {
        machine.call(call, at_ms(0)).unwrap();
    }
    let present = machine.entries.get(key).map(|entry| entry.to_entry());
    let revision = machine.usage().revision;
    let created = present
        .as_ref()
        .map_or(revision + 1, |entry| entry.create_revision);
    let steps = match met {
        Ok(()) => [shows(present, revision), wrote(revision + 1, created)],
        Err(cause) => [Err(cause.clone()), Err(cause)],
    };
    let calls = [
        read_if(key, condition.clone()),
        write_if(key, int(9), condition),
    ];
    let steps = calls.into_iter().zip(steps);
    take(
        &mut machine,
        steps.map(|(call, expected)| now(call, expected)),
    );
}

#[test]
fn conditions_on_a_key_that_exists() {
    use Condition::{CreateRevision, Exists, Revision, Session, State, Value};
    let missed = |condition| Err(mismatch(condition, entry(int(7), 2, 1)).unwrap_err());
    let no_state = |state: &str| {
        Err(Cause::StateMismatch {
            expected: state.into(),
            actual: None,
        })
    };
    for (condition, met) in [
        (Exists(true), Ok(())),
        (Exists(false), Err(Cause::KeyExists { revision: 2 })),
        (Revision(2), Ok(())),
        (Revision(1), missed(Revision(1))),
        (Revision(0), missed(Revision(0))),
        (CreateRevision(1), Ok(())),
        (CreateRevision(2), missed(CreateRevision(2))),
        (CreateRevision(0), missed(CreateRevision(0))),
        (Value(int(7)), Ok(())),
        (Value(int(8)), missed(Value(int(8)))),
        (Value(text("7")), missed(Value(text("7")))),
        (State("idle".into()), no_state("idle")),
        (Session(None), Ok(())),
        (Session(Some("s".into())), missed(Session(Some("s".into())))),
    ] {
        let prepared = [write("a", int(6)).into(), write("a", int(7)).into()];
        check_condition(prepared, "a", condition, met);
    }
}

#[test]
fn conditions_on_a_key_that_does_not_exist() {
    use Condition::{CreateRevision, Exists, Revision, Session, State, Value};
    let missed = |condition| Err(mismatch(condition, None).unwrap_err());
    let no_state = Cause::StateMismatch {
        expected: "idle".into(),
        actual: None,
    };
    for (condition, met) in [
        (Exists(true), Err(Cause::KeyNotFound)),
        (Exists(false), Ok(())),
        (Revision(0), Ok(())),
        (Revision(1), missed(Revision(1))),
        (CreateRevision(0), Ok(())),
        (CreateRevision(1), missed(CreateRevision(1))),
        (Value(int(0)), missed(Value(int(0)))),
        (State("idle".into()), Err(no_state)),
        (Session(None), missed(Session(None))),
        (Session(Some("s".into())), missed(Session(Some("s".into())))),
    ] {
        check_condition([], "a", condition, met);
    }
}

#[test]
fn conditions_on_the_session_and_the_state_of_a_key() {
    use Condition::{Session, State};
    let m = protocol("m", "m/", &["idle: busy", "busy: idle"]);
    let prepared = || {
        [
            open("s", 1_000, OnExisting::Refuse),
            define(m.clone()),
            write_with_lifetime("m/1", int(1), with_session("s", None)).into(),
            write_with_lifetime("m/2", int(1), ttl(5)).into(),
        ]
    };
    let first = entry(int(1), 3, 3)
        .in_state("idle", 0, None)
        .of_session("s", 1);
    let second = entry(int(1), 4, 4)
        .in_state("idle", 0, None)
        .ending_at(5, 5);
    let missed = |condition: &Condition, entry: &Entry| {
        Err(mismatch(condition.clone(), entry.clone()).unwrap_err())
    };
    let elsewhere = Err(Cause::StateMismatch {
        expected: "busy".into(),
        actual: Some("idle".into()),
    });
    let (of_s, of_t, of_none) = (
        Session(Some("s".into())),
        Session(Some("t".into())),
        Session(None),
    );
    for (key, condition, met) in [
        ("m/1", State("idle".into()), Ok(())),
        ("m/1", State("busy".into()), elsewhere),
        ("m/1", of_s.clone(), Ok(())),
        ("m/1", of_t.clone(), missed(&of_t, &first)),
        ("m/1", of_none.clone(), missed(&of_none, &first)),
        ("m/2", of_s.clone(), missed(&of_s, &second)),
        // A ttl is not a session.
        ("m/2", of_none.clone(), Ok(())),
    ] {
        check_condition(prepared(), key, condition, met);
    }
}

#[test]
fn text_and_bytes_of_the_same_content_differ() {
    let expected = Condition::Value(bytes(b"x"));
    check(
        roomy(),
        [
            now(write("a", text("x")), wrote(1, 1)),
            now(
                read_if("a", expected.clone()),
                mismatch(expected, entry(text("x"), 1, 1)),
            ),
        ],
    );
}
