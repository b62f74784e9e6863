//! The machines, and the keys in each of their states.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::machine::protocol::{Machine, State};
use crate::machine::rejection::{Cause, RefusedTransition};
use crate::machine::time::Time;
use crate::machine::value::{Key, KeyState, Name};

/// Most bytes of the names of allowed states in an error: enough for any machine that people can follow, and little enough
/// for the headers that carry an error.
pub(crate) const ALLOWED_BYTES: usize = 1_024;

/// All machines, and the keys in each of their states.
#[derive(Debug, Default, PartialEq)]
pub(in crate::machine) struct Machines {
    /// What all of them count towards `used_bytes`.
    bytes: u64,
    by_name: BTreeMap<Name, DefinedMachine>,
    /// The name of each machine, by its prefix. No prefix begins with another.
    by_prefix: BTreeMap<Key, Name>,
    /// The states with a timeout and at least one key, by when the first of the keys times out: time, machine, state.
    due: BTreeSet<(Time, Name, Name)>,
}

/// What a machine counts towards `used_bytes` beyond its texts: its part of the indexes, and the allocator's rounding.
const MACHINE_OVERHEAD_BYTES: usize = 256;

/// What each state of a machine counts in addition to its name.
const STATE_OVERHEAD_BYTES: usize = 128;

/// What each state that a state can lead to counts in addition to its name.
const NEXT_OVERHEAD_BYTES: usize = 64;

/// What a machine counts towards `used_bytes`.
pub(in crate::machine) fn machine_bytes(machine: &Machine) -> u64 {
    let next = |name: &Name| NEXT_OVERHEAD_BYTES + name.as_str().len();
    let state = |(name, state): (&Name, &State)| {
        let timeout = state.timeout.as_ref().map(|timeout| &timeout.next);
        let all_next: usize = state.next.iter().chain(timeout).map(next).sum();
        STATE_OVERHEAD_BYTES + name.as_str().len() + all_next
    };
    let texts = machine.name.as_str().len() + machine.key_prefix.as_str().len();
    (MACHINE_OVERHEAD_BYTES + texts + machine.states.iter().map(state).sum::<usize>()) as u64
}

/// A machine, and the keys in each of its states.
#[derive(Debug, PartialEq)]
pub(in crate::machine) struct DefinedMachine {
    pub(in crate::machine) machine: Machine,
    /// The keys in each state that has any, by when they entered it.
    pub(in crate::machine) keys_by_state: BTreeMap<Name, BTreeSet<(Time, Key)>>,
}

impl DefinedMachine {
    /// The state of a key of this machine.
    pub(in crate::machine) fn state(&self, name: &Name) -> &State {
        let state = self.machine.states.get(name.as_str());
        state.expect("every key is in a state of its machine")
    }

    /// When the first key in a state times out; `None` if the state has no timeout or no key.
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

    /// What all machines count towards `used_bytes`.
    pub(in crate::machine) fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// All machines with their keys, in the order of their names.
    pub(in crate::machine) fn all_defined(&self) -> impl Iterator<Item = &DefinedMachine> {
        self.by_name.values()
    }

    /// All machines, in the order of their names.
    pub(in crate::machine) fn all(&self) -> impl Iterator<Item = &Machine> {
        self.by_name.values().map(|defined| &defined.machine)
    }

    /// How many keys are in each state of each machine, in the order of the names. A set knows its size, so nothing is counted.
    pub(in crate::machine) fn keys_in_states(&self) -> impl Iterator<Item = (&Name, &Name, usize)> {
        self.by_name.iter().flat_map(|(machine, defined)| {
            let states = defined.machine.states.keys();
            states.map(move |state| {
                let keys = defined.keys_by_state.get(state.as_str());
                (machine, state, keys.map_or(0, BTreeSet::len))
            })
        })
    }

    /// The machine of this name.
    pub(in crate::machine) fn get(&self, name: &Name) -> Option<&DefinedMachine> {
        self.by_name.get(name.as_str())
    }

