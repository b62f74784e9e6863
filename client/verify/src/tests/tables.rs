//! Histories that are not linearizable, and histories that are.

use crate::tests::notation::{history, is_linearizable, report_of};
use crate::{Entry, History, Value, ValueSearch, Verdict, ViolationKind, Watch, WatchUpdate};

const NOT_LINEARIZABLE: &str = "
    a stale read: 0-1 write 1 1@1; 2-3 write 2 2@2; 4-5 read 1@1
    a stale read that says it is new: 0-1 write 1 1@1; 2-3 write 2 2@2; 4-5 read 1@1@2
    a read of a value that nobody wrote: 0-1 write 1 1@1; 0-9 read 5@1
    a read before the write: 0-1 read 1@1; 2-3 write 1 1@1
    reads in the wrong order: 0-9 write 1 1@1; 0-9 write 2 2@2; 1-2 read 2@2; 3-4 read 1@1
    a lost update: 0-1 write 1 1@1; 2-5 cas 1 9 9@2; 2-5 cas 1 8 8@3
    a lost update, by value: 0-1 write 1 1@1; 2-5 swap 1 9 9@2; 2-5 swap 1 8 8@3
    a vanished write: 0-1 write 1 1@1; 2-3 read none@1
    an unknown write that is seen, then gone: 0- write 1 unknown; 2-3 read 1@1; 4-5 read none@1
    a vanished write, before an unknown write: 0-1 write 1 1@1; 0-5 write 2 unknown; 6-7 read none@2
    a resurrected delete: 0-1 write 1 1@1; 2-3 delete 1@1@2; 4-5 read 1@1
    a resurrected delete, at a greater revision: 0-1 write 1 1@1; 2-3 delete 1@1@2; 4-5 read 1@3
    a key that is deleted twice: 0-1 write 1 1@1; 2-9 delete 1@1@2; 2-9 delete 1@1@3
    a delete that misses the key: 0-1 write 1 1@1; 2-3 delete none@1
    a delete at the revision of the write: 0-5 write 1 unknown; 6-7 delete 1@1@1
    an Add done twice: 0-1 add 2 2@1; 2-3 read 4@2
    an Add done twice, by the next: 0-1 add 2 2@1; 2-3 add 2 6@3
    an unknown Add done twice: 0-5 add 2 unknown; 6-7 read 4@2
    a wrong sum: 0-1 add 2 2@1; 2-3 add 2 2@2
    an Add to text: 0-1 write x x@1; 2-3 add 2 2@2
    an Add refused that could be: 0-1 write 1 1@1; 2-3 add 2 notint
    two changes with one revision: 0-1 write 1 1@1; 2-3 write 2 2@1
    two keys with one revision: 0-5 write 1 1@1; 0-5 b.write 2 2@1
    two of one frame with one revision: 0-5 write 1 1@1 ~x; 0-5 b.write 2 2@1 ~x
    revisions that fall: 0-1 write 1 1@5; 2-3 write 2 2@4
    revisions that fall across keys: 0-1 write 1 1@5; 2-3 b.write 2 2@4
    a store revision that falls: 0-1 read none@5; 2-3 write 2 2@5
    a read that knows less than before: 0-1 write 1 1@5; 2-3 b.read none@4
    no room for an unknown one: 0-1 write 1 1@1; 2- add 1 unknown; 4-5 add 1 3@2
    no room, by another key: 0-9 write 1 1@1; 0-9 b.write 1 1@2; 0- add 1 unknown; 0-9 add 1 3@3
    an unknown add with a revision from after its end: 0-5 add 2 unknown; 6-7 b.read none@1; 8-9 delete 2@2@5
    an unknown write after its end: 0-1 write 1 unknown; 2-3 read none@0; 4-5 read 1@1
    an unknown write before its start: 0-1 read 1@1; 2- write 1 unknown
    an unknown write that comes back: 0-9 write 1 unknown; 10-11 write 2 2@3; 12-13 read 1@1
    a refusal without reason: 0-1 write 1 1@1; 2-3 cas 1 9 refused@1
    a failed compare-and-set that should not: 0-1 write 1 1@1; 2-3 cas 1 9 refused
    a failed compare-and-set that should not, by value: 0-1 write 1 1@1; 2-3 swap 1 9 refused
    a compare-and-set that should fail: 0-1 write 1 1@1; 2-3 cas 4 9 9@2
    a compare-and-set that should fail, by value: 0-1 write 1 1@1; 2-3 swap 4 9 9@2
    a compare-and-set that should fail, of text: 0-1 write x x@1; 2-3 swap y 9 9@2
    a refusal that names another revision: 0-1 write 1 1@3; 2-3 cas 1 9 refused@2
    a refusal that names another value: 0-1 write 1 1@3; 2-3 swap 2 9 refused=3
    a compare-and-set of nothing: 0-1 cas 1 9 9@2
    created twice: 0-5 create 1 1@1; 0-5 create 2 2@2
    a create refused where nothing was: 0-5 create 1 refused
    a replace where nothing was: 0-5 replace 1 1@1
    a guarded delete of another life: 0-1 write 1 1@1; 2-3 write 2 2@2; 4-5 remove 1 2@2@3
    a read of a write that was not done: 0-1 write 1 undone; 0-1 read 1@1
    half a batch: 0-1 write 1 1@1 #x; 0-1 b.write 1 1@1 #x; 2-3 read 1@1; 4-5 b.read none@1
    half a batch, seen in it: 0-9 write 1 1@2 #x; 0-9 b.write 1 1@2 #x; 1-2 read 1@2; 3-4 b.read none@1
    a batch with two revisions: 0-1 write 1 1@1 #x; 0-1 b.write 1 1@2 #x
    half an unknown batch: 0- write 1 unknown #x; 0- b.write 1 unknown #x; 2-3 read 1@1; 4-5 b.read none@1
    a batch that another key cannot have had: 0- b.replace 2 unknown #x; 0- add 1 unknown #x; 2-3 read 1@1
    two batches that another key cannot have had: 0- b.replace 2 unknown #x; 0- add 1 unknown #x; 0- c.replace 2 unknown #y; 0- add 1 unknown #y; 2-3 read 1@1
    a batch that expects what it cannot have made: 0- write 1 unknown #x; 0- cas 1 2 unknown #x; 2-3 read 2@3
    a batch that does not see itself: 0-1 write 1 1@1 #x; 0-1 read none@1 #x
    in between a batch: 0-9 write 1 1@1 #x; 0-9 write 2 2@1 #x; 0-9 read 1@1
    a torn list: 0-1 write 1 1@1; 2-3 b.write 1 1@2; 4-5 read none@2 #l; 4-5 b.read 1@2@2 #l
    a list of two moments: 0-9 write 1 1@1; 0-9 b.write 1 1@2; 0-9 read none@2 #l; 0-9 b.read 1@2@2 #l
    a list of two revisions: 0-9 write 1 1@1; 0-9 b.write 1 1@2; 0-9 read none@0 #l; 0-9 b.read 1@2@2 #l
    a list older than what was read: 0-1 write 1 1@1; 2-3 read none@0 #l; 2-3 b.read none@0 #l
    frames that overtake: 0-9 write 1 1@2 ~x; 0-9 write 2 2@1 ~x
    a read that overtakes in a frame: 0-9 write 1 1@1 ~x; 0-9 read none@0 ~x
    a stream that reads backwards: 0-1 write 1 1@1; 2-9 write 2 2@2; 3-9 read 2@2 ~x; 4-9 read 1@1 ~x
    a stream that reads backwards, to nothing: 2-9 write 1 1@1; 3-9 read 1@1 ~x; 4-9 read none@0 ~x
    a stream that does not see its change: 2-9 write 1 1@1 ~x; 3-9 write 2 2@2 ~x; 4-9 read 1@1 ~x
    a revision of another key: 0-1 b.write 1 1@1; 0-9 write 5 unknown; 2-3 read 5@1
    an illegal move: 0-1 m.write 1 1@1; 2-3 m.move 2 from:0@2
    a move from where it was not: 0-1 m.write 1 1@1; 2-3 m.move 1 from:0@2; 4-5 m.move 1 from:0@3
    a legal move refused: 0-1 m.write 1 1@1; 2-3 m.move 1 move:0
    a move refused from where it was not: 0-1 m.write 1 1@1; 2-3 m.move 1 from:0@2; 4-5 m.move 1 move:0
    a move of nothing: 0-1 m.move 1 from:0@1
    a move that nobody sees: 0-1 m.write 1 1@1; 2-3 m.move 1 from:0@2; 4-5 m.read 1/0@1@2
    a delete in a state that is not final: 0-1 m.write 1 1@1; 2-3 m.delete 1@1@2
    a delete refused in the final state: 0-1 m.write 1 1@1; 2-3 m.move 1 from:0@2; 4-5 m.move 2 from:1@3; 6-7 m.delete notfinal:2";

