//! Random programs: the state machine must do as the model does.

use proptest::prelude::*;

use super::generate::{Action, PRESENT, fingerprinted, limits, list, program};
use super::model::Model;
use super::*;

/// The state of a running program: its time, and the calls that it has made.
#[derive(Debug)]
pub(super) struct Run {
    now: u64,
    calls: Vec<Call>,
}

/// What to do for the next action of a program.
#[derive(Debug)]
pub(super) enum Planned {
    Call(Call),
    Advance,
    Nothing,
}

impl Run {
    pub(super) fn new() -> Self {
        Self {
            now: 10,
            calls: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Time {
        at_ms(self.now)
    }

    pub(super) fn next(&mut self, action: Action, machine: &StateMachine) -> Planned {
        match action {
            Action::Call(mut call) => {
                insert_present(&mut call, machine);
                let call = fingerprinted(call);
                self.calls.push(call.clone());
                Planned::Call(call)
            }
            Action::Again(before) => match self.calls.iter().nth_back(before - 1) {
                Some(call) => Planned::Call(call.clone()),
                None => Planned::Nothing,
            },
            Action::Pass(span) => {
                self.now += span;
                Planned::Nothing
            }
            Action::Advance => Planned::Advance,
        }
    }
}

/// Fills in present revisions where a call asks for them by [`PRESENT`].
fn insert_present(call: &mut Call, machine: &StateMachine) {
    let operation = |operation: &mut Operation| insert_in_operation(operation, machine);
    match call {
        Call::One(one, _) => operation(one),
        Call::Each(operations, _) => {
            for (each, _) in operations {
                operation(each);
            }
        }
        Call::All(operations, ..) => operations.iter_mut().for_each(operation),
        Call::Renew(life) | Call::Close(life, _) => {
            insert_life(&life.id, &mut life.create_revision, machine);
        }
        Call::Define(DefineMachine {
            machine: Machine { name, .. },
            expect: Some(Condition::Revision(revision)),
            ..
        }) if *revision == PRESENT => {
            *revision = machine
                .get_machine(name)
                .map_or(0, |machine| machine.revision);
        }
        Call::Open(..) | Call::Define(_) | Call::Undefine(_) | Call::DeletePrefix(..) => {}
    }
}

fn insert_in_operation(operation: &mut Operation, machine: &StateMachine) {
    let (key, condition, lifetime) = match operation {
        Operation::Read(Read { key, expect }) | Operation::Delete(Delete { key, expect }) => {
            (key, expect.as_deref_mut(), None)
        }
        Operation::Write(Write { key, options, .. }) => match options {
            Some(options) => (key, options.expect.as_mut(), Some(&mut options.lifetime)),
            None => return,
        },
        Operation::Add(Add { key, options, .. }) => match options {
            Some(options) => (key, options.expect.as_mut(), Some(&mut options.lifetime)),
            None => return,
        },
        Operation::Transition(Transition { key, options, .. }) => match options {
            Some(options) => (key, options.expect.as_mut(), None),
            None => return,
        },
    };
    if let Some(SetLifetime::Session {
        id,
        create_revision: Some(create_revision),
    }) = lifetime
    {
        insert_life(id, create_revision, machine);
    }
    let entry = machine.entries.get(key.as_str());
    let entry = entry.map(|entry| entry.to_entry());
    match condition {
        Some(Condition::Revision(revision)) if *revision == PRESENT => {
            *revision = entry.map_or(0, |entry| entry.revision);
        }
        Some(Condition::CreateRevision(revision)) if *revision == PRESENT => {
            *revision = entry.map_or(0, |entry| entry.create_revision);
        }
        _ => {}
    }
}

fn insert_life(id: &Name, life: &mut Revision, machine: &StateMachine) {
    if *life == PRESENT {
        let sessions = machine.list_sessions(None, usize::MAX).items;
        let live = sessions.iter().find(|session| session.id == *id);
        *life = live.map_or(1, |session| session.create_revision);
    }
}

pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Asserts that the state machine and the model hold the same.
fn assert_same(machine: &StateMachine, model: &Model) -> Result<(), TestCaseError> {
    machine.assert_consistent();
    prop_assert_eq!(machine.usage(), model.usage(0));
    prop_assert_eq!(machine.next_due(), model.next_due());
    let entries: Vec<_> = machine.entries.all().into_iter().collect();
    prop_assert_eq!(entries, model.sorted_entries());
    let sessions = machine.list_sessions(None, usize::MAX).items;
    prop_assert_eq!(sessions, model.sessions());
    let machines = machine.list_machines(None, usize::MAX).items;
    prop_assert_eq!(machines, model.machines());
    Ok(())
}

/// Asserts that both tell the same history, from the very first change.
fn assert_same_history(machine: &StateMachine, model: &Model) -> Result<(), TestCaseError> {
    let events = model.events.iter().map(|event| Change {
        key: event.key.clone(),
        revision: event.revision,
        cause: event.cause,
        entry: event.entry.clone(),
        previous: event.previous.clone(),
        keeps: Keeps::Previous,
    });
    prop_assert_eq!(history(machine, 0), events.collect::<Vec<_>>());
    Ok(())
}

fn does_as_the_model(program: Vec<Action>, list: &List, slice: usize) -> Result<(), TestCaseError> {
    let mut machine = StateMachine::new(limits());
    let mut model = Model::new(limits());
    let mut run = Run::new();
    for action in program {
        let next = run.next(action, &machine);
        let now = run.now();
        match next {
            Planned::Nothing => continue,
            Planned::Call(call) => {
                let expected = model.call(&call, now);
                prop_assert_eq!(machine.call(call, now), expected);
            }
            Planned::Advance => {
                model.advance(now);
                machine.advance(now, slice);
                let mut slices = 1;
                while slice < usize::MAX && machine.next_due().is_some_and(|due| due <= now) {
                    machine.advance(now, slice);
                    machine.assert_consistent();
                    slices += 1;
                    prop_assert!(slices < 1_000, "advancing does not end");
                }
            }
        }
        assert_same(&machine, &model)?;
        let page = machine.list(list);
        prop_assert_eq!(
            (page.entries, page.has_more == HasMore::Yes),
            model.page(list)
        );
    }
    assert_same_history(&machine, &model)?;
    machine.assert_index_ends_empty();
    Ok(())
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn does_as_the_model_does(program in program(50), list in list()) {
        does_as_the_model(program, &list, usize::MAX)?;
    }

    #[test]
    fn does_in_slices_as_the_model_does_at_once(
        program in program(50),
        list in list(),
        slice in 1..4usize,
    ) {
        does_as_the_model(program, &list, slice)?;
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_refusal_changes_nothing(program in program(40)) {
        let mut machine = StateMachine::new(limits());
        let mut run = Run::new();
        for action in program {
            let next = run.next(action, &machine);
            let now = run.now();
            let calls = match next {
                Planned::Nothing => continue,
                Planned::Advance => {
                    machine.advance(now, usize::MAX);
                    continue;
                }
                // Make the operations one by one, to see whether a refused one changes anything.
                Planned::Call(Call::Each(operations, budget)) => operations
                    .into_iter()
                    .map(|operation| Call::Each(vec![operation], budget))
                    .collect(),
                Planned::Call(call) => vec![call],
            };
            for call in calls {
                let before = machine.everything();
                let refused = match machine.call(call.clone(), now) {
                    Err(_) => true,
                    Ok(Answer::Each(results, ..)) => results[0].is_err(),
                    Ok(_) => false,
                };
                if refused {
                    prop_assert_eq!(machine.everything(), before, "{:?}", call);
                }
            }
        }
    }
}
