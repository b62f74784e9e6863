//! Sessions: how they are opened, renewed and ended, and the keys that end with them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

use OnExisting::{Refuse, TakeOver};

fn not_found(id: &str) -> Result<Answer, Cause> {
    Err(Cause::SessionNotFound { id: id.into() })
}

fn taken_over(id: &str, expected: Revision, actual: Revision) -> Result<Answer, Cause> {
    Err(Cause::SessionTakenOver {
        id: id.into(),
        expected,
        actual,
    })
}

fn renewed(session: Session) -> Result<Answer, Cause> {
    Ok(Answer::Session(session))
}

#[test]
fn a_session_lives_while_it_is_renewed() {
    let exists = |create_revision| Err(Cause::SessionExists { create_revision });
    let machine = check(
        roomy(),
        [
            now(renew("s", 1), not_found("s")),
            now(close("s", 1), not_found("s")),
            now(
                open("s", 10, Refuse),
                opened(session("s", 10, 10, 1, 0), None),
            ),
            now(open("s", 20, Refuse), exists(1)),
            now(
                write_with_lifetime("a", int(1), with_session("s", None)),
                wrote(2, 2),
            ),
            now(
                write_with_lifetime("b", int(1), with_session("s", 1)),
                wrote(3, 3),
            ),
            // Renewing takes no revision.
            at(9, renew("s", 1), renewed(session("s", 10, 19, 1, 2))),
            at(9, renew("s", 3), taken_over("s", 3, 1)),
            at(9, renew("s", 0), taken_over("s", 0, 1)),
            at(
                18,
                read("a"),
                shows(entry(int(1), 2, 2).of_session("s", 1), 3),
            ),
            at(19, read("a"), shows(None, 4)),
            at(19, renew("s", 1), not_found("s")),
            at(
                19,
                write_with_lifetime("a", int(1), with_session("s", None)),
                not_found("s"),
            ),
            // The session is opened again.
            at(
                19,
                open("s", 5, Refuse),
                opened(session("s", 5, 24, 5, 0), None),
            ),
            at(19, renew("s", 1), taken_over("s", 1, 5)),
            at(20, close("s", 1), taken_over("s", 1, 5)),
            // The end of a session takes a revision, even without keys.
            at(20, close("s", 5), closed(0, 6, 5)),
            at(20, close("s", 5), not_found("s")),
        ],
    );
    assert_eq!(
        changes(&machine, 3),
        ["4 SessionEnded a -<1", "4 SessionEnded b -<1"]
    );
    assert_eq!(machine.next_due(), None);
}

#[test]
fn taking_over_ends_the_earlier_life_and_its_keys() {
    let s = |create_revision: Option<Revision>| with_session("s", create_revision);
    let machine = check(
        roomy(),
        [
            now(
                open("s", 10, TakeOver),
                opened(session("s", 10, 10, 1, 0), None),
            ),
            now(write_with_lifetime("a", int(1), s(Some(1))), wrote(2, 2)),
            now(write_with_lifetime("b", int(1), s(None)), wrote(3, 3)),
            at(
                4,
                open("s", 8, TakeOver),
                opened(session("s", 8, 12, 5, 0), 1),
            ),
            at(4, read("a"), shows(None, 5)),
            // Late requests of the earlier owner are refused, if they name its create_revision.
            at(
                4,
                write_with_lifetime("a", int(1), s(Some(1))),
                taken_over("s", 1, 5),
            ),
            at(
                4,
                add_with_lifetime("a", 1, s(Some(1))),
                taken_over("s", 1, 5),
            ),
            at(4, renew("s", 1), taken_over("s", 1, 5)),
            at(4, close("s", 1), taken_over("s", 1, 5)),
            at(
                4,
                write_with_lifetime("a", int(1), s(Some(9))),
                taken_over("s", 9, 5),
            ),
            at(4, write_with_lifetime("a", int(1), s(None)), wrote(6, 6)),
            at(4, add_with_lifetime("c", 1, s(Some(5))), added(1, 1, 7, 7)),
            at(4, close("s", 5), closed(2, 8, 5)),
        ],
    );
    let expected = [
        "4 SessionEnded a -<1",
        "4 SessionEnded b -<1",
        "6 Written a 1<-",
        "7 Written c 1<-",
        "8 SessionEnded a -<1",
        "8 SessionEnded c -<1",
    ];
    assert_eq!(changes(&machine, 3), expected);
    machine.assert_index_ends_empty();
}