const LINEARIZABLE: &str = "
    one after the other: 0-1 write 1 1@1; 2-3 cas 1 9 9@2; 4-5 add -2 7@4; 6-7 read 7@4; 8-9 delete 7@4@5
    a key that does not exist: 0-1 read none@5; 2-3 delete none@5; 4-5 cas 0 3 3@6; 6-7 cas 1 9 refused@6
    all at once: 0-9 read 2@2; 0-9 write 2 2@2; 0-9 write 1 1@1; 0-9 read none@0
    a return and a call at one instant: 0-5 write 1 1@1; 5-9 read none@0
    an unknown write that was done: 0-5 write 1 unknown; 6-7 read 1@4
    an unknown write that was not done: 0-5 write 1 unknown; 6-7 read none@0
    an unknown write that was done late: 0- write 1 unknown; 6-7 read none@0; 8-9 read 1@1
    an unknown delete between two: 0-1 write 1 1@1; 0-9 delete unknown; 2-9 cas 0 2 2@3
    two unknown writes, one upon the other: 0-9 write 1 unknown; 0-9 cas 3 2 unknown; 10-11 read 2@4
    a refusal that tells: 0-9 write 1 unknown; 3-4 cas 1 9 refused@7; 5-6 read 1@7
    a write that was not done: 0-1 write 1 undone; 2-3 read none@0
    an unknown write that is seen, then deleted: 0- write 1 unknown; 2-3 read 1@1; 4-5 delete 1@1@2; 6-7 read none@2
    an unknown write that is seen, then deleted by an unknown delete: 0- write 1 unknown; 2-3 read 1@1; 3- delete unknown; 4-5 read none@2
    one of two updates: 0-1 write 1 1@1; 2-5 cas 1 9 9@2; 2-5 cas 1 8 refused@2
    one of two updates, by value: 0-1 write 1 1@1; 2-5 swap 1 9 9@2; 2-5 swap 1 8 refused=9
    room for an unknown add: 0-1 write 1 1@1; 2- add 1 unknown; 4-5 add 1 3@3
    many unknown adds: 0-1 add 1 1@1; 2- add 1 unknown; 2- add 1 unknown; 2- add 1 unknown; 4-5 add 1 4@9
    an add of 0: 0-1 write 4 4@1; 2-3 add 0 4@1
    an add of 0 that makes the key: 0-1 add 0 0@1; 2-3 read 0@1
    an add of 0 that makes the key, in a batch: 0-1 add 0 0@1 #x; 0-1 b.write 1 1@1 #x; 2-3 read 0@1
    an Add to text: 0-1 write x x@1; 2-3 add 2 notint
    created once: 0-5 create 1 1@1; 0-5 create 2 refused; 6-7 replace 3 3@2
    a new life: 0-1 write 1 1@1; 2-3 delete 1@1@2; 4-5 write 1 1@3; 6-7 read 1@3
    a whole batch: 0-1 write 1 1@1 #x; 0-1 b.write 1 1@1 #x; 2-3 read 1@1; 4-5 b.read 1@1
    before and after a batch: 0-9 write 1 1@2 #x; 0-9 b.write 1 1@2 #x; 3-4 read 1@2; 1-2 b.read none@1
    a batch that sees itself: 0-1 write 1 1@1 #x; 0-1 read 1@1 #x; 0-1 delete 1@1@1 #x; 2-3 read none@1
    a whole unknown batch: 0- write 1 unknown #x; 0- b.write 1 unknown #x; 2-3 read 1@1; 4-5 b.read 1@1
    an unknown batch that expects what it made: 0- write 1 unknown #x; 0- cas 1 2 unknown #x; 2-3 read 2@1
    one of two unknown batches: 0- b.replace 2 unknown #x; 0- add 1 unknown #x; 0- c.add 1 unknown #y; 0- add 1 unknown #y; 2-3 read 1@1; 4-5 c.read 1@1
    an unknown batch that found nothing: 0- write 1 unknown #x; 0- b.delete unknown #x; 2-3 read 1@1; 4-5 b.read none@1
    a list: 0-1 write 1 1@1; 2-3 b.write 1 1@2; 4-5 read 1@1@2 #l; 4-5 b.read 1@2@2 #l
    a list of the past: 0-9 write 1 1@1; 0-9 b.write 1 1@2; 0-9 read 1@1@1 #l; 0-9 b.read none@1 #l
    frames in order: 0-9 write 1 1@1 ~x; 0-9 write 2 2@2 ~x; 0-9 read 2@2 ~x
    a frame of Reads as of the revision on disk: 0-1 write 1 1@1; 2-9 b.write 2 2@2 ~x; 3-9 read 1@1@2 ~x; 4-9 read 1@1 ~x; 5-9 read 1@1@2 ~x
    a frame of Reads as of the revision on disk, of no key: 2-9 b.write 2 2@1; 3-9 read none@1 ~x; 4-9 read none@0 ~x; 5-9 create 3 3@2 ~x
    a frame of Reads as of the revision on disk, after a delete of nothing: 2-9 b.write 2 2@1; 3-9 delete none@1 ~x; 4-9 read none@0 ~x
    calls in any order: 0-9 write 1 1@2; 0-9 write 2 2@1
    moves: 0-1 m.write 1 1@1; 2-3 m.move 1 from:0@2; 4-5 m.read 1/1@2@2; 6-7 m.move 2 from:1@3; 8-9 m.delete 1/2@3@4
    a move refused: 0-1 m.write 1 1@1; 2-3 m.move 2 move:0; 4-5 m.delete notfinal:0; 6-7 m.read 1@1
    a move of nothing: 0-1 m.move 1 missing
    an unknown move: 0-1 m.write 1 1@1; 2- m.move 1 unknown; 4-5 m.move 2 from:1@5";

