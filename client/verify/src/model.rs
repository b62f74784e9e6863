//! What the store promises for one key, as a function: from the state of the key and an operation with its answer to the
//! next state of the key, or to nothing if this answer is impossible in this state.
//!
//! Not modelled: lifetimes, sessions and timeouts of states. They change a key that no operation names, so keys that have
//! one do not belong in a history.

use crate::history::{Initial, Machine};
use crate::operation::{
    Action, Actual, Entry, Expectation, Observed, Operation, Outcome, Refusal, Value,
};
use crate::register::{Content, Register, UNKNOWN_REVISION};

/// By what an answer is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Criterion {
    /// Everything: values, the revisions of entries, and that revisions of the store only grow.
    Revisions,
    /// Values, and whether keys exist. A revision is only a tag, compared where an operation expects one.
    Values,
}

/// The store revisions between which an operation happened, by the answers before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The store had come to this revision before the operation began.
    pub(crate) floor: i64,
    /// The store had come no further when the operation had ended.
    pub(crate) ceiling: i64,
}

impl Bounds {
    pub(crate) const NONE: Self = Self {
        floor: 0,
        ceiling: i64::MAX,
    };
}

/// Whether an order may leave out an operation of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inclusion {
    /// It may. It has to if the operation changes nothing at its place.
    Optional,
    /// It may not: another key shows that the message was done.
    Required,
}

/// The rules for one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model<'a> {
    pub(crate) criterion: Criterion,
    /// Whether an operation expects a revision. If none does, `Criterion::Values` forgets revisions, so that fewer
    /// registers differ.
    pub(crate) tracks_revisions: bool,
    pub(crate) machine: Option<&'a Machine>,
    /// The revisions of all answered changes, in their order: a change of unknown outcome has none of them.
    pub(crate) claimed_revisions: &'a [i64],
}

