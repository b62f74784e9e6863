//! Operations, alone and in frames.

use super::*;

#[test]
fn writes_and_reads() {
    check(
        roomy(),
        [
            now(read("a"), shows(None, 0)),
            now(write("a", int(1)), wrote(1, 1)),
            now(read("a"), shows(entry(int(1), 1, 1), 1)),
            now(write("b", text("")), wrote(2, 2)),
            // Writing the same value again is a change.
            now(write("a", int(1)), wrote(3, 1)),
            now(read("a"), shows(entry(int(1), 3, 1), 3)),
            now(read("b"), shows(entry(text(""), 2, 2), 3)),
            now(write("b", bytes(b"\0\xff")), wrote(4, 2)),
            now(read("b"), shows(entry(bytes(b"\0\xff"), 4, 2), 4)),
            // Keys are not normalised: composed and decomposed e-acute are two keys.
            now(write("\u{e9}", int(1)), wrote(5, 5)),
            now(read("e\u{301}"), shows(None, 5)),
        ],
    );
}

#[test]
fn previous_is_shown_if_asked_for() {
    check(
        roomy(),
        [
            now(replace("a", int(1)), replaced(None, 1, 1)),
            now(replace("a", int(2)), replaced(entry(int(1), 1, 1), 2, 1)),
            now(write("a", int(3)), wrote(3, 1)),
        ],
    );
}

#[test]
fn operations_and_answers_are_small() {
    // A frame has up to a thousand operations and is moved several times, so their size matters.
    assert!(size_of::<Operation>() <= 64);
    assert!(size_of::<Result<Outcome, Box<Rejection>>>() <= 64);
}

fn bounded(key: &str, delta: i64, bounds: Bounds) -> Operation {
    add_with(
        key,
        delta,
        AddOptions {
            bounds,
            ..AddOptions::default()
        },
    )
}

#[test]
fn additions() {
    let stop_at = |max| Bounds {
        max: Some(max),
        on_overflow: OnOverflow::Saturate,
        ..Bounds::NONE
    };
    let at_most = |max| Bounds {
        max: Some(max),
        ..Bounds::NONE
    };
    let stop = Bounds {
        on_overflow: OnOverflow::Saturate,
        ..Bounds::NONE
    };
    let past = |value, delta| {
        Err(Cause::BoundReached {
            bound: "max",
            limit: 5,
            value,
            delta,
        })
    };
    const MAX: i64 = i64::MAX;
    check(
        roomy(),
        [
            now(add("n", 2), added(2, 2, 1, 1)),
            now(add("n", -5), added(-3, -5, 2, 1)),
            // Adding 0 changes nothing, but creates the key.
            now(add("n", 0), added(-3, 0, 2, 1)),
            now(add("zero", 0), added(0, 0, 3, 3)),
            now(bounded("n", 5, stop_at(3)), added(2, 5, 4, 1)),
            now(bounded("n", 5, stop_at(3)), added(3, 1, 5, 1)),
            now(bounded("n", 5, stop_at(3)), added(3, 0, 5, 1)),
            // The value is out of bounds already: it may come nearer, or is brought to the bound.
            now(write("n", int(10)), wrote(6, 1)),
            now(bounded("n", -1, at_most(5)), added(9, -1, 7, 1)),
            now(bounded("n", 1, at_most(5)), past(9, 1)),
            now(bounded("n", -1, stop_at(5)), added(5, -4, 8, 1)),
            // The bounds of 64 bits.
            now(write("n", int(MAX)), wrote(9, 1)),
            now(
                add("n", 1),
                Err(Cause::Overflow {
                    value: MAX,
                    delta: 1,
                }),
            ),
            now(bounded("n", 1, stop), added(MAX, 0, 9, 1)),
            now(bounded("n", 1, at_most(5)), past(MAX, 1)),
            now(write("t", text("1")), wrote(10, 10)),
            now(add("t", 1), Err(Cause::NotAnInt { kind: "text" })),
            now(write("t", bytes(b"1")), wrote(11, 10)),
            now(add("t", 0), Err(Cause::NotAnInt { kind: "bytes" })),
        ],
    );
}

