//! The operations on one key, prepared for a search.

use std::collections::{HashMap, HashSet};

use crate::history::{History, Initial, Machine};
use crate::model::{Bounds, Criterion, Inclusion, Model};
use crate::operation::{
    Action, Actual, Entry, Expectation, NEVER, Observed, Operation, Outcome, Refusal, Value,
};

/// Operations on one key that happen at one moment: one operation, or all of an atomic message.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The first of its operations among those of the key.
    pub(crate) from: usize,
    /// The first operation after them.
    pub(crate) to: usize,
    pub(crate) bounds: Bounds,
    pub(crate) is_unknown: bool,
    pub(crate) inclusion: Inclusion,
    /// Units that happen before this one: the one before in its stream, the one before by revision, and its twin.
    pub(crate) after: [Option<u32>; 3],
}

impl Unit {
    /// Whether an order may leave it out.
    pub(crate) fn is_optional(&self) -> bool {
        self.is_unknown && self.inclusion == Inclusion::Optional
    }
}

const STREAM: usize = 0;
const REVISION: usize = 1;
const TWIN: usize = 2;

/// The key at the revision of an answer, as far as the answer tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyAt {
    /// It changed.
    Changed,
    /// It had this entry before, and still has it.
    Unchanged(Option<Entry>),
    /// The answer tells neither.
    Unknown,
}

impl KeyAt {
    fn new(operations: &[Operation]) -> Self {
        if operations.iter().any(Operation::is_change) {
            return Self::Changed;
        }
        let shown = operations.iter().find_map(|it| match it.outcome {
            Outcome::Done {
                observed: Observed::Entry(entry),
                ..
            } => Some(entry),
            _ => None,
        });
        shown.map_or(Self::Unknown, Self::Unchanged)
    }

    /// Whether the key may have been the same at an earlier revision, with this entry, and have kept it since.
    fn may_be(self, earlier: Self) -> bool {
        match self {
            Self::Changed => false,
            Self::Unchanged(_) => self == earlier,
            Self::Unknown => true,
        }
    }
}

/// A value that an answer or a watch shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) value: Value,
    /// The revision of the value, if it is shown too.
    pub(crate) revision: Option<i64>,
    /// When the answer came.
    pub(crate) time: u64,
}

/// The proof that a change of unknown outcome was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    /// The revision of the change, if it was shown.
    pub(crate) revision: Option<i64>,
    /// When the first answer came that shows the change.
    pub(crate) time: u64,
}

/// One key, and all operations on it but those that were not done.
#[derive(Clone, Debug)]
pub(crate) struct KeyHistory<'a> {
    pub(crate) initial: Option<Initial>,
    pub(crate) machine: Option<&'a Machine>,
    /// In the order of starts; those of one message side by side. None has the outcome `NotDone`.
    pub(crate) operations: Vec<Operation>,
    /// The place of each operation in the history.
    pub(crate) indices: Vec<usize>,
    /// Of each operation.
    pub(crate) bounds: Vec<Bounds>,
    /// Of each operation.
    pub(crate) inclusions: Vec<Inclusion>,
}

/// Gathers one key from a history. `indices` are the places of the operations on it, `bounds` one for each.
pub(crate) fn key_history<'a>(
    history: &'a History,
    key: u32,
    indices: Vec<usize>,
    bounds: Vec<Bounds>,
    operation: &dyn Fn(usize) -> Operation,
) -> KeyHistory<'a> {
    let operations: Vec<Operation> = indices.iter().map(|index| operation(*index)).collect();
    let keep: Vec<bool> = operations
        .iter()
        .map(|it| it.outcome != Outcome::NotDone)
        .collect();
    let all = KeyHistory {
        initial: history.keys[key as usize].initial,
        machine: history.machine(key),
        inclusions: vec![Inclusion::Optional; indices.len()],
        operations,
        indices,
        bounds,
    };
    match keep.iter().all(|keep| *keep) {
        true => all,
        false => all.only(&keep),
    }
}

impl<'a> KeyHistory<'a> {
    pub(crate) fn model(&self, criterion: Criterion, claimed_revisions: &'a [i64]) -> Model<'a> {
        let expects_revision = |it: &Operation| matches!(it.expect, Some(Expectation::Revision(_)));
        Model {
            criterion,
            tracks_revisions: self.operations.iter().any(expects_revision),
            machine: self.machine,
            claimed_revisions,
        }
    }

    pub(crate) fn operations_of(&self, unit: &Unit) -> &[Operation] {
        &self.operations[unit.from..unit.to]
    }

    /// The units, in the order of their starts.
    pub(crate) fn units(&self, criterion: Criterion) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::with_capacity(self.operations.len());
        for (index, operation) in self.operations.iter().enumerate() {
            let is_unknown = operation.outcome == Outcome::Unknown;
            if let Some(last) = units.last_mut() {
                let before = &self.operations[index - 1];
                let is_same = before.message_id() == operation.message_id();
                if is_same && operation.message_kind.is_atomic() {
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
                inclusion: self.inclusions[index],
                after: [None; 3],
            });
        }
        // A Read that was never answered says nothing.
        units.retain(|unit| {
            let is_read = |it: &Operation| it.action == Action::Read;
            !(unit.is_unknown && self.operations_of(unit).iter().all(is_read))
        });
        self.order_streams(&mut units, criterion);
        self.order_twins(&mut units);
        if criterion == Criterion::Revisions {
            self.order_revisions(&mut units);
        }
        units
    }

