//! Request ids: requests that come again.

use super::*;

use OnExisting::{Refuse, TakeOver};

#[test]
fn a_replay_gets_the_first_answer() {
    let m = protocol("m", "m/", &["idle: busy", "busy:"]);
    let if_new = || write_if("a", int(1), Condition::Exists(false));
    let batch = || all([add("n", 1), write("b", int(1))]).with_id("batch", 1);
    let in_batch = || applied_all([added(11, 1, 6, 4), wrote(6, 6)]);
    let s = || opened(session("s", 50, 50, 7, 0), None);
    let s_again = || opened(session("s", 50, 50, 9, 0), 7);
    let machine = check(
        roomy(),
        [
            now(define(m.clone()), defined(m, 1)),
            now(write("m/1", int(1)), wrote(2, 2)),
            now(with_id("write", 1, if_new()), wrote(3, 3)),
            now(with_id("add", 1, add("n", 10)), added(10, 10, 4, 4)),
            now(
                with_id("go", 1, transition("m/1", "busy")),
                moved_from("idle", 5, 2),
            ),
            now(batch(), in_batch()),
            now(open("s", 50, Refuse).with_id("open", 1), s()),
            now(open("s", 50, TakeOver).with_id("over", 1), s_again()),
            now(close("s", 9).with_id("close", 1), closed(0, 10, 9)),
            now(
                with_id("delete", 1, delete("a")),
                deleted(entry(int(1), 3, 3), 11),
            ),
            // The replays: nothing changes, and no condition is checked.
            now(with_id("write", 1, if_new()), replayed(wrote(3, 3))),
            now(
                with_id("add", 1, add("n", 10)),
                replayed(added(10, 10, 4, 4)),
            ),
            now(
                with_id("go", 1, transition("m/1", "busy")),
                replayed(moved_from("idle", 5, 2)),
            ),
            now(batch(), replayed(in_batch())),
            now(open("s", 50, Refuse).with_id("open", 1), replayed(s())),
            now(
                open("s", 50, TakeOver).with_id("over", 1),
                replayed(s_again()),
            ),
            now(
                close("s", 9).with_id("close", 1),
                replayed(closed(0, 10, 9)),
            ),
            now(
                with_id("delete", 1, delete("a")),
                replayed(deleted(entry(int(1), 3, 3), 11)),
            ),
            // One of them once more.
            now(with_id("write", 1, if_new()), replayed(wrote(3, 3))),
            now(read("a"), shows(None, 11)),
        ],
    );
    assert_eq!(machine.usage().request_id_count, 8);
}

#[test]
fn a_request_that_changes_nothing_is_remembered_too() {
    check(
        roomy(),
        [
            now(with_id("1", 1, delete("a")), deleted(None, 0)),
            now(write("a", int(1)), wrote(1, 1)),
            now(with_id("1", 1, delete("a")), replayed(deleted(None, 0))),
            now(with_id("2", 1, add("a", 0)), added(1, 0, 1, 1)),
            now(write("a", int(5)), wrote(2, 1)),
            now(with_id("2", 1, add("a", 0)), replayed(added(1, 0, 1, 1))),
            now(
                all([read("a")]).with_id("3", 1),
                applied_all([shows(entry(int(5), 2, 1), 2)]),
            ),
            now(write("a", int(6)), wrote(3, 1)),
            now(
                all([read("a")]).with_id("3", 1),
                replayed(applied_all([shows(entry(int(5), 2, 1), 2)])),
            ),
        ],
    );
}

#[test]
fn a_refused_request_is_applied_when_it_comes_again() {
    let exists = || Condition::Exists(true);
    check(
        roomy(),
        [
            now(
                with_id("1", 1, write_if("a", int(1), exists())),
                Err(Cause::KeyNotFound),
            ),
            now(
                all([write("b", int(1)), read_if("a", exists())]).with_id("2", 1),
                Err(Cause::KeyNotFound),
            ),
            now(
                close("s", 1).with_id("3", 1),
                Err(Cause::SessionNotFound { id: "s".into() }),
            ),
            now(write("a", int(0)), wrote(1, 1)),
            now(
                with_id("1", 1, write_if("a", int(1), exists())),
                wrote(2, 1),
            ),
            // The id of a refused request can also be used for other content.
            now(with_id("2", 9, add("c", 1)), added(1, 1, 3, 3)),
        ],
    );
}