#[test]
fn histories_are_linearizable_or_not() {
    for (table, expected) in [(NOT_LINEARIZABLE, false), (LINEARIZABLE, true)] {
        for line in table.lines().skip(1) {
            let history = history(line.split_once(':').unwrap().1);
            assert_eq!(is_linearizable(&history), expected, "{line}");
        }
    }
}

/// Most of the violations show in the values alone.
#[test]
fn the_kind_says_whether_values_alone_are_wrong() {
    for line in NOT_LINEARIZABLE.lines().skip(1) {
        let (title, text) = line.trim().split_once(':').unwrap();
        let expected = match title {
            "a stale read"
            | "a lost update, by value"
            | "an Add done twice"
            | "an illegal move" => ViolationKind::Values,
            "a resurrected delete" | "a wrong sum" | "created twice" => ViolationKind::Values,
            "no room for an unknown one" | "a delete at the revision of the write" => {
                ViolationKind::KeyRevisions
            }
            "revisions that fall" | "two keys with one revision" | "a revision of another key" => {
                ViolationKind::Revisions
            }
            _ => continue,
        };
        let Verdict::NotLinearizable(violations) =
            report_of(&history(text), ValueSearch::OnViolation).verdict
        else {
            panic!("{title}");
        };
        let mut kinds = violations.iter().map(|it| it.kind);
        assert!(
            kinds.any(|kind| kind == expected),
            "{title}: {violations:?}"
        );
    }
}

