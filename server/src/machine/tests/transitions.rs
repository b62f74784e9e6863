//! Keys in machines: transitions, timeouts, and what else keeps or ends a state.

use super::*;

#[test]
fn a_key_moves_where_its_machine_allows_it() {
    let with_value = |value| TransitionOptions {
        value: Some(value),
        ..TransitionOptions::default()
    };
    let if_state = |state: &str| TransitionOptions {
        expect: Some(Condition::State(state.into())),
        ..TransitionOptions::default()
    };
    let in_new = Cause::StateMismatch {
        expected: "done".into(),
        actual: Some("new".into()),
    };
    check(
        roomy(),
        [
            now(define(job()), defined(job(), 1)),
            now(transition("m/1", "running"), Err(Cause::KeyNotFound)),
            now(write("other", int(1)), wrote(2, 2)),
            now(transition("other", "running"), Err(Cause::NoMachine)),
            now(write("m/1", int(1)), wrote(3, 3)),
            now(
                read("m/1"),
                shows(entry(int(1), 3, 3).in_state("new", 0, None), 3),
            ),
            now(
                transition("m/1", "done"),
                not_allowed("new", "done", &["dropped", "running"]),
            ),
            now(
                transition("m/1", "nowhere"),
                not_allowed("new", "nowhere", &["dropped", "running"]),
            ),
            now(
                transition("m/1", "new"),
                not_allowed("new", "new", &["dropped", "running"]),
            ),
            now(delete("m/1"), not_final("new", &["dropped", "running"])),
            now(
                transition_with("m/1", "running", if_state("done")),
                Err(in_new),
            ),
            at(
                1,
                transition_with("m/1", "running", if_state("new")),
                moved_from("new", 4, 3),
            ),
            at(
                1,
                read("m/1"),
                shows(entry(int(1), 4, 3).in_state("running", 1, 11), 4),
            ),
            // The state lists itself, so the transition is allowed, and the timeout starts again.
            at(2, transition("m/1", "running"), moved_from("running", 5, 3)),
            at(
                2,
                read("m/1"),
                shows(entry(int(1), 5, 3).in_state("running", 2, 12), 5),
            ),
            // A write or an addition does not change the state.
            at(3, write("m/1", int(2)), wrote(6, 3)),
            at(3, add("m/1", 1), added(3, 1, 7, 3)),
            at(
                3,
                read("m/1"),
                shows(entry(int(3), 7, 3).in_state("running", 2, 12), 7),
            ),
            at(3, delete("m/1"), not_final("running", &["done", "running"])),
            at(
                4,
                transition_with("m/1", "done", with_value(int(9))),
                moved_from("running", 8, 3),
            ),
            at(
                4,
                read("m/1"),
                shows(entry(int(9), 8, 3).in_state("done", 4, None), 8),
            ),
            at(
                4,
                transition("m/1", "running"),
                not_allowed("done", "running", &[]),
            ),
            at(
                4,
                delete("m/1"),
                deleted(entry(int(9), 8, 3).in_state("done", 4, None), 9),
            ),
            // A key that is created again starts in the initial state.
            at(5, add("m/1", 1), added(1, 1, 10, 10)),
            at(
                5,
                read("m/1"),
                shows(entry(int(1), 10, 10).in_state("new", 5, None), 10),
            ),
        ],
    );
}

#[test]
fn every_answer_shows_the_state() {
    let mut machine = StateMachine::new(roomy());
    prepare(
        &mut machine,
        0,
        [
            define(job()),
            write("m/1", int(1)).into(),
            transition("m/1", "running").into(),
        ],
    );
    let running = |revision| entry(int(1), revision, 2).in_state("running", 0, 10);
    take(
        &mut machine,
        [now(replace("m/1", int(1)), replaced(running(3), 4, 2))],
    );
    let listed = machine.list(&List {
        prefix: String::new(),
        after: None,
        page_size: 9,
        page_bytes: 99,
        shows: ListShows::Entries,
    });
    assert_eq!(listed.entries, [("m/1".into(), running(4))]);
}

#[test]
fn a_transition_keeps_the_lifetime() {
    let machine = check(
        roomy(),
        [
            now(define(job()), defined(job(), 1)),
            now(
                open("s", 50, OnExisting::Refuse),
                opened(session("s", 50, 50, 2, 0), None),
            ),
            now(write_with_lifetime("m/1", int(1), ttl(20)), wrote(3, 3)),
            now(
                write_with_lifetime("m/2", int(1), with_session("s", None)),
                wrote(4, 4),
            ),
            at(5, transition("m/1", "running"), moved_from("new", 5, 3)),
            at(5, transition("m/2", "running"), moved_from("new", 6, 4)),
            at(
                6,
                read("m/1"),
                shows(
                    entry(int(1), 5, 3)
                        .in_state("running", 5, 15)
                        .ending_at(20, 20),
                    6,
                ),
            ),
            at(
                6,
                read("m/2"),
                shows(
                    entry(int(1), 6, 4)
                        .in_state("running", 5, 15)
                        .of_session("s", 2),
                    6,
                ),
            ),
            // A timeout keeps the lifetime, too. A ttl or a session ends a key in any state.
            at(
                15,
                read("m/1"),
                shows(
                    entry(int(1), 7, 3)
                        .in_state("new", 15, None)
                        .ending_at(20, 20),
                    8,
                ),
            ),
            at(20, read("m/1"), shows(None, 9)),
            at(50, read("m/2"), shows(None, 10)),
        ],
    );
    let expected = [
        "7 TimedOut m/1 1<1",
        "8 TimedOut m/2 1<1",
        "9 Expired m/1 -<1",
        "10 SessionEnded m/2 -<1",
    ];
    assert_eq!(changes(&machine, 6), expected);
}

#[test]
fn a_state_with_a_timeout_is_not_final() {
    let m = protocol("m", "m/", &["idle: (5 idle)"]);
    check(
        roomy(),
        [
            now(define(m.clone()), defined(m, 1)),
            now(write("m/1", int(1)), wrote(2, 2)),
            now(delete("m/1"), not_final("idle", &[])),
            // The timeout leads back to the state itself; a Transition may not.
            now(transition("m/1", "idle"), not_allowed("idle", "idle", &[])),
            at(
                5,
                read("m/1"),
                shows(entry(int(1), 3, 2).in_state("idle", 5, 10), 3),
            ),
            now(undefine("m"), stranded(1, "m/1", "idle")),
        ],
    );
}

#[test]
fn an_atomic_frame_moves_a_key_several_times() {
    let frame = [
        write("m/1", int(1)),
        transition("m/1", "running"),
        transition("m/1", "done"),
        delete("m/1"),
        write("m/1", int(2)),
        transition("m/1", "dropped"),
    ];
    let done = entry(int(1), 2, 2).in_state("done", 0, None);
    let outcomes = [
        wrote(2, 2),
        moved_from("new", 2, 2),
        moved_from("running", 2, 2),
        deleted(done, 2),
        wrote(2, 2),
        moved_from("new", 2, 2),
    ];
    let machine = check(
        roomy(),
        [
            now(define(job()), defined(job(), 1)),
            now(all(frame), applied_all(outcomes)),
        ],
    );
    assert_eq!(changes(&machine, 1), ["2 Transitioned m/1 2<-"]);
    assert_eq!(machine.next_due(), None);
    machine.assert_index_ends_empty();
}
