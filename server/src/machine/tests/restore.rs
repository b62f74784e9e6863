//! Copies and effects of a state must make the same state again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{Action, limits, program};
use super::programs::{Planned, Run, cases};
use super::*;
use crate::machine::{CopyHead, CopyId, CopySlice, Effect};
use crate::mutants::mutant;

/// Everything that must be the same after a restart, as text.
fn lasting(machine: &mut StateMachine, now: Time) -> String {
    while machine.request_ids.forget_due(now) {}
    let sessions: Vec<_> = machine.index.sessions.all().collect();
    let requests = machine.request_ids.remembered();
    let (applied, _) = machine.request_ids.copy(requests, usize::MAX, usize::MAX);
    format!(
        "{:?} {} {} {:?} {:?} {:?} {applied:?}",
        machine.entries,
        machine.revision,
        machine.key_bytes + machine.index.byte_len(),
        sessions,
        machine.index.sessions.ending(),
        machine.list_machines(None, usize::MAX).items,
    )
}

/// A copy that is being made, and the state that it must make.
struct Copying {
    id: CopyId,
    head: CopyHead,
    entries: Vec<(Key, Entry)>,
    requests: Vec<AppliedRequest>,
    /// The state when the copy began, as text.
    expected: String,
    began: Time,
    /// The effects since the copy began.
    since: Vec<Effect>,
}

impl Copying {
    fn begin(machine: &mut StateMachine, now: Time) -> Self {
        let expected = lasting(machine, now);
        let (id, head) = machine.begin_copy(usize::MAX);
        Self {
            id,
            head,
            entries: Vec::new(),
            requests: Vec::new(),
            expected,
            began: now,
            since: Vec::new(),
        }
    }

    /// Takes the next slice. Returns whether the copy is complete.
    fn next(&mut self, machine: &mut StateMachine, count: usize) -> bool {
        match machine.next_copy_slice(self.id, count, usize::MAX).unwrap() {
            CopySlice::Entries(entries) => self.entries.extend(entries),
            CopySlice::Requests(requests) => self.requests.extend(requests),
            CopySlice::End => return true,
        }
        false
    }

    fn restored(&self) -> StateMachine {
        let mut machine = StateMachine::new(limits());
        machine.restore_revision(self.head.revision);
        for of in self.head.machines.clone() {
            machine.restore_machine(of).unwrap();
        }
        for session in self.head.sessions.clone() {
            machine.restore_session(session).unwrap();
        }
        for (key, entry) in self.entries.clone() {
            machine.restore_entry(key, entry).unwrap();
        }
        for request in self.requests.clone() {
            machine.restore_request(request);
        }
        machine
    }
}

fn comes_back_the_same(
    program: Vec<Action>,
    pulls: &[usize],
    slice: usize,
) -> Result<(), TestCaseError> {
    let mut machine = StateMachine::new(limits());
    machine.keep_effects();
    let mut run = Run::new();
    let mut copying: Option<Copying> = None;
    let mut complete = Vec::new();
    let mut all = Vec::new();
    for (action, pull) in program.into_iter().zip(pulls.iter().cycle()) {
        match run.next(action, &machine) {
            Planned::Nothing => {}
            Planned::Call(call) => drop(machine.call(call, run.now())),
            Planned::Advance => drop(machine.advance(run.now(), slice)),
        }
        let mut effects = Vec::new();
        machine.take_effects(&mut effects);
        if mutant("deletes-not-kept") {
            effects.retain(|effect| {
                !matches!(effect, Effect::Changed(change) if change.cause == ChangeCause::Deleted)
            });
        }
        all.extend(effects.iter().cloned());
        for copy in copying.iter_mut().chain(&mut complete) {
            copy.since.extend(effects.iter().cloned());
        }
        let mut copy = match copying.take() {
            Some(copy) => copy,
            None => Copying::begin(&mut machine, run.now()),
        };
        match *pull > 0 && copy.next(&mut machine, *pull) {
            true => complete.push(copy),
            false => copying = Some(copy),
        }
    }
    if let Some(mut copy) = copying {
        while !copy.next(&mut machine, 1) {}
        complete.push(copy);
    }
    let last = lasting(&mut machine, run.now());

    let mut again = StateMachine::new(limits());
    again.replay(all).unwrap();
    prop_assert_eq!(lasting(&mut again, run.now()), &*last);
    prop_assert_eq!(history(&again, 0), history(&machine, 0));
    again.assert_consistent_again(run.now());

    for copy in complete {
        let mut restored = copy.restored();
        // Requests may have been forgotten before they were copied.
        let as_it_was = lasting(&mut restored, copy.began);
        let (without_requests, _) = as_it_was.split_at(as_it_was.rfind("] [").unwrap());
        prop_assert!(
            copy.expected.starts_with(without_requests),
            "{} is not {}",
            as_it_was,
            copy.expected
        );
        restored.replay(copy.since).unwrap();
        prop_assert_eq!(lasting(&mut restored, run.now()), &*last);
        restored.assert_consistent_again(run.now());
    }
    Ok(())
}

