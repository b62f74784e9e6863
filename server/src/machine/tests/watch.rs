//! What watches are sent.

use super::*;

use WatchFrom::{After, Initial, Now};
use WatchShows::{After as Plain, BeforeAndAfter};

fn prefix(prefix: &str) -> WatchTarget {
    WatchTarget::Prefix(prefix.into())
}

fn line(key: &Key, entry: Option<&Entry>) -> String {
    let value = match entry.map(|entry| &entry.value) {
        None => "-".into(),
        Some(Value::Int(int)) => int.to_string(),
        Some(other) => format!("{}b", other.byte_len()),
    };
    format!("{key}={value}")
}

/// The next batch in one line: its kind, the events, the revision, and whether it has caught up or has more.
fn next(machine: &StateMachine, watch: &mut Watch, bytes_max: usize) -> String {
    let batch = match machine.next_batch(watch, bytes_max, Revision::MAX) {
        Ok(batch) => batch,
        Err(lost) => return format!("{lost:?}"),
    };
    let events: Vec<_> = match &batch.updates {
        Updates::Initial(entries) => {
            let lines = entries.iter().map(|(key, entry)| line(key, Some(entry)));
            std::iter::once("initial".to_owned()).chain(lines).collect()
        }
        Updates::Changes(changes) => changes
            .iter()
            .map(|change| {
                let after = line(&change.key, change.entry.as_ref());
                match &change.previous {
                    Some(previous) => format!(
                        "{after}<{}",
                        line(&change.key, Some(previous)).split_once('=').unwrap().1
                    ),
                    None => after,
                }
            })
            .collect(),
    };
    let caught_up = if batch.caught_up { " caught up" } else { "" };
    let more = if batch.has_more == HasMore::Yes {
        " more"
    } else {
        ""
    };
    format!("[{}] {}{caught_up}{more}", events.join(" "), batch.revision)
}

fn machine_with<const N: usize>(calls: [Call; N]) -> StateMachine {
    let mut machine = StateMachine::new(roomy());
    prepare(&mut machine, 0, calls);
    machine
}

#[test]
fn a_watch_begins_where_it_is_asked_to() {
    let mut machine = machine_with([
        write("a", int(1)).into(),
        write("b", int(2)).into(),
        delete("a").into(),
    ]);
    let begin = |from| machine.watch(prefix(""), from, Plain).unwrap();
    let mut watches = [
        begin(Now),
        begin(After(0)),
        begin(After(2)),
        begin(After(3)),
        begin(Initial),
    ];
    let revisions = watches.each_ref().map(Watch::revision);
    assert_eq!(revisions, [Some(3), Some(0), Some(2), Some(3), None]);
    let mut expect = |machine: &StateMachine, lines: [&str; 5]| {
        for (watch, line) in watches.iter_mut().zip(lines) {
            assert_eq!(next(machine, watch, ALL), line);
        }
    };
    expect(
        &machine,
        [
            "[] 3",
            "[a=1 b=2 a=-] 3 caught up",
            "[a=-] 3 caught up",
            "[] 3 caught up",
            "[initial b=2] 0 more",
        ],
    );
    prepare(&mut machine, 0, [write("b", int(3)).into()]);
    expect(
        &machine,
        [
            "[b=3] 4",
            "[b=3] 4",
            "[b=3] 4",
            "[b=3] 4",
            "[initial] 3 caught up more",
        ],
    );
    expect(&machine, ["[] 4", "[] 4", "[] 4", "[] 4", "[b=3] 4"]);
    let unknown = machine.watch(prefix(""), After(5), Plain).unwrap_err();
    assert_eq!(
        unknown,
        WatchError::Unknown {
            limit: 4,
            actual: 5
        }
    );
}

