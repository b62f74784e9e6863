//! The operations on one key, made ready for a search: what travelled in one atomic message is one *unit*, what is known
//! of the order of units is written down, and unknown outcomes are decided where somebody saw them.

use std::collections::{HashMap, HashSet};

use crate::history::{Found, History, Machine};
use crate::model::{Bounds, Model, Must, Trust};
use crate::operation::{
    Action, Actual, Expectation, NEVER, Operation, Outcome, Refusal, Seen, Value,
};

/// Operations on one key that are done at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// From where to where in the key's operations.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) bounds: Bounds,
    pub(crate) is_unknown: bool,
    pub(crate) must: Must,
    /// Units that must have been done before: the one before in the stream, the one before by revision, and a twin.
    pub(crate) after: [Option<u32>; 3],
}

impl Unit {
    /// Whether an order may leave it out.
    pub(crate) fn is_optional(&self) -> bool {
        self.is_unknown && self.must == Must::Nothing
    }
}

const STREAM: usize = 0;
const REVISION: usize = 1;
const TWIN: usize = 2;

/// One key and all that was done with it.
#[derive(Clone, Debug)]
pub(crate) struct KeyHistory<'a> {
    pub(crate) found: Option<Found>,
    pub(crate) machine: Option<&'a Machine>,
    /// In the order of starts; operations of one message side by side. None of them is `NotDone`.
    pub(crate) operations: Vec<Operation>,
    /// Where each operation is in the history.
    pub(crate) places: Vec<usize>,
    pub(crate) bounds: Vec<Bounds>,
    pub(crate) musts: Vec<Must>,
}

impl<'a> KeyHistory<'a> {
    pub(crate) fn model(&self, trust: Trust, claimed: &'a [i64]) -> Model<'a> {
        let expects_revision = |it: &Operation| matches!(it.expect, Some(Expectation::Revision(_)));
        Model {
            trust,
            has_tags: self.operations.iter().any(expects_revision),
            machine: self.machine,
            claimed,
        }
    }

    pub(crate) fn operations_of(&self, unit: &Unit) -> &[Operation] {
        &self.operations[unit.from..unit.to]
    }

    /// The units, in the order of their starts.
    pub(crate) fn units(&self, trust: Trust) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::with_capacity(self.operations.len());
        for (index, operation) in self.operations.iter().enumerate() {
            let is_unknown = operation.outcome == Outcome::Unknown;
            if let Some(last) = units.last_mut() {
                let before = &self.operations[index - 1];
                let is_same = before.message_id() == operation.message_id();
                if is_same && operation.travel.is_atomic() {
                    last.to = index + 1;
                    continue;
                }
            }
            units.push(Unit {
                start: operation.start,
                end: operation.end,
                from: index,
                to: index + 1,
                bounds: self.bounds[index],
                is_unknown,
                must: self.musts[index],
                after: [None; 3],
            });
        }
        // A Read that was never answered says nothing.
        units.retain(|unit| {
            let does_nothing = |it: &Operation| it.action == Action::Read;
            !(unit.is_unknown && self.operations_of(unit).iter().all(does_nothing))
        });
        self.order_streams(&mut units);
        self.order_twins(&mut units);
        if trust == Trust::Revisions {
            self.order_revisions(&mut units);
        }
        units
    }

    /// What one stream carries is done in its order. Of unknown ones nothing is said: they may be undone.
    fn order_streams(&self, units: &mut [Unit]) {
        let mut last = HashMap::new();
        for (index, unit) in (0..).zip(units.iter_mut()) {
            let first = &self.operations[unit.from];
            if first.travel.is_ordered() && !unit.is_unknown {
                unit.after[STREAM] = last.insert(first.client, index);
            }
        }
    }

    /// Of unknown operations that ask for the same and may be done at any time, any may have been the one that was done:
    /// it is said to be the one that began first. That leaves a count to try in the place of every subset.
    fn order_twins(&self, units: &mut [Unit]) {
        let mut last: HashMap<_, u32> = HashMap::new();
        for (index, unit) in (0..).zip(units.iter_mut()) {
            let [operation] = &self.operations[unit.from..unit.to] else {
                continue;
            };
            if unit.is_optional() && unit.end == NEVER && unit.bounds.ceiling == i64::MAX {
                let asked = format!("{:?}{:?}", operation.action, operation.expect);
                unit.after[TWIN] = last.insert(asked, index);
            }
        }
    }

    /// Answers tell the order in which they became true. Of those at one revision, its change was first.
    fn order_revisions(&self, units: &mut [Unit]) {
        let mut told = Vec::new();
        for (index, unit) in (0..).zip(units.iter()) {
            let operations = self.operations_of(unit);
            let revisions = operations.iter().filter_map(Operation::revision);
            if let Some(revision) = revisions.max() {
                let changes = operations.iter().any(Operation::is_change);
                told.push((revision, !changes, unit.start, index));
            }
        }
        told.sort_unstable();
        for pair in told.windows(2) {
            units[pair[1].3 as usize].after[REVISION] = Some(pair[0].3);
        }
        // What was refused tells no revision; but what was answered with less than its floor was before it, and so was
        // the change at its floor.
        for unit in units.iter_mut() {
            let has_revision = |it: &Operation| it.revision().is_some();
            if !unit.is_unknown && !self.operations_of(unit).iter().any(has_revision) {
                let floor = unit.bounds.floor;
                let before = told.partition_point(|it| (it.0, it.1) <= (floor, false));
                unit.after[REVISION] = before.checked_sub(1).map(|last| told[last].3);
            }
        }
    }

