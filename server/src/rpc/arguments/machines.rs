//! Checks the arguments of `soloist.v1.Machines`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use soloist::v1;
use soloist::v1::error::Reason;

use super::condition::condition;
use super::duration::{duration_in, in_words};
use super::names::{check_prefix, name};
use super::page::name_page;
use super::path::{BadArgument, Path};
use crate::config::{Limits, TTL_RANGE};
use crate::machine::{
    Condition, DefineMachine, DeleteMachine, Key, KeysLeft, Machine, Name, Purpose, State, Timeout,
};

/// Checks the arguments of a DefineMachine.
pub(crate) fn define(
    request: v1::DefineMachineRequest,
    limits: &Limits,
) -> Result<DefineMachine, BadArgument> {
    let path = Path::ROOT.field("machine");
    let Some(defined) = request.machine else {
        return Err(path.bad(Reason::BadMachine, "is missing"));
    };
    let expect = condition(&Path::ROOT, request.expect, limits)?;
    match expect {
        None | Some(Condition::Exists(_) | Condition::Revision(_)) => {}
        Some(_) => {
            return Err(Path::ROOT.field("expect").bad(
                Reason::BadCondition,
                "tests a field that machines do not have: set one of exists, revision",
            ));
        }
    }
    Ok(DefineMachine {
        machine: machine(&path, defined, limits)?,
        expect,
        purpose: match request.validate_only {
            true => Purpose::Validate,
            false => Purpose::Define,
        },
    })
}

/// Checks the name of a machine.
pub(crate) fn machine_name(text: String) -> Result<Name, BadArgument> {
    name(&Path::ROOT.field("name"), Reason::BadMachine, text)
}

/// Checks the arguments of a DeleteMachine.
pub(crate) fn delete(request: v1::DeleteMachineRequest) -> Result<DeleteMachine, BadArgument> {
    let v1::DeleteMachineRequest { name, force } = request;
    Ok(DeleteMachine {
        revision: None,
        name: machine_name(name)?,
        keys: match force {
            true => KeysLeft::InAnyState,
            false => KeysLeft::InFinalStates,
        },
    })
}

/// Checks the arguments of a ListMachines. Returns the last name of the page before, and the size of this page.
pub(crate) fn list(
    request: &v1::ListMachinesRequest,
    limits: &Limits,
) -> Result<(Option<String>, usize), BadArgument> {
    name_page(&request.page_token, request.page_size, limits)
}

fn machine(path: &Path<'_>, machine: v1::Machine, limits: &Limits) -> Result<Machine, BadArgument> {
    let v1::Machine {
        name: text,
        key_prefix,
        initial,
        states,
        revision: _,
    } = machine;
    let name = name(&path.field("name"), Reason::BadMachine, text)?;
    check_key_prefix(&path.field("key_prefix"), &key_prefix, limits)?;
    let states = checked_states(path, states, limits)?;
    let initial = checked_initial(&path.field("initial"), initial, &states)?;
    check_targets(path, &states)?;
    check_timeout_cycles(path, &states, limits)?;
    Ok(Machine {
        name,
        key_prefix: Key::from(key_prefix),
        initial,
        states,
        revision: 0,
    })
}

fn check_key_prefix(path: &Path<'_>, prefix: &str, limits: &Limits) -> Result<(), BadArgument> {
    if prefix.is_empty() {
        return Err(path.bad(
            Reason::BadMachine,
            "is empty, but must have at least 1 byte: every key would be under it",
        ));
    }
    check_prefix(path, Reason::BadMachine, prefix, limits)
}

fn checked_states(
    path: &Path<'_>,
    states: HashMap<String, v1::machine::State>,
    limits: &Limits,
) -> Result<BTreeMap<Name, State>, BadArgument> {
    let states_path = path.field("states");
    if states.is_empty() {
        return Err(states_path.bad(Reason::BadMachine, "has no state"));
    }
    if states.len() > limits.max_states {
        return Err(states_path.over_limit(
            Reason::BadMachine,
            "states",
            limits.max_states,
            states.len(),
        ));
    }
    let mut checked = BTreeMap::new();
    // Sorted by name, so that of several mistakes it is always the same one that is reported.
    for (text, wire) in states.into_iter().collect::<BTreeMap<_, _>>() {
        let path = path.key("states", &text);
        let name = name(&path, Reason::BadMachine, text.clone())?;
        checked.insert(name, state(&path, wire)?);
    }
    Ok(checked)
}

fn checked_initial(
    path: &Path<'_>,
    initial: String,
    states: &BTreeMap<Name, State>,
) -> Result<Name, BadArgument> {
    let initial = name(path, Reason::BadMachine, initial)?;
    check_is_state(path, &initial, states)?;
    Ok(initial)
}