#[test]
fn a_lock_is_made_of_a_session_and_a_key() {
    let lock = |session: &str| {
        write_with(
            "lock",
            text(session),
            WriteOptions {
                expect: Some(Condition::Exists(false)),
                lifetime: with_session(session, None),
                ..WriteOptions::default()
            },
        )
    };
    let unlock = |created| delete_if("lock", Condition::CreateRevision(created));
    let held = entry(text("t"), 6, 6).of_session("t", 2);
    check(
        roomy(),
        [
            now(
                open("s", 10, Refuse),
                opened(session("s", 10, 10, 1, 0), None),
            ),
            now(
                open("t", 99, Refuse),
                opened(session("t", 99, 99, 2, 0), None),
            ),
            now(lock("s"), wrote(3, 3)),
            now(lock("t"), Err(Cause::KeyExists { revision: 3 })),
            now(
                unlock(3),
                deleted(entry(text("s"), 3, 3).of_session("s", 1), 4),
            ),
            now(lock("s"), wrote(5, 5)),
            at(9, lock("t"), Err(Cause::KeyExists { revision: 5 })),
            // The holder's session ended at revision 6. Each holder has a greater token than the one before.
            at(10, lock("t"), wrote(7, 7)),
            at(
                10,
                unlock(5),
                mismatch(
                    Condition::CreateRevision(5),
                    Entry {
                        revision: 7,
                        create_revision: 7,
                        ..held
                    },
                ),
            ),
        ],
    );
}

#[test]
fn sessions_are_limited() {
    let limits = StoreLimits {
        sessions: 2,
        ..roomy()
    };
    let full = Err(Cause::TooMany {
        what: "sessions",
        limit: 2,
    });
    check(
        limits,
        [
            now(
                open("s", 10, Refuse),
                opened(session("s", 10, 10, 1, 0), None),
            ),
            now(
                open("t", 20, Refuse),
                opened(session("t", 20, 20, 2, 0), None),
            ),
            now(open("u", 10, Refuse), full.clone()),
            // A session that is taken over makes room for its successor.
            now(
                open("t", 20, TakeOver),
                opened(session("t", 20, 20, 4, 0), 2),
            ),
            now(open("u", 10, TakeOver), full),
            at(
                10,
                open("u", 10, Refuse),
                opened(session("u", 10, 20, 6, 0), None),
            ),
        ],
    );
}

#[test]
fn sessions_are_shown() {
    let mut machine = StateMachine::new(roomy());
    let calls = ["c", "a", "b"].map(|id| open(id, 10, Refuse));
    prepare(&mut machine, 0, calls);
    prepare(
        &mut machine,
        0,
        [write_with_lifetime("k", int(1), with_session("a", None)).into()],
    );
    let page = |after, page_size| machine.list_sessions(after, page_size);
    let (a, b, c) = (
        session("a", 10, 10, 2, 1),
        session("b", 10, 10, 3, 0),
        session("c", 10, 10, 1, 0),
    );
    for (after, page_size, items, has_more) in [
        (None, 2, vec![a.clone(), b.clone()], HasMore::Yes),
        (None, 3, vec![a, b, c.clone()], HasMore::No),
        (Some("b"), 1, vec![c.clone()], HasMore::No),
        (Some("bb"), 1, vec![c], HasMore::No),
        (Some("c"), 1, vec![], HasMore::No),
    ] {
        assert_eq!(
            page(after, page_size),
            Page { items, has_more },
            "after {after:?}"
        );
    }
}

fn nth(index: usize) -> String {
    format!("{index:05}")
}

/// A state with a session `s` of `count` keys. It begins at revision 1, and its last key is written at `count + 1`.
fn with_keys(count: usize) -> StateMachine {
    let mut machine = StateMachine::new(roomy());
    prepare(&mut machine, 0, [open("s", 10, Refuse)]);
    for index in 0..count {
        let write = write_with_lifetime(&nth(index), int(1), with_session("s", None));
        prepare(&mut machine, 0, [write.into()]);
    }
    machine
}

const MANY: usize = 2 * SESSION_SLICE + 500;

/// How many keys are left, and the store revision.
fn left(machine: &StateMachine) -> (usize, Revision) {
    let usage = machine.usage();
    (usage.key_count, usage.revision)
}

