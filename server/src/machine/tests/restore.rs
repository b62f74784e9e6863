//! What is kept of a state, in copies and as effects: it must make the same state again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{Deed, limits, program};
use super::programs::{Next, Run, cases};
use super::*;
use crate::machine::{CopyHead, CopyId, CopySlice, Effect};

/// Everything that must be as it was after a restart, as of a time.
fn lasting(machine: &mut StateMachine, now: Time) -> String {
    while machine.request_ids.forget_due(now) {}
    let sessions: Vec<_> = machine.index.sessions.all().collect();
    let requests = machine.request_ids.remembered();
    let (applied, _) = machine.request_ids.copy(requests, usize::MAX, usize::MAX);
    format!(
        "{:?} {} {} {:?} {:?} {:?} {applied:?}",
        machine.entries,
        machine.revision,
        machine.used_bytes,
        sessions,
        machine.index.sessions.ending(),
        machine.list_machines(None, usize::MAX).items,
    )
}

/// A copy that is being made, and what it must come to.
struct Copying {
    id: CopyId,
    head: CopyHead,
    entries: Vec<(Key, Entry)>,
    answered: Vec<AppliedRequest>,
    expected: String,
    began: Time,
    /// What has happened since it began.
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
            answered: Vec::new(),
            expected,
            began: now,
            since: Vec::new(),
        }
    }

    /// Takes a slice. Returns whether it is complete.
    fn next(&mut self, machine: &mut StateMachine, count: usize) -> bool {
        match machine.next_copy_slice(self.id, count, usize::MAX).unwrap() {
            CopySlice::Entries(entries) => self.entries.extend(entries),
            CopySlice::Requests(answered) => self.answered.extend(answered),
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
        for answered in self.answered.clone() {
            machine.restore_request(answered);
        }
        machine
    }
}

fn comes_back_the_same(
    program: Vec<Deed>,
    pulls: &[usize],
    slice: usize,
) -> Result<(), TestCaseError> {
    let mut machine = StateMachine::new(limits());
    machine.keep_effects();
    let mut run = Run::new();
    let mut copying: Option<Copying> = None;
    let mut complete = Vec::new();
    let mut all = Vec::new();
    for (deed, pull) in program.into_iter().zip(pulls.iter().cycle()) {
        match run.next(deed, &machine) {
            Next::Nothing => {}
            Next::Call(call) => drop(machine.call(call, run.now())),
            Next::Advance => drop(machine.advance(run.now(), slice)),
        }
        let mut effects = Vec::new();
        machine.take_effects(&mut effects);
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
        // Some may have been forgotten before they were copied.
        let as_it_was = lasting(&mut restored, copy.began);
        let (without_answers, _) = as_it_was.split_at(as_it_was.rfind("] [").unwrap());
        prop_assert!(
            copy.expected.starts_with(without_answers),
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
    /// Consistent once it goes on.
    fn assert_consistent_again(&mut self, now: Time) {
        self.resume(now, 0);
        self.assert_consistent();
    }
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn what_is_kept_makes_the_same_state(
        program in program(50),
        pulls in vec(0..4usize, 1..10),
        slice in 1..4usize,
    ) {
        comes_back_the_same(program, &pulls, slice)?;
    }
}

#[test]
fn too_much_change_ahead_ends_a_copy() {
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
    let lost = machine.next_copy_slice(id, 1, 1);
    assert_eq!(lost.unwrap_err().limit, 300);
    assert!(machine.history.followers_mut().copies.is_empty());
}

#[test]
fn a_copy_that_has_ended_is_no_other_copy() {
    let mut machine = StateMachine::new(roomy());
    let (first, _) = machine.begin_copy(ALL);
    while machine.next_copy_slice(first, ALL, ALL).unwrap() != CopySlice::End {}
    let (second, _) = machine.begin_copy(ALL);
    assert_ne!(first, second);
    // Whoever made the first lets go of it only now.
    machine.end_copy(first);
    assert!(machine.next_copy_slice(second, ALL, ALL).is_ok());
    assert!(machine.next_copy_slice(first, ALL, ALL).is_err());
}

#[test]
fn what_cannot_have_happened_is_refused() {
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
    let placed = entry(int(1), 1, 1).in_state("idle", 0, None);
    for (effects, says) in [
        (vec![there(2), there(1)], "revision 1 comes after 2"),
        (
            vec![changed(2, Some(entry(int(1), 1, 1)))],
            "has revision 1, but its change has 2",
        ),
        (vec![changed(1, Some(placed))], "which does not exist"),
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
        let unfit = machine.replay(effects).unwrap_err().to_string();
        assert!(unfit.contains(says), "{unfit:?} lacks {says:?}");
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
        let unfit = machine
            .restore_entry(key.into(), of)
            .unwrap_err()
            .to_string();
        assert!(unfit.contains(says), "{unfit:?} lacks {says:?}");
    }
}