    /// The messages of one stream happen in their order. One of unknown outcome has no place in it: it may not have
    /// happened.
    ///
    /// A Read may be answered as of an earlier revision than a message before it in its stream, if its key has not changed
    /// since: a durable store answers it as of the revision on disk. It has its place in the order of revisions then.
    fn order_streams(&self, units: &mut [Unit], criterion: Criterion) {
        struct Stream {
            last: u32,
            /// The greatest revision so far, and the key at that revision. A refusal has no revision.
            latest: (Option<i64>, KeyAt),
        }
        let mut streams: HashMap<u32, Stream> = HashMap::new();
        for (index, unit) in (0..).zip(units.iter_mut()) {
            let operations = self.operations_of(unit);
            let first = &operations[0];
            if !first.message_kind.is_ordered() || unit.is_unknown {
                continue;
            }
            let is_read = operations.iter().all(|it| it.action == Action::Read);
            let revision = operations.iter().filter_map(Operation::revision).max();
            let key = KeyAt::new(operations);
            let Some(stream) = streams.get_mut(&first.client) else {
                let (last, latest) = (index, (revision, key));
                streams.insert(first.client, Stream { last, latest });
                continue;
            };
            let (latest_revision, latest_key) = stream.latest;
            let is_earlier = is_read && revision.is_some() && revision < latest_revision;
            if criterion == Criterion::Revisions && is_earlier && latest_key.may_be(key) {
                continue;
            }
            unit.after[STREAM] = Some(stream.last);
            stream.last = index;
            if latest_revision <= revision {
                stream.latest = (revision, key);
            }
        }
    }

    /// Twins are operations of unknown outcome that ask for the same and may happen at any time. Where one of them explains
    /// an answer, each does, so it is said to be the one that began first. Then a search tries how many twins happened, and
    /// not every subset of them.
    fn order_twins(&self, units: &mut [Unit]) {
        let mut last: HashMap<_, u32> = HashMap::new();
        for (index, unit) in (0..).zip(units.iter_mut()) {
            let [operation] = &self.operations[unit.from..unit.to] else {
                continue;
            };
            if unit.is_optional() && unit.end == NEVER && unit.bounds.ceiling == i64::MAX {
                let request = format!("{:?}{:?}", operation.action, operation.expect);
                unit.after[TWIN] = last.insert(request, index);
            }
        }
    }

    /// Units happen in the order of the revisions in their answers. Of several with one revision, the change comes first.
    fn order_revisions(&self, units: &mut [Unit]) {
        let mut ordered = Vec::new();
        for (index, unit) in (0..).zip(units.iter()) {
            let operations = self.operations_of(unit);
            let revisions = operations.iter().filter_map(Operation::revision);
            if let Some(revision) = revisions.max() {
                let changes = operations.iter().any(Operation::is_change);
                ordered.push((revision, !changes, unit.start, index));
            }
        }
        ordered.sort_unstable();
        for pair in ordered.windows(2) {
            units[pair[1].3 as usize].after[REVISION] = Some(pair[0].3);
        }
        // A refusal has no revision. But it comes after every unit with a revision below its floor, and after the change at
        // its floor.
        for unit in units.iter_mut() {
            let has_revision = |it: &Operation| it.revision().is_some();
            if !unit.is_unknown && !self.operations_of(unit).iter().any(has_revision) {
                let floor = unit.bounds.floor;
                let before = ordered.partition_point(|it| (it.0, it.1) <= (floor, false));
                unit.after[REVISION] = before.checked_sub(1).map(|last| ordered[last].3);
            }
        }
    }

