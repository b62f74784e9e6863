//! Machines: what defining, changing and deleting one does, and when it is refused.

use super::*;

#[test]
fn a_definition_that_exists_already_changes_nothing() {
    let mut machine = StateMachine::new(roomy());
    prepare(
        &mut machine,
        0,
        [define(job()), write("m/1", int(1)).into()],
    );
    let before = machine.everything();
    let stale = Machine {
        revision: 7,
        ..job()
    };
    let validate = |machine| {
        Call::Define(DefineMachine {
            machine,
            expect: None,
            purpose: Purpose::Validate,
        })
    };
    let longer = protocol(
        "m",
        "m/",
        &[
            "new: running dropped",
            "running: done (10 new)",
            "done:",
            "dropped:",
        ],
    );
    take(
        &mut machine,
        [
            now(define(job()), defined(job(), 1)),
            // The revision in a definition is ignored.
            now(define(stale), defined(job(), 1)),
            // Validating shows no revision.
            now(validate(job()), defined(job(), 0)),
            now(validate(longer.clone()), defined(longer.clone(), 0)),
            now(
                validate(protocol("m", "m/", &["other:"])),
                stranded(1, "m/1", "new"),
            ),
        ],
    );
    assert_eq!(machine.everything(), before);
    take(
        &mut machine,
        [now(define(longer.clone()), defined(longer, 3))],
    );
}

#[test]
fn definitions_have_conditions_and_a_limit() {
    let define_if = |machine: Machine, expect| {
        Call::Define(DefineMachine {
            machine,
            expect: Some(expect),
            purpose: Purpose::Define,
        })
    };
    let other = protocol("m", "m/", &["new: done", "done:"]);
    let second = protocol("n", "n/", &["new:"]);
    let third = protocol("o", "o/", &["new:"]);
    let changed = |expected, actual| Err(Cause::MachineChanged { expected, actual });
    let full = Err(Cause::TooMany {
        what: "machines",
        limit: 2,
    });
    use Condition::{Exists, Revision};
    check(
        StoreLimits {
            machines: 2,
            ..roomy()
        },
        [
            now(define_if(job(), Exists(true)), Err(Cause::MachineNotFound)),
            now(define_if(job(), Revision(1)), changed(1, 0)),
            now(define_if(job(), Exists(false)), defined(job(), 1)),
            // Conditions are checked even if the definition exists already.
            now(
                define_if(job(), Exists(false)),
                Err(Cause::MachineExists { revision: 1 }),
            ),
            now(define_if(job(), Revision(0)), changed(0, 1)),
            now(define_if(job(), Revision(1)), defined(job(), 1)),
            now(define_if(other.clone(), Revision(2)), changed(2, 1)),
            now(define_if(other.clone(), Revision(1)), defined(other, 2)),
            now(define_if(job(), Exists(true)), defined(job(), 3)),
            now(define_if(second.clone(), Revision(0)), defined(second, 4)),
            now(define(third.clone()), full),
            now(undefine("x"), Err(Cause::MachineNotFound)),
            now(undefine("n"), Ok(Answer::Revision(5))),
            now(define(third.clone()), defined(third, 6)),
        ],
    );
}

#[test]
fn no_prefix_may_begin_with_another() {
    let plain = |name: &str, prefix: &str| protocol(name, prefix, &["new:"]);
    let define = |name: &str, prefix: &str| define(plain(name, prefix));
    let defined = |name: &str, prefix: &str, revision| defined(plain(name, prefix), revision);
    check(
        roomy(),
        [
            now(define("m", "b/c/"), defined("m", "b/c/", 1)),
            now(define("n", "b/c/"), prefix_taken("m", "b/c/")),
            now(define("n", "b/c/d"), prefix_taken("m", "b/c/")),
            now(define("n", "b/c"), prefix_taken("m", "b/c/")),
            now(define("n", "b"), prefix_taken("m", "b/c/")),
            // Neighbouring prefixes do not overlap.
            now(define("n", "b/c!"), defined("n", "b/c!", 2)),
            now(define("o", "b/c0"), defined("o", "b/c0", 3)),
            now(define("p", "b/b"), defined("p", "b/b", 4)),
            // If several overlap, the refusal names the first.
            now(define("q", "b/"), prefix_taken("p", "b/b")),
            // A machine may change its own prefix to a longer or a shorter one.
            now(define("m", "b/c/d"), defined("m", "b/c/d", 5)),
            now(define("m", "b/c"), prefix_taken("n", "b/c!")),
            now(undefine("n"), Ok(Answer::Revision(6))),
            now(undefine("o"), Ok(Answer::Revision(7))),
            now(define("m", "b/c"), defined("m", "b/c", 8)),
            now(define("n", "b/c/d/e"), prefix_taken("m", "b/c")),
        ],
    );
}

