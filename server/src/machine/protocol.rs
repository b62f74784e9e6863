//! Machines as their users define them: protocols that keys go through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::condition::Condition;
use super::value::{Key, Name, Revision};

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
    pub(super) fn is_final(&self) -> bool {
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