/// A history with a watch of `a` and `b`, from revision 0. Its updates are "revision key value", "revision key gone", or
/// "revision ." for progress.
pub(super) fn watched(changes: &str, told: &str) -> History {
    let mut history = history(changes);
    let told = told.split(';').map(|text| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let revision = words[0].parse().unwrap();
        let told = match words[1..] {
            ["."] => WatchUpdate::Progress { revision },
            [key, value] => WatchUpdate::Event {
                key: u32::from(key.as_bytes()[0] - b'a'),
                revision,
                entry: value.parse().ok().map(|int| Entry {
                    value: Value::Int(int),
                    revision,
                    state: None,
                }),
            },
            _ => panic!("{text}"),
        };
        (50, told)
    });
    history.watches.push(Watch {
        keys: vec![0, 1],
        after: 0,
        updates: told.collect(),
    });
    history
}

/// The first event of a later revision says that the one before it will not come.
#[test]
fn a_watch_that_leaves_out_a_change_is_caught_by_its_next_event() {
    let history = watched(
        "0-1 write 1 1@1; 2-3 write 2 2@2; 4-5 write 3 3@3",
        "1 a 1; 3 a 3",
    );
    let report = report_of(&history, ValueSearch::OnViolation);
    let Verdict::NotLinearizable(violations) = report.verdict else {
        panic!("{report:?}");
    };
    let said = "watch 0: no event came of revision 2, and one came of revision 3";
    assert_eq!(violations[0].description, said);
    let again = report_of(&violations[0].evidence, ValueSearch::OnViolation);
    assert!(matches!(again.verdict, Verdict::NotLinearizable(_)));
}