#[test]
fn a_session_with_many_keys_ends_slice_by_slice() {
    let last = MANY as i64 + 1;
    type End = fn(&mut StateMachine) -> Result<Answer, Refused>;
    let ways: [(&str, End, i64); 3] = [
        ("closed", |machine| machine.call(close("s", 1), at_ms(0)), 0),
        (
            "taken over",
            |machine| machine.call(open("s", 10, TakeOver), at_ms(0)),
            1,
        ),
        (
            "due",
            |machine| {
                machine.advance(at_ms(10), 1);
                Ok(Answer::Revision(0))
            },
            0,
        ),
    ];
    for (way, end, more) in ways {
        let mut machine = with_keys(MANY);
        let answer = end(&mut machine).unwrap();
        let expected = match way {
            "closed" => closed(MANY, last + 1, 1).unwrap(),
            "taken over" => opened(session("s", 10, 10, last + 2, 0), 1).unwrap(),
            _ => Answer::Revision(0),
        };
        assert_eq!(answer, expected);
        assert_eq!(
            left(&machine),
            (MANY - SESSION_SLICE, last + 1 + more),
            "{way}"
        );
        assert!(machine.is_ending(1));
        assert_eq!(
            machine.next_due(),
            Some(Time::MIN),
            "the next slice is due at once"
        );
        machine.assert_consistent();
        machine.advance(at_ms(10), 1);
        assert_eq!(left(&machine), (500, last + 2 + more), "{way}");
        assert!(machine.is_ending(1));
        machine.advance(at_ms(10), 1);
        assert!(!machine.is_ending(1));
        assert_eq!(left(&machine), (0, last + 3 + more), "{way}");
        let ended = history(&machine, last);
        assert!(ended.iter().map(|change| &change.key).is_sorted(), "{way}");
        let of_slice = |revision| {
            ended
                .iter()
                .filter(|change| change.revision == revision)
                .count()
        };
        assert_eq!(of_slice(last + 1), SESSION_SLICE, "{way}");
        assert_eq!(of_slice(last + 3 + more), 500, "{way}");
    }
}

#[test]
fn a_session_of_exactly_one_slice_ends_at_once() {
    for (count, ends) in [(SESSION_SLICE, true), (SESSION_SLICE + 1, false)] {
        let mut machine = with_keys(count);
        machine.call(close("s", 1), at_ms(0)).unwrap();
        assert_eq!(machine.is_ending(1), !ends, "{count}");
        assert_eq!(left(&machine).0, count - SESSION_SLICE);
    }
}

#[test]
fn keys_of_a_session_that_is_ending_can_be_used() {
    let mut machine = with_keys(MANY);
    let closing = MANY as i64 + 2;
    prepare(&mut machine, 0, [close("s", 1), open("s", 10, Refuse)]);
    let (gone, there) = (nth(0), nth(SESSION_SLICE));
    let created = SESSION_SLICE as i64 + 2;
    let shown = entry(int(1), created, created).of_session("s", 1);
    for (call, expected) in [
        (read(&gone), shows(None, closing + 1)),
        (read(&there), shows(shown, closing + 1)),
        (
            read_if(&there, Condition::Exists(false)),
            Err(Cause::KeyExists { revision: created }),
        ),
    ] {
        let answer = machine.call(call.into(), at_ms(0));
        assert_eq!(answer.map_err(|refused| refused.cause), expected);
    }
    let prepared: [Call; 7] = [
        // Written with no lifetime or another one: the key leaves the session.
        write(&nth(MANY - 1), int(2)).into(),
        write_with_lifetime(&nth(MANY - 2), int(2), ttl(5)).into(),
        write_with_lifetime(&nth(MANY - 3), int(2), with_session("s", None)).into(),
        delete(&nth(MANY - 4)).into(),
        // Written with the lifetime kept: the key stays in the session.
        write_with_lifetime(&nth(MANY - 5), int(2), SetLifetime::Keep).into(),
        add(&nth(MANY - 6), 1).into(),
        // Deleted and created again.
        all([delete(&nth(MANY - 7)), write(&nth(MANY - 7), int(2))]),
    ];
    prepare(&mut machine, 0, prepared);
    machine.assert_consistent();
    machine.advance(at_ms(0), usize::MAX);
    machine.assert_consistent();
    let there: Vec<_> = machine.entries.all().keys().map(Key::to_string).collect();
    assert_eq!(there, [MANY - 7, MANY - 3, MANY - 2, MANY - 1].map(nth));
    machine.advance(at_ms(10), usize::MAX);
    let there: Vec<_> = machine.entries.all().keys().map(Key::to_string).collect();
    assert_eq!(there, [MANY - 7, MANY - 1].map(nth));
    machine.assert_index_ends_empty();
}

