//! A history: the keys of a run, what its clients asked and were answered, and what its watches were told.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::operation::{Entry, NO_REVISION, Operation, StateNumber};
use crate::packed::PackedOperation;

/// Everything that is known of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// How the run was made, for people who read the file. The checker does not use it.
    pub settings: serde_json::Value,
    /// The keys. Operations and watches name a key by its place here.
    pub keys: Vec<Key>,
    /// The machines. Keys name a machine by its place here.
    pub machines: Vec<Machine>,
    /// The operations, in the order of their starts; those of one message side by side.
    pub operations: Vec<PackedOperation>,
    /// What watches were told.
    pub watches: Vec<Watch>,
}

/// One key of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The name of the key. No two keys have the same.
    pub name: String,
    /// The key before the run. `None` if nobody looked: then the key is checked from its first answer on.
    #[serde(default, rename = "found", skip_serializing_if = "Option::is_none")]
    pub initial: Option<Initial>,
    /// The place of the key's machine in [`History::machines`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<u32>,
}

impl Key {
    /// Makes a key without a machine.
    pub fn new(name: impl Into<String>, initial: Option<Initial>) -> Self {
        Self {
            name: name.into(),
            initial,
            machine: None,
        }
    }
}

/// A key before the first operation. The default is a key that never existed, in a new store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initial {
    /// What the store held under the key. `None`: the key did not exist.
    #[serde(default)]
    pub entry: Option<Entry>,
    /// The store revision at which that was so.
    #[serde(default)]
    pub revision: i64,
}

/// The states of a machine, and the transitions that it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The name of the machine.
    pub name: String,
    /// The names of the states: at most 255. A state's number is its place here.
    pub states: Vec<String>,
    /// The state of a new key.
    pub initial: StateNumber,
    /// For each state, the states that a Transition may lead to. A state without any is final.
    pub next: Vec<Vec<StateNumber>>,
}

impl Machine {
    pub(crate) fn allows(&self, from: StateNumber, to: StateNumber) -> bool {
        (self.next.get(usize::from(from))).is_some_and(|next| next.contains(&to))
    }

    pub(crate) fn is_final(&self, state: StateNumber) -> bool {
        self.next.get(usize::from(state)).is_none_or(Vec::is_empty)
    }
}

/// What one watch was told. A watch that broke and went on, at the revision that it had come to, is one watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The watched keys, by their places in [`History::keys`].
    pub keys: Vec<u32>,
    /// The watch has to be told every change with a greater revision than this.
    pub after: i64,
    /// What it was told, in the order in which it came. With the time at which it came, in nanoseconds since the start of
    /// the run.
    #[serde(rename = "told")]
    pub updates: Vec<(u64, WatchUpdate)>,
}

/// One thing that a watch was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchUpdate {
    /// A change of a key.
    Event {
        /// The place of the key in [`History::keys`].
        key: u32,
        /// The store revision of the change.
        revision: i64,
        /// What the store held under the key after the change. `None`: the key was deleted.
        entry: Option<Entry>,
    },
    /// That every change up to this revision has been told. Each message of a watch says so, after its events.
    Progress {
        /// The store revision.
        revision: i64,
    },
}

impl History {
    /// The places of the keys by their names.
    pub(crate) fn key_numbers(&self) -> HashMap<&str, u32> {
        let numbered = (0..).zip(&self.keys);
        numbered.map(|(number, key)| (&*key.name, number)).collect()
    }

    pub(crate) fn machine(&self, key: u32) -> Option<&Machine> {
        let number = self.keys.get(key as usize)?.machine?;
        self.machines.get(number as usize)
    }

    /// Tells whether some answers have no revision. Then only values can be checked.
    pub fn lacks_revisions(&self) -> bool {
        let lacks = |it: Operation| {
            it.revision() == Some(NO_REVISION)
                || it
                    .entry()
                    .is_some_and(|entry| entry.revision == NO_REVISION)
        };
        let operations = self.operations.iter().map(PackedOperation::unpack);
        operations.into_iter().any(lacks)
    }

    /// Finds the first contradiction of the history with itself, whatever a server did.
    pub(crate) fn validate(&self) -> Result<(), String> {
        self.validate_machines()?;
        self.validate_operations()?;
        self.validate_watches()
    }

    fn validate_machines(&self) -> Result<(), String> {
        for key in &self.keys {
            let count = self.machines.len();
            if key.machine.is_some_and(|it| it as usize >= count) {
                return Err(format!("key {:?} has a machine that is missing", key.name));
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
                    "machine {:?} has transitions to states that are missing",
                    machine.name
                ));
            }
        }
        Ok(())
    }

    fn validate_operations(&self) -> Result<(), String> {
        let mut previous_start = 0;
        for (index, operation) in self.operations.iter().enumerate() {
            let wrong = |what: &str| Err(format!("operation {index} {what}"));
            if operation.start() > operation.end() {
                return wrong("ends before it starts");
            }
            if operation.start() < previous_start {
                return wrong("starts before the operation in front of it");
            }
            previous_start = operation.start();
            if operation.key() as usize >= self.keys.len() {
                return wrong("has a key that is missing");
            }
        }
        Ok(())
    }

    fn validate_watches(&self) -> Result<(), String> {
        for (index, watch) in self.watches.iter().enumerate() {
            let told = watch.updates.iter().filter_map(|(_, update)| match update {
                WatchUpdate::Event { key, .. } => Some(key),
                WatchUpdate::Progress { .. } => None,
            });
            let greatest = watch.keys.iter().chain(told).max();
            if greatest.is_some_and(|key| *key as usize >= self.keys.len()) {
                return Err(format!("watch {index} has a key that is missing"));
            }
        }
        Ok(())
    }
}
