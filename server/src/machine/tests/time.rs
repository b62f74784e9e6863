//! The passing of time: what is due, and in which order.

use super::*;

/// Advances slice by slice. Returns how many slices it took.
fn advance_by(machine: &mut StateMachine, now: Time, keys_max: usize) -> usize {
    let mut slices = 0;
    while machine.next_due().is_some_and(|due| due <= now) {
        machine.advance(now, keys_max);
        machine.assert_consistent();
        slices += 1;
    }
    slices
}

fn machine_with<const N: usize>(calls: [(u64, Call); N]) -> StateMachine {
    let mut machine = StateMachine::new(roomy());
    for (at, call) in calls {
        machine.call(call, at_ms(at)).unwrap();
    }
    machine
}

#[test]
fn what_is_due_first_comes_first() {
    let prepared = || {
        machine_with([
            (
                0,
                define(protocol("m", "m/", &["idle: (12 done)", "done:"])),
            ),
            (0, open("s", 14, OnExisting::Refuse)),
            (0, open("t", 10, OnExisting::Refuse)),
            (1, write("m/late", int(1)).into()),
            (0, write("m/early", int(1)).into()),
            (
                0,
                write_with_lifetime("of/s", int(1), with_session("s", None)).into(),
            ),
            (
                0,
                write_with_lifetime("of/t", int(1), with_session("t", None)).into(),
            ),
            (0, write_with_lifetime("ttl/11", int(1), ttl(11)).into()),
            (0, write_with_lifetime("ttl/15", int(1), ttl(15)).into()),
        ])
    };
    let expected = [
        "10 SessionEnded of/t -<1",
        "11 Expired ttl/11 -<1",
        "12 TimedOut m/early 1<1",
        "13 TimedOut m/late 1<1",
        "14 SessionEnded of/s -<1",
        "15 Expired ttl/15 -<1",
    ];
    for keys_max in [usize::MAX, 1, 2, 3] {
        let mut machine = prepared();
        let mut each = prepared();
        advance_by(&mut machine, at_ms(20), keys_max);
        assert_eq!(changes(&machine, 9), expected, "by {keys_max}");
        for now in 0..20 {
            assert_eq!(
                each.next_due().is_some_and(|due| due <= at_ms(now)),
                (10..16).contains(&now)
            );
            each.advance(at_ms(now), keys_max);
            each.advance(at_ms(now), keys_max);
        }
        assert_eq!(changes(&each, 9), expected, "by {keys_max}");
    }
}

#[test]
fn of_what_is_due_together_sessions_go_before_ttls_and_these_before_timeouts() {
    let mut machine = machine_with([
        (0, define(protocol("m", "m/", &["idle: (5 done)", "done:"]))),
        (0, open("s", 5, OnExisting::Refuse)),
        (0, write("m/1", int(1)).into()),
        (0, write_with_lifetime("m/2", int(1), ttl(5)).into()),
        (
            0,
            write_with_lifetime("m/3", int(1), with_session("s", None)).into(),
        ),
        (0, write_with_lifetime("a", int(1), ttl(5)).into()),
        (
            0,
            write_with_lifetime("b", int(1), with_session("s", None)).into(),
        ),
    ]);
    machine.advance(at_ms(5), usize::MAX);
    let expected = [
        "8 SessionEnded b -<1",
        "8 SessionEnded m/3 -<1",
        "9 Expired a -<1",
        "10 Expired m/2 -<1",
        // Each key has one event only.
        "11 TimedOut m/1 1<1",
    ];
    assert_eq!(changes(&machine, 7), expected);
}

#[test]
fn many_keys_end_in_slices() {
    const COUNT: usize = 1_000;
    let mut machine = StateMachine::new(roomy());
    for index in 0..COUNT {
        // The key that is written last ends first.
        let ends = 2_000 - index as u64;
        prepare(
            &mut machine,
            0,
            [write_with_lifetime(&format!("{index:04}"), int(1), ttl(ends)).into()],
        );
    }
    let now = at_ms(2_000);
    for done in 1..=10 {
        machine.advance(now, 100);
        assert_eq!(machine.usage().key_count, COUNT - done * 100);
        let first = machine.entries.all().into_keys().next();
        let first = first.as_ref().map(Key::as_str);
        assert_eq!(first, (done < 10).then_some("0000"));
        assert_eq!(machine.next_due().is_some(), done < 10);
    }
    let order: Vec<_> = history(&machine, COUNT as i64)
        .into_iter()
        .map(|change| change.key)
        .collect();
    assert!(order.is_sorted_by(|a, b| a > b), "by when they were due");
    assert_eq!(order.len(), COUNT);
}

#[test]
fn sessions_and_requests_count_towards_a_slice() {
    let mut machine = StateMachine::new(StoreLimits {
        request_id_window: ms(5),
        ..roomy()
    });
    for index in 0..20 {
        let call = open(&format!("s{index}"), 5, OnExisting::Refuse);
        prepare(&mut machine, 0, [call.with_id(&format!("r{index}"), 1)]);
    }
    let mut left = Vec::new();
    while machine.next_due().is_some() {
        machine.advance(at_ms(5), 8);
        let usage = machine.usage();
        left.push((usage.session_count, usage.request_id_count));
    }
    assert_eq!(left, [(12, 20), (4, 20), (0, 16), (0, 8), (0, 0)]);
}

#[test]
fn nothing_is_due_in_an_empty_state() {
    let mut machine = StateMachine::new(roomy());
    machine.advance(at_ms(1_000_000), usize::MAX);
    assert_eq!(machine.next_due(), None);
    assert_eq!(machine.usage().revision, 0);
}

#[test]
fn timeouts_that_lead_in_a_circle_wait_for_time_to_go_on() {
    let mut machine = machine_with([
        (
            0,
            define(protocol("m", "m/", &["tick: (1 tock)", "tock: (1 tick)"])),
        ),
        (0, write("m/1", int(1)).into()),
    ]);
    // However late a timeout fires, the next one counts from then: that is when the key enters the next state.
    machine.advance(at_ms(50), usize::MAX);
    assert_eq!(changes(&machine, 2), ["3 TimedOut m/1 1<1"]);
    assert_eq!(machine.next_due(), Some(at_ms(51)));
    machine.advance(at_ms(51), usize::MAX);
    let tick = entry(int(1), 4, 2).in_state("tick", 51, 52);
    take(&mut machine, [at(51, read("m/1"), shows(tick, 4))]);
}