#[test]
fn a_watch_is_told_every_change_once_and_in_order() {
    const CHANGES: &str = "0-1 write 1 1@1; 2-3 b.write 2 2@2; 4-5 delete 1@1@3; 6-7 c.write 9 9@4; 8- write 7 unknown;
        60-61 b.write 5 5@6";
    let table = [
        (true, "all", "1 a 1; 2 b 2; 3 a gone; 4 ."),
        (true, "in steps", "1 a 1; 1 .; 2 b 2; 2 .; 3 a gone; 3 ."),
        (true, "not yet", "1 a 1; 1 ."),
        (
            true,
            "an unknown one that was done",
            "1 a 1; 2 b 2; 3 a gone; 5 a 7; 5 .",
        ),
        (false, "one missing", "1 a 1; 3 a gone; 4 ."),
        (
            false,
            "one missing, and no progress after it",
            "1 a 1; 3 a gone",
        ),
        (true, "not yet, and no progress", "1 a 1; 2 b 2"),
        (false, "the last missing", "1 a 1; 2 b 2; 3 ."),
        (false, "one twice", "1 a 1; 2 b 2; 2 b 2; 3 a gone; 4 ."),
        (
            false,
            "one twice, later",
            "1 a 1; 1 .; 2 b 2; 1 a 1; 3 a gone; 4 .",
        ),
        (false, "out of order", "2 b 2; 1 a 1; 3 a gone; 4 ."),
        (false, "after its time", "1 a 1; 2 .; 2 b 2; 3 a gone; 4 ."),
        (false, "another value", "1 a 1; 2 b 3; 3 a gone; 4 ."),
        (
            false,
            "a delete that shows a value",
            "1 a 1; 2 b 2; 3 a 1; 4 .",
        ),
        (
            false,
            "of nothing that was asked for",
            "1 a 1; 2 b 2; 3 a gone; 5 b 8; 5 .",
        ),
        (
            false,
            "of a key that is not watched",
            "1 a 1; 2 b 2; 3 a gone; 4 c 9; 4 .",
        ),
        (
            false,
            "before it was asked for",
            "1 a 1; 2 b 2; 3 a gone; 6 b 5; 6 .",
        ),
        (
            false,
            "progress that goes back",
            "1 a 1; 2 b 2; 3 a gone; 4 .; 2 .",
        ),
    ];
    for (expected, title, told) in table {
        let history = watched(CHANGES, told);
        let report = report_of(&history, ValueSearch::OnViolation);
        assert_eq!(
            report.verdict == Verdict::Linearizable,
            expected,
            "{title}: {report:?}"
        );
        if let Verdict::NotLinearizable(violations) = report.verdict {
            assert!(
                violations.iter().all(|it| it.kind == ViolationKind::Watch),
                "{title}"
            );
            let again = report_of(&violations[0].evidence, ValueSearch::OnViolation);
            assert!(
                matches!(again.verdict, Verdict::NotLinearizable(_)),
                "{title}: {violations:?}"
            );
        }
    }
}

