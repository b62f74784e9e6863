//! Lifetimes: keys that end by themselves.

use super::*;

fn ended(id: &str) -> Result<Answer, Cause> {
    Err(Cause::SessionNotFound { id: id.into() })
}

#[test]
fn a_write_sets_the_lifetime_and_an_addition_keeps_it() {
    let with_lifetime = |revision, ttl, ends| entry(int(1), revision, 1).ending_at(ttl, ends);
    check(
        roomy(),
        [
            // A new key has no lifetime to keep.
            now(
                write_with_lifetime("a", int(1), SetLifetime::Keep),
                wrote(1, 1),
            ),
            now(read("a"), shows(entry(int(1), 1, 1), 1)),
            now(write_with_lifetime("a", int(1), ttl(10)), wrote(2, 1)),
            now(read("a"), shows(with_lifetime(2, 10, 10), 2)),
            at(
                4,
                write_with_lifetime("a", int(1), SetLifetime::Keep),
                wrote(3, 1),
            ),
            at(4, read("a"), shows(with_lifetime(3, 10, 10), 3)),
            at(4, add("a", 0), added(1, 0, 3, 1)),
            at(4, add_with_lifetime("a", 0, ttl(99)), added(1, 0, 3, 1)),
            at(4, add_with_lifetime("a", 1, ttl(99)), added(2, 1, 4, 1)),
            at(
                4,
                add_with_lifetime("a", -1, SetLifetime::Unlimited),
                added(1, -1, 5, 1),
            ),
            at(4, read("a"), shows(with_lifetime(5, 10, 10), 5)),
            // A new ttl counts from its own write, whether it is shorter or longer.
            at(5, write_with_lifetime("a", None, ttl(2)), wrote(6, 1)),
            at(5, read("a"), shows(with_lifetime(6, 2, 7), 6)),
            at(5, write_with_lifetime("a", None, ttl(20)), wrote(7, 1)),
            at(24, read("a"), shows(with_lifetime(7, 20, 25), 7)),
            // A write without a lifetime removes it.
            at(24, write("a", int(1)), wrote(8, 1)),
            at(99, read("a"), shows(entry(int(1), 8, 1), 8)),
        ],
    );
}

#[test]
fn an_addition_sets_the_lifetime_of_a_new_key() {
    check(
        roomy(),
        [
            now(
                open("s", 50, OnExisting::Refuse),
                opened(session("s", 50, 50, 1, 0), None),
            ),
            now(add_with_lifetime("a", 1, ttl(10)), added(1, 1, 2, 2)),
            now(
                add_with_lifetime("b", 0, with_session("s", None)),
                added(0, 0, 3, 3),
            ),
            now(
                add_with_lifetime("c", 1, SetLifetime::Keep),
                added(1, 1, 4, 4),
            ),
            now(
                add_with_lifetime("d", 1, with_session("t", None)),
                ended("t"),
            ),
            at(
                9,
                read("a"),
                shows(entry(int(1), 2, 2).ending_at(10, 10), 4),
            ),
            at(10, read("a"), shows(None, 5)),
            at(
                49,
                read("b"),
                shows(entry(int(0), 3, 3).of_session("s", 1), 5),
            ),
            // The key ends, and the next addition starts from 0 again.
            at(
                50,
                add_with_lifetime("b", 1, SetLifetime::Unlimited),
                added(1, 1, 7, 7),
            ),
            at(50, read("c"), shows(entry(int(1), 4, 4), 7)),
        ],
    );
}

#[test]
fn a_lifetime_of_one_kind_replaces_the_other() {
    let s = || with_session("s", None);
    let machine = check(
        roomy(),
        [
            now(
                open("s", 50, OnExisting::Refuse),
                opened(session("s", 50, 50, 1, 0), None),
            ),
            now(write_with_lifetime("a", int(1), ttl(10)), wrote(2, 2)),
            now(write_with_lifetime("a", int(1), s()), wrote(3, 2)),
            now(write_with_lifetime("b", int(1), s()), wrote(4, 4)),
            now(write_with_lifetime("b", int(1), ttl(10)), wrote(5, 4)),
            at(
                9,
                read("b"),
                shows(entry(int(1), 5, 4).ending_at(10, 10), 5),
            ),
            at(
                10,
                read("a"),
                shows(entry(int(1), 3, 2).of_session("s", 1), 6),
            ),
            at(10, read("b"), shows(None, 6)),
            at(50, read("a"), shows(None, 7)),
        ],
    );
    assert_eq!(
        changes(&machine, 5),
        ["6 Expired b -<1", "7 SessionEnded a -<1"]
    );
    machine.assert_index_ends_empty();
}

#[test]
fn nothing_happens_before_its_time() {
    let nano = Duration::from_nanos(1);
    let calls = || {
        [
            (
                "a ttl",
                vec![write_with_lifetime("a", int(1), ttl(5)).into()],
            ),
            (
                "a session",
                vec![
                    open("s", 5, OnExisting::Refuse),
                    write_with_lifetime("a", int(1), with_session("s", None)).into(),
                ],
            ),
            (
                "a timeout",
                vec![
                    define(protocol("m", "m/", &["idle: (5 done)", "done:"])),
                    write("m/1", int(1)).into(),
                ],
            ),
            ("a request", vec![with_id("id", 1, write("a", int(1)))]),
        ]
    };
    for (what, calls) in calls() {
        let mut machine = StateMachine::new(StoreLimits {
            request_id_window: ms(5),
            ..roomy()
        });
        let begin = Time::since_epoch(Duration::from_secs(1));
        for call in calls {
            machine.call(call, begin).unwrap();
        }
        let due = begin + ms(5);
        assert_eq!(machine.next_due(), Some(due), "{what}");
        let before = machine.everything();
        machine.advance(begin + (ms(5) - nano), usize::MAX);
        assert_eq!(machine.everything(), before, "{what}");
        machine.advance(due, usize::MAX);
        assert_ne!(machine.everything(), before, "{what}");
        assert_eq!(machine.next_due(), None, "{what}");
    }
}