#[test]
fn a_prefix_changes_only_where_no_keys_are() {
    let with_prefix = |prefix: &str| protocol("m", prefix, &["new: done", "done:"]);
    let define_at = |prefix: &str| define(with_prefix(prefix));
    let defined_at = |prefix: &str, revision| defined(with_prefix(prefix), revision);
    check(
        roomy(),
        [
            now(write("a/1", int(1)), wrote(1, 1)),
            now(write("a/2", int(1)), wrote(2, 2)),
            now(write("b", int(1)), wrote(3, 3)),
            // Keys that exist already would have no state.
            now(define_at("a/"), stranded(2, "a/1", None)),
            now(define_at("a"), stranded(2, "a/1", None)),
            now(define_at("a/3"), defined_at("a/3", 4)),
            now(define_at("a/2"), stranded(1, "a/2", None)),
            now(define_at("c/"), defined_at("c/", 5)),
            now(write("c/1", int(1)), wrote(6, 6)),
            now(define_at("d/"), stranded(1, "c/1", "new")),
            now(define_at("c/1"), stranded(1, "c/1", "new")),
            now(transition("c/1", "done"), moved_from("new", 7, 6)),
            // Not even if the keys are in final states.
            now(define_at("d/"), stranded(1, "c/1", "done")),
            now(
                delete("c/1"),
                deleted(entry(int(1), 7, 6).in_state("done", 0, None), 8),
            ),
            now(define_at("d/"), defined_at("d/", 9)),
            now(write("c/1", int(1)), wrote(10, 10)),
            now(read("c/1"), shows(entry(int(1), 10, 10), 10)),
            now(write("d/1", int(1)), wrote(11, 11)),
            now(
                read("d/1"),
                shows(entry(int(1), 11, 11).in_state("new", 0, None), 11),
            ),
        ],
    );
}

#[test]
fn stranded_keys_are_counted_up_to_a_thousand() {
    let mut machine = StateMachine::new(roomy());
    for index in 0..1_200 {
        prepare(
            &mut machine,
            0,
            [write(&format!("m/{index:04}"), int(1)).into()],
        );
    }
    take(
        &mut machine,
        [now(
            define(job()),
            stranded(StrandedKeys::COUNT_MAX, "m/0000", None),
        )],
    );
}