/// Checks that every state that a state can move to is a state of the machine.
fn check_targets(path: &Path<'_>, states: &BTreeMap<Name, State>) -> Result<(), BadArgument> {
    for (name, state) in states {
        let path = path.key("states", name.as_str());
        for next in &state.next {
            check_is_state(&path.field("next"), next, states)?;
        }
        if let Some(timeout) = &state.timeout {
            check_is_state(&path.field("timeout_next"), &timeout.next, states)?;
        }
    }
    Ok(())
}

/// Refuses timeouts that lead a key back to a state so quickly that its moves alone would keep the server busy.
fn check_timeout_cycles(
    path: &Path<'_>,
    states: &BTreeMap<Name, State>,
    limits: &Limits,
) -> Result<(), BadArgument> {
    // A state has at most one timeout, so a walk along timeouts ends, or comes back to a state of its own, or joins an
    // earlier walk.
    let mut walked = BTreeSet::new();
    for start in states.keys() {
        let mut walk = Vec::new();
        let mut at = start;
        while walked.insert(at)
            && let Some(timeout) = &states[at].timeout
        {
            walk.push((at, timeout));
            at = &timeout.next;
        }
        let Some(from) = walk.iter().position(|(state, _)| *state == at) else {
            continue;
        };
        let cycle = &walk[from..];
        let around = cycle.iter().map(|(_, timeout)| timeout.after).sum();
        if around < limits.min_timeout_cycle {
            return Err(cycle_too_short(path, cycle, around, limits));
        }
    }
    Ok(())
}

/// Most states of a cycle that its refusal names.
const CYCLE_STATES_SHOWN: usize = 8;

fn cycle_too_short(
    path: &Path<'_>,
    cycle: &[(&Name, &Timeout)],
    around: Duration,
    limits: &Limits,
) -> BadArgument {
    let (first, _) = cycle[0];
    let mut names: Vec<_> = cycle
        .iter()
        .take(CYCLE_STATES_SHOWN)
        .map(|(name, _)| name.as_str())
        .collect();
    if cycle.len() > CYCLE_STATES_SHOWN {
        names.push("...");
    }
    names.push(first.as_str());
    let way = names.join(" -> ");
    let limit = format!("{} or more", in_words(limits.min_timeout_cycle));
    let actual = in_words(around);
    let problem = format!(
        "leads back to its state in {actual} by timeouts alone ({way}), but that must take {limit}"
    );
    BadArgument {
        limit: Some(limit),
        actual: Some(actual),
        ..path
            .key("states", first.as_str())
            .field("timeout")
            .bad(Reason::BadMachine, problem)
    }
}

fn check_is_state(
    path: &Path<'_>,
    state: &Name,
    states: &BTreeMap<Name, State>,
) -> Result<(), BadArgument> {
    if states.contains_key(state.as_str()) {
        return Ok(());
    }
    let names: Vec<_> = states.keys().map(Name::as_str).collect();
    let problem = format!(
        "is {:?}, but the states are {}",
        state.as_str(),
        names.join(", ")
    );
    Err(BadArgument {
        actual: Some(state.to_string()),
        ..path.bad(Reason::BadMachine, problem)
    })
}

fn state(path: &Path<'_>, state: v1::machine::State) -> Result<State, BadArgument> {
    let v1::machine::State {
        next,
        timeout,
        timeout_next,
    } = state;
    let mut names = BTreeSet::new();
    for (index, text) in next.into_iter().enumerate() {
        let path = path.index("next", index);
        let next = name(&path, Reason::BadMachine, text)?;
        if names.contains(&next) {
            let problem = format!("is {:?}, which is listed before", next.as_str());
            return Err(BadArgument {
                actual: Some(next.to_string()),
                ..path.bad(Reason::BadMachine, problem)
            });
        }
        names.insert(next);
    }
    let timeout = match (timeout, timeout_next.is_empty()) {
        (None, true) => None,
        (None, false) => {
            return Err(path
                .field("timeout_next")
                .bad(Reason::BadMachine, "is set, but timeout is not"));
        }
        (Some(_), true) => {
            return Err(path
                .field("timeout")
                .bad(Reason::BadMachine, "is set, but timeout_next is not"));
        }
        (timeout, false) => Some(Timeout {
            after: duration_in(
                &path.field("timeout"),
                Reason::BadMachine,
                timeout,
                &TTL_RANGE,
            )?,
            next: name(
                &path.field("timeout_next"),
                Reason::BadMachine,
                timeout_next,
            )?,
        }),
    };
    Ok(State {
        next: names,
        timeout,
    })
}