    /// Every value that an answer shows, with the revision of its entry if that is told, and the time of the answer.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (Value, Option<i64>, u64)> + '_ {
        self.operations.iter().filter_map(|operation| {
            let end = operation.end;
            match operation.outcome {
                Outcome::Done {
                    seen: Seen::Entry(Some(entry)),
                    ..
                } => Some((entry.value, Some(entry.revision), end)),
                Outcome::Refused(Refusal::Expectation(Actual::Value(Some(value)))) => {
                    Some((value, None, end))
                }
                _ => None,
            }
        })
    }

    /// Unknown Writes that somebody saw: their places in the history, with the revision that they had and the time at
    /// which that was known. Only where nothing else can have left the value: it is written once, nothing adds to make
    /// it, and no Transition gives it another revision.
    pub(crate) fn resolve(&self, told: &[(Value, i64, u64)]) -> Vec<(usize, Option<i64>, u64)> {
        let is_unknown = |it: &Operation| it.outcome == Outcome::Unknown;
        if !self.operations.iter().any(is_unknown) {
            return Vec::new();
        }
        let moves = |it: &Operation| matches!(it.action, Action::Transition { .. });
        let adds = |it: &Operation| is_unknown(it) && matches!(it.action, Action::Add(_));
        if self.operations.iter().any(|it| moves(it) || adds(it)) {
            return Vec::new();
        }
        let mut made: HashMap<Value, u32> = HashMap::new();
        if let Some(entry) = self.found.and_then(|found| found.entry) {
            *made.entry(entry.value).or_default() += 1;
        }
        for operation in &self.operations {
            let value = match (operation.action, operation.outcome) {
                (Action::Write(value), Outcome::Done { .. } | Outcome::Unknown) => value,
                (
                    _,
                    Outcome::Done {
                        seen: Seen::Sum(sum),
                        ..
                    },
                ) => Value::Int(sum),
                _ => continue,
            };
            *made.entry(value).or_default() += 1;
        }
        let mut seen: HashMap<Value, (Option<i64>, u64)> = HashMap::new();
        let told = told
            .iter()
            .map(|(value, revision, time)| (*value, Some(*revision), *time));
        for (value, revision, time) in self.shown().chain(told) {
            let known = seen.entry(value).or_insert((revision, time));
            *known = (known.0.or(revision), known.1.min(time));
        }
        let nobody_looked = self.found.is_none();
        (self.operations.iter().zip(&self.places))
            .filter(|(operation, _)| is_unknown(operation) && !nobody_looked)
            .filter_map(|(operation, place)| {
                let Action::Write(value) = operation.action else {
                    return None;
                };
                let (revision, time) = *seen.get(&value)?;
                (made.get(&value) == Some(&1)).then_some((*place, revision, time))
            })
            .collect()
    }

    /// The same without the unknown Writes whose value nobody saw. What can be explained without them, can be.
    pub(crate) fn without_unseen(&self) -> Option<Self> {
        let seen: HashSet<Value> = self.shown().map(|(value, ..)| value).collect();
        let is_unseen = |operation: &Operation| match operation.action {
            Action::Write(value) => operation.outcome == Outcome::Unknown && !seen.contains(&value),
            _ => false,
        };
        // A unit of several operations is done as a whole.
        let keep: Vec<bool> = (self.operations.iter())
            .map(|it| it.travel.is_atomic() || !is_unseen(it))
            .collect();
        (!keep.iter().all(|keep| *keep)).then(|| self.only(&keep))
    }

    /// The same with what is said of atomic messages of unknown outcome: that one was done, or was not, or nothing.
    pub(crate) fn with_messages(&self, is_done: &dyn Fn((u32, u32)) -> Option<bool>) -> Self {
        let said = |it: &Operation| match it.travel.is_atomic() && it.outcome == Outcome::Unknown {
            true => is_done(it.message_id()),
            false => None,
        };
        let keep: Vec<bool> = (self.operations.iter())
            .map(|it| said(it) != Some(false))
            .collect();
        let mut some = self.only(&keep);
        for (operation, must) in some.operations.iter().zip(&mut some.musts) {
            if said(operation) == Some(true) {
                *must = Must::BeDone;
            }
        }
        some
    }

    pub(crate) fn only(&self, keep: &[bool]) -> Self {
        fn some<T: Clone>(all: &[T], keep: &[bool]) -> Vec<T> {
            let kept = all.iter().zip(keep).filter(|(_, keep)| **keep);
            kept.map(|(it, _)| it.clone()).collect()
        }
        Self {
            found: self.found,
            machine: self.machine,
            operations: some(&self.operations, keep),
            places: some(&self.places, keep),
            bounds: some(&self.bounds, keep),
            musts: some(&self.musts, keep),
        }
    }
}

pub(crate) fn key_history<'a>(
    history: &'a History,
    key: u32,
    places: Vec<usize>,
    bounds: Vec<Bounds>,
    operation: &dyn Fn(usize) -> Operation,
) -> KeyHistory<'a> {
    let operations: Vec<Operation> = places.iter().map(|place| operation(*place)).collect();
    let keep: Vec<bool> = operations
        .iter()
        .map(|it| it.outcome != Outcome::NotDone)
        .collect();
    let all = KeyHistory {
        found: history.keys[key as usize].found,
        machine: history.machine(key),
        musts: vec![Must::Nothing; places.len()],
        operations,
        places,
        bounds,
    };
    match keep.iter().all(|keep| *keep) {
        true => all,
        false => all.only(&keep),
    }
}