#[test]
fn a_watch_sees_its_own_keys() {
    let machine = machine_with([
        write("a", int(1)).into(),
        write("a/1", int(2)).into(),
        write("a/2", int(3)).into(),
        write("b", int(4)).into(),
    ]);
    for (target, changes, entries) in [
        (
            prefix(""),
            "[a=1 a/1=2 a/2=3 b=4]",
            "[initial a=1 a/1=2 a/2=3 b=4]",
        ),
        (
            prefix("a"),
            "[a=1 a/1=2 a/2=3]",
            "[initial a=1 a/1=2 a/2=3]",
        ),
        (prefix("a/"), "[a/1=2 a/2=3]", "[initial a/1=2 a/2=3]"),
        (WatchTarget::Key("a".into()), "[a=1]", "[initial a=1]"),
        (WatchTarget::Key("a/2".into()), "[a/2=3]", "[initial a/2=3]"),
    ] {
        let mut past = machine.watch(target.clone(), After(0), Plain).unwrap();
        assert_eq!(past.target(), &target);
        assert_eq!(
            next(&machine, &mut past, ALL),
            format!("{changes} 4 caught up")
        );
        let mut initial = machine.watch(target, Initial, Plain).unwrap();
        assert_eq!(
            next(&machine, &mut initial, ALL),
            format!("{entries} 0 more")
        );
    }
    // There may be no entry.
    let mut nothing = machine.watch(prefix("z"), Initial, Plain).unwrap();
    assert_eq!(
        next(&machine, &mut nothing, ALL),
        "[initial] 4 caught up more"
    );
    assert_eq!(next(&machine, &mut nothing, ALL), "[] 4");
}

#[test]
fn a_revision_is_sent_as_a_whole() {
    let machine = machine_with([
        all([write("a", int(1)), write("b", int(1)), write("c", int(1))]),
        write("a", int(2)).into(),
        all([write("a", int(3)), write("b", int(3))]),
        write("z", int(1)).into(),
    ]);
    for (bytes_max, expected) in [
        (
            0,
            vec![
                "[a=1 b=1 c=1] 1 more",
                "[a=2] 2 more",
                "[a=3 b=3] 3 more",
                "[z=1] 4 caught up",
            ],
        ),
        (
            600,
            vec!["[a=1 b=1 c=1 a=2] 2 more", "[a=3 b=3 z=1] 4 caught up"],
        ),
        (ALL, vec!["[a=1 b=1 c=1 a=2 a=3 b=3 z=1] 4 caught up"]),
    ] {
        let mut watch = machine.watch(prefix(""), After(0), Plain).unwrap();
        for line in expected {
            assert_eq!(next(&machine, &mut watch, bytes_max), line, "{bytes_max}");
        }
        assert_eq!(next(&machine, &mut watch, bytes_max), "[] 4", "{bytes_max}");
    }
}

#[test]
fn the_initial_state_is_as_of_one_revision() {
    let mut machine = machine_with([
        write("a", int(1)).into(),
        write("b", int(1)).into(),
        write("d", int(1)).into(),
        write("e", int(1)).into(),
        write("g", int(1)).into(),
    ]);
    let mut watch = machine.watch(prefix(""), Initial, Plain).unwrap();
    assert_eq!(next(&machine, &mut watch, 0), "[initial a=1] 0 more");
    prepare(
        &mut machine,
        0,
        [
            // In this order: sent already; changed twice; deleted; deleted and created again; new; new and deleted.
            write("a", int(2)).into(),
            write("b", int(2)).into(),
            write("b", int(3)).into(),
            delete("d").into(),
            all([delete("e"), write("e", int(2))]),
            write("c", int(2)).into(),
            all([write("f", int(2)), delete("f")]),
        ],
    );
    assert_eq!(next(&machine, &mut watch, 0), "[initial b=1] 0 more");
    prepare(
        &mut machine,
        0,
        [write("d", int(4)).into(), write("h", int(1)).into()],
    );
    assert_eq!(next(&machine, &mut watch, 0), "[initial d=1] 0 more");
    prepare(&mut machine, 0, [delete("g").into()]);
    assert_eq!(next(&machine, &mut watch, 0), "[initial e=1] 0 more");
    assert_eq!(next(&machine, &mut watch, 0), "[initial g=1] 0 more");
    assert_eq!(next(&machine, &mut watch, 0), "[initial] 5 caught up more");
    let after = "[a=2 b=2 b=3 d=- e=2 c=2 f=- d=4 h=1 g=-] 15";
    assert_eq!(next(&machine, &mut watch, ALL), after);
}

