//! Machines: protocols that keys under a prefix go through, and where each key stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::effect::Effect;
use super::history::ChangeCause;
use super::operation::{Condition, Page, Rest};
use super::rejection::{Cause, RefusedMove, Rejection, Stranded};
use super::time::Time;
use super::value::{Attached, Entry, Key, Name, Place, Revision};
use super::{StateMachine, entry_bytes};

/// Most bytes of machines on one page: gRPC clients refuse messages over 4 MiB unless told otherwise.
const PAGE_BYTES_MAX: usize = 3 << 20;

/// Most bytes of allowed states in an error: the states of any machine that people can follow, short of what headers
/// hold.
pub(crate) const ALLOWED_BYTES: usize = 1_024;

/// A protocol for the keys under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: Name,
    /// What the keys under it begin with.
    pub key_prefix: Key,
    /// The state that a new key starts in.
    pub initial: Name,
    /// The states, by their names. Every state that is named anywhere is one of them.
    pub states: BTreeMap<Name, State>,
    /// The store revision at which it was defined as it is; 0 if it was not.
    pub revision: Revision,
}

impl Machine {
    /// About how many bytes it takes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let state = |(name, state): (&Name, &State)| {
            let next = state.next.iter().map(|next| next.as_str().len());
            size_of::<State>()
                + name.as_str().len()
                + next.map(|len| len + size_of::<Name>()).sum::<usize>()
        };
        self.key_prefix.as_str().len() + self.states.iter().map(state).sum::<usize>()
    }
}

/// Where a key may go from a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Where it may be moved.
    pub next: BTreeSet<Name>,
    /// When it goes by itself.
    pub timeout: Option<Timeout>,
}

/// When a key leaves a state by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// After this long.
    pub after: Duration,
    /// Where it goes then.
    pub next: Name,
}

impl State {
    /// Nothing leads on from here, so that a key may be deleted.
    fn is_final(&self) -> bool {
        self.next.is_empty() && self.timeout.is_none()
    }
}

/// Asks for a machine to be defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefineMachine {
    /// The machine.
    pub machine: Machine,
    /// What must hold for the one there is: [`Condition::Exists`] or [`Condition::Revision`].
    pub expect: Option<Condition>,
    /// Whether it is only to be looked at.
    pub purpose: Purpose,
}

/// What a definition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To hold from now on.
    Define,
    /// To tell whether it could.
    Validate,
}

/// All machines, and which key stands where.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Machines {
    by_name: BTreeMap<Name, Defined>,
    /// The name of the machine, by its prefix. None of them begins with another.
    by_prefix: BTreeMap<Key, Name>,
    /// When the first key of a state with a timeout goes on: machine and state.
    due: BTreeSet<(Time, Name, Name)>,
}

#[derive(Debug, PartialEq)]
struct Defined {
    machine: Machine,
    /// The keys in each state that has any, by when they came into it.
    occupants: BTreeMap<Name, BTreeSet<(Time, Key)>>,
}

impl Defined {
    fn state(&self, name: &Name) -> &State {
        let state = self.machine.states.get(name.as_str());
        state.expect("a key is in a state that its machine has")
    }

    /// When the first key of a state goes on, if the state has a timeout and any key.
    fn due(&self, state: &Name) -> Option<Time> {
        let timeout = self.machine.states.get(state.as_str())?.timeout.as_ref()?;
        let (since, _) = self.occupants.get(state.as_str())?.first()?;
        Some(*since + timeout.after)
    }
}

impl Machines {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = &Machine> {
        self.by_name.values().map(|defined| &defined.machine)
    }

    /// When the first timeout is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// Where a new key starts, if it lies under a machine.
    #[inline]
    pub(super) fn start(&self, key: &Key, now: Time) -> Option<Place> {
        if self.by_prefix.is_empty() {
            return None;
        }
        let machine = &self.over(key)?.machine;
        Some(Place {
            machine: machine.name.clone(),
            state: machine.initial.clone(),
            since: now,
            timeout_at: None,
        })
    }