#[test]
fn deletions() {
    check(
        roomy(),
        [
            now(delete("a"), deleted(None, 0)),
            now(write("a", int(1)), wrote(1, 1)),
            now(delete("a"), deleted(entry(int(1), 1, 1), 2)),
            now(read("a"), shows(None, 2)),
            now(delete("a"), deleted(None, 2)),
            // The key is created again, at a later revision.
            now(write("a", int(1)), wrote(3, 3)),
        ],
    );
}

#[test]
fn a_write_without_a_value_keeps_the_present_one() {
    check(
        roomy(),
        [
            now(
                write_with_lifetime("a", None, ttl(5)),
                Err(Cause::KeyNotFound),
            ),
            now(write("a", int(1)), wrote(1, 1)),
            now(write_with_lifetime("a", None, ttl(5)), wrote(2, 1)),
            now(read("a"), shows(entry(int(1), 2, 1).ending_at(5, 5), 2)),
            now(
                write_with_lifetime("a", None, SetLifetime::Unlimited),
                wrote(3, 1),
            ),
            now(read("a"), shows(entry(int(1), 3, 1), 3)),
        ],
    );
}

#[test]
fn a_refusal_names_the_first_reason() {
    let gone = || with_session("gone", None);
    let session_gone = || Err(Cause::SessionNotFound { id: "gone".into() });
    let write_options = |expect| WriteOptions {
        expect: Some(expect),
        lifetime: gone(),
        ..WriteOptions::default()
    };
    let add_options = |expect, lifetime| AddOptions {
        expect,
        lifetime,
        bounds: Bounds {
            max: Some(0),
            ..Bounds::NONE
        },
    };
    let missing = Some(Condition::Exists(true));
    let large = text(&"x".repeat(1_000));
    let transition_options = |expect| TransitionOptions {
        expect,
        value: Some(large.clone()),
    };
    let bound = |value| {
        Err(Cause::BoundReached {
            bound: "max",
            limit: 0,
            value,
            delta: 1,
        })
    };
    let full = |actual| Err(Cause::StoreFull { limit: 991, actual });
    let limits = StoreLimits {
        // Room for the machine and some keys.
        store_bytes: 991,
        ..roomy()
    };
    let refused = |to: Option<&str>| {
        Box::new(RefusedTransition {
            machine: "m".into(),
            from: "idle".into(),
            to: to.map(Name::from),
            allowed: vec!["done".into()],
        })
    };
    let not_allowed = Err(Cause::TransitionRefused(refused(Some("idle"))));
    let not_final = Err(Cause::StateNotFinal(refused(None)));
    let m = protocol("m", "m/", &["idle: done", "done:"]);
    check(
        limits,
        [
            // In this order: condition, value to keep, session, space.
            now(
                write_with("w", None, write_options(Condition::Exists(true))),
                Err(Cause::KeyNotFound),
            ),
            now(
                write_with_lifetime("w", None, gone()),
                Err(Cause::KeyNotFound),
            ),
            now(
                write_with_lifetime("w", large.clone(), gone()),
                session_gone(),
            ),
            now(write("w", large.clone()), full(1_065)),
            // In this order: condition, session, kind of the value, bounds, space.
            now(
                add_with("n", 1, add_options(missing.clone(), gone())),
                Err(Cause::KeyNotFound),
            ),
            now(add_with("n", 1, add_options(None, gone())), session_gone()),
            now(add_with("n", 1, add_options(None, ttl(5))), bound(0)),
            now(write("text", text("")), wrote(1, 1)),
            now(
                add_with("text", 1, add_options(None, gone())),
                Err(Cause::NotAnInt { kind: "text" }),
            ),
            now(write("n", int(1)), wrote(2, 2)),
            // The key exists, so the lifetime is not used and its session need not exist.
            now(add_with("n", 1, add_options(None, gone())), bound(1)),
            now(add_with_lifetime("n", 1, gone()), added(2, 1, 3, 2)),
            // In this order: condition, key, machine, transition, space.
            now(define(m.clone()), defined(m, 4)),
            now(
                transition_with("m/1", "idle", transition_options(missing)),
                Err(Cause::KeyNotFound),
            ),
            now(transition("m/1", "done"), Err(Cause::KeyNotFound)),
            now(transition("n", "done"), Err(Cause::NoMachine)),
            now(write("m/1", int(1)), wrote(5, 5)),
            now(
                transition_with("m/1", "idle", transition_options(None)),
                not_allowed,
            ),
            now(
                transition_with("m/1", "done", transition_options(None)),
                full(1_927),
            ),
            // In this order: condition, state.
            now(
                delete_if("m/1", Condition::Exists(false)),
                Err(Cause::KeyExists { revision: 5 }),
            ),
            now(delete("m/1"), not_final),
        ],
    );
}

