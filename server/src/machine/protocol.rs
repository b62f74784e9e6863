//! Machines: protocols that users define for the keys under a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::condition::Condition;
use super::value::{Key, Name, Revision};

/// A machine: the states that the keys under a prefix go through, and the transitions between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The machine's name.
    pub name: Name,
    /// What the keys that the machine covers begin with.
    pub key_prefix: Key,
    /// The state that a new key starts in.
    pub initial: Name,
    /// The states, by name. Every state that the machine names anywhere is one of them.
    pub states: BTreeMap<Name, State>,
    /// The store revision at which this definition was stored; 0 if it was not.
    pub revision: Revision,
}

impl Machine {
    /// About how many bytes the machine takes in memory.
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

/// One state of a machine: how a key may leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The states that a Transition may move the key to.
    pub next: BTreeSet<Name>,
    /// When the key leaves the state by itself; `None` if it does not.
    pub timeout: Option<Timeout>,
}

/// When a key leaves a state by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// How long after it entered the state.
    pub after: Duration,
    /// The state that the key moves to then.
    pub next: Name,
}

impl State {
    /// Whether nothing leads on from this state. Only in a final state can a key be deleted.
    pub(super) fn is_final(&self) -> bool {
        self.next.is_empty() && self.timeout.is_none()
    }
}

/// A machine as it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineNow {
    /// The definition.
    pub machine: Machine,
    /// How many keys are in each state, in the order of [`Machine::states`].
    pub keys: Vec<usize>,
    /// How many moves of its keys were refused since the process began, because the machine does not allow them.
    pub refused_moves: u64,
}

/// A request to define a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefineMachine {
    /// The machine.
    pub machine: Machine,
    /// What must hold for the present machine of that name: [`Condition::Exists`] or [`Condition::Revision`].
    pub expect: Option<Condition>,
    /// Whether to store the machine, or only to check it.
    pub purpose: Purpose,
}

/// A request to delete a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteMachine {
    /// The machine's name.
    pub name: Name,
    /// Which states its keys may be in.
    pub keys: KeysLeft,
    /// The revision of the definition, if only that one is to be deleted.
    pub revision: Option<Revision>,
}

/// Which states the keys of a machine may be in when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysLeft {
    /// Final ones only, else the machine stays.
    InFinalStates,
    /// Any. This is the way out of a machine whose keys never come to rest.
    InAnyState,
}

/// What to do with a machine that passes all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Store it.
    Define,
    /// Nothing: the caller only asks whether it passes.
    Validate,
}
