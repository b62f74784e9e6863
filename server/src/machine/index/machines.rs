//! The machines that are defined, and which key stands where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::machine::protocol::{Machine, State};
use crate::machine::rejection::{Cause, RefusedTransition};
use crate::machine::time::Time;
use crate::machine::value::{Key, KeyState, Name};

/// Most bytes of allowed states in an error: the states of any machine that people can follow, short of what headers
/// hold.
pub(crate) const ALLOWED_BYTES: usize = 1_024;

/// All machines, and which key stands where.
#[derive(Debug, Default, PartialEq)]
pub(in crate::machine) struct Machines {
    by_name: BTreeMap<Name, DefinedMachine>,
    /// The name of the machine, by its prefix. None of them begins with another.
    by_prefix: BTreeMap<Key, Name>,
    /// When the first key of a state with a timeout goes on: machine and state.
    due: BTreeSet<(Time, Name, Name)>,
}

#[derive(Debug, PartialEq)]
pub(in crate::machine) struct DefinedMachine {
    pub(in crate::machine) machine: Machine,
    /// The keys in each state that has any, by when they came into it.
    pub(in crate::machine) keys_by_state: BTreeMap<Name, BTreeSet<(Time, Key)>>,
}

impl DefinedMachine {
    pub(in crate::machine) fn state(&self, name: &Name) -> &State {
        let state = self.machine.states.get(name.as_str());
        state.expect("a key is in a state that its machine has")
    }

    /// When the first key of a state goes on, if the state has a timeout and any key.
    fn due(&self, state: &Name) -> Option<Time> {
        let timeout = self.machine.states.get(state.as_str())?.timeout.as_ref()?;
        let (since, _) = self.keys_by_state.get(state.as_str())?.first()?;
        Some(*since + timeout.after)
    }
}

impl Machines {
    pub(in crate::machine) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// All of them, in the order of their names.
    pub(in crate::machine) fn all(&self) -> impl Iterator<Item = &Machine> {
        self.by_name.values().map(|defined| &defined.machine)
    }

    pub(in crate::machine) fn get(&self, name: &Name) -> Option<&DefinedMachine> {
        self.by_name.get(name.as_str())
    }