#[test]
fn pages() {
    let mut machine = StateMachine::new(roomy());
    for key in ["b/2", "a", "b/1", "b/10", "c", "b", "\u{e9}"] {
        prepare(&mut machine, 0, [write(key, text("1234567890")).into()]);
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
        (keys.join(" "), page.has_more)
    };
    use HasMore::{No, Yes};
    use ListShows::{Entries, Keys};
    for (prefix, after, page_size, page_bytes, shows, keys, has_more) in [
        ("", None, 100, 1000, Entries, "a b b/1 b/10 b/2 c é", No),
        ("b", None, 100, 1000, Entries, "b b/1 b/10 b/2", No),
        ("b/", None, 100, 1000, Entries, "b/1 b/10 b/2", No),
        ("b/", None, 2, 1000, Entries, "b/1 b/10", Yes),
        ("b/", None, 3, 1000, Entries, "b/1 b/10 b/2", No),
        ("b/", Some("b/10"), 2, 1000, Entries, "b/2", No),
        ("b/", Some("b/2"), 2, 1000, Entries, "", No),
        // A page can start after a key that was deleted meanwhile.
        ("b/", Some("b/11"), 2, 1000, Entries, "b/2", No),
        ("z", None, 2, 1000, Entries, "", No),
        // The entries have 13 and 14 bytes.
        ("b/", None, 100, 27, Entries, "b/1 b/10", Yes),
        ("b/", None, 100, 26, Entries, "b/1", Yes),
        ("b/", None, 100, 1, Entries, "b/1", Yes),
        ("b/", None, 100, 10, Keys, "b/1 b/10 b/2", No),
    ] {
        assert_eq!(
            page(prefix, after, page_size, page_bytes, shows),
            (keys.into(), has_more),
            "{prefix:?} after {after:?}, {page_size}, {page_bytes}"
        );
    }
}

#[test]
fn everything_that_lives_in_the_state_counts() {
    let m = protocol("m", "m/", &["idle: done (5 done)", "done:"]);
    let machine_bytes = (256 + 1 + 2) + (128 + 4 + 2 * (64 + 4)) + (128 + 4);
    let session_bytes = 256 + 1;
    let request_bytes = 256 + 2;
    let key_bytes = 64 + 1 + 8;
    let limit = machine_bytes + session_bytes + request_bytes + key_bytes;
    let full = |more| {
        let actual = limit + more;
        Err(Cause::StoreFull { limit, actual })
    };
    let limits = StoreLimits {
        store_bytes: limit,
        request_id_window: ms(10),
        ..roomy()
    };
    let other = protocol("n", "n/", &["idle:"]);
    let mut machine = check(
        limits,
        [
            now(define(m.clone()), defined(m, 1)),
            now(
                open("s", 50, OnExisting::Refuse),
                opened(session("s", 50, 50, 2, 0), None),
            ),
            now(with_id("id", 1, write("a", int(1))), wrote(3, 3)),
            now(define(other.clone()), full(256 + 1 + 2 + 128 + 4)),
            now(open("t", 50, OnExisting::Refuse), full(256 + 1)),
            now(with_id("iz", 2, write("a", int(2))), full(request_bytes)),
            now(write("b", int(1)), full(key_bytes)),
            // What makes nothing larger is applied, and what deletes something even with a request id.
            now(write("a", int(2)), wrote(4, 3)),
            now(
                open("s", 50, OnExisting::TakeOver),
                opened(session("s", 50, 50, 6, 0), Some(2)),
            ),
            now(
                with_id("ix", 3, delete("a")),
                deleted(entry(int(2), 4, 3), 7),
            ),
            now(
                close("s", 6),
                Ok(Answer::Closed(CloseOutcome {
                    key_count: 0,
                    revision: 8,
                    create_revision: 6,
                    replayed: false,
                })),
            ),
            now(undefine("m"), Ok(Answer::Revision(9))),
        ],
    );
    let remembered = 2 * request_bytes + size_of::<Entry>() as u64 + 8;
    assert_eq!(machine.usage().used_bytes, remembered);
    machine.advance(at_ms(20), usize::MAX);
    assert_eq!(machine.usage().used_bytes, 0);
}