#[test]
fn a_new_definition_holds_for_existing_keys() {
    let without = |missing: &str| {
        let states = JOB.iter().filter(|state| !state.starts_with(missing));
        let states: Vec<_> = states.map(|state| state.replace(missing, "done")).collect();
        protocol(
            "m",
            "m/",
            &states.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    let (no_running, no_dropped) = (without("running"), without("dropped"));
    let start_done = protocol("m", "m/", &["done:", "new: done"]);
    check(
        roomy(),
        [
            now(define(job()), defined(job(), 1)),
            now(write("m/1", int(1)), wrote(2, 2)),
            now(transition("m/1", "running"), moved_from("new", 3, 2)),
            now(define(no_running.clone()), stranded(1, "m/1", "running")),
            // A state without keys may be removed.
            now(define(no_dropped.clone()), defined(no_dropped, 4)),
            now(write("m/2", int(1)), wrote(5, 5)),
            now(
                transition("m/2", "dropped"),
                not_allowed("new", "dropped", &["done", "running"]),
            ),
            now(transition("m/1", "done"), moved_from("running", 6, 2)),
            now(define(no_running.clone()), defined(no_running, 7)),
            // A new initial state is only for new keys.
            now(define(start_done.clone()), defined(start_done, 8)),
            now(write("m/3", int(1)), wrote(9, 9)),
            now(
                read("m/2"),
                shows(entry(int(1), 5, 5).in_state("new", 0, None), 9),
            ),
            now(
                read("m/3"),
                shows(entry(int(1), 9, 9).in_state("done", 0, None), 9),
            ),
            now(transition("m/2", "done"), moved_from("new", 10, 5)),
        ],
    );
}

#[test]
fn every_state_must_be_reachable_or_have_keys() {
    let m = |states: &[&str]| protocol("m", "m/", states);
    let by_timeout = m(&["new: (5 late)", "late: over", "over:"]);
    let moved_on = m(&["other: over", "late: lost", "lost:", "over:"]);
    let circle = m(&["new:", "a: b", "b: a"]);
    check(
        roomy(),
        [
            now(define(m(&["new:", "lost:"])), unreachable_state("lost")),
            // A state that leads somewhere must be reachable all the same.
            now(define(m(&["new:", "lost: new"])), unreachable_state("lost")),
            now(define(circle), unreachable_state("a")),
            now(define(by_timeout.clone()), defined(by_timeout, 1)),
            now(define(moved_on.clone()), unreachable_state("late")),
            now(write("m/1", int(1)), wrote(2, 2)),
            at(
                5,
                read("m/1"),
                shows(entry(int(1), 3, 2).in_state("late", 5, None), 3),
            ),
            // A key in the state makes it and the states behind it reachable.
            at(5, define(moved_on.clone()), defined(moved_on.clone(), 4)),
            at(5, define(moved_on.clone()), defined(moved_on.clone(), 4)),
            at(5, transition("m/1", "lost"), moved_from("late", 5, 2)),
            // Without the key, the definition stays, but another definition with that state is refused.
            at(5, define(moved_on.clone()), defined(moved_on, 4)),
            at(
                5,
                define(m(&["other: over", "late: lost", "lost:", "over: over"])),
                unreachable_state("late"),
            ),
        ],
    );
}

#[test]
fn a_changed_timeout_counts_from_when_a_key_came() {
    let with = |timeout| protocol("m", "m/", &[&format!("new: done {timeout}"), "done:"]);
    for (timeout, then) in [
        ("(10 done)", "(5 done)"),
        ("(10 done)", "(15 done)"),
        ("", "(15 done)"),
        ("(10 done)", ""),
        ("(10 done)", "(1 done)"),
    ] {
        let mut machine = StateMachine::new(roomy());
        prepare(&mut machine, 0, [define(with(timeout))]);
        prepare(&mut machine, 1, [write("m/1", int(1)).into()]);
        prepare(&mut machine, 2, [write("m/2", int(1)).into()]);
        prepare(&mut machine, 4, [define(with(then))]);
        machine.assert_consistent();
        let after: Option<u64> = then
            .trim_matches(['(', ')'])
            .split_once(' ')
            .map(|(ms, _)| ms.parse().unwrap());
        let due = after.map(|after| 1 + after);
        assert_eq!(machine.next_due(), due.map(at_ms), "{timeout} to {then}");
        let shown = entry(int(1), 2, 2).in_state("new", 1, due);
        let Ok(Answer::One(Outcome::Read(read))) = machine.call(read("m/1").into(), at_ms(4))
        else {
            panic!("the key exists");
        };
        assert_eq!(read.entry, Some(shown), "{timeout} to {then}");
        for now in 4..30 {
            machine.advance(at_ms(now), usize::MAX);
            let gone = |came: u64| after.is_some_and(|after| (came + after).max(4) <= now);
            let count = usize::from(gone(1)) + usize::from(gone(2));
            assert_eq!(
                changes(&machine, 4).len(),
                count,
                "{timeout} to {then} at {now}"
            );
        }
        machine.assert_consistent();
    }
}

#[test]
fn a_machine_whose_keys_move_for_ever_can_be_deleted() {
    let spinning = protocol("m", "m/", &["a: (1 b)", "b: (1 a)"]);
    let mut machine = check(
        roomy(),
        [
            now(define(spinning.clone()), defined(spinning, 1)),
            now(write("m/1", int(1)), wrote(2, 2)),
            at(1, undefine("m"), stranded(1, "m/1", "b")),
            at(2, undefine("m"), stranded(1, "m/1", "a")),
            at(2, force_undefine("n"), Err(Cause::MachineNotFound)),
            at(2, force_undefine("m"), Ok(Answer::Revision(5))),
            at(9, read("m/1"), shows(entry(int(1), 4, 2), 5)),
            at(9, delete("m/1"), deleted(entry(int(1), 4, 2), 6)),
        ],
    );
    assert_eq!(machine.next_due(), None);
    machine.advance(at_ms(20), usize::MAX);
    assert_eq!(machine.revision(), 6);
}

#[test]
fn a_deleted_machine_leaves_plain_keys() {
    let done = |revision, created| entry(int(1), revision, created);
    let machine = check(
        roomy(),
        [
            now(define(job()), defined(job(), 1)),
            now(
                open("s", 50, OnExisting::Refuse),
                opened(session("s", 50, 50, 2, 0), None),
            ),
            now(
                write_with_lifetime("m/1", int(1), with_session("s", None)),
                wrote(3, 3),
            ),
            now(write_with_lifetime("m/2", int(1), ttl(40)), wrote(4, 4)),
            now(write("m/3", int(1)), wrote(5, 5)),
            now(transition("m/1", "dropped"), moved_from("new", 6, 3)),
            now(undefine("m"), stranded(2, "m/2", "new")),
            now(transition("m/2", "dropped"), moved_from("new", 7, 4)),
            now(transition("m/3", "running"), moved_from("new", 8, 5)),
            now(undefine("m"), stranded(1, "m/3", "running")),
            now(transition("m/3", "done"), moved_from("running", 9, 5)),
            now(undefine("m"), Ok(Answer::Revision(10))),
            now(undefine("m"), Err(Cause::MachineNotFound)),
            // The keys keep everything else: there is no event, and they get no new revision.
            now(read("m/1"), shows(done(6, 3).of_session("s", 2), 10)),
            now(read("m/2"), shows(done(7, 4).ending_at(40, 40), 10)),
            now(read("m/3"), shows(done(9, 5), 10)),
            now(transition("m/3", "new"), Err(Cause::NoMachine)),
            now(write("m/4", int(1)), wrote(11, 11)),
            now(define(job()), stranded(4, "m/1", None)),
            now(delete("m/3"), deleted(done(9, 5), 12)),
            at(40, read("m/2"), shows(None, 13)),
            at(50, read("m/1"), shows(None, 14)),
        ],
    );
    assert_eq!(changes(&machine, 9).len(), 4);
    machine.assert_index_ends_empty();
}

#[test]
fn machines_are_shown() {
    let mut machine = StateMachine::new(roomy());
    let revised = |name: &str, revision| Machine {
        revision,
        ..protocol(name, &format!("{name}/"), &["new:"])
    };
    for name in ["c", "a", "b"] {
        prepare(&mut machine, 0, [define(revised(name, 0))]);
    }
    assert_eq!(machine.get_machine(&"a".into()), Ok(revised("a", 2)));
    let unknown = machine.get_machine(&"x".into()).unwrap_err();
    assert_eq!(
        (unknown.subject, unknown.cause),
        ("x".into(), Cause::MachineNotFound)
    );
    let page = |after, page_size| {
        let page = machine.list_machines(after, page_size);
        let names = page
            .items
            .into_iter()
            .map(|machine| machine.name.to_string());
        (names.collect::<String>(), page.has_more)
    };
    assert_eq!(page(None, 2), ("ab".into(), HasMore::Yes));
    assert_eq!(page(None, 3), ("abc".into(), HasMore::No));
    assert_eq!(page(Some("b"), 2), ("c".into(), HasMore::No));
    assert_eq!(page(Some("bb"), 2), ("c".into(), HasMore::No));
}

#[test]
fn the_machines_of_now_tell_how_keys_are_spread_and_how_many_moves_were_refused() {
    let mut machine = StateMachine::new(roomy());
    let define = |machine: &mut StateMachine| {
        machine.define_machine(DefineMachine {
            machine: job(),
            expect: None,
            purpose: Purpose::Define,
        })
    };
    define(&mut machine).unwrap();
    let operations = vec![
        write("m/1", int(1)),
        write("m/2", int(1)),
        transition("m/1", "running"),
        transition("m/1", "new"),
        transition("m/1", "nowhere"),
        transition("m/3", "new"),
    ];
    let outcome = machine.apply_each(operations, &[], usize::MAX, Time::default());
    assert_eq!(outcome.results.iter().filter(|it| it.is_err()).count(), 3);
    let shown = |machine: &StateMachine| {
        let machines = machine.machines_now(10);
        let one = &machines[0];
        let states = one.machine.states.keys().zip(&one.keys);
        let keys: Vec<_> = states
            .map(|(name, keys)| format!("{}: {keys}", name.as_str()))
            .collect();
        (keys.join(", "), one.refused_moves)
    };
    let keys = "done: 0, dropped: 0, new: 1, running: 1";
    assert_eq!(shown(&machine), (keys.into(), 2));
    assert_eq!(machine.machines_now(0), []);
    // A machine that is defined anew keeps its count, and one that is deleted does not.
    define(&mut machine).unwrap();
    assert_eq!(shown(&machine).1, 2);
    let Call::Undefine(delete) = force_undefine("m") else {
        unreachable!()
    };
    machine.delete_machine(&delete).unwrap();
    assert!(machine.refused_moves.0.is_empty());
}