    /// The values that answers show.
    fn shown(&self) -> impl Iterator<Item = Shown> + '_ {
        self.operations.iter().filter_map(|operation| {
            let (value, revision) = match operation.outcome {
                Outcome::Done {
                    observed: Observed::Entry(Some(entry)),
                    ..
                } => (entry.value, Some(entry.revision)),
                Outcome::Refused(Refusal::Expectation(Actual::Value(Some(value)))) => (value, None),
                _ => return None,
            };
            let time = operation.end;
            Some(Shown {
                value,
                revision,
                time,
            })
        })
    }

    /// Finds the Writes of unknown outcome that were done, because an answer or a watch shows their value. Returns their
    /// places in the history, with the proof.
    ///
    /// A value proves a Write only if nothing else can have left it: if it is written once, is not the sum of an Add, and
    /// no Transition can have given it another revision.
    pub(crate) fn proven_writes(&self, watched: &[Shown]) -> Vec<(usize, Proof)> {
        let is_unknown = |it: &Operation| it.outcome == Outcome::Unknown;
        let is_transition = |it: &Operation| matches!(it.action, Action::Transition { .. });
        let is_unknown_add = |it: &Operation| is_unknown(it) && matches!(it.action, Action::Add(_));
        let has = |is: &dyn Fn(&Operation) -> bool| self.operations.iter().any(is);
        let is_initial_known = self.initial.is_some();
        if !is_initial_known || !has(&is_unknown) || has(&is_transition) || has(&is_unknown_add) {
            return Vec::new();
        }
        let sources = self.sources();
        let mut proofs: HashMap<Value, Proof> = HashMap::new();
        for shown in self.shown().chain(watched.iter().copied()) {
            let proof = proofs.entry(shown.value).or_insert(Proof {
                revision: shown.revision,
                time: shown.time,
            });
            proof.revision = proof.revision.or(shown.revision);
            proof.time = proof.time.min(shown.time);
        }
        (self.operations.iter().zip(&self.indices))
            .filter_map(|(operation, index)| {
                let (Action::Write(value), true) = (operation.action, is_unknown(operation)) else {
                    return None;
                };
                let proof = *proofs.get(&value)?;
                (sources.get(&value) == Some(&1)).then_some((*index, proof))
            })
            .collect()
    }

    /// For each value, how many operations may have left it; being there from the beginning counts as one.
    fn sources(&self) -> HashMap<Value, u32> {
        let mut sources: HashMap<Value, u32> = HashMap::new();
        if let Some(entry) = self.initial.and_then(|initial| initial.entry) {
            *sources.entry(entry.value).or_default() += 1;
        }
        for operation in &self.operations {
            let value = match (operation.action, operation.outcome) {
                (Action::Write(value), Outcome::Done { .. } | Outcome::Unknown) => value,
                (
                    _,
                    Outcome::Done {
                        observed: Observed::Sum(sum),
                        ..
                    },
                ) => Value::Int(sum),
                _ => continue,
            };
            *sources.entry(value).or_default() += 1;
        }
        sources
    }

    /// The same without the Writes of unknown outcome whose value no answer shows; `None` if there are none. An order that
    /// explains it explains the whole.
    pub(crate) fn without_unseen(&self) -> Option<Self> {
        let seen: HashSet<Value> = self.shown().map(|shown| shown.value).collect();
        let is_unseen = |operation: &Operation| match operation.action {
            Action::Write(value) => operation.outcome == Outcome::Unknown && !seen.contains(&value),
            _ => false,
        };
        // An atomic message may be done because of its other operations.
        let keep: Vec<bool> = (self.operations.iter())
            .map(|it| it.message_kind.is_atomic() || !is_unseen(it))
            .collect();
        (!keep.iter().all(|keep| *keep)).then(|| self.only(&keep))
    }

    /// The same with atomic messages of unknown outcome decided: `is_done` tells whether a message was done, or nothing.
    pub(crate) fn with_messages(&self, is_done: &dyn Fn((u32, u32)) -> Option<bool>) -> Self {
        let decided = |it: &Operation| {
            let is_open = it.message_kind.is_atomic() && it.outcome == Outcome::Unknown;
            is_open.then(|| is_done(it.message_id())).flatten()
        };
        let keep: Vec<bool> = (self.operations.iter())
            .map(|it| decided(it) != Some(false))
            .collect();
        let mut some = self.only(&keep);
        for (operation, inclusion) in some.operations.iter().zip(&mut some.inclusions) {
            if decided(operation) == Some(true) {
                *inclusion = Inclusion::Required;
            }
        }
        some
    }

    fn only(&self, keep: &[bool]) -> Self {
        fn some<T: Clone>(all: &[T], keep: &[bool]) -> Vec<T> {
            let kept = all.iter().zip(keep).filter(|(_, keep)| **keep);
            kept.map(|(it, _)| it.clone()).collect()
        }
        Self {
            initial: self.initial,
            machine: self.machine,
            operations: some(&self.operations, keep),
            indices: some(&self.indices, keep),
            bounds: some(&self.bounds, keep),
            inclusions: some(&self.inclusions, keep),
        }
    }
}