#[test]
fn a_full_store_refuses_growth_only() {
    // Room for one key of 1 byte with a value of 8.
    let limit = 64 + 1 + 8;
    let limits = |store_bytes| StoreLimits {
        store_bytes,
        ..roomy()
    };
    let full = |actual| Err(Cause::StoreFull { limit: 73, actual });
    check(
        limits(limit),
        [
            now(write("a", int(1)), wrote(1, 1)),
            now(write("b", int(1)), full(146)),
            now(add("b", 1), full(146)),
            now(write("a", text("123456789")), full(74)),
            now(write_with_lifetime("a", int(1), ttl(5)), full(73 + 128)),
            now(write("a", text("12345678")), wrote(2, 1)),
            now(write("a", text("")), wrote(3, 1)),
            now(read("b"), shows(None, 3)),
            // A refusal for another reason names that reason.
            now(
                write_if("b", int(1), Condition::Exists(true)),
                Err(Cause::KeyNotFound),
            ),
        ],
    );
    // Operations that do not need more space are applied even if the store is over its limit.
    let m = protocol("m", "m/", &["idle: idle done", "done:"]);
    let mut machine = check(
        // Room for the machine, and for one key.
        limits(659 + 64 + 3 + 8 + 128),
        [
            now(define(m.clone()), defined(m, 1)),
            now(write("m/1", int(1)), wrote(2, 2)),
            now(add("m/1", 1), added(2, 1, 3, 2)),
            now(transition("m/1", "idle"), moved_from("idle", 4, 2)),
            now(write_with_lifetime("m/1", None, ttl(9)), wrote(5, 2)),
        ],
    );
    machine.limits.store_bytes = 1;
    take(
        &mut machine,
        [
            now(write("m/1", int(5)), wrote(6, 2)),
            now(transition("m/1", "done"), moved_from("idle", 7, 2)),
            now(
                delete("m/1"),
                deleted(entry(int(5), 7, 2).in_state("done", 0, None), 8),
            ),
        ],
    );
}

#[test]
fn operations_of_a_frame_succeed_or_fail_by_themselves() {
    let frame = vec![
        (write("a", int(1)), None),
        (write_if("a", int(2), Condition::Exists(false)), None),
        (write("b", int(3)), None),
        (read("a"), None),
    ];
    let results = [
        ("a", wrote(1, 1)),
        ("a", Err(Cause::KeyExists { revision: 1 })),
        ("b", wrote(2, 2)),
        ("a", shows(entry(int(1), 1, 1), 2)),
    ];
    let machine = check(
        roomy(),
        [now(Call::Each(frame, ALL), applied_each(2, results))],
    );
    assert_eq!(changes(&machine, 0), ["1 Written a 1<-", "2 Written b 3<-"]);
}

#[test]
fn an_atomic_frame_has_one_revision() {
    let frame = [
        read("a"),
        write("a", int(2)),
        replace("a", int(3)),
        write("b", int(4)),
        read("a"),
    ];
    let outcomes = [
        // The read shows the entry as it was at that point, but names the frame's revision.
        shows(entry(int(1), 1, 1), 2),
        wrote(2, 1),
        replaced(entry(int(2), 2, 1), 2, 1),
        wrote(2, 2),
        shows(entry(int(3), 2, 1), 2),
    ];
    check(
        roomy(),
        [
            now(write("a", int(1)), wrote(1, 1)),
            now(all(frame), applied_all(outcomes)),
        ],
    );
}