#[test]
fn a_batch_of_the_initial_state_is_bounded() {
    let mut machine = StateMachine::new(roomy());
    for index in 0..2_500 {
        prepare(
            &mut machine,
            0,
            [write(&format!("{index:04}"), int(1)).into()],
        );
    }
    let sizes = |bytes_max| {
        let mut watch = machine.watch(prefix(""), Initial, Plain).unwrap();
        let mut sizes = Vec::new();
        while watch.revision().is_none() {
            let batch = machine
                .next_batch(&mut watch, bytes_max, Revision::MAX)
                .unwrap();
            let Updates::Initial(entries) = batch.updates else {
                panic!("the initial state is sent first");
            };
            sizes.push(entries.len());
        }
        sizes
    };
    assert_eq!(sizes(ALL), [1_000, 1_000, 500, 0]);
    // An event takes 64 bytes, its key 4 and its value 8.
    assert_eq!(sizes(76 * 900), [900, 900, 700, 0]);
    assert_eq!(sizes(0).len(), 2_501);
}

#[test]
fn a_long_history_is_looked_through_piece_by_piece() {
    let mut machine = StateMachine::new(roomy());
    for index in 0..10_000 {
        prepare(&mut machine, 0, [write("a", int(index)).into()]);
    }
    prepare(&mut machine, 0, [write("b", int(1)).into()]);
    let mut watch = machine.watch(prefix("b"), After(0), Plain).unwrap();
    let mut lines = Vec::new();
    while lines
        .last()
        .is_none_or(|line: &String| line.ends_with("more"))
    {
        lines.push(next(&machine, &mut watch, ALL));
    }
    let (last, before) = lines.split_last().unwrap();
    assert_eq!(last, "[b=1] 10001 caught up");
    assert!(before.len() >= 2, "{before:?}");
    assert!(
        before.iter().all(|line| line.starts_with("[] ")),
        "{before:?}"
    );
}

#[test]
fn the_entry_before_is_shown_if_asked_for() {
    let machine = machine_with([
        write("a", int(1)).into(),
        write("a", int(2)).into(),
        all([write("a", int(3)), write("a", int(4))]),
        delete("a").into(),
        all([write("a", int(5)), delete("a")]),
    ]);
    for (shows, expected) in [
        (Plain, "[a=1 a=2 a=4 a=- a=-] 5 caught up"),
        (BeforeAndAfter, "[a=1 a=2<1 a=4<2 a=-<4 a=-] 5 caught up"),
    ] {
        let mut watch = machine.watch(prefix(""), After(0), shows).unwrap();
        assert_eq!(next(&machine, &mut watch, ALL), expected);
    }
}

#[test]
fn entries_before_are_left_out_of_a_message_that_would_be_too_large() {
    let million = || text(&"x".repeat(1_000_000));
    let machine = machine_with([
        all([write("a", million()), write("b", million())]),
        all([write("a", int(1)), write("b", int(1))]),
        all([write("a", million()), write("b", million())]),
        all([write("a", million()), write("b", million())]),
        write("c", int(1)).into(),
        write("c", int(2)).into(),
    ]);
    let mut watch = machine.watch(prefix(""), After(0), BeforeAndAfter).unwrap();
    for line in [
        "[a=1000000b b=1000000b] 1 more",
        "[a=1<1000000b b=1<1000000b] 2 more",
        "[a=1000000b<1 b=1000000b<1] 3 more",
        "[a=1000000b b=1000000b] 4 more",
        "[c=1 c=2<1] 6 caught up",
    ] {
        assert_eq!(next(&machine, &mut watch, 1_000_000), line);
    }
}

