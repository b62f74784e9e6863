//! What the store promises for one key, as a function: the state of the key, an operation with its answer, and the state
//! after it, or that this answer cannot be given in this state.
//!
//! Not modelled: lifetimes, sessions and timeouts of states, which change a key without anybody asking. Keys that have
//! them do not belong into a history.

use crate::history::{Found, Machine};
use crate::operation::{
    Action, Actual, Entry, Expectation, Operation, Outcome, Refusal, Seen, StateNumber, Value,
};

/// What of an answer is held against the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The whole contract: values, the revisions of entries, and that revisions of the store only grow.
    Revisions,
    /// Values and presence alone. Revisions are opaque tags, looked at only where an operation expects one.
    Values,
}

/// A revision that nobody was told, and that can be any. One that is known to be `n` or greater is `UNTOLD - n`.
const UNTOLD: i64 = -1;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holds {
    /// Nobody looked yet.
    Anything,
    Nothing,
    Something {
        value: Value,
        state: Option<StateNumber>,
    },
}

/// A key at one moment, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Register {
    pub(crate) holds: Holds,
    /// Of the last change, if something is there; negative if nobody was told it.
    revision: i64,
    /// Where nobody was told it: it is not greater than this.
    most: i64,
    /// The store has come to this revision: each later change has a greater one.
    pub(crate) least: i64,
}

impl Register {
    /// The same as what was found of a key, where all of it is known.
    pub(crate) fn found(&self) -> Option<Found> {
        let entry = match self.holds {
            Holds::Anything => return None,
            Holds::Nothing => None,
            Holds::Something { .. } if self.revision < 0 => return None,
            Holds::Something { value, state } => Some(Entry {
                value,
                revision: self.revision,
                state,
            }),
        };
        let revision = self.least;
        Some(Found { entry, revision })
    }

    pub(crate) fn same_but_later(&self, other: &Self) -> bool {
        let of_change = |it: &Self| (it.holds, it.revision, it.most);
        of_change(self) == of_change(other)
    }

    /// Whether whatever can be done from the other on can be done from this one: it holds the same, and of revisions it
    /// rules out no more.
    pub(crate) fn permits(&self, other: &Self) -> bool {
        let has_more_room = self.revision < 0
            && other.revision < 0
            && self.revision >= other.revision
            && self.most >= other.most;
        self.holds == other.holds
            && self.least <= other.least
            && (has_more_room || self.same_but_later(other))
    }
}

/// The store revisions between which an operation was done, by what others were answered before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The store had come to this before the operation began.
    pub(crate) floor: i64,
    /// It had come no further when the operation had ended.
    pub(crate) ceiling: i64,
}

impl Bounds {
    pub(crate) const NONE: Self = Self {
        floor: 0,
        ceiling: i64::MAX,
    };
}

/// Whether an operation of unknown outcome may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    /// It may, and where it changes nothing it is.
    Nothing,
    /// Not: another key shows that its message was done.
    BeDone,
}

/// The rules for one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model<'a> {
    pub(crate) trust: Trust,
    /// Whether any operation expects a revision: otherwise `Trust::Values` forgets them, and fewer states differ.
    pub(crate) has_tags: bool,
    pub(crate) machine: Option<&'a Machine>,
    /// Revisions that changes were answered with, in their order: an unknown change has none of them.
    pub(crate) claimed: &'a [i64],
}