#[test]
fn an_atomic_frame_that_changes_nothing_takes_no_revision() {
    let machine = check(
        roomy(),
        [
            now(write("a", int(1)), wrote(1, 1)),
            now(
                all([read("a")]),
                applied_all([shows(entry(int(1), 1, 1), 1)]),
            ),
            now(
                all([add("a", 0), delete("b")]),
                applied_all([added(1, 0, 1, 1), deleted(None, 1)]),
            ),
        ],
    );
    assert_eq!(machine.usage().revision, 1);
    assert_eq!(changes(&machine, 1), [""; 0]);
}

#[test]
fn a_key_created_and_deleted_in_one_frame_takes_a_revision() {
    let frame = [delete("a"), add("a", 1), delete("a"), add("b", 0)];
    let outcomes = [
        deleted(None, 1),
        added(1, 1, 1, 1),
        deleted(entry(int(1), 1, 1), 1),
        added(0, 0, 1, 1),
    ];
    let machine = check(roomy(), [now(all(frame), applied_all(outcomes))]);
    assert_eq!(machine.usage().key_count, 1);
    assert_eq!(changes(&machine, 0), ["1 Deleted a -<-", "1 Written b 0<-"]);
}

#[test]
fn a_key_changed_twice_in_one_frame_is_one_change() {
    let m = protocol("m", "m/", &["idle: busy", "busy: idle"]);
    let mut machine = StateMachine::new(roomy());
    prepare(
        &mut machine,
        0,
        [
            define(m),
            write("m/1", int(1)).into(),
            write("b", int(1)).into(),
        ],
    );
    let frame = [
        write("m/1", int(2)),
        delete("b"),
        write("a", int(1)),
        transition("m/1", "busy"),
        write("b", int(3)),
        transition("m/1", "idle"),
    ];
    prepare(&mut machine, 0, [all(frame)]);
    // One change for each key: from before the frame to after it, with the cause of the last operation.
    let expected = [
        "4 Written a 1<-",
        "4 Written b 3<1",
        "4 Transitioned m/1 2<1",
    ];
    assert_eq!(changes(&machine, 3), expected);
    let entry = machine.entries.get("b").unwrap();
    assert_eq!(
        (entry.revision, entry.create_revision),
        (4, 4),
        "the key is created again"
    );
    machine.assert_consistent();
}

#[test]
fn a_refused_atomic_frame_leaves_no_trace() {
    let m = protocol("m", "m/", &["idle: busy", "busy: (5 idle)"]);
    let mut machine = StateMachine::new(roomy());
    prepare(
        &mut machine,
        0,
        [
            define(m),
            open("s", 1_000, OnExisting::Refuse),
            write("a", text("first")).into(),
            write("b", int(2)).into(),
            write_with_lifetime("ends", int(1), ttl(7)).into(),
            write_with_lifetime("of/s", int(1), with_session("s", None)).into(),
            write("m/1", int(1)).into(),
        ],
    );
    let before = machine.everything();
    let refused = machine.call(
        all([
            write("a", text("a longer second")),
            write("new", int(1)),
            write("a", text("3rd")),
            write_with_lifetime("ends", int(2), ttl(9)),
            write_with_lifetime("a", int(2), with_session("s", None)),
            write("of/s", int(2)),
            delete("of/s"),
            transition("m/1", "busy"),
            write("m/2", int(1)),
            read_if("b", Condition::Value(int(3))),
            write("b", int(4)),
        ]),
        at_ms(1),
    );
    let refused = refused.unwrap_err();
    assert_eq!((refused.index, refused.subject), (Some(9), "b".into()));
    assert_eq!(machine.everything(), before);
    machine.assert_consistent();
    // The next change gets the revision of the refused frame.
    take(&mut machine, [at(1, write("c", int(1)), wrote(8, 8))]);
    assert_eq!(machine.next_due(), Some(at_ms(7)));
}