    /// Those after the one of the name `after`, in the order of their names.
    pub(in crate::machine) fn after(&self, after: Option<&str>) -> impl Iterator<Item = &Machine> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.by_name.range::<str, _>((from, Bound::Unbounded));
        after.map(|(_, defined)| &defined.machine)
    }

    /// Another machine whose prefix overlaps with that of `machine`: its prefix and name.
    pub(in crate::machine) fn overlapping(&self, machine: &Machine) -> Option<(&Key, &Name)> {
        let prefix = machine.key_prefix.as_str();
        let below = self
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(prefix)))
            .rfind(|(_, name)| **name != machine.name)
            .filter(|(other, _)| prefix.starts_with(other.as_str()));
        let above = self
            .by_prefix
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .find(|(_, name)| **name != machine.name)
            .filter(|(other, _)| other.as_str().starts_with(prefix));
        below.or(above)
    }

    /// Puts a machine in the place of the one of its name, if there is one.
    pub(in crate::machine) fn define(&mut self, machine: Machine) {
        let name = machine.name.clone();
        let keys_by_state = match self.by_name.contains_key(name.as_str()) {
            true => self.undefine(&name).keys_by_state,
            false => BTreeMap::new(),
        };
        self.by_prefix
            .insert(machine.key_prefix.clone(), name.clone());
        let defined = DefinedMachine {
            machine,
            keys_by_state,
        };
        self.by_name.insert(name.clone(), defined);
        self.set_all_due(&name, Timeouts::Armed);
    }

    /// Takes a machine away, which is there.
    pub(in crate::machine) fn undefine(&mut self, name: &Name) -> DefinedMachine {
        self.set_all_due(name, Timeouts::Disarmed);
        let defined = self.by_name.remove(name.as_str());
        let defined = defined.expect("it was just there");
        self.by_prefix.remove(defined.machine.key_prefix.as_str());
        defined
    }

    /// When the first timeout is due.
    pub(in crate::machine) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// Where a new key starts, if it lies under a machine.
    #[inline]
    pub(in crate::machine) fn initial_state(&self, key: &Key, now: Time) -> Option<KeyState> {
        if self.by_prefix.is_empty() {
            return None;
        }
        let machine = &self.covering(key)?.machine;
        Some(KeyState {
            machine: machine.name.clone(),
            state: machine.initial.clone(),
            since: now,
            timeout_at: None,
        })
    }

    /// The machine that a key lies under. As no prefix begins with another, it can only be the one before the key.
    fn covering(&self, key: &Key) -> Option<&DefinedMachine> {
        let (prefix, name) = self
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Included(key.as_str())))
            .next_back()?;
        key.as_str()
            .starts_with(prefix.as_str())
            .then(|| self.defined(name))
    }

    fn defined(&self, name: &Name) -> &DefinedMachine {
        let defined = self.by_name.get(name.as_str());
        defined.expect("a machine with keys or a prefix is defined")
    }

    /// Where a move leads.
    pub(in crate::machine) fn next_state(
        &self,
        key_state: &KeyState,
        to: Name,
        now: Time,
    ) -> Result<KeyState, Cause> {
        let next = &self
            .defined(&key_state.machine)
            .state(&key_state.state)
            .next;
        if !next.contains(to.as_str()) {
            return Err(Cause::TransitionRefused(Box::new(RefusedTransition {
                machine: key_state.machine.clone(),
                from: key_state.state.clone(),
                to: Some(to),
                allowed: shown(next),
            })));
        }
        Ok(KeyState {
            machine: key_state.machine.clone(),
            state: to,
            since: now,
            timeout_at: None,
        })
    }

    /// Whether a key may be deleted where it stands.
    pub(in crate::machine) fn check_deletable(&self, key_state: &KeyState) -> Result<(), Cause> {
        let state = self.defined(&key_state.machine).state(&key_state.state);
        if state.is_final() {
            return Ok(());
        }
        Err(Cause::StateNotFinal(Box::new(RefusedTransition {
            machine: key_state.machine.clone(),
            from: key_state.state.clone(),
            to: None,
            allowed: shown(&state.next),
        })))
    }

    /// When the timeout of a key's state moves it on.
    pub(in crate::machine) fn timeout_at(&self, key_state: &KeyState) -> Option<Time> {
        // What is shown may be long past, and the machine gone.
        let machine = &self.by_name.get(key_state.machine.as_str())?.machine;
        let timeout = machine
            .states
            .get(key_state.state.as_str())?
            .timeout
            .as_ref()?;
        Some(key_state.since + timeout.after)
    }

    pub(in crate::machine) fn insert_key(&mut self, key_state: &KeyState, key: &Key) {
        self.change_keys(key_state, |keys| {
            keys.insert((key_state.since, key.clone()));
        });
    }

    pub(in crate::machine) fn remove_key(&mut self, key_state: &KeyState, key: &Key) {
        self.change_keys(key_state, |keys| {
            keys.remove(&(key_state.since, key.clone()));
        });
    }

    fn change_keys(
        &mut self,
        key_state: &KeyState,
        change: impl FnOnce(&mut BTreeSet<(Time, Key)>),
    ) {
        let KeyState { machine, state, .. } = key_state;
        let defined = self.by_name.get_mut(machine.as_str());
        let defined = defined.expect("a machine with keys is defined");
        let before = defined.due(state);
        let keys = defined.keys_by_state.entry(state.clone()).or_default();
        change(keys);
        if keys.is_empty() {
            defined.keys_by_state.remove(state.as_str());
        }
        let after = defined.due(state);
        if before != after {
            self.set_due(machine, state, before, after);
        }
    }

    fn set_due(&mut self, machine: &Name, state: &Name, before: Option<Time>, after: Option<Time>) {
        let at = |due| (due, machine.clone(), state.clone());
        if let Some(before) = before {
            self.due.remove(&at(before));
        }
        if let Some(after) = after {
            self.due.insert(at(after));
        }
    }

    /// Lets the timeouts of all states of a machine count, or no more.
    fn set_all_due(&mut self, name: &Name, timeouts: Timeouts) {
        let defined = self.defined(name);
        let states: Vec<_> = defined
            .keys_by_state
            .keys()
            .filter_map(|state| Some((defined.due(state)?, name.clone(), state.clone())))
            .collect();
        for due in states {
            match timeouts {
                Timeouts::Armed => self.due.insert(due),
                Timeouts::Disarmed => self.due.remove(&due),
            };
        }
    }

    /// The key that goes on first, and where to, if it is due by now.
    pub(in crate::machine) fn next_timeout(&self, now: Time) -> Option<(Key, KeyState)> {
        let (due, machine, state) = self.due.first()?;
        if *due > now {
            return None;
        }
        let defined = self.defined(machine);
        let (_, key) = defined.keys_by_state.get(state.as_str())?.first()?;
        let timeout = defined.state(state).timeout.as_ref()?;
        let key_state = KeyState {
            machine: machine.clone(),
            state: timeout.next.clone(),
            since: now,
            timeout_at: None,
        };
        Some((key.clone(), key_state))
    }
}

/// Whether timeouts count.
#[derive(Clone, Copy)]
enum Timeouts {
    Armed,
    Disarmed,
}

/// As many names as an error shows: a refusal that nobody takes must not hold hundreds.
fn shown<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<Name> {
    let mut bytes = 0;
    let mut shown = Vec::new();
    for name in names {
        shown.push(name.clone());
        bytes += name.as_str().len();
        // One more than there is room for, so that it is seen that some are missing.
        if bytes > ALLOWED_BYTES {
            break;
        }
    }
    shown
}