#[test]
fn a_refused_frame_gives_its_keys_back_to_a_session_that_is_ending() {
    // One slice of keys is left, so that the frame removes all of them.
    let count = SESSION_SLICE + 3;
    let mut machine = with_keys(count);
    prepare(&mut machine, 0, [close("s", 1), open("s", 10, Refuse)]);
    let before = machine.everything();
    let refused = machine.call(
        all([
            delete(&nth(count - 1)),
            write(&nth(count - 2), int(2)),
            write_with_lifetime(&nth(count - 3), int(2), with_session("s", None)),
            write(&nth(count - 1), int(2)),
            read_if("missing", Condition::Exists(true)),
        ]),
        at_ms(0),
    );
    assert_eq!(refused.unwrap_err().index, Some(4));
    assert_eq!(machine.everything(), before);
    assert!(machine.is_ending(1));
    machine.advance(at_ms(0), usize::MAX);
    assert_eq!(left(&machine).0, 0);
    assert_eq!(machine.next_due(), Some(at_ms(10)));
    machine.assert_index_ends_empty();
}

#[test]
fn several_sessions_end_one_after_another() {
    let mut machine = with_keys(SESSION_SLICE + 10);
    prepare(&mut machine, 0, [open("t", 10, Refuse)]);
    for index in 0..SESSION_SLICE + 20 {
        let write = write_with_lifetime(&format!("t{index}"), int(1), with_session("t", None));
        prepare(&mut machine, 0, [write.into()]);
    }
    let t = machine.list_sessions(Some("s"), 1).items[0].create_revision;
    prepare(
        &mut machine,
        0,
        [
            close("t", t),
            close("s", 1),
            write_with_lifetime("z", int(1), ttl(0)).into(),
        ],
    );
    let mut seen = Vec::new();
    while machine.next_due().is_some() {
        machine.advance(at_ms(0), 1);
        machine.assert_consistent();
        seen.push((
            machine.is_ending(1),
            machine.is_ending(t),
            machine.usage().key_count,
        ));
    }
    // A session that is ending goes before anything else.
    assert_eq!(
        seen,
        [(false, true, 21), (false, false, 1), (false, false, 0)]
    );
    machine.assert_index_ends_empty();
}

proptest! {
    #![proptest_config(programs::cases(60))]

    /// Whatever is done to keys while their session is ending: those that still end with it are gone in the end.
    #[test]
    fn keys_that_still_end_with_a_session_are_gone_in_the_end(
        calls in vec((0..6usize, select(vec!["write", "session", "keep", "add", "delete", "refused"])), 0..12),
        advance_at in 0..12usize,
    ) {
        // After two slices, the last few keys are left.
        let count = 2 * SESSION_SLICE + 6;
        let mut machine = with_keys(count);
        let life = count as i64 + 3;
        prepare(&mut machine, 0, [close("s", 1), open("s", 10, Refuse)]);
        let mut kept = BTreeMap::new();
        for (step, (index, what)) in calls.into_iter().enumerate() {
            if step == advance_at {
                machine.advance(at_ms(0), 1);
                let of_it = Lifetime::Session { id: "s".into(), create_revision: 1 };
                let left = machine.entries.all().values().any(|entry| entry.lifetime() == Some(&of_it));
                prop_assert_eq!(machine.is_ending(1), left);
            }
            let name = nth(count - 1 - index);
            let key = name.as_str();
            let there = machine.entries.get(key).map(|entry| entry.to_entry());
            match what {
                "write" => prepare(&mut machine, 0, [write(key, int(1)).into()]),
                "session" => prepare(&mut machine, 0, [write_with_lifetime(key, int(1), with_session("s", life)).into()]),
                "keep" => prepare(&mut machine, 0, [write_with_lifetime(key, int(1), SetLifetime::Keep).into()]),
                "add" => prepare(&mut machine, 0, [add(key, 1).into()]),
                "delete" => prepare(&mut machine, 0, [delete(key).into()]),
                _ => {
                    let before = machine.everything();
                    let frame = all([
                        write(key, int(2)),
                        delete(key),
                        write_with_lifetime(key, int(1), with_session("s", None)),
                        read_if("missing", Condition::Exists(true)),
                    ]);
                    prop_assert!(machine.call(frame, at_ms(0)).is_err());
                    prop_assert_eq!(machine.everything(), before);
                }
            }
            match what {
                "write" | "session" => {
                    kept.insert(name, ());
                }
                "delete" => {
                    kept.remove(&name);
                }
                // The key is created again.
                "keep" | "add" if there.is_none() => {
                    kept.insert(name, ());
                }
                _ => {}
            }
        }
        machine.assert_consistent();
        machine.advance(at_ms(0), usize::MAX);
        let there: Vec<_> = machine.entries.all().keys().map(Key::to_string).collect();
        prop_assert_eq!(there, kept.into_keys().collect::<Vec<_>>());
        prop_assert!(!machine.is_ending(1));
        machine.assert_index_ends_empty();
    }
}