#[test]
fn a_request_id_is_used_for_one_content() {
    let reused = || Err(Cause::RequestIdReused);
    let mut machine = check(
        roomy(),
        [
            now(with_id("1", 1, write("a", int(1))), wrote(1, 1)),
            now(with_id("1", 2, write("a", int(2))), reused()),
            // This is refused before any condition is checked.
            now(
                with_id("1", 2, write_if("a", int(2), Condition::Exists(false))),
                reused(),
            ),
            // Fingerprints differ between kinds. Even with equal ones, an answer of another kind must not be given.
            now(with_id("1", 1, add("a", 1)), reused()),
            now(all([write("a", int(1))]).with_id("1", 1), reused()),
            now(open("s", 5, Refuse).with_id("1", 1), reused()),
            now(close("s", 5).with_id("1", 1), reused()),
        ],
    );
    let refused = machine
        .call(all([read("a")]).with_id("1", 2), at_ms(0))
        .unwrap_err();
    assert_eq!((refused.index, refused.subject), (None, "1".into()));
}

#[test]
fn the_window_is_a_time() {
    let limits = StoreLimits {
        request_id_window: ms(10),
        ..roomy()
    };
    let step = |at_ms, expected| at(at_ms, with_id("1", 1, add("a", 1)), expected);
    let machine = check(
        limits,
        [
            step(1, added(1, 1, 1, 1)),
            // A replay does not extend the window.
            step(5, replayed(added(1, 1, 1, 1))),
            step(10, replayed(added(1, 1, 1, 1))),
            step(11, added(2, 1, 2, 1)),
            // The id can be used for other content, too.
            at(21, with_id("1", 2, add("a", 10)), added(12, 10, 3, 1)),
        ],
    );
    assert_eq!(machine.next_due(), Some(at_ms(31)));
}

#[test]
fn a_full_window_refuses_new_ids_and_forgets_none() {
    let full = |retry_after| {
        Err(Cause::RequestIdsFull {
            limit: 2,
            unit: "request_ids",
            retry_after: ms(retry_after),
        })
    };
    let limits = StoreLimits {
        request_id_window: ms(10),
        request_ids: 2,
        ..roomy()
    };
    check(
        limits,
        [
            at(1, with_id("1", 1, add("a", 1)), added(1, 1, 1, 1)),
            at(3, with_id("2", 1, add("a", 1)), added(2, 1, 2, 1)),
            at(4, with_id("3", 1, add("a", 1)), full(7)),
            at(4, all([add("a", 1)]).with_id("3", 1), full(7)),
            at(4, open("s", 5, Refuse).with_id("3", 1), full(7)),
            // Replays and requests without an id need no room.
            at(4, with_id("1", 1, add("a", 1)), replayed(added(1, 1, 1, 1))),
            at(4, with_id("1", 2, add("a", 1)), Err(Cause::RequestIdReused)),
            at(4, add("a", 1), added(3, 1, 3, 1)),
            at(10, with_id("3", 1, add("a", 1)), full(1)),
            at(11, with_id("3", 1, add("a", 1)), added(4, 1, 4, 1)),
            at(11, with_id("4", 1, add("a", 1)), full(2)),
            at(13, with_id("4", 1, add("a", 1)), added(5, 1, 5, 1)),
        ],
    );
    // A window without room.
    let none = StoreLimits {
        request_ids: 0,
        ..roomy()
    };
    let refused = Err(Cause::RequestIdsFull {
        limit: 0,
        unit: "request_ids",
        retry_after: Duration::ZERO,
    });
    check(none, [now(with_id("1", 1, add("a", 1)), refused)]);
}

#[test]
fn the_bytes_of_answers_are_bounded() {
    let large = text(&"x".repeat(10_000));
    let full = Err(Cause::RequestIdsFull {
        limit: 20_000,
        unit: "bytes of request_ids and their answers",
        retry_after: ms(10),
    });
    let limits = StoreLimits {
        request_id_window: ms(10),
        request_id_bytes: 20_000,
        ..roomy()
    };
    let shown = |revision| entry(large.clone(), revision, 1);
    check(
        limits,
        [
            now(write("a", large.clone()), wrote(1, 1)),
            now(
                with_id("1", 1, replace("a", large.clone())),
                replaced(shown(1), 2, 1),
            ),
            now(
                all([read("a")]).with_id("2", 1),
                applied_all([shows(shown(2), 2)]),
            ),
            // The window is full from now on, until a request is forgotten.
            now(with_id("3", 1, add("n", 1)), full.clone()),
            now(
                with_id("1", 1, replace("a", large.clone())),
                replayed(replaced(shown(1), 2, 1)),
            ),
            now(
                all([read("a")]).with_id("2", 1),
                replayed(applied_all([shows(shown(2), 2)])),
            ),
            now(with_id("4", 1, delete("a")), full),
            at(10, with_id("3", 1, add("n", 1)), added(1, 1, 3, 3)),
        ],
    );
}