#[test]
fn a_sleeping_watch_is_moved_on_where_it_missed_nothing() {
    let limits = StoreLimits {
        ring_changes: 20,
        ..roomy()
    };
    let mut machine = StateMachine::new(limits);
    let mut watch = machine.watch(prefix("b"), Now, Plain).unwrap();
    let mut other = watch.clone();
    for index in 0..100 {
        prepare(&mut machine, 0, [write("a", int(index)).into()]);
    }
    let oldest = machine.usage().oldest_revision;
    assert!(oldest > 0);
    watch.skip_to(100);
    assert_eq!(watch.revision(), Some(100));
    // A watch is not moved backwards.
    watch.skip_to(50);
    assert_eq!(watch.revision(), Some(100));
    prepare(&mut machine, 0, [write("b", int(1)).into()]);
    assert_eq!(next(&machine, &mut watch, ALL), "[b=1] 101");
    let lost = machine.next_batch(&mut other, ALL, Revision::MAX);
    let oldest = machine.usage().oldest_revision;
    assert_eq!(lost, Err(WatchError::Compacted { oldest, actual: 0 }));
    // The initial state cannot be skipped.
    let mut initial = machine.watch(prefix("b"), Initial, Plain).unwrap();
    initial.skip_to(1_000);
    assert_eq!(next(&machine, &mut initial, ALL), "[initial b=1] 0 more");
}

#[test]
fn a_watch_is_refused_where_changes_are_evicted() {
    let limits = StoreLimits {
        ring_changes: 20,
        ..roomy()
    };
    let mut machine = StateMachine::new(limits);
    prepare(
        &mut machine,
        0,
        [write("b", int(1)).into(), write("c", int(1)).into()],
    );
    let mut behind = machine.watch(prefix(""), Now, Plain).unwrap();
    let mut initial = machine.watch(prefix(""), Initial, Plain).unwrap();
    let mut sent = machine.watch(prefix(""), Initial, Plain).unwrap();
    assert_eq!(next(&machine, &mut sent, 0), "[initial b=1] 0 more");
    // The watch has been sent the initial state, but not the changes after it.
    assert_eq!(next(&machine, &mut sent, ALL), "[initial c=1] 0 more");
    assert_eq!(next(&machine, &mut sent, ALL), "[initial] 2 caught up more");
    for index in 0..100 {
        prepare(&mut machine, 0, [write("a", int(index)).into()]);
    }
    let oldest = machine.usage().oldest_revision;
    assert!(history(&machine, oldest).len() <= 20);
    let compacted = |actual| format!("{:?}", WatchError::Compacted { oldest, actual });
    for (watch, actual) in [(&mut behind, 2), (&mut initial, 2), (&mut sent, 2)] {
        assert_eq!(next(&machine, watch, ALL), compacted(actual));
    }
    for (from, begins) in [
        (0, false),
        (oldest - 1, false),
        (oldest, true),
        (oldest + 1, true),
    ] {
        let watch = machine.watch(prefix(""), After(from), Plain);
        assert_eq!(watch.is_ok(), begins, "{from} of {oldest}");
        if let Err(lost) = watch {
            assert_eq!(format!("{lost:?}"), compacted(from));
        }
    }
    // However short the history is, the initial state can be sent.
    let mut anew = machine.watch(prefix("b"), Initial, Plain).unwrap();
    assert_eq!(next(&machine, &mut anew, ALL), "[initial b=1] 0 more");
}

#[test]
fn an_initial_watch_is_refused_where_entries_before_are_not_kept() {
    let large = |count| text(&"x".repeat(count));
    let limits = StoreLimits {
        ring_bytes: 10_000,
        ..roomy()
    };
    let mut machine = StateMachine::new(limits);
    prepare(
        &mut machine,
        0,
        [write("a", int(1)).into(), write("b", large(4_000)).into()],
    );
    let mut all_keys = machine.watch(prefix(""), Initial, Plain).unwrap();
    let mut sent = machine.watch(prefix("b"), Initial, Plain).unwrap();
    let mut other = machine.watch(prefix("a"), Initial, Plain).unwrap();
    assert_eq!(next(&machine, &mut all_keys, 0), "[initial a=1] 0 more");
    assert_eq!(next(&machine, &mut sent, 0), "[initial b=4000b] 0 more");
    // The entries before and after take more than half of the history.
    prepare(&mut machine, 0, [all([write("b", large(4_000))])]);
    let lost = |actual| {
        let oldest = machine.usage().revision;
        format!("{:?}", WatchError::Compacted { oldest, actual })
    };
    assert_eq!(next(&machine, &mut all_keys, 0), lost(2));
    assert_eq!(next(&machine, &mut other, 0), "[initial a=1] 0 more");
    assert_eq!(next(&machine, &mut sent, 0), "[initial] 2 caught up more");
    assert_eq!(next(&machine, &mut sent, 0), "[b=4000b] 3");
}