#[test]
fn the_answer_to_a_frame_is_bounded() {
    let too_large = |actual| Err(Cause::AnswerTooLarge { limit: 10, actual });
    let prepared = || {
        let mut machine = StateMachine::new(roomy());
        let calls = [write("a", text("123456")).into(), write("i", int(1)).into()];
        prepare(&mut machine, 0, calls);
        machine
    };
    let frame = [
        read("a"),
        read("a"),
        read("missing"),
        replace("a", int(0)),
        delete("i"),
        write("a", text("1234")),
        read("a"),
    ];
    let results = [
        ("a", shows(entry(text("123456"), 1, 1), 2)),
        ("a", too_large(12)),
        ("missing", shows(None, 2)),
        ("a", too_large(12)),
        ("i", too_large(14)),
        ("a", wrote(3, 1)),
        ("a", shows(entry(text("1234"), 3, 1), 3)),
    ];
    let frame = frame.map(|operation| (operation, None)).into();
    take(
        &mut prepared(),
        [now(Call::Each(frame, 10), applied_each(3, results))],
    );

    let mut machine = prepared();
    let frame = vec![read("a"), write("i", int(2)), read("a")];
    let refused = machine
        .call(Call::All(frame, None, 10), at_ms(0))
        .unwrap_err();
    assert_eq!(
        (refused.index, Err(refused.cause)),
        (Some(2), too_large(12))
    );
    assert_eq!(machine.usage().revision, 2);
    let frame = vec![read("a"), read("i")];
    let outcomes = [
        shows(entry(text("123456"), 1, 1), 2),
        shows(entry(int(1), 2, 2), 2),
    ];
    take(
        &mut machine,
        [now(Call::All(frame, None, 14), applied_all(outcomes))],
    );
}

#[test]
fn a_prefix_is_deleted_slice_by_slice() {
    let delete = |prefix: &str, after: Option<&str>, limit| {
        let (prefix, after) = (prefix.to_owned(), after.map(Into::into));
        let delete = DeletePrefix {
            prefix,
            after,
            limit,
        };
        Call::DeletePrefix(delete, None)
    };
    let deleted = |deleted_count, kept_count, more_after: Option<&str>, revision| {
        Ok(Answer::DeletedPrefix(DeletePrefixOutcome {
            deleted_count,
            kept_count,
            more_after: more_after.map(Key::from),
            revision,
            replayed: false,
        }))
    };
    let m = protocol("m", "t/m/", &["idle: done", "done:"]);
    let mut machine = StateMachine::new(roomy());
    prepare(&mut machine, 0, [define(m)]);
    for key in ["s", "t/1", "t/2", "t/3", "t/m/1", "t/m/2", "t/z", "u"] {
        prepare(&mut machine, 0, [write(key, int(1)).into()]);
    }
    prepare(&mut machine, 0, [transition("t/m/2", "done").into()]);
    take(
        &mut machine,
        [
            now(delete("x", None, 9), deleted(0, 0, None, 10)),
            now(delete("t/", None, 2), deleted(2, 0, Some("t/2"), 11)),
            now(
                delete("t/", Some("t/2"), 3).with_id("id", 1),
                deleted(2, 1, Some("t/m/2"), 12),
            ),
            now(
                delete("t/", Some("t/2"), 3).with_id("id", 1),
                replayed(deleted(2, 1, Some("t/m/2"), 12)),
            ),
            now(delete("t/", Some("t/m/2"), 3), deleted(1, 0, None, 13)),
            // What is in a state that is not final stays, and takes no revision.
            now(delete("t/", None, 1), deleted(0, 1, None, 13)),
            now(delete("", None, 9), deleted(2, 1, None, 14)),
        ],
    );
    assert_eq!(
        changes(&machine, 10),
        [
            "11 Deleted t/1 -<1",
            "11 Deleted t/2 -<1",
            "12 Deleted t/3 -<1",
            "12 Deleted t/m/2 -<1",
            "13 Deleted t/z -<1",
            "14 Deleted s -<1",
            "14 Deleted u -<1",
        ]
    );
}