impl Model<'_> {
    /// The register before the first operation.
    pub(crate) fn start(&self, initial: Option<Initial>) -> Register {
        let mut register = Register {
            content: Content::Unknown,
            revision: UNKNOWN_REVISION,
            revision_max: i64::MAX,
            store_revision: 0,
        };
        if let Some(initial) = initial {
            register.content = match initial.entry {
                None => Content::Absent,
                Some(Entry { value, state, .. }) => Content::Present { value, state },
            };
            let revision = (initial.entry).map_or(UNKNOWN_REVISION, |entry| entry.revision);
            register.revision = self.tracked(revision);
            if self.criterion == Criterion::Revisions {
                register.store_revision = initial.revision;
            }
        }
        register
    }

    /// The revision, if this model looks at revisions.
    fn tracked(&self, revision: i64) -> i64 {
        match self.criterion == Criterion::Revisions || self.tracks_revisions {
            true => revision,
            false => UNKNOWN_REVISION,
        }
    }

    /// The register after the operations of a unit, which happen at one moment. `None` if an answer is impossible, or if the
    /// order has to leave the unit out here.
    pub(crate) fn step(
        &self,
        mut register: Register,
        unit: &[Operation],
        bounds: Bounds,
        inclusion: Inclusion,
    ) -> Option<Register> {
        // The revision of the unit's changes so far. A further change may have the same.
        let mut own_revision = None;
        let mut answered_revision = None;
        let mut has_unknown_change = false;
        // The revision of the unit's changes of unknown outcome, if a later operation of the unit expects it.
        let mut expected_own_revision = None;
        for operation in unit {
            register = match operation.outcome {
                Outcome::Done { revision, observed } => {
                    answered_revision = answered_revision.max(Some(revision));
                    let (next, changes) = self.done(register, operation, observed, own_revision)?;
                    if changes {
                        own_revision = Some(revision);
                    }
                    next
                }
                Outcome::Refused(refusal) => self.refused(register, operation, refusal, bounds)?,
                Outcome::Unknown => {
                    let mut operation = *operation;
                    if let (true, Criterion::Revisions) = (has_unknown_change, self.criterion)
                        && let Content::Present { .. } = register.content
                        && let Some(Expectation::Revision(expected)) = operation.expect
                    {
                        if *expected_own_revision.get_or_insert(expected) != expected {
                            return None;
                        }
                        operation.expect = None;
                    }
                    let (next, changes) = self.change(register, &operation)?;
                    has_unknown_change |= changes;
                    next
                }
                Outcome::NotDone => return None,
            };
        }
        if let (Some(revision), Criterion::Revisions) = (answered_revision, self.criterion) {
            register.store_revision = register.store_revision.max(revision);
        }
        if has_unknown_change {
            register = self.take_revision(register, bounds, expected_own_revision)?;
        }
        // A unit of unknown outcome that changes nothing is left out, unless its message was done: then it did not fail.
        let is_unknown = unit.iter().any(|it| it.outcome == Outcome::Unknown);
        let is_needed = has_unknown_change || !is_unknown || inclusion == Inclusion::Required;
        is_needed.then_some(register)
    }

    /// The register after an operation that was done, and whether it changed the key. `own_revision` is the revision of
    /// earlier changes in its unit.
    fn done(
        &self,
        mut register: Register,
        operation: &Operation,
        observed: Observed,
        own_revision: Option<i64>,
    ) -> Option<(Register, bool)> {
        let revision = operation.revision()?;
        if let Some(expect) = operation.expect {
            register = self.meets(register, expect)?;
        }
        if let Observed::Entry(entry) = observed {
            register = self.shows(register, entry)?;
            let is_later = |entry: Entry| entry.revision > revision;
            if self.criterion == Criterion::Revisions && entry.is_some_and(is_later) {
                return None;
            }
        }
        if let Observed::FromState(from) = observed
            && let Content::Present { state, .. } = register.content
            && state != Some(from)
        {
            return None;
        }
        let (mut next, changes) = self.change(register, operation)?;
        if let (Observed::Sum(sum), Action::Add(_)) = (observed, operation.action) {
            next.content = self.content_of_sum(next.content, sum)?;
        }
        if changes {
            next.revision = match next.content {
                Content::Present { .. } => self.tracked(revision),
                _ => UNKNOWN_REVISION,
            };
            next.revision_max = i64::MAX;
        }
        let fits = match (self.criterion, changes) {
            (Criterion::Values, _) => true,
            (Criterion::Revisions, false) => revision >= register.store_revision,
            (Criterion::Revisions, true) => {
                own_revision == Some(revision) || revision > register.store_revision
            }
        };
        fits.then_some((next, changes))
    }

    /// The content after an Add whose answer shows this sum.
    fn content_of_sum(&self, content: Content, sum: i64) -> Option<Content> {
        let sum = Value::Int(sum);
        match content {
            Content::Present { value, .. } => (value == sum).then_some(content),
            // The sum shows a value that was unknown. It does not show the state of a key with a machine.
            Content::Unknown if self.machine.is_none() => Some(Content::Present {
                value: sum,
                state: None,
            }),
            Content::Unknown => Some(Content::Unknown),
            Content::Absent => None,
        }
    }

    /// The register after an operation that was refused.
    fn refused(
        &self,
        mut register: Register,
        operation: &Operation,
        refusal: Refusal,
        bounds: Bounds,
    ) -> Option<Register> {
        match (refusal, operation.expect) {
            (Refusal::Expectation(actual), Some(expect)) => {
                register = self.fails(register, expect, actual)?;
            }
            (Refusal::Expectation(_), None) => return None,
            (_, Some(expect)) => register = self.meets(register, expect)?,
            (_, None) => {}
        }
        if self.criterion == Criterion::Revisions {
            register.store_revision = register.store_revision.max(bounds.floor);
        }
        let (value, state) = match register.content {
            Content::Unknown => return Some(register),
            Content::Absent => (None, None),
            Content::Present { value, state } => (Some(value), state),
        };
        let is_right = match (refusal, operation.action) {
            (Refusal::Expectation(_), _) => true,
            (Refusal::Missing, Action::Transition { .. }) => value.is_none(),
            (Refusal::IllegalTransition { from }, Action::Transition { to, .. }) => {
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
        // Compares the revision of the key, not of the store: an answer with a greater store revision may come earlier in
        // the order, if it changed nothing.
        (is_right && register.revision <= bounds.ceiling).then_some(register)
    }

    /// The register after an operation, without the new revision, and whether it changes the key. `None` if the store would
    /// refuse it.
    fn change(&self, mut register: Register, operation: &Operation) -> Option<(Register, bool)> {
        if let (Some(expect), Outcome::Unknown) = (operation.expect, operation.outcome) {
            register = self.meets(register, expect)?;
        }
        let unchanged = Some((register, false));
        let changed = |content| {
            let register = Register {
                content,
                revision: UNKNOWN_REVISION,
                revision_max: i64::MAX,
                ..register
            };
            Some((register, true))
        };
        match operation.action {
            Action::Read => unchanged,
            Action::Write(value) => changed(match register.content {
                Content::Present { state, .. } => Content::Present { value, state },
                // The Write keeps a state that is unknown.
                Content::Unknown if self.machine.is_some() => Content::Unknown,
                Content::Unknown | Content::Absent => self.new_key(value),
            }),
            Action::Add(delta) => match register.content {
                Content::Present {
                    value: Value::Int(_),
                    ..
                }
                | Content::Unknown
                    if delta == 0 =>
                {
                    unchanged
                }
                Content::Present {
                    value: Value::Int(value),
                    state,
                } => {
                    let value = Value::Int(value.checked_add(delta)?);
                    changed(Content::Present { value, state })
                }
                Content::Present { .. } => None,
                Content::Absent => changed(self.new_key(Value::Int(delta))),
                Content::Unknown => changed(Content::Unknown),
            },
            Action::Delete => match register.content {
                Content::Absent => unchanged,
                Content::Present { state, .. } => {
                    let may_end = match (self.machine, state) {
                        (Some(machine), Some(state)) => machine.is_final(state),
                        _ => true,
                    };
                    may_end.then(|| changed(Content::Absent))?
                }
                Content::Unknown => changed(Content::Absent),
            },
            Action::Transition { to, value: new } => match register.content {
                Content::Present { value, state } => {
                    let (machine, from) = (self.machine?, state?);
                    let value = new.unwrap_or(value);
                    let state = Some(to);
                    (machine.allows(from, to))
                        .then(|| changed(Content::Present { value, state }))?
                }
                Content::Absent => None,
                Content::Unknown => changed(Content::Unknown),
            },
        }
    }

    fn new_key(&self, value: Value) -> Content {
        let state = self.machine.map(|machine| machine.initial);
        Content::Present { value, state }
    }

    /// The register after a change of unknown outcome took its revision: the one that the message itself names, or the least
    /// that it can have had.
    fn take_revision(
        &self,
        mut register: Register,
        bounds: Bounds,
        named: Option<i64>,
    ) -> Option<Register> {
        if self.criterion == Criterion::Values {
            return Some(register);
        }
        let least = self.first_free(register.store_revision.max(bounds.floor) + 1);
        let can_have = |named: i64| least <= named && self.first_free(named) == named;
        if !named.is_none_or(can_have) {
            return None;
        }
        register.store_revision = named.unwrap_or(least);
        if register.content != Content::Absent {
            (register.revision, register.revision_max) = match named {
                Some(named) => (named, i64::MAX),
                None => (UNKNOWN_REVISION - least, bounds.ceiling),
            };
        }
        (register.store_revision <= bounds.ceiling).then_some(register)
    }

    /// The first revision from this one on that no answered change has.
    fn first_free(&self, mut revision: i64) -> i64 {
        let claimed = self.claimed_revisions;
        let mut next = claimed.partition_point(|claimed| *claimed < revision);
        while claimed.get(next) == Some(&revision) {
            revision += 1;
            next += 1;
        }
        revision
    }

    /// The register, now that an answer shows the entry of the key.
    fn shows(&self, register: Register, entry: Option<Entry>) -> Option<Register> {
        let Some(entry) = entry else {
            let is_absent = matches!(register.content, Content::Unknown | Content::Absent);
            let content = Content::Absent;
            return is_absent.then_some(Register {
                content,
                ..register
            });
        };
        let (value, state) = (entry.value, entry.state);
        let content = Content::Present { value, state };
        let is_first = register.content == Content::Unknown;
        if !is_first && register.content != content {
            return None;
        }
        let shown = Register {
            content,
            ..register
        };
        match (self.criterion, is_first) {
            (_, true) => Some(Register {
                revision: self.tracked(entry.revision),
                revision_max: i64::MAX,
                store_revision: match self.criterion {
                    Criterion::Revisions => shown.store_revision.max(entry.revision),
                    Criterion::Values => 0,
                },
                ..shown
            }),
            (Criterion::Revisions, false) => self.has_revision(shown, entry.revision),
            (Criterion::Values, false) => Some(shown),
        }
    }

    /// The register, now that the revision of the key's last change is known. 0: the key does not exist.
    fn has_revision(&self, mut register: Register, revision: i64) -> Option<Register> {
        match register.content {
            Content::Unknown => return Some(register),
            Content::Absent => return (revision == 0).then_some(register),
            Content::Present { .. } => {}
        }
        let can_be = match (register.revision, self.criterion) {
            (unknown @ ..0, Criterion::Revisions) => {
                (UNKNOWN_REVISION - unknown..=register.revision_max).contains(&revision)
                    && self.claimed_revisions.binary_search(&revision).is_err()
            }
            (..0, Criterion::Values) => revision != 0,
            (known, _) => known == revision,
        };
        (register.revision, register.revision_max) = (revision, i64::MAX);
        if self.criterion == Criterion::Revisions {
            register.store_revision = register.store_revision.max(revision);
        }
        can_be.then_some(register)
    }

    /// The register, now that the expectation is known to hold.
    fn meets(&self, register: Register, expect: Expectation) -> Option<Register> {
        let holds = match (expect, register.content) {
            (_, Content::Unknown) => true,
            (Expectation::Exists(exists), content) => exists == (content != Content::Absent),
            (Expectation::Revision(revision), _) => return self.has_revision(register, revision),
            (Expectation::Value(expected), Content::Present { value, .. }) => value == expected,
            (Expectation::State(expected), Content::Present { state, .. }) => {
                state == Some(expected)
            }
            (Expectation::Value(_) | Expectation::State(_), Content::Absent) => false,
        };
        holds.then_some(register)
    }

    /// The register, now that the expectation is known not to hold, with what the refusal shows of the key.
    fn fails(&self, register: Register, expect: Expectation, actual: Actual) -> Option<Register> {
        let (value, state) = match register.content {
            Content::Unknown => return Some(register),
            Content::Absent => (None, None),
            Content::Present { value, state } => (Some(value), state),
        };
        let (register, is_right) = match actual {
            Actual::NotReported => (register, true),
            Actual::Value(actual) => (register, actual == value),
            Actual::State(actual) => (register, actual == state),
            Actual::Revision(actual) => (
                self.has_revision(register, actual)?,
                expect != Expectation::Revision(actual),
            ),
        };
        let can_fail = match expect {
            Expectation::Exists(exists) => exists != value.is_some(),
            Expectation::Revision(0) => value.is_some(),
            Expectation::Revision(expected) => value.is_none() || register.revision != expected,
            Expectation::Value(expected) => value != Some(expected),
            Expectation::State(expected) => state != Some(expected),
        };
        (is_right && can_fail).then_some(register)
    }
}
