//! Machines: defining and deleting them, and moving keys whose state times out.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::change::ChangeCause;
use super::condition::Condition;
use super::effect::Effect;
use super::index::{DefinedMachine, Machines, machine_bytes};
use super::operation::{HasMore, Page};
use super::protocol::{DefineMachine, DeleteMachine, KeysLeft, Machine, MachineNow, Purpose};
use super::rejection::{Cause, Rejection, StrandedKeys};
use super::state_machine::{StateMachine, entry_bytes};
use super::time::Time;
use super::value::{Attached, Entry, Name, Revision};

/// Most bytes of machines on one page: gRPC clients refuse messages over 4 MiB unless told otherwise.
const PAGE_BYTES_MAX: usize = 3 << 20;

impl StateMachine {
    /// Creates or replaces a machine, at a new revision. A machine that is defined just so already keeps its revision.
    ///
    /// # Errors
    /// [`Rejection`] if the condition does not hold, there are too many machines, the prefix overlaps with another
    /// machine's, keys are in the way, a state can never be reached, or the store or the disk is
    /// full. Nothing is changed then.
    pub fn define_machine(&mut self, define: DefineMachine) -> Result<Machine, Box<Rejection>> {
        let DefineMachine {
            mut machine,
            expect,
            purpose,
        } = define;
        let before = self.machines().get(&machine.name);
        machine.revision = before.map_or(0, |before| before.machine.revision);
        self.check_definition(&machine, expect.as_ref())
            .map_err(|cause| Rejection::of(&machine.name, cause))?;
        if let Purpose::Validate = purpose {
            machine.revision = 0;
            return Ok(machine);
        }
        if before.is_some_and(|before| before.machine == machine) {
            return Ok(machine);
        }
        self.check_disk_space()
            .map_err(|cause| Rejection::of(&machine.name, cause))?;

        // All checks have passed: from here on nothing is refused.
        self.revision += 1;
        machine.revision = self.revision;
        self.index.machines.define(machine.clone());
        self.push_effect(|| Effect::MachineDefined(machine.clone()));
        Ok(machine)
    }

    /// Refuses a machine that cannot be defined now.
    fn check_definition(&self, machine: &Machine, expect: Option<&Condition>) -> Result<(), Cause> {
        let machines = self.machines();
        let before = machines.get(&machine.name);
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
        self.check_fits(machine)?;
        self.check_reachable(machine)?;
        let freed = before.map_or(0, |before| machine_bytes(&before.machine));
        self.check_room(freed, machine_bytes(machine))
    }

    /// Refuses a machine whose prefix overlaps with another's, or which has keys in its way.
    pub(super) fn check_fits(&self, machine: &Machine) -> Result<(), Cause> {
        let machines = self.machines();
        let before = machines.get(&machine.name);
        let prefix = machine.key_prefix.as_str();
        if let Some((key_prefix, name)) = machines.overlapping(machine) {
            return Err(Cause::PrefixTaken {
                machine: name.clone(),
                key_prefix: key_prefix.clone(),
            });
        }
        match before {
            Some(before) if before.machine.key_prefix == machine.key_prefix => {
                check_states(before, |state| machine.states.contains_key(state.as_str()))?;
            }
            // A new prefix: neither the old one nor the new one may cover any key.
            before => {
                before.map_or(Ok(()), |before| check_states(before, |_| false))?;
                let mut keys = self
                    .entries
                    .range(Bound::Included(prefix))
                    .take_while(|(key, _)| key.as_str().starts_with(prefix))
                    .take(StrandedKeys::COUNT_MAX);
                if let Some((example, _)) = keys.next() {
                    return Err(Cause::EntriesInState(Box::new(StrandedKeys {
                        count: 1 + keys.count(),
                        example,
                        state: None,
                    })));
                }
            }
        }
        Ok(())
    }

    /// Refuses a machine with a state that no key is in and none can reach.
    fn check_reachable(&self, machine: &Machine) -> Result<(), Cause> {
        let before = self.machines().get(&machine.name);
        let mut reached = BTreeSet::from([&machine.initial]);
        // A state that keys are in need not be reachable, and leads on to others.
        reached.extend(before.iter().flat_map(|before| before.keys_by_state.keys()));
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

    /// Deletes a machine, at a new revision. Its keys stay and lose their states, which takes about a third of a second for
    /// a million keys.
    ///
    /// # Errors
    /// [`Rejection`] if the machine does not exist, or one of its keys is in a state that is not final and
    /// [`KeysLeft::InAnyState`] is not asked for.
    pub fn delete_machine(&mut self, delete: &DeleteMachine) -> Result<Revision, Box<Rejection>> {
        let DeleteMachine {
            name,
            keys,
            revision: expected,
        } = delete;
        let refuse = |cause| Rejection::of(name, cause);
        let Some(defined) = self.machines().get(name) else {
            return Err(refuse(Cause::MachineNotFound));
        };
        let actual = defined.machine.revision;
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(refuse(Cause::MachineChanged { expected, actual }));
        }
        check_states(defined, |state| {
            *keys == KeysLeft::InAnyState || defined.state(state).is_final()
        })
        .map_err(refuse)?;

        // All checks have passed: from here on nothing is refused.
        self.revision += 1;
        let revision = self.revision;
        self.undefine(name);
        self.push_effect(|| Effect::MachineDeleted {
            name: name.clone(),
            revision,
        });
        Ok(revision)
    }

