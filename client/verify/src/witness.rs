//! The order that the answers themselves name: by revision. Where it explains every answer and keeps to real time, it is
//! the order that was looked for, and nothing needs to be searched. Where it does not, that proves nothing yet: an unknown
//! outcome, which has no revision, may be what explains the rest.

use crate::key::{KeyHistory, Unit};
use crate::model::{Model, Register};
use crate::operation::Operation;

/// Whether the order of revisions explains every answer, with every unknown outcome not done that need not be. O(n log n).
pub(crate) fn explains(key: &KeyHistory<'_>, model: &Model<'_>) -> bool {
    let units = key.units(model.trust);
    let mut told = Vec::with_capacity(units.len());
    let mut untold = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let operations = key.operations_of(unit);
        match operations.iter().filter_map(Operation::revision).max() {
            Some(revision) => {
                let changes = operations.iter().any(Operation::is_change);
                told.push((revision, !changes, unit.start, index));
            }
            None if !unit.is_optional() => untold.push(index),
            None => {}
        }
    }
    told.sort_unstable();
    // What ends soonest of all from each place on: nothing that starts later can have its place before.
    let mut soonest = vec![u64::MAX; told.len() + 1];
    for (index, it) in told.iter().enumerate().rev() {
        soonest[index] = soonest[index + 1].min(units[it.3].end);
    }
    let mut order = Order {
        key,
        model,
        units: &units,
        register: model.start(key.found),
        latest_start: 0,
        is_done: vec![false; units.len()],
    };
    // What was refused has no revision. It takes the first place that explains it.
    let mut waiting: Vec<usize> = Vec::new();
    let mut untold = untold.into_iter().peekable();
    for (place, soonest) in soonest.iter().enumerate() {
        if let Some(before) = place.checked_sub(1)
            && !order.take(told[before].3)
        {
            return false;
        }
        while let Some(unit) = untold.next_if(|unit| units[*unit].start <= *soonest) {
            waiting.push(unit);
        }
        // Without order among them: one that has to be after another is tried again at the next place.
        waiting.retain(|unit| !order.take(*unit));
        if waiting
            .iter()
            .any(|unit| units[*unit].end < order.latest_start)
        {
            return false;
        }
    }
    waiting.is_empty() && untold.next().is_none()
}

struct Order<'a> {
    key: &'a KeyHistory<'a>,
    model: &'a Model<'a>,
    units: &'a [Unit],
    register: Register,
    latest_start: u64,
    is_done: Vec<bool>,
}

impl Order<'_> {
    /// Puts this unit at the end of the order, if it can be there.
    fn take(&mut self, unit: usize) -> bool {
        let it = &self.units[unit];
        let mut before = it.after.iter().flatten();
        if it.end < self.latest_start || !before.all(|before| self.is_done[*before as usize]) {
            return false;
        }
        let operations = self.key.operations_of(it);
        let Some(next) = self
            .model
            .step(self.register, operations, it.bounds, it.must)
        else {
            return false;
        };
        self.register = next;
        self.latest_start = self.latest_start.max(it.start);
        self.is_done[unit] = true;
        true
    }
}