/// An operation of unknown outcome happened once at most, so it explains one event.
#[test]
fn a_watch_is_told_of_an_unknown_outcome_once() {
    let table = [
        (true, "one Add", "0- add 2 unknown", "1 a 2; 1 ."),
        (
            false,
            "one Add, twice",
            "0- add 2 unknown",
            "1 a 2; 2 a 4; 2 .",
        ),
        (
            true,
            "two Adds",
            "0- add 2 unknown; 0- add 2 unknown",
            "1 a 2; 2 a 4; 2 .",
        ),
        (
            false,
            "one Delete, twice",
            "0- write 1 unknown; 0- write 2 unknown; 0- delete unknown",
            "1 a 1; 2 a gone; 3 a 2; 4 a gone; 4 .",
        ),
        // The Write is spent on the first event, so that the Add is left for the second.
        (
            true,
            "a Write and an Add",
            "0- add 2 unknown; 0- write 5 unknown; 0- write 5 unknown #x; 0- b.write 1 unknown #x",
            "1 a 5; 2 a 7; 3 a 5; 3 b 1; 3 .",
        ),
        (
            false,
            "a Write and an Add, and one more",
            "0- add 2 unknown; 0- write 5 unknown",
            "1 a 5; 2 a 7; 3 a 9; 3 .",
        ),
        (
            true,
            "two of one message",
            "0- write 5 unknown #x; 0- add 2 unknown #x",
            "1 a 7; 1 .",
        ),
        (false, "asked for later", "60- add 2 unknown", "1 a 2; 1 ."),
        (
            false,
            "of the revision of another key",
            "0- add 2 unknown; 0-1 b.write 1 1@1",
            "1 a 2; 1 b 1; 1 .",
        ),
        (
            true,
            "a key made by an Add of 0",
            "0-1 add 0 0@1",
            "1 a 0; 1 .",
        ),
        (
            true,
            "an Add of 0 that changed nothing",
            "0-1 write 3 3@1; 2-3 add 0 3@1",
            "1 a 3; 1 .",
        ),
    ];
    for (expected, title, changes, told) in table {
        let history = watched(changes, told);
        let report = report_of(&history, ValueSearch::OnViolation);
        assert_eq!(
            report.verdict == Verdict::Linearizable,
            expected,
            "{title}: {report:?}"
        );
        if let Verdict::NotLinearizable(violations) = report.verdict {
            assert_eq!(violations[0].kind, ViolationKind::Watch, "{title}");
            let again = report_of(&violations[0].evidence, ValueSearch::OnViolation);
            assert!(
                matches!(again.verdict, Verdict::NotLinearizable(_)),
                "{title}: {violations:?}"
            );
        }
    }
}

/// A watch that shows half of a batch of unknown outcome proves that it was done; then the other half must be there.
#[test]
fn a_watch_is_evidence_of_unknown_outcomes() {
    let text = "0- write 1 unknown #x; 0- b.write 2 unknown #x; 90-91 b.read none@3";
    let history = watched(text, "1 a 1");
    let report = report_of(&history, ValueSearch::OnViolation);
    assert!(
        matches!(report.verdict, Verdict::NotLinearizable(_)),
        "{report:?}"
    );
    assert_eq!((report.unknown, report.unknown_observed), (2, 2));
}

#[test]
fn a_key_nobody_looked_at_is_checked_from_its_first_answer() {
    for (expected, text) in [
        (true, "0-1 read 5@3@4; 2-3 add 1 6@5"),
        (true, "0-1 add 1 6@5; 2-3 read 6@5"),
        (true, "0-1 delete 7@2@3; 2-3 read none@3"),
        (false, "0-1 read 5@3@4; 2-3 add 1 9@5"),
        (false, "0-1 write 3 3@4; 2-3 read 5@3"),
    ] {
        let mut history = history(text);
        history.keys.iter_mut().for_each(|key| key.initial = None);
        assert_eq!(is_linearizable(&history), expected, "{text}");
    }
}

#[test]
fn text_and_bytes_are_not_the_same_value() {
    assert_ne!(Value::text("x"), Value::bytes(b"x"));
    assert_eq!(Value::text("x"), Value::text("x"));
}