impl StateMachine {
    /// Asserts that the state is consistent once it is in use again.
    fn assert_consistent_again(&mut self, now: Time) {
        self.resume(now, 0);
        self.assert_consistent();
    }
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn copies_and_effects_make_the_same_state(
        program in program(50),
        pulls in vec(0..4usize, 1..10),
        slice in 1..4usize,
    ) {
        comes_back_the_same(program, &pulls, slice)?;
    }
}

#[test]
fn a_copy_ends_when_too_much_has_to_be_preserved() {
    let mut machine = StateMachine::new(roomy());
    for key in ["a", "b", "c"] {
        machine
            .call(write(key, text("0123456789")).into(), at_ms(0))
            .unwrap();
    }
    let (id, _) = machine.begin_copy(300);
    for key in ["b", "c", "d", "e"] {
        machine.call(write(key, int(1)).into(), at_ms(1)).unwrap();
    }
    let error = machine.next_copy_slice(id, 1, 1).unwrap_err();
    assert_eq!(error.limit, 300);
    assert!(machine.history.followers_mut().copies.is_empty());
}

#[test]
fn a_copy_that_has_ended_is_no_other_copy() {
    let mut machine = StateMachine::new(roomy());
    let (first, _) = machine.begin_copy(ALL);
    while machine.next_copy_slice(first, ALL, ALL).unwrap() != CopySlice::End {}
    let (second, _) = machine.begin_copy(ALL);
    assert_ne!(first, second);
    // The first copy is given up only now.
    machine.end_copy(first);
    assert!(machine.next_copy_slice(second, ALL, ALL).is_ok());
    assert!(machine.next_copy_slice(first, ALL, ALL).is_err());
}

#[test]
fn effects_that_cannot_have_happened_are_refused() {
    let key = Key::from("k");
    let changed = |revision, entry: Option<Entry>| {
        Effect::Changed(Change {
            key: key.clone(),
            revision,
            cause: ChangeCause::Written,
            entry,
            previous: None,
            keeps: Keeps::Previous,
        })
    };
    let there = |revision| changed(revision, Some(entry(int(1), revision, 1)));
    let in_state = entry(int(1), 1, 1).in_state("idle", 0, None);
    for (effects, says) in [
        (vec![there(2), there(1)], "revision 1 comes after 2"),
        (
            vec![changed(2, Some(entry(int(1), 1, 1)))],
            "has revision 1, but its change has 2",
        ),
        (vec![changed(1, Some(in_state))], "which does not exist"),
        (
            vec![Effect::SessionEnded {
                id: "s".into(),
                revision: 1,
            }],
            "but it is not live",
        ),
        (
            vec![Effect::MachineDeleted {
                name: "m".into(),
                revision: 1,
            }],
            "but it does not exist",
        ),
    ] {
        let mut machine = StateMachine::new(roomy());
        let error = machine.replay(effects).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} lacks {says:?}");
    }
    let mut machine = StateMachine::new(roomy());
    machine.restore_revision(5);
    machine
        .restore_entry(key.clone(), entry(int(1), 5, 1))
        .unwrap();
    for (key, of, says) in [
        ("k", entry(int(1), 5, 1), "out of order"),
        ("l", entry(int(1), 6, 1), "but the store is at 5"),
    ] {
        let error = machine
            .restore_entry(key.into(), of)
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error:?} lacks {says:?}");
    }
}
