//! Rare cases that were wrong once: memory that nobody counted, and messages too large for clients.

use std::collections::BTreeSet;

use super::*;

/// A machine with many long state names, each state leading to all others.
fn wide(i: usize) -> Machine {
    let states: Vec<Name> = (0..256).map(|s| Name::from(format!("{s:0128}"))).collect();
    let of = |_: &Name| State {
        next: states.iter().cloned().collect::<BTreeSet<_>>(),
        timeout: None,
    };
    Machine {
        name: Name::from(format!("m{i:04}")),
        key_prefix: Key::from(format!("p{i:04}/")),
        initial: states[0].clone(),
        states: states
            .iter()
            .map(|s| (s.clone(), of(s)))
            .collect::<BTreeMap<_, _>>(),
        revision: 0,
    }
}

#[test]
fn a_page_of_machines_is_bounded_by_bytes() {
    let mut machine = StateMachine::new(roomy());
    for i in 0..8 {
        // With 100 next states each instead of 256, a machine is under 4 MiB as a message.
        let mut m = wide(i);
        for state in m.states.values_mut() {
            state.next = state.next.iter().take(100).cloned().collect();
        }
        let last: Vec<Name> = m.states.keys().cloned().collect();
        let first = m.initial.clone();
        m.states.get_mut(first.as_str()).unwrap().next = last.into_iter().collect();
        assert!(m.byte_len() < 4 << 20, "{}", m.byte_len());
        prepare(&mut machine, 0, [define(m)]);
    }
    let page = machine.list_machines(None, 1000);
    let bytes: usize = page.items.iter().map(Machine::byte_len).sum();
    assert!(
        bytes <= 4 << 20,
        "a page of {} machines has {bytes} bytes",
        page.items.len()
    );
}

#[test]
fn refused_transitions_keep_as_many_names_as_are_shown() {
    let mut machine = StateMachine::new(roomy());
    let mut m = wide(0);
    m.states.insert("z".into(), State::default());
    // Only the last state leads to "z", so the initial one does not.
    let last = m.states.keys().nth(255).unwrap().clone();
    m.states
        .get_mut(last.as_str())
        .unwrap()
        .next
        .insert("z".into());
    prepare(
        &mut machine,
        0,
        [define(m), write("p0000/a", int(1)).into()],
    );
    let operations = (0..1024).map(|_| transition("p0000/a", "z")).collect();
    let answer = machine.apply_each(operations, &[], 0, at_ms(0));
    let held: usize = answer
        .results
        .iter()
        .map(|result| match &result.as_ref().unwrap_err().cause {
            Cause::TransitionRefused(refused) => refused
                .allowed
                .iter()
                .map(|name| size_of::<Name>() + name.as_str().len())
                .sum::<usize>(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert!(
        held <= 2 << 20,
        "answer_bytes {}, but it holds {held}",
        answer.answer_bytes
    );
}

#[test]
fn a_refused_expectation_does_not_keep_a_value_alive_uncounted() {
    let mut machine = StateMachine::new(roomy());
    let mut answers = Vec::new();
    let mut weak = Vec::new();
    for i in 0..100 {
        let large: Arc<str> = "x".repeat(1 << 20).into();
        weak.push(Arc::downgrade(&large));
        prepare(&mut machine, 0, [write("k", Value::Text(large)).into()]);
        let read = read_if("k", Condition::Revision(i + 1_000));
        // The answer may hold no value.
        let answer = machine.apply_each(vec![read], &[], 0, at_ms(0));
        assert_eq!(answer.answer_bytes, 0);
        answers.push(answer);
    }
    // Without the state, only the answers can hold values.
    drop(machine);
    let kept = weak.iter().filter(|weak| weak.strong_count() > 0).count();
    assert!(kept <= 1, "{kept} MiB held by answers that count 0 bytes");
}

fn put(machine: &mut StateMachine, i: usize, c: &str) {
    let write = write(&format!("k{i:06}"), text(&c.repeat(200)));
    prepare(machine, 0, [write.into()]);
}

/// A slow client takes one small message for every 50 changes.
#[test]
fn the_entries_that_an_initial_watch_preserves_are_bounded() {
    let mut limits = roomy();
    limits.ring_changes = 1_000;
    limits.ring_bytes = 1_000_000;
    let mut machine = StateMachine::new(limits);
    for i in 0..20_000 {
        put(&mut machine, i, "a");
    }
    let mut watch = machine
        .watch(
            WatchTarget::Prefix(String::new()),
            WatchFrom::Initial,
            WatchShows::After,
        )
        .unwrap();
    let as_of = machine.usage().revision;
    for i in (0..20_000).rev() {
        put(&mut machine, i, "b");
        if i % 50 == 0 && machine.next_batch(&mut watch, 1, Revision::MAX).is_err() {
            // The watch is refused, as any that is too slow.
            return;
        }
    }
    let kept = format!("{watch:?}").matches("bbbb").count()
        + format!("{watch:?}").matches("Some(Entry").count();
    let oldest = machine.usage().oldest_revision;
    // The watch cannot go on after as_of, as those changes are evicted, but it was not refused. See how much it still sends.
    let mut messages = 0;
    let end = loop {
        match machine.next_batch(&mut watch, 1 << 20, Revision::MAX) {
            Ok(batch) => {
                messages += 1;
                assert!(batch.has_more == HasMore::Yes);
            }
            Err(error) => break error,
        }
    };
    panic!(
        "the history has 1000 changes, the watch preserved {kept} old entries; as of {as_of}, oldest {oldest}; after {messages} more messages: {end:?}"
    );
}

#[test]
fn a_replay_is_never_refused_as_if_nothing_was_applied() {
    let mut machine = StateMachine::new(roomy());
    let write = |v: &str| replace("k", text(v));
    machine.apply_each(vec![write(&"x".repeat(100))], &[], ALL, at_ms(0));
    let request_id = request_id("r", 1);
    let first = machine.apply_all(vec![write("new")], Some(&request_id), 1_000, at_ms(0));
    assert!(first.is_ok());
    // The retry comes while the connection has much left unread: its answer may hold 10 bytes.
    let again = machine.apply_all(vec![write("new")], Some(&request_id), 10, at_ms(0));
    assert!(again.is_ok(), "{again:?}");
}