    /// Removes a machine, and the states of its keys. Watches are not told of it.
    pub(super) fn undefine(&mut self, name: &Name) {
        let defined = self.index.machines.undefine(name);
        self.refused_moves.0.remove(name.as_str());
        for (_, key) in defined.keys_by_state.values().flatten() {
            let cursor = self.entries.cursor(key.as_str());
            let entry = self.entries.at(cursor);
            let entry = entry.expect("a key with a state exists");
            self.history.preserve_for_copies(key, entry);
            self.key_bytes -= entry_bytes(key, entry);
            let left = Entry {
                attached: Attached::of(entry.lifetime().cloned(), None),
                ..entry.to_entry()
            };
            self.key_bytes += entry_bytes(key, (&left).into());
            self.entries.put(cursor, key, left);
        }
    }

    /// The machine of this name.
    ///
    /// # Errors
    /// [`Rejection`] if it does not exist.
    pub fn get_machine(&self, name: &Name) -> Result<Machine, Box<Rejection>> {
        match self.machines().get(name) {
            Some(defined) => Ok(defined.machine.clone()),
            None => Err(Rejection::of(name, Cause::MachineNotFound)),
        }
    }

    /// A page of the machines after the name `after`, in the order of their names.
    #[must_use]
    pub fn list_machines(&self, after: Option<&str>, page_size: usize) -> Page<Machine> {
        let mut machines = self.machines().after(after);
        let mut items = Vec::new();
        let mut bytes = 0;
        let has_more = loop {
            let Some(machine) = machines.next() else {
                break HasMore::No;
            };
            bytes += machine.byte_len();
            if items.len() == page_size || !items.is_empty() && bytes > PAGE_BYTES_MAX {
                break HasMore::Yes;
            }
            items.push(machine.clone());
        };
        Page { items, has_more }
    }

    /// The first machines in the order of their names, at most `most`, with how their keys are spread over their states.
    #[must_use]
    pub fn machines_now(&self, most: usize) -> Vec<MachineNow> {
        let now = |defined: &DefinedMachine| {
            let states = defined.machine.states.keys();
            let keys = states.map(|state| {
                let keys = defined.keys_by_state.get(state.as_str());
                keys.map_or(0, BTreeSet::len)
            });
            MachineNow {
                keys: keys.collect(),
                refused_moves: self.refused_moves(&defined.machine.name),
                machine: defined.machine.clone(),
            }
        };
        self.machines().all_defined().take(most).map(now).collect()
    }

    /// How many moves a machine has refused since the process began.
    fn refused_moves(&self, machine: &Name) -> u64 {
        let refused = self.refused_moves.0.get(machine.as_str());
        refused.copied().unwrap_or_default()
    }

    /// Counts a move that its machine has refused.
    pub(super) fn count_refused_move(&mut self, machine: Name) {
        *self.refused_moves.0.entry(machine).or_default() += 1;
    }

    /// Moves the key that times out first, at a new revision. Returns false if none is due by now.
    pub(super) fn fire_due_timeout(&mut self, now: Time) -> bool {
        let Some((key, key_state)) = self.machines().next_timeout(now) else {
            return false;
        };
        let cursor = self.entries.cursor(key.as_str());
        let entry = self.entries.at(cursor);
        let entry = entry.expect("a key with a state exists");
        self.revision += 1;
        let moved = Entry {
            value: entry.value.to_value(),
            revision: self.revision,
            create_revision: entry.create_revision,
            attached: Attached::of(entry.lifetime().cloned(), Some(key_state)),
        };
        self.put(cursor, &key, moved, ChangeCause::TimedOut);
        self.ended.timed_out += 1;
        true
    }

    fn machines(&self) -> &Machines {
        &self.index.machines
    }
}

/// Refuses if a key of the machine is in a state for which `allows` is false.
fn check_states(defined: &DefinedMachine, allows: impl Fn(&Name) -> bool) -> Result<(), Cause> {
    let stranded = defined
        .keys_by_state
        .iter()
        .find(|(state, _)| !allows(state));
    let Some((state, keys)) = stranded else {
        return Ok(());
    };
    let (_, example) = keys.first().expect("the index has only states with keys");
    Err(Cause::EntriesInState(Box::new(StrandedKeys {
        count: keys.len().min(StrandedKeys::COUNT_MAX),
        example: example.clone(),
        state: Some(state.clone()),
    })))
}