impl Model<'_> {
    pub(crate) fn start(&self, found: Option<Found>) -> Register {
        let mut register = Register {
            holds: Holds::Anything,
            revision: UNTOLD,
            most: i64::MAX,
            least: 0,
        };
        if let Some(found) = found {
            register.holds = match found.entry {
                None => Holds::Nothing,
                Some(Entry { value, state, .. }) => Holds::Something { value, state },
            };
            let revision = found.entry.map_or(UNTOLD, |entry| entry.revision);
            register.revision = self.tag(revision);
            if self.trust == Trust::Revisions {
                register.least = found.revision;
            }
        }
        register
    }

    fn tag(&self, revision: i64) -> i64 {
        match self.trust == Trust::Revisions || self.has_tags {
            true => revision,
            false => UNTOLD,
        }
    }

    /// The state after these operations, which are done at one moment, if their answers can be given.
    pub(crate) fn step(
        &self,
        mut register: Register,
        unit: &[Operation],
        bounds: Bounds,
        must: Must,
    ) -> Option<Register> {
        // The revision that a change of this unit has taken already: the next one may have it too.
        let mut own = None;
        let mut done_at = None;
        let mut has_changed = false;
        // The revision of an unknown unit, if a later operation of it expects the one that an earlier one made.
        let mut own_unknown = None;
        for operation in unit {
            register = match operation.outcome {
                Outcome::Done { revision, seen } => {
                    done_at = done_at.max(Some(revision));
                    let (next, changes) = self.done(register, operation, seen, own)?;
                    own = if changes { Some(revision) } else { own };
                    next
                }
                Outcome::Refused(refusal) => self.refused(register, operation, refusal, bounds)?,
                Outcome::Unknown => {
                    let mut operation = *operation;
                    if let (true, Trust::Revisions) = (has_changed, self.trust)
                        && let Holds::Something { .. } = register.holds
                        && let Some(Expectation::Revision(expected)) = operation.expect
                    {
                        if *own_unknown.get_or_insert(expected) != expected {
                            return None;
                        }
                        operation.expect = None;
                    }
                    let (next, changes) = self.change(register, &operation)?;
                    has_changed |= changes;
                    next
                }
                Outcome::NotDone => return None,
            };
        }
        if let (Some(revision), Trust::Revisions) = (done_at, self.trust) {
            register.least = register.least.max(revision);
        }
        if has_changed {
            register = self.advance_unknown(register, bounds, own_unknown)?;
        }
        // Of an unknown one that changes nothing, nothing need be said; but that it did not fail, if it must be done.
        let is_unknown = unit.iter().any(|it| it.outcome == Outcome::Unknown);
        (has_changed || !is_unknown || must == Must::BeDone).then_some(register)
    }

    fn done(
        &self,
        register: Register,
        operation: &Operation,
        seen: Seen,
        own: Option<i64>,
    ) -> Option<(Register, bool)> {
        let mut register = register;
        let revision = operation.revision()?;
        if let Some(expect) = operation.expect {
            register = self.meets(register, expect)?;
        }
        if let Seen::Entry(entry) = seen {
            register = self.shows(register, entry)?;
            if self.trust == Trust::Revisions && entry.is_some_and(|it| it.revision > revision) {
                return None;
            }
        }
        if let (Seen::From(from), Holds::Something { state, .. }) = (seen, register.holds)
            && state != Some(from)
        {
            return None;
        }
        let (mut next, changes) = self.change(register, operation)?;
        if let (Seen::Sum(sum), Action::Add(_)) = (seen, operation.action) {
            match &mut next.holds {
                Holds::Something { value, .. } if *value == Value::Int(sum) => {}
                // What it was before the sum is not known, but now it is.
                it @ Holds::Anything => {
                    *it = Holds::Something {
                        value: Value::Int(sum),
                        state: self.first_state(),
                    };
                    // With a machine the state stays unknown: nothing can be said of it.
                    if self.machine.is_some() {
                        *it = Holds::Anything;
                    }
                }
                _ => return None,
            }
        }
        if changes {
            next.revision = match next.holds {
                Holds::Something { .. } => self.tag(revision),
                _ => UNTOLD,
            };
            next.most = i64::MAX;
        }
        let fits = match (self.trust, changes) {
            (Trust::Values, _) => true,
            (Trust::Revisions, false) => revision >= register.least,
            (Trust::Revisions, true) => own == Some(revision) || revision > register.least,
        };
        fits.then_some((next, changes))
    }

    fn refused(
        &self,
        register: Register,
        operation: &Operation,
        refusal: Refusal,
        bounds: Bounds,
    ) -> Option<Register> {
        let mut register = register;
        match (refusal, operation.expect) {
            (Refusal::Expectation(actual), Some(expect)) => {
                register = self.fails(register, expect, actual)?;
            }
            (Refusal::Expectation(_), None) => return None,
            (_, Some(expect)) => register = self.meets(register, expect)?,
            (_, None) => {}
        }
        if self.trust == Trust::Revisions {
            register.least = register.least.max(bounds.floor);
        }
        let (value, state) = match register.holds {
            Holds::Anything => return Some(register),
            Holds::Nothing => (None, None),
            Holds::Something { value, state } => (Some(value), state),
        };
        let holds = match (refusal, operation.action) {
            (Refusal::Expectation(_), _) => true,
            (Refusal::Missing, Action::Transition { .. }) => value.is_none(),
            (Refusal::Move { from }, Action::Transition { to, .. }) => {
                let allows = |machine: &Machine| machine.allows(from, to);
                state == Some(from) && !self.machine.is_some_and(allows)
            }
            (Refusal::NotFinal { state: is }, Action::Delete) => {
                let is_final = |machine: &Machine| machine.is_final(is);
                state == Some(is) && !self.machine.is_none_or(is_final)
            }
            (Refusal::NoMachine, Action::Transition { .. }) => {
                value.is_some() && self.machine.is_none()
            }
            (Refusal::NotInt, Action::Add(_)) => matches!(value, Some(Value::Digest(_))),
            (Refusal::Overflow, Action::Add(delta)) => {
                matches!(value, Some(Value::Int(value)) if value.checked_add(delta).is_none())
            }
            _ => false,
        };
        // What was answered with a greater revision may have been ordered before it, where that changed nothing.
        (holds && register.revision <= bounds.ceiling).then_some(register)
    }

    /// What an operation leaves, revisions apart, and whether that is a change; None if it would be refused.
    fn change(&self, register: Register, operation: &Operation) -> Option<(Register, bool)> {
        let mut register = register;
        if let (Some(expect), Outcome::Unknown) = (operation.expect, operation.outcome) {
            register = self.meets(register, expect)?;
        }
        let changed = |holds| {
            Some((
                Register {
                    holds,
                    revision: UNTOLD,
                    most: i64::MAX,
                    ..register
                },
                true,
            ))
        };
        match (operation.action, register.holds) {
            (Action::Read, _) => Some((register, false)),
            (Action::Write(_), Holds::Anything) if self.machine.is_some() => {
                changed(Holds::Anything)
            }
            (Action::Write(value), Holds::Something { state, .. }) => {
                changed(Holds::Something { value, state })
            }
            (Action::Write(value), _) => changed(Holds::Something {
                value,
                state: self.first_state(),
            }),
            (
                Action::Add(0),
                Holds::Anything
                | Holds::Something {
                    value: Value::Int(_),
                    ..
                },
            ) => Some((register, false)),
            (
                Action::Add(delta),
                Holds::Something {
                    value: Value::Int(value),
                    state,
                },
            ) => {
                let value = Value::Int(value.checked_add(delta)?);
                changed(Holds::Something { value, state })
            }
            (Action::Add(_), Holds::Something { .. }) => None,
            (Action::Add(delta), Holds::Nothing) => changed(Holds::Something {
                value: Value::Int(delta),
                state: self.first_state(),
            }),
            (Action::Delete, Holds::Nothing) => Some((register, false)),
            (Action::Delete, Holds::Something { state, .. }) => {
                let may_end = match (self.machine, state) {
                    (Some(machine), Some(state)) => machine.is_final(state),
                    _ => true,
                };
                may_end.then(|| changed(Holds::Nothing))?
            }
            (Action::Delete, Holds::Anything) => changed(Holds::Nothing),
            (Action::Transition { to, value: new }, Holds::Something { value, state }) => {
                let (machine, from) = (self.machine?, state?);
                let value = new.unwrap_or(value);
                let state = Some(to);
                (machine.allows(from, to)).then(|| changed(Holds::Something { value, state }))?
            }
            (Action::Transition { .. }, Holds::Nothing) => None,
            (Action::Add(_) | Action::Transition { .. }, Holds::Anything) => {
                changed(Holds::Anything)
            }
        }
    }

    /// The least revision that an unknown change can have had; or the one that it had, where it says so itself.
    fn advance_unknown(
        &self,
        register: Register,
        bounds: Bounds,
        own: Option<i64>,
    ) -> Option<Register> {
        let mut register = register;
        if self.trust == Trust::Values {
            return Some(register);
        }
        let least = self.free_from(register.least.max(bounds.floor) + 1);
        let is_own = |own: i64| least <= own && self.free_from(own) == own;
        if !own.is_none_or(is_own) {
            return None;
        }
        register.least = own.unwrap_or(least);
        if register.holds != Holds::Nothing {
            (register.revision, register.most) = match own {
                Some(own) => (own, i64::MAX),
                None => (UNTOLD - least, bounds.ceiling),
            };
        }
        (register.least <= bounds.ceiling).then_some(register)
    }

    /// The first revision from this one on that nobody was answered a change with.
    fn free_from(&self, mut least: i64) -> i64 {
        let mut next = self.claimed.partition_point(|claimed| *claimed < least);
        while self.claimed.get(next) == Some(&least) {
            least += 1;
            next += 1;
        }
        least
    }

    fn first_state(&self) -> Option<StateNumber> {
        self.machine.map(|machine| machine.initial)
    }

    /// The same, now that this was seen of it.
    fn shows(&self, register: Register, entry: Option<Entry>) -> Option<Register> {
        let Some(entry) = entry else {
            let is = matches!(register.holds, Holds::Anything | Holds::Nothing);
            let holds = Holds::Nothing;
            return is.then_some(Register { holds, ..register });
        };
        let (value, state) = (entry.value, entry.state);
        let holds = Holds::Something { value, state };
        let is_first = register.holds == Holds::Anything;
        if !is_first && register.holds != holds {
            return None;
        }
        let shown = Register { holds, ..register };
        match (self.trust, is_first) {
            // From here on it is known; nothing is known of what was before.
            (_, true) => Some(Register {
                revision: self.tag(entry.revision),
                most: i64::MAX,
                least: match self.trust {
                    Trust::Revisions => shown.least.max(entry.revision),
                    Trust::Values => 0,
                },
                ..shown
            }),
            (Trust::Revisions, false) => self.has_revision(shown, entry.revision),
            (Trust::Values, false) => Some(shown),
        }
    }

    /// The same, now that the key's revision is known. 0: the key is not there.
    fn has_revision(&self, register: Register, revision: i64) -> Option<Register> {
        let mut register = register;
        match register.holds {
            Holds::Anything => return Some(register),
            Holds::Nothing => return (revision == 0).then_some(register),
            Holds::Something { .. } => {}
        }
        let can_be = match (register.revision, self.trust) {
            (untold @ ..0, Trust::Revisions) => {
                (UNTOLD - untold..=register.most).contains(&revision)
                    && self.claimed.binary_search(&revision).is_err()
            }
            (..0, Trust::Values) => revision != 0,
            (is, _) => is == revision,
        };
        (register.revision, register.most) = (revision, i64::MAX);
        if self.trust == Trust::Revisions {
            register.least = register.least.max(revision);
        }
        can_be.then_some(register)
    }

    fn meets(&self, register: Register, expect: Expectation) -> Option<Register> {
        let holds = match (expect, register.holds) {
            (_, Holds::Anything) => true,
            (Expectation::Exists(exists), holds) => exists == (holds != Holds::Nothing),
            (Expectation::Revision(revision), _) => return self.has_revision(register, revision),
            (Expectation::Value(expected), Holds::Something { value, .. }) => value == expected,
            (Expectation::State(expected), Holds::Something { state, .. }) => {
                state == Some(expected)
            }
            (Expectation::Value(_) | Expectation::State(_), Holds::Nothing) => false,
        };
        holds.then_some(register)
    }

    fn fails(&self, register: Register, expect: Expectation, actual: Actual) -> Option<Register> {
        let (value, state) = match register.holds {
            Holds::Anything => return Some(register),
            Holds::Nothing => (None, None),
            Holds::Something { value, state } => (Some(value), state),
        };
        let told = match actual {
            Actual::Untold => true,
            Actual::Value(actual) => actual == value,
            Actual::State(actual) => actual == state,
            Actual::Revision(actual) => {
                let register = self.has_revision(register, actual)?;
                let fails = expect != Expectation::Revision(actual);
                return (fails && self.can_fail(register, expect, value, state))
                    .then_some(register);
            }
        };
        (told && self.can_fail(register, expect, value, state)).then_some(register)
    }

    fn can_fail(
        &self,
        register: Register,
        expect: Expectation,
        value: Option<Value>,
        state: Option<StateNumber>,
    ) -> bool {
        match expect {
            Expectation::Exists(exists) => exists != value.is_some(),
            Expectation::Revision(0) => value.is_some(),
            Expectation::Revision(expected) => value.is_none() || register.revision != expected,
            Expectation::Value(expected) => value != Some(expected),
            Expectation::State(expected) => state != Some(expected),
        }
    }
}