    /// The machine that a key lies under. As no prefix begins with another, it can only be the one before the key.
    fn over(&self, key: &Key) -> Option<&Defined> {
        let (prefix, name) = self
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Included(key.as_str())))
            .next_back()?;
        key.as_str()
            .starts_with(prefix.as_str())
            .then(|| self.defined(name))
    }

    fn defined(&self, name: &Name) -> &Defined {
        let defined = self.by_name.get(name.as_str());
        defined.expect("a machine with keys or a prefix is defined")
    }

    /// Where a move leads.
    pub(super) fn moved(&self, place: &Place, to: Name, now: Time) -> Result<Place, Cause> {
        let next = &self.defined(&place.machine).state(&place.state).next;
        if !next.contains(to.as_str()) {
            return Err(Cause::TransitionRefused(Box::new(RefusedMove {
                machine: place.machine.clone(),
                from: place.state.clone(),
                to: Some(to),
                allowed: shown(next),
            })));
        }
        Ok(Place {
            machine: place.machine.clone(),
            state: to,
            since: now,
            timeout_at: None,
        })
    }

    /// Whether a key may be deleted where it stands.
    pub(super) fn deletable(&self, place: &Place) -> Result<(), Cause> {
        let state = self.defined(&place.machine).state(&place.state);
        if state.is_final() {
            return Ok(());
        }
        Err(Cause::StateNotFinal(Box::new(RefusedMove {
            machine: place.machine.clone(),
            from: place.state.clone(),
            to: None,
            allowed: shown(&state.next),
        })))
    }

    /// When the timeout of a key's state moves it on.
    pub(super) fn timeout_at(&self, place: &Place) -> Option<Time> {
        // What is shown may be long past, and the machine gone.
        let machine = &self.by_name.get(place.machine.as_str())?.machine;
        let timeout = machine.states.get(place.state.as_str())?.timeout.as_ref()?;
        Some(place.since + timeout.after)
    }

    pub(super) fn enter(&mut self, place: &Place, key: &Key) {
        self.occupy(place, |keys| {
            keys.insert((place.since, key.clone()));
        });
    }

    pub(super) fn leave(&mut self, place: &Place, key: &Key) {
        self.occupy(place, |keys| {
            keys.remove(&(place.since, key.clone()));
        });
    }

    fn occupy(&mut self, place: &Place, change: impl FnOnce(&mut BTreeSet<(Time, Key)>)) {
        let Place { machine, state, .. } = place;
        let defined = self.by_name.get_mut(machine.as_str());
        let defined = defined.expect("a machine with keys is defined");
        let before = defined.due(state);
        let keys = defined.occupants.entry(state.clone()).or_default();
        change(keys);
        if keys.is_empty() {
            defined.occupants.remove(state.as_str());
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
    fn set_all_due(&mut self, name: &Name, count: Count) {
        let defined = self.defined(name);
        let states: Vec<_> = defined
            .occupants
            .keys()
            .filter_map(|state| Some((defined.due(state)?, name.clone(), state.clone())))
            .collect();
        for due in states {
            match count {
                Count::FromNow => self.due.insert(due),
                Count::NoMore => self.due.remove(&due),
            };
        }
    }

    /// The key that goes on first, and where to, if it is due by now.
    fn next_timeout(&self, now: Time) -> Option<(Key, Place)> {
        let (due, machine, state) = self.due.first()?;
        if *due > now {
            return None;
        }
        let defined = self.defined(machine);
        let (_, key) = defined.occupants.get(state.as_str())?.first()?;
        let timeout = defined.state(state).timeout.as_ref()?;
        let place = Place {
            machine: machine.clone(),
            state: timeout.next.clone(),
            since: now,
            timeout_at: None,
        };
        Some((key.clone(), place))
    }
}

/// Whether timeouts count.
#[derive(Clone, Copy)]
enum Count {
    FromNow,
    NoMore,
}

impl StateMachine {
    /// Creates or replaces a machine. One that is there already as it is stays so, at its revision.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold, another machine's prefix overlaps, there are too many machines, keys would
    /// be stranded, or a state can never be reached.
    pub fn define_machine(&mut self, define: DefineMachine) -> Result<Machine, Box<Rejection>> {
        let DefineMachine {
            mut machine,
            expect,
            purpose,
        } = define;
        let before = self.machines().by_name.get(machine.name.as_str());
        machine.revision = before.map_or(0, |before| before.machine.revision);
        self.definable(&machine, expect.as_ref())
            .map_err(|cause| Rejection::of(&machine.name, cause))?;
        if let Purpose::Validate = purpose {
            machine.revision = 0;
            return Ok(machine);
        }
        if before.is_some_and(|before| before.machine == machine) {
            return Ok(machine);
        }
        self.disk_has_space()
            .map_err(|cause| Rejection::of(&machine.name, cause))?;

        // Nothing refuses from here on.
        self.revision += 1;
        machine.revision = self.revision;
        self.define(machine.clone());
        self.happened(|| Effect::MachineDefined(machine.clone()));
        Ok(machine)
    }

    /// Puts a machine in the place of the one of its name, if there is one.
    pub(super) fn define(&mut self, machine: Machine) {
        let name = machine.name.clone();
        let machines = &mut self.index.machines;
        let occupants = match machines.by_name.contains_key(name.as_str()) {
            true => {
                machines.set_all_due(&name, Count::NoMore);
                let before = machines.by_name.remove(name.as_str());
                let before = before.expect("it was just there");
                machines
                    .by_prefix
                    .remove(before.machine.key_prefix.as_str());
                before.occupants
            }
            false => BTreeMap::new(),
        };
        machines
            .by_prefix
            .insert(machine.key_prefix.clone(), name.clone());
        let defined = Defined { machine, occupants };
        machines.by_name.insert(name.clone(), defined);
        machines.set_all_due(&name, Count::FromNow);
    }

    fn definable(&self, machine: &Machine, expect: Option<&Condition>) -> Result<(), Cause> {
        let machines = self.machines();
        let before = machines.by_name.get(machine.name.as_str());
        let revision = before.map_or(0, |before| before.machine.revision);
        match expect {
            Some(Condition::Exists(true)) if before.is_none() => {
                return Err(Cause::MachineNotFound);
            }
            Some(Condition::Exists(false)) if before.is_some() => {
                return Err(Cause::MachineExists { revision });
            }
            Some(Condition::Revision(expected)) if *expected != revision => {
                return Err(Cause::MachineChanged {
                    expected: *expected,
                    actual: revision,
                });
            }
            _ => {}
        }
        if before.is_some_and(|before| before.machine == *machine) {
            return Ok(());
        }
        if before.is_none() && machines.len() >= self.limits.machines {
            return Err(Cause::TooMany {
                what: "machines",
                limit: self.limits.machines,
            });
        }
        self.machine_fits(machine)?;
        self.all_reached(machine)
    }

    /// Whether a machine can be beside the others, and over the keys there are.
    pub(super) fn machine_fits(&self, machine: &Machine) -> Result<(), Cause> {
        let machines = self.machines();
        let before = machines.by_name.get(machine.name.as_str());
        let prefix = machine.key_prefix.as_str();
        let below = machines
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(prefix)))
            .rfind(|(_, name)| **name != machine.name)
            .filter(|(other, _)| prefix.starts_with(other.as_str()));
        let above = machines
            .by_prefix
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .find(|(_, name)| **name != machine.name)
            .filter(|(other, _)| other.as_str().starts_with(prefix));
        if let Some((key_prefix, name)) = below.or(above) {
            return Err(Cause::PrefixTaken {
                machine: name.clone(),
                key_prefix: key_prefix.clone(),
            });
        }
        match before {
            Some(before) if before.machine.key_prefix == machine.key_prefix => {
                stays(before, |state| machine.states.contains_key(state.as_str()))?;
            }
            before => {
                before.map_or(Ok(()), |before| stays(before, |_| false))?;
                let mut keys = self
                    .store
                    .range(Bound::Included(prefix))
                    .take_while(|(key, _)| key.as_str().starts_with(prefix))
                    .take(Stranded::COUNT_MAX);
                if let Some((example, _)) = keys.next() {
                    return Err(Cause::EntriesInState(Box::new(Stranded {
                        count: 1 + keys.count(),
                        example: example.clone(),
                        state: None,
                    })));
                }
            }
        }
        Ok(())
    }

    /// Whether every state of a machine can be reached, or is.
    fn all_reached(&self, machine: &Machine) -> Result<(), Cause> {
        let before = self.machines().by_name.get(machine.name.as_str());
        let mut reached = BTreeSet::from([&machine.initial]);
        // What is occupied need not be reached any more, and leads on all the same.
        reached.extend(before.iter().flat_map(|before| before.occupants.keys()));
        let mut ahead: Vec<_> = reached.iter().copied().collect();
        while let Some(state) = ahead
            .pop()
            .and_then(|name| machine.states.get(name.as_str()))
        {
            let timeout = state.timeout.as_ref().map(|timeout| &timeout.next);
            ahead.extend(
                state
                    .next
                    .iter()
                    .chain(timeout)
                    .filter(|next| reached.insert(next)),
            );
        }
        match machine.states.keys().find(|state| !reached.contains(state)) {
            Some(state) => Err(Cause::StateUnreachable {
                state: state.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Deletes a machine. The keys under it stay, without a state. Takes time for each of them: about a third of a
    /// second for a million.
    ///
    /// # Errors
    /// [`Rejection`] if there is none, or a key under it is in a state that is not final.
    pub fn delete_machine(&mut self, name: &Name) -> Result<Revision, Box<Rejection>> {
        let refuse = |cause| Rejection::of(name, cause);
        let Some(defined) = self.machines().by_name.get(name.as_str()) else {
            return Err(refuse(Cause::MachineNotFound));
        };
        stays(defined, |state| defined.state(state).is_final()).map_err(refuse)?;

        // Nothing refuses from here on.
        self.revision += 1;
        let revision = self.revision;
        self.undefine(name);
        self.happened(|| Effect::MachineDeleted {
            name: name.clone(),
            revision,
        });
        Ok(revision)
    }

    /// Takes a machine away, and their states from its keys.
    pub(super) fn undefine(&mut self, name: &Name) {
        let machines = &mut self.index.machines;
        machines.set_all_due(name, Count::NoMore);
        let defined = machines.by_name.remove(name.as_str());
        let defined = defined.expect("it was just there");
        machines
            .by_prefix
            .remove(defined.machine.key_prefix.as_str());
        for (_, key) in defined.occupants.values().flatten() {
            let slot = self.store.slot(key.as_str());
            let entry = self.store.at(slot);
            let entry = entry.expect("a key that stands somewhere is there");
            self.history.changes_unseen(key, entry);
            self.used_bytes -= entry_bytes(key, entry);
            let left = Entry {
                attached: Attached::of(entry.lifetime().cloned(), None),
                ..entry.to_entry()
            };
            self.used_bytes += entry_bytes(key, (&left).into());
            self.store.put(slot, key, left);
        }
    }

    /// One machine.
    ///
    /// # Errors
    /// [`Rejection`] if there is none of that name.
    pub fn get_machine(&self, name: &Name) -> Result<Machine, Box<Rejection>> {
        match self.machines().by_name.get(name.as_str()) {
            Some(defined) => Ok(defined.machine.clone()),
            None => Err(Rejection::of(name, Cause::MachineNotFound)),
        }
    }

    /// A page of the machines, after the one of the name `after`.
    #[must_use]
    pub fn list_machines(&self, after: Option<&str>, page_size: usize) -> Page<Machine> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let by_name = &self.machines().by_name;
        let mut machines = by_name.range::<str, _>((from, Bound::Unbounded));
        let mut items = Vec::new();
        let mut bytes = 0;
        let rest = loop {
            let Some((_, defined)) = machines.next() else {
                break Rest::Nothing;
            };
            bytes += defined.machine.byte_len();
            if items.len() == page_size || !items.is_empty() && bytes > PAGE_BYTES_MAX {
                break Rest::More;
            }
            items.push(defined.machine.clone());
        };
        Page { items, rest }
    }

    /// Moves the key on whose state's timeout is due first, if any is by now.
    pub(super) fn fire_due_timeout(&mut self, now: Time) -> bool {
        let Some((key, place)) = self.machines().next_timeout(now) else {
            return false;
        };
        let slot = self.store.slot(key.as_str());
        let entry = self.store.at(slot);
        let entry = entry.expect("a key that stands somewhere is there");
        self.revision += 1;
        let moved = Entry {
            value: entry.value.to_value(),
            revision: self.revision,
            create_revision: entry.create_revision,
            attached: Attached::of(entry.lifetime().cloned(), Some(place)),
        };
        self.put(slot, &key, moved, ChangeCause::TimedOut);
        true
    }

    fn machines(&self) -> &Machines {
        &self.index.machines
    }
}

/// Refuses if a key of the machine is in a state that cannot stay.
fn stays(defined: &Defined, may_stay: impl Fn(&Name) -> bool) -> Result<(), Cause> {
    let stranded = defined.occupants.iter().find(|(state, _)| !may_stay(state));
    let Some((state, keys)) = stranded else {
        return Ok(());
    };
    let (_, example) = keys.first().expect("a state without keys is left out");
    Err(Cause::EntriesInState(Box::new(Stranded {
        count: keys.len().min(Stranded::COUNT_MAX),
        example: example.clone(),
        state: Some(state.clone()),
    })))
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