    /// The machines after the name `after`, in the order of their names.
    pub(in crate::machine) fn after(&self, after: Option<&str>) -> impl Iterator<Item = &Machine> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.by_name.range::<str, _>((from, Bound::Unbounded));
        after.map(|(_, defined)| &defined.machine)
    }

    /// A machine of another name whose prefix overlaps with that of `machine`: its prefix and name.
    pub(in crate::machine) fn overlapping(&self, machine: &Machine) -> Option<(&Key, &Name)> {
        let prefix = machine.key_prefix.as_str();
        let shorter = self
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(prefix)))
            .rfind(|(_, name)| **name != machine.name)
            .filter(|(other, _)| prefix.starts_with(other.as_str()));
        let longer = self
            .by_prefix
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .find(|(_, name)| **name != machine.name)
            .filter(|(other, _)| other.as_str().starts_with(prefix));
        shorter.or(longer)
    }

    /// Adds a machine, or replaces the one of its name. A replaced machine keeps its keys.
    pub(in crate::machine) fn define(&mut self, machine: Machine) {
        let name = machine.name.clone();
        let keys_by_state = match self.by_name.contains_key(name.as_str()) {
            true => self.undefine(&name).keys_by_state,
            false => BTreeMap::new(),
        };
        self.bytes += machine_bytes(&machine);
        self.by_prefix
            .insert(machine.key_prefix.clone(), name.clone());
        let defined = DefinedMachine {
            machine,
            keys_by_state,
        };
        self.by_name.insert(name.clone(), defined);
        self.set_all_due(&name, Timeouts::Armed);
    }

    /// Removes a machine, which must exist.
    pub(in crate::machine) fn undefine(&mut self, name: &Name) -> DefinedMachine {
        self.set_all_due(name, Timeouts::Disarmed);
        let defined = self.by_name.remove(name.as_str());
        let defined = defined.expect("the machine exists");
        self.bytes -= machine_bytes(&defined.machine);
        self.by_prefix.remove(defined.machine.key_prefix.as_str());
        defined
    }

    /// When the first timeout is due.
    pub(in crate::machine) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// The state that a new key starts in; `None` if no machine covers it.
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

    /// The machine that covers a key. No prefix begins with another, so it can only be the last prefix that is not greater
    /// than the key.
    fn covering(&self, key: &Key) -> Option<&DefinedMachine> {
        let (prefix, name) = self
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Included(key.as_str())))
            .next_back()?;
        key.as_str()
            .starts_with(prefix.as_str())
            .then(|| self.defined(name))
    }

    /// The machine of this name, which must exist.
    fn defined(&self, name: &Name) -> &DefinedMachine {
        let defined = self.by_name.get(name.as_str());
        defined.expect("a machine with a prefix or with keys exists")
    }

    /// The state of a key after a transition.
    ///
    /// # Errors
    /// [`Cause::TransitionRefused`] if the machine does not allow it.
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

    /// Refuses the deletion of a key in a state that is not final.
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

    /// When the timeout of its state moves a key on; `None` if the state has no timeout.
    pub(in crate::machine) fn timeout_at(&self, key_state: &KeyState) -> Option<Time> {
        // An entry of the past may be shown, and its machine may have been deleted or redefined since.
        let machine = &self.by_name.get(key_state.machine.as_str())?.machine;
        let timeout = machine
            .states
            .get(key_state.state.as_str())?
            .timeout
            .as_ref()?;
        Some(key_state.since + timeout.after)
    }

    /// Adds a key to its state.
    pub(in crate::machine) fn insert_key(&mut self, key_state: &KeyState, key: &Key) {
        self.change_keys(key_state, |keys| {
            keys.insert((key_state.since, key.clone()));
        });
    }

    /// Removes a key from its state.
    pub(in crate::machine) fn remove_key(&mut self, key_state: &KeyState, key: &Key) {
        self.change_keys(key_state, |keys| {
            keys.remove(&(key_state.since, key.clone()));
        });
    }

    /// Changes the keys in a state, and then when the state is due.
    fn change_keys(
        &mut self,
        key_state: &KeyState,
        change: impl FnOnce(&mut BTreeSet<(Time, Key)>),
    ) {
        let KeyState { machine, state, .. } = key_state;
        let defined = self.by_name.get_mut(machine.as_str());
        let defined = defined.expect("a machine with keys exists");
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

    /// Arms or disarms the timeouts of all states of a machine.
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

    /// The key that times out first, and the state that it moves to, if it is due by now.
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

/// Whether timeouts are due when their time comes.
#[derive(Clone, Copy)]
enum Timeouts {
    Armed,
    Disarmed,
}

/// As many names as an error shows. A refusal that nobody reads must not keep hundreds in memory.
fn shown<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<Name> {
    let mut bytes = 0;
    let mut shown = Vec::new();
    for name in names {
        shown.push(name.clone());
        bytes += name.as_str().len();
        // One name too many, so that the error shows that names are left out.
        if bytes > ALLOWED_BYTES {
            break;
        }
    }
    shown
}
