//! Machines: protocols that keys under a prefix go through, and where each key stands.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::change::ChangeCause;
use super::condition::Condition;
use super::effect::Effect;
use super::index::{DefinedMachine, Machines};
use super::operation::{HasMore, Page};
use super::protocol::{DefineMachine, Machine, Purpose};
use super::rejection::{Cause, Rejection, StrandedKeys};
use super::state_machine::{StateMachine, entry_bytes};
use super::time::Time;
use super::value::{Attached, Entry, Name, Revision};

/// Most bytes of machines on one page: gRPC clients refuse messages over 4 MiB unless told otherwise.
const PAGE_BYTES_MAX: usize = 3 << 20;

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
        let before = self.machines().get(&machine.name);
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
        self.index.machines.define(machine.clone());
        self.push_effect(|| Effect::MachineDefined(machine.clone()));
        Ok(machine)
    }

    fn definable(&self, machine: &Machine, expect: Option<&Condition>) -> Result<(), Cause> {
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
        self.machine_fits(machine)?;
        self.all_reached(machine)
    }

    /// Whether a machine can be beside the others, and over the keys there are.
    pub(super) fn machine_fits(&self, machine: &Machine) -> Result<(), Cause> {
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
                stays(before, |state| machine.states.contains_key(state.as_str()))?;
            }
            before => {
                before.map_or(Ok(()), |before| stays(before, |_| false))?;
                let mut keys = self
                    .entries
                    .range(Bound::Included(prefix))
                    .take_while(|(key, _)| key.as_str().starts_with(prefix))
                    .take(StrandedKeys::COUNT_MAX);
                if let Some((example, _)) = keys.next() {
                    return Err(Cause::EntriesInState(Box::new(StrandedKeys {
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
        let before = self.machines().get(&machine.name);
        let mut reached = BTreeSet::from([&machine.initial]);
        // What is occupied need not be reached any more, and leads on all the same.
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

    /// Deletes a machine. The keys under it stay, without a state. Takes time for each of them: about a third of a
    /// second for a million.
    ///
    /// # Errors
    /// [`Rejection`] if there is none, or a key under it is in a state that is not final.
    pub fn delete_machine(&mut self, name: &Name) -> Result<Revision, Box<Rejection>> {
        let refuse = |cause| Rejection::of(name, cause);
        let Some(defined) = self.machines().get(name) else {
            return Err(refuse(Cause::MachineNotFound));
        };
        stays(defined, |state| defined.state(state).is_final()).map_err(refuse)?;

        // Nothing refuses from here on.
        self.revision += 1;
        let revision = self.revision;
        self.undefine(name);
        self.push_effect(|| Effect::MachineDeleted {
            name: name.clone(),
            revision,
        });
        Ok(revision)
    }

    /// Takes a machine away, and their states from its keys.
    pub(super) fn undefine(&mut self, name: &Name) {
        let defined = self.index.machines.undefine(name);
        for (_, key) in defined.keys_by_state.values().flatten() {
            let cursor = self.entries.cursor(key.as_str());
            let entry = self.entries.at(cursor);
            let entry = entry.expect("a key that stands somewhere is there");
            self.history.changes_unseen(key, entry);
            self.used_bytes -= entry_bytes(key, entry);
            let left = Entry {
                attached: Attached::of(entry.lifetime().cloned(), None),
                ..entry.to_entry()
            };
            self.used_bytes += entry_bytes(key, (&left).into());
            self.entries.put(cursor, key, left);
        }
    }

    /// One machine.
    ///
    /// # Errors
    /// [`Rejection`] if there is none of that name.
    pub fn get_machine(&self, name: &Name) -> Result<Machine, Box<Rejection>> {
        match self.machines().get(name) {
            Some(defined) => Ok(defined.machine.clone()),
            None => Err(Rejection::of(name, Cause::MachineNotFound)),
        }
    }

    /// A page of the machines, after the one of the name `after`.
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

    /// Moves the key on whose state's timeout is due first, if any is by now.
    pub(super) fn fire_due_timeout(&mut self, now: Time) -> bool {
        let Some((key, key_state)) = self.machines().next_timeout(now) else {
            return false;
        };
        let cursor = self.entries.cursor(key.as_str());
        let entry = self.entries.at(cursor);
        let entry = entry.expect("a key that stands somewhere is there");
        self.revision += 1;
        let moved = Entry {
            value: entry.value.to_value(),
            revision: self.revision,
            create_revision: entry.create_revision,
            attached: Attached::of(entry.lifetime().cloned(), Some(key_state)),
        };
        self.put(cursor, &key, moved, ChangeCause::TimedOut);
        true
    }

    fn machines(&self) -> &Machines {
        &self.index.machines
    }
}

/// Refuses if a key of the machine is in a state that cannot stay.
fn stays(defined: &DefinedMachine, may_stay: impl Fn(&Name) -> bool) -> Result<(), Cause> {
    let stranded = defined
        .keys_by_state
        .iter()
        .find(|(state, _)| !may_stay(state));
    let Some((state, keys)) = stranded else {
        return Ok(());
    };
    let (_, example) = keys.first().expect("a state without keys is left out");
    Err(Cause::EntriesInState(Box::new(StrandedKeys {
        count: keys.len().min(StrandedKeys::COUNT_MAX),
        example: example.clone(),
        state: Some(state.clone()),
    })))
}