#[test]
fn sessions_and_machines_move_the_revision_only() {
    let m = protocol("m", "m/", &["idle:"]);
    let mut machine = machine_with([]);
    let mut watch = machine.watch(prefix(""), Now, BeforeAndAfter).unwrap();
    let calls = [
        define(m),
        open("s", 5, OnExisting::Refuse),
        close("s", 2),
        undefine("m"),
    ];
    for (call, line) in calls.into_iter().zip(["[] 1", "[] 2", "[] 3", "[] 4"]) {
        prepare(&mut machine, 0, [call]);
        assert_eq!(next(&machine, &mut watch, ALL), line);
    }
}

#[test]
fn events_show_states_and_their_timeouts() {
    let m = protocol("m", "m/", &["idle: (5 done)", "done:"]);
    let mut machine = machine_with([define(m), write("m/1", int(1)).into()]);
    machine.advance(at_ms(5), usize::MAX);
    let shown = |target: WatchTarget, from| {
        let mut watch = machine.watch(target, from, BeforeAndAfter).unwrap();
        machine
            .next_batch(&mut watch, ALL, Revision::MAX)
            .unwrap()
            .updates
    };
    let idle = entry(int(1), 2, 2).in_state("idle", 0, 5);
    let done = entry(int(1), 3, 2).in_state("done", 5, None);
    let change = |revision, cause, entry: &Entry, previous| Change {
        key: "m/1".into(),
        revision,
        cause,
        entry: Some(entry.clone()),
        previous,
        keeps: Keeps::Previous,
    };
    let expected = vec![
        change(2, ChangeCause::Written, &idle, None),
        change(3, ChangeCause::TimedOut, &done, Some(idle.clone())),
    ];
    assert_eq!(shown(prefix(""), After(0)), Updates::Changes(expected));
    assert_eq!(
        shown(prefix(""), Initial),
        Updates::Initial(vec![("m/1".into(), done)])
    );
}

#[test]
fn events_from_before_a_definition_show_no_time_of_it() {
    let before = protocol("m", "m/", &["idle: (5 done)", "done:"]);
    let after = protocol("m", "m/", &["idle: (50 done)", "done:"]);
    let mut machine = machine_with([define(before), write("m/1", int(1)).into()]);
    prepare(
        &mut machine,
        1,
        [define(after), write("m/1", int(2)).into()],
    );
    let mut watch = machine.watch(prefix(""), After(0), BeforeAndAfter).unwrap();
    let batch = machine.next_batch(&mut watch, ALL, Revision::MAX).unwrap();
    let Updates::Changes(changes) = batch.updates else {
        panic!("a key changed twice");
    };
    let timeouts = |entry: &Option<Entry>| {
        let key_state = entry.as_ref().unwrap().key_state().unwrap();
        key_state.timeout_at
    };
    assert_eq!(timeouts(&changes[0].entry), None);
    assert_eq!(timeouts(&changes[1].entry), Some(at_ms(50)));
    assert_eq!(timeouts(&changes[1].previous), Some(at_ms(50)));
}

#[test]
fn a_deleted_machine_is_no_event_but_gone_from_the_next_one() {
    let m = protocol("m", "m/", &["idle:"]);
    let mut machine = machine_with([define(m), write("m/1", int(1)).into()]);
    let mut watch = machine.watch(prefix(""), Now, BeforeAndAfter).unwrap();
    prepare(
        &mut machine,
        0,
        [undefine("m"), write("m/1", int(2)).into()],
    );
    let batch = machine.next_batch(&mut watch, ALL, Revision::MAX).unwrap();
    let Updates::Changes(changes) = batch.updates else {
        panic!("a key changed");
    };
    assert_eq!(changes[0].previous, Some(entry(int(1), 2, 2)));
    assert_eq!(changes[0].entry, Some(entry(int(2), 4, 2)));
    // Past events are shown with the states of that time.
    let mut watch = machine.watch(prefix(""), After(0), Plain).unwrap();
    assert_eq!(next(&machine, &mut watch, ALL), "[m/1=1 m/1=2] 4 caught up");
}
