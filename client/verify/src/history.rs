//! What the clients of a run did, and what they were answered.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::operation::{Entry, StateNumber};
use crate::packed::Record;

/// A machine's moves, by the numbers of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    /// The names of the states: at most 255.
    pub states: Vec<String>,
    /// The state that a key begins in.
    pub initial: StateNumber,
    /// For each state, where one may go from it. None: the state is final.
    pub next: Vec<Vec<StateNumber>>,
}

impl Machine {
    pub fn allows(&self, from: StateNumber, to: StateNumber) -> bool {
        (self.next.get(usize::from(from))).is_some_and(|next| next.contains(&to))
    }

    pub fn is_final(&self, state: StateNumber) -> bool {
        self.next.get(usize::from(state)).is_none_or(Vec::is_empty)
    }
}

/// A key before the first operation, and the store revision at which it was so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub entry: Option<Entry>,
    pub revision: i64,
}

/// A key: its number is its place in the history's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub name: String,
    /// None if nobody looked: then the key is checked from its first answer on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// The number of its machine in the history's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<u32>,
}

impl Key {
    pub fn new(name: impl Into<String>, found: Option<Found>) -> Self {
        Self {
            name: name.into(),
            found,
            machine: None,
        }
    }
}

/// What a watch was told: a change, or how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The key's entry after the change of this revision; None: it is gone.
    Event {
        key: u32,
        revision: i64,
        entry: Option<Entry>,
    },
    /// Everything up to this revision has been told: the `revision` of a message, after its events.
    Progress { revision: i64 },
}

/// One watch, from one revision on. A watch that goes on after a break, at the revision that it had come to, is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The keys that it is to be told of; in the order of their numbers.
    pub keys: Vec<u32>,
    /// Everything after this revision is to be told.
    pub after: i64,
    /// What came, with the time at which it did.
    pub told: Vec<(u64, Told)>,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// How the run was made, for whoever reads the file.
    pub settings: serde_json::Value,
    pub keys: Vec<Key>,
    pub machines: Vec<Machine>,
    /// In the order of their start.
    pub operations: Vec<Record>,
    pub watches: Vec<Watched>,
}

impl History {
    /// The numbers of the keys by their names.
    pub fn key_numbers(&self) -> HashMap<&str, u32> {
        let numbered = (0..).zip(&self.keys);
        numbered.map(|(number, key)| (&*key.name, number)).collect()
    }

    pub fn machine(&self, key: u32) -> Option<&Machine> {
        let number = self.keys.get(key as usize)?.machine?;
        self.machines.get(number as usize)
    }

    /// What makes no sense in itself, whatever a server did: a history that was not made by recorders.
    ///
    /// # Errors
    ///
    /// The first thing that makes none, in words.
    pub fn validate(&self) -> Result<(), String> {
        let keys = self.keys.len();
        for key in &self.keys {
            if key
                .machine
                .is_some_and(|it| it as usize >= self.machines.len())
            {
                return Err(format!(
                    "key {:?} has a machine that is not there",
                    key.name
                ));
            }
        }
        for machine in &self.machines {
            let states = machine.states.len();
            let named = machine.next.iter().flatten().chain([&machine.initial]);
            if states > 255
                || machine.next.len() != states
                || named.max().is_some_and(|it| usize::from(*it) >= states)
            {
                return Err(format!(
                    "machine {:?} has moves to states that are not there",
                    machine.name
                ));
            }
        }
        let mut before = 0;
        for (index, record) in self.operations.iter().enumerate() {
            let bad = |what: &str| Err(format!("operation {index} {what}"));
            if record.start() > record.end() {
                return bad("ends before it starts");
            }
            if record.start() < before {
                return bad("is not in the order of starts");
            }
            before = record.start();
            if record.key() as usize >= keys {
                return bad("has a key that is not there");
            }
        }
        for (index, watch) in self.watches.iter().enumerate() {
            let named = |(_, told): &(u64, Told)| match told {
                Told::Event { key, .. } => *key,
                Told::Progress { .. } => 0,
            };
            let beyond = watch
                .keys
                .iter()
                .copied()
                .chain(watch.told.iter().map(named));
            if beyond
                .max()
                .is_some_and(|key| key as usize > keys.max(1) - 1)
            {
                return Err(format!("watch {index} has a key that is not there"));
            }
        }
        Ok(())
    }
}