#[test]
fn operations_of_a_frame_have_request_ids_by_index() {
    let frame = |operations: Vec<(Operation, Option<(&str, u128)>)>, budget| {
        let operations = operations
            .into_iter()
            .map(|(operation, id)| (operation, id.map(|(id, content)| request_id(id, content))));
        Call::Each(operations.collect(), budget)
    };
    let first = || {
        vec![
            (add("a", 1), None),
            (add("a", 1), Some(("1", 1))),
            (read("a"), None),
            (add("a", 1), Some(("2", 1))),
            // A replay within the same frame.
            (add("a", 1), Some(("1", 1))),
            (add("a", 1), Some(("2", 2))),
            (add("a", 1), None),
        ]
    };
    let reused = || Err(Cause::RequestIdReused);
    check(
        roomy(),
        [
            now(
                frame(first(), ALL),
                applied_each(
                    4,
                    [
                        ("a", added(1, 1, 1, 1)),
                        ("a", added(2, 1, 2, 1)),
                        ("a", shows(entry(int(2), 2, 1), 2)),
                        ("a", added(3, 1, 3, 1)),
                        ("1", replayed(added(2, 1, 2, 1))),
                        ("2", reused()),
                        ("a", added(4, 1, 4, 1)),
                    ],
                ),
            ),
            now(
                frame(first(), ALL),
                applied_each(
                    6,
                    [
                        ("a", added(5, 1, 5, 1)),
                        ("1", replayed(added(2, 1, 2, 1))),
                        ("a", shows(entry(int(5), 5, 1), 5)),
                        ("2", replayed(added(3, 1, 3, 1))),
                        ("1", replayed(added(2, 1, 2, 1))),
                        ("2", reused()),
                        ("a", added(6, 1, 6, 1)),
                    ],
                ),
            ),
            // A replay outside of a frame.
            now(with_id("1", 1, add("a", 1)), replayed(added(2, 1, 2, 1))),
        ],
    );
}

#[test]
fn a_replayed_answer_needs_room() {
    let too_large = |limit, actual| Err(Cause::AnswerTooLarge { limit, actual });
    let replace_named = || (replace("a", text("7890")), Some(request_id("1", 1)));
    let delete_named = || (delete("a"), Some(request_id("2", 1)));
    let first = || replaced(entry(text("123456"), 1, 1), 2, 1);
    let second = || deleted(entry(text("7890"), 2, 1), 3);
    let batch = |budget| Call::All(vec![read("b")], Some(request_id("3", 1)), budget);
    let shown = || applied_all([shows(entry(text("123"), 4, 4), 4)]);
    check(
        roomy(),
        [
            now(write("a", text("123456")), wrote(1, 1)),
            now(
                Call::Each(vec![replace_named()], 6),
                applied_each(2, [("a", first())]),
            ),
            now(
                Call::Each(vec![delete_named()], 4),
                applied_each(3, [("a", second())]),
            ),
            now(
                Call::Each(vec![replace_named(), delete_named()], 10),
                applied_each(3, [("1", replayed(first())), ("2", replayed(second()))]),
            ),
            now(
                Call::Each(vec![replace_named(), delete_named()], 9),
                applied_each(3, [("1", replayed(first())), ("2", too_large(9, 10))]),
            ),
            now(
                Call::Each(vec![replace_named(), delete_named()], 5),
                applied_each(3, [("1", too_large(5, 6)), ("2", replayed(second()))]),
            ),
            now(write("b", text("123")), wrote(4, 4)),
            now(batch(3), shown()),
            now(batch(3), replayed(shown())),
            // The whole frame is not refused: that would mean that nothing was applied.
            now(batch(2), replayed(shown())),
        ],
    );
}

#[test]
fn a_request_is_remembered_from_its_first_success() {
    let mut machine = StateMachine::new(roomy());
    let first = request_id("1", 1);
    let other = request_id("1", 2);
    assert!(!machine.is_replay(&first));
    let refused = Call::One(
        write_if("a", int(1), Condition::Exists(true)),
        Some(first.clone()),
    );
    machine.call(refused, at_ms(0)).unwrap_err();
    assert!(!machine.is_replay(&first));
    prepare(
        &mut machine,
        0,
        [Call::One(add("a", 1), Some(first.clone()))],
    );
    // Whatever the content of the request: it is answered without being applied.
    assert!(machine.is_replay(&first) && machine.is_replay(&other));
    machine.advance(at_ms(1_000), usize::MAX);
    assert!(!machine.is_replay(&first));
}

#[test]
fn opening_a_session_is_replayed_even_when_it_has_ended() {
    check(
        roomy(),
        [
            now(
                open("s", 5, Refuse).with_id("1", 1),
                opened(session("s", 5, 5, 1, 0), None),
            ),
            now(
                write_with_lifetime("a", int(1), with_session("s", None)),
                wrote(2, 2),
            ),
            // The session as it was. No session is opened.
            at(
                5,
                open("s", 5, Refuse).with_id("1", 1),
                replayed(opened(session("s", 5, 5, 1, 0), None)),
            ),
            at(
                5,
                renew("s", 1),
                Err(Cause::SessionNotFound { id: "s".into() }),
            ),
        ],
    );
}
