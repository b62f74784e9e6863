//! The order of the revisions in the answers. If it explains every answer and keeps to real time, it is the order that was
//! looked for, and nothing has to be searched. If it does not, that proves nothing yet: an operation of unknown outcome, which
//! has no revision, may explain the rest.

use crate::key::{KeyHistory, Unit};
use crate::model::Model;
use crate::operation::{NEVER, Operation};
use crate::register::Register;

/// Whether the order of revisions explains every answer, if no operation of unknown outcome happened that may be left out.
/// O(n log n).
pub(crate) fn explains(key: &KeyHistory<'_>, model: &Model<'_>) -> bool {
    let units = key.units(model.criterion);
    let mut ordered = Vec::with_capacity(units.len());
    let mut without_revision = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let operations = key.operations_of(unit);
        match operations.iter().filter_map(Operation::revision).max() {
            Some(revision) => {
                let changes = operations.iter().any(Operation::is_change);
                ordered.push((revision, !changes, unit.start, index));
            }
            None if !unit.is_optional() => without_revision.push(index),
            None => {}
        }
    }
    ordered.sort_unstable();
    // For each place in the order, the earliest end from there on: a unit that starts later cannot have its place there.
    let mut earliest_end = vec![NEVER; ordered.len() + 1];
    for (place, it) in ordered.iter().enumerate().rev() {
        earliest_end[place] = earliest_end[place + 1].min(units[it.3].end);
    }
    let mut order = Order {
        key,
        model,
        units: &units,
        register: model.start(key.initial),
        latest_start: 0,
        is_done: vec![false; units.len()],
    };
    // A refusal has no revision. It takes the first place that explains it.
    let mut waiting: Vec<usize> = Vec::new();
    let mut without_revision = without_revision.into_iter().peekable();
    for (place, earliest_end) in earliest_end.iter().enumerate() {
        if let Some(before) = place.checked_sub(1)
            && !order.append(ordered[before].3)
        {
            return false;
        }
        while let Some(unit) = without_revision.next_if(|unit| units[*unit].start <= *earliest_end)
        {
            waiting.push(unit);
        }
        // One that has to come after another that waits too is tried again at the next place.
        waiting.retain(|unit| !order.append(*unit));
        if waiting
            .iter()
            .any(|unit| units[*unit].end < order.latest_start)
        {
            return false;
        }
    }
    waiting.is_empty() && without_revision.next().is_none()
}

/// The units in order so far.
struct Order<'a> {
    key: &'a KeyHistory<'a>,
    model: &'a Model<'a>,
    units: &'a [Unit],
    /// The key after them.
    register: Register,
    /// The latest start among them.
    latest_start: u64,
    /// Of each unit.
    is_done: Vec<bool>,
}

impl Order<'_> {
    /// Appends this unit to the order. Returns whether it can come there.
    fn append(&mut self, unit: usize) -> bool {
        let it = &self.units[unit];
        let mut before = it.after.iter().flatten();
        if it.end < self.latest_start || !before.all(|before| self.is_done[*before as usize]) {
            return false;
        }
        let operations = self.key.operations_of(it);
        let Some(next) = self
            .model
            .step(self.register, operations, it.bounds, it.inclusion)
        else {
            return false;
        };
        self.register = next;
        self.latest_start = self.latest_start.max(it.start);
        self.is_done[unit] = true;
        true
    }
}
