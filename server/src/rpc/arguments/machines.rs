//! The arguments of `soloist.v1.Machines`.

use std::collections::{BTreeMap, BTreeSet};

use soloist::v1;
use soloist::v1::error::Reason;

use super::condition::condition;
use super::duration::duration_in;
use super::names::{check_prefix, name};
use super::page::name_page;
use super::path::{BadArgument, Path};
use crate::config::{Limits, TTL_RANGE};
use crate::machine::{Condition, DefineMachine, Key, Machine, Name, Purpose, State, Timeout};

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
                "tests what a machine does not have: set one of exists, revision",
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

/// Checks the arguments of a ListMachines: the last name of the page before, and the size of this one.
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
    let prefix = path.field("key_prefix");
    if key_prefix.is_empty() {
        return Err(prefix.bad(
            Reason::BadMachine,
            "is empty, but must have at least 1 byte: it would take in every key",
        ));
    }
    check_prefix(&prefix, Reason::BadMachine, &key_prefix, limits)?;
    let path_states = path.field("states");
    if states.is_empty() {
        return Err(path_states.bad(Reason::BadMachine, "has no state"));
    }
    if states.len() > limits.max_states {
        return Err(path_states.over_limit(
            Reason::BadMachine,
            "states",
            limits.max_states,
            states.len(),
        ));
    }
    // In the order of their names, so that the same mistake is told in the same way each time.
    let mut checked = BTreeMap::new();
    for (text, state) in states.into_iter().collect::<BTreeMap<_, _>>() {
        let path = path.key("states", &text);
        let name = super::names::name(&path, Reason::BadMachine, text.clone())?;
        checked.insert(name, self::state(&path, state)?);
    }
    let there = |path: &Path<'_>, state: &Name| match checked.contains_key(state.as_str()) {
        true => Ok(()),
        false => {
            let names: Vec<_> = checked.keys().map(Name::as_str).collect();
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
    };
    let initial_path = path.field("initial");
    let initial = super::names::name(&initial_path, Reason::BadMachine, initial)?;
    there(&initial_path, &initial)?;
    for (name, state) in &checked {
        let path = path.key("states", name.as_str());
        for next in &state.next {
            there(&path.field("next"), next)?;
        }
        if let Some(timeout) = &state.timeout {
            there(&path.field("timeout_next"), &timeout.next)?;
        }
    }
    Ok(Machine {
        name,
        key_prefix: Key::from(key_prefix),
        initial,
        states: checked,
        revision: 0,
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
