//! The search for an order of the operations on one key that explains every answer.
//!
//! Just-in-time linearization (Lowe, "Testing for linearizability", 2017, section 5) on sets of *configurations*. A
//! configuration says which of the operations in flight have happened, and what the key is then. Calls and returns are
//! swept in the order of time. When an operation returns, each configuration is continued with operations in flight until
//! that operation has happened. A configuration in which it cannot happen is dropped. If none is left, there is no order.
//!
//! Three rules keep the sets small. None of them loses an order:
//! - An operation that leaves the key as it is happens as soon as its answer is explained.
//! - An operation of unknown outcome happens only where the next operation can tell: not before one that writes whatever
//!   was there.
//! - Of configurations that differ only in operations of unknown outcome, those with the fewest are kept. Whatever follows
//!   from more of them follows from fewer, because none has to happen.

use std::collections::{HashMap, HashSet};

use crate::key::{KeyHistory, Unit};
use crate::model::{Criterion, Model};
use crate::operation::{Action, Actual, NEVER, Observed, Operation, Outcome, Refusal};
use crate::options::{IN_FLIGHT_MAX, Limits, StopReason};
use crate::register::{Content, Register};

/// Configurations between two looks at the clock: some tenths of a millisecond.
const LOOK_EVERY: u64 = 1024;

/// How many configurations one is compared with before it is kept. More comparisons would keep fewer, and take longer.
const COMPARED_MAX: usize = 32;

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SearchResult {
    /// An order explains every answer.
    Explained {
        /// The most configurations at one time.
        configurations_max: usize,
    },
    /// No order does.
    Impossible(DeadEnd),
    /// A limit was reached.
    Stopped {
        /// Configurations that were looked at.
        configurations: u64,
        reason: StopReason,
    },
}

/// Where the last explanation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadEnd {
    /// The unit that could not happen before its answer.
    pub(crate) unit: usize,
    /// The latest moment with one configuration only.
    pub(crate) cut: Option<Cut>,
}

/// A moment at which the key is known for certain. What happened before has no part in what is wrong after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) register: Register,
    /// Units that are called and have not happened.
    pub(crate) pending: Vec<usize>,
    /// The first unit that is not called.
    pub(crate) next: usize,
}

/// A bit for each slot: whether the unit that holds it has happened.
type Mask<const WORDS: usize> = [u64; WORDS];

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Configuration<const WORDS: usize> {
    register: Register,
    done: Mask<WORDS>,
}

fn has<const WORDS: usize>(mask: &Mask<WORDS>, slot: usize) -> bool {
    mask[slot / 64] >> (slot % 64) & 1 == 1
}

fn set<const WORDS: usize>(mask: &mut Mask<WORDS>, slot: usize) {
    mask[slot / 64] |= 1 << (slot % 64);
}

/// Searches for an order of the key's operations.
pub(crate) fn search(key: &KeyHistory<'_>, model: &Model<'_>, limits: Limits<'_>) -> SearchResult {
    let units = key.units(model.criterion);
    let events = events(&units);
    match in_flight_max(&units, &events) {
        0..=128 => Search::<2>::new(key, model, &units, limits).run(&events),
        129..=512 => Search::<8>::new(key, model, &units, limits).run(&events),
        513..=IN_FLIGHT_MAX => {
            Search::<{ IN_FLIGHT_MAX / 64 }>::new(key, model, &units, limits).run(&events)
        }
        _ => SearchResult::Stopped {
            configurations: 0,
            reason: StopReason::InFlight,
        },
    }
}

/// The calls and returns of units, each as a time, whether it is a return, and the unit. At one time calls come first, so
/// that two units that meet there overlap.
fn events(units: &[Unit]) -> Vec<(u64, bool, u32)> {
    let mut events = Vec::with_capacity(units.len() * 2);
    for (index, unit) in (0..).zip(units) {
        events.push((unit.start, false, index));
        // Nothing waits for a unit that may be left out and has no end.
        if !(unit.is_optional() && unit.end == NEVER) {
            events.push((unit.end, true, index));
        }
    }
    events.sort_unstable();
    events
}

fn in_flight_max(units: &[Unit], events: &[(u64, bool, u32)]) -> usize {
    let (mut now, mut most) = (0_usize, units.len().min(1));
    for (_, is_return, _) in events {
        match is_return {
            true => now -= 1,
            false => now += 1,
        }
        most = most.max(now);
    }
    most
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UnitState {
    NotCalled,
    InFlight { slot: usize },
    Returned,
}

/// What the last step of a path was.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum LastStep {
    /// A unit that may be left out, and that no answer has seen yet.
    Optional,
    Other,
}

struct Search<'a, const WORDS: usize> {
    key: &'a KeyHistory<'a>,
    model: &'a Model<'a>,
    units: &'a [Unit],
    limits: Limits<'a>,
    has_unknown: bool,
    /// Of each unit: whether it leaves the key as it is.
    is_read_only: Vec<bool>,
    /// Of each unit: whether it leaves the same key whatever was there.
    is_overwrite: Vec<bool>,
    /// Of each unit.
    state: Vec<UnitState>,
    /// The units in flight, in the order of their calls.
    in_flight: Vec<usize>,
    free_slots: Vec<usize>,
    slots: usize,
    looked_at: u64,
    configurations_max: usize,
    cut: Option<Cut>,
}

impl<'a, const WORDS: usize> Search<'a, WORDS> {
    fn new(
        key: &'a KeyHistory<'a>,
        model: &'a Model<'a>,
        units: &'a [Unit],
        limits: Limits<'a>,
    ) -> Self {
        let is_read_only = |unit: &Unit| {
            let operations = key.operations_of(unit);
            !unit.is_unknown && operations.iter().all(Operation::is_read_only)
        };
        let is_overwrite = |unit: &Unit| {
            let first = &key.operations_of(unit)[0];
            let shows_nothing = matches!(
                first.outcome,
                Outcome::Unknown
                    | Outcome::Done {
                        observed: Observed::NotReported,
                        ..
                    }
            );
            let is_optional_delete = || unit.is_optional() && first.action == Action::Delete;
            // Under a machine a Write keeps the state, and after a Delete the state begins anew: they depend on what was
            // there.
            model.machine.is_none()
                && first.expect.is_none()
                && shows_nothing
                && (matches!(first.action, Action::Write(_)) || is_optional_delete())
        };
        Self {
            key,
            model,
            units,
            limits,
            has_unknown: units.iter().any(|unit| unit.is_unknown),
            is_overwrite: units.iter().map(is_overwrite).collect(),
            is_read_only: units.iter().map(is_read_only).collect(),
            state: vec![UnitState::NotCalled; units.len()],
            in_flight: Vec::new(),
            free_slots: Vec::new(),
            slots: 0,
            looked_at: 0,
            configurations_max: 1,
            cut: None,
        }
    }

    fn run(mut self, events: &[(u64, bool, u32)]) -> SearchResult {
        let mut now = vec![Configuration {
            register: self.model.start(self.key.initial),
            done: [0; WORDS],
        }];
        let mut called = 0;
        for (_, is_return, unit) in events {
            let unit = *unit as usize;
            if !*is_return {
                self.call(unit);
                called = unit + 1;
                if self.is_read_only[unit] {
                    for configuration in &mut now {
                        self.observe(configuration);
                    }
                    distinct(&mut now);
                }
                continue;
            }
            now = match self.finish(&now, unit) {
                Ok(now) => now,
                Err(reason) => {
                    let configurations = self.looked_at;
                    return SearchResult::Stopped {
                        configurations,
                        reason,
                    };
                }
            };
            self.fewest(&mut now);
            self.configurations_max = self.configurations_max.max(now.len());
            match &now[..] {
                [] => {
                    let cut = self.cut;
                    return SearchResult::Impossible(DeadEnd { unit, cut });
                }
                [only] if only.register.initial().is_some() => {
                    let is_pending = |it: &&usize| !self.is_done(&only.done, **it);
                    self.cut = Some(Cut {
                        register: only.register,
                        pending: self.in_flight.iter().filter(is_pending).copied().collect(),
                        next: called,
                    });
                }
                _ => {}
            }
        }
        SearchResult::Explained {
            configurations_max: self.configurations_max,
        }
    }

    fn call(&mut self, unit: usize) {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.state[unit] = UnitState::InFlight { slot };
        self.in_flight.push(unit);
    }

    fn is_done(&self, done: &Mask<WORDS>, unit: usize) -> bool {
        match self.state[unit] {
            UnitState::NotCalled => false,
            UnitState::InFlight { slot } => has(done, slot),
            UnitState::Returned => true,
        }
    }

    /// The register if this unit happens next. `None` if it has happened, or another has to happen before.
    fn step(&self, from: &Configuration<WORDS>, unit: usize) -> Option<Register> {
        let UnitState::InFlight { slot } = self.state[unit] else {
            return None;
        };
        let it = &self.units[unit];
        let is_done = |before: &u32| self.is_done(&from.done, *before as usize);
        if has(&from.done, slot) || !it.after.iter().flatten().all(is_done) {
            return None;
        }
        let operations = self.key.operations_of(it);
        self.model
            .step(from.register, operations, it.bounds, it.inclusion)
    }

    /// Lets every unit in flight happen that leaves the key as it is and explains its answer now, if nothing can be gained by
    /// waiting.
    fn observe(&self, configuration: &mut Configuration<WORDS>) {
        let mut again = true;
        while again {
            again = false;
            for unit in &self.in_flight {
                if !self.is_read_only[*unit] {
                    continue;
                }
                if let Some(next) = self.step(configuration, *unit)
                    && self.loses_nothing(*unit, &configuration.register, &next)
                    && let UnitState::InFlight { slot } = self.state[*unit]
                {
                    again |= configuration.register != next;
                    again |= self.model.criterion == Criterion::Revisions;
                    configuration.register = next;
                    set(&mut configuration.done, slot);
                }
            }
        }
    }

    /// Whether no order is lost if this unit, which leaves the key as it is, happens now. It may show how far the store has
    /// come. Then changes of unknown outcome have less room before it, which loses nothing if the unit shows the entry: after
    /// such a change it would show another.
    fn loses_nothing(&self, unit: usize, before: &Register, after: &Register) -> bool {
        let shows_entry = || {
            let operations = self.key.operations_of(&self.units[unit]);
            operations.iter().any(|operation| match operation.outcome {
                Outcome::Done { .. } => operation.entry().is_some(),
                Outcome::Refused(Refusal::Expectation(Actual::Revision(actual))) => actual > 0,
                _ => false,
            })
        };
        before == after || (before.same_but_later(after) && (!self.has_unknown || shows_entry()))
    }

    /// The configurations after a unit returns, in all of which it has happened; or was left out, if it may be.
    fn finish(
        &mut self,
        now: &[Configuration<WORDS>],
        unit: usize,
    ) -> Result<Vec<Configuration<WORDS>>, StopReason> {
        let UnitState::InFlight { slot } = self.state[unit] else {
            unreachable!("a unit returns after its call");
        };
        let mut after = Vec::with_capacity(now.len());
        let mut todo = Vec::new();
        let without_slot = |mut configuration: Configuration<WORDS>| {
            configuration.done[slot / 64] &= !(1 << (slot % 64));
            configuration
        };
        for configuration in now {
            match has(&configuration.done, slot) {
                true => after.push(without_slot(*configuration)),
                false => {
                    if self.units[unit].is_optional() {
                        after.push(*configuration);
                    }
                    todo.push((*configuration, LastStep::Other));
                }
            }
        }
        self.look(now.len() as u64)?;
        let mut tried: HashSet<(Configuration<WORDS>, LastStep)> = HashSet::new();
        while let Some((configuration, last)) = todo.pop() {
            self.look(1)?;
            for &other in &self.in_flight {
                // An overwrite hides a unit that may be left out, so the order without that unit is tried instead.
                if last == LastStep::Optional && self.is_overwrite[other] {
                    continue;
                }
                let Some((next, last)) = self.continued(&configuration, other) else {
                    continue;
                };
                if has(&next.done, slot) {
                    after.push(without_slot(next));
                } else if tried.insert((next, last)) {
                    todo.push((next, last));
                }
                let kept = after.len().max(tried.len());
                let bytes = kept * size_of::<Configuration<WORDS>>();
                if bytes > self.limits.configuration_bytes {
                    return Err(StopReason::Memory);
                }
            }
        }
        distinct(&mut after);
        self.state[unit] = UnitState::Returned;
        self.in_flight.retain(|other| *other != unit);
        self.free_slots.push(slot);
        Ok(after)
    }

    /// The configuration after this unit, if it can happen next.
    fn continued(
        &self,
        configuration: &Configuration<WORDS>,
        unit: usize,
    ) -> Option<(Configuration<WORDS>, LastStep)> {
        let register = self.step(configuration, unit)?;
        let UnitState::InFlight { slot } = self.state[unit] else {
            return None;
        };
        let mut next = *configuration;
        next.register = register;
        set(&mut next.done, slot);
        let before = next.done;
        self.observe(&mut next);
        let is_unseen = before == next.done;
        let last = match self.units[unit].is_optional() && is_unseen {
            true => LastStep::Optional,
            false => LastStep::Other,
        };
        Some((next, last))
    }

    /// Counts configurations, and looks at the clock now and then.
    fn look(&mut self, configurations: u64) -> Result<(), StopReason> {
        let before = self.looked_at / LOOK_EVERY;
        self.looked_at += configurations;
        if self.looked_at > self.limits.configurations {
            return Err(StopReason::Configurations);
        }
        match self.looked_at / LOOK_EVERY > before && self.limits.deadline.has_passed() {
            true => Err(StopReason::Time),
            false => Ok(()),
        }
    }

    /// Of configurations that differ only in units that may be left out, keeps those in which the fewest have happened.
    fn fewest(&self, configurations: &mut Vec<Configuration<WORDS>>) {
        if !self.has_unknown || configurations.len() < 2 {
            return;
        }
        let mut optional = [0; WORDS];
        for unit in &self.in_flight {
            if let (true, UnitState::InFlight { slot }) =
                (self.units[*unit].is_optional(), self.state[*unit])
            {
                set(&mut optional, slot);
            }
        }
        let split = |done: &Mask<WORDS>| {
            let (mut of_optional, mut of_others) = (*done, *done);
            for ((ours, theirs), mask) in of_optional.iter_mut().zip(&mut of_others).zip(&optional)
            {
                *ours &= mask;
                *theirs &= !mask;
            }
            (of_optional, of_others)
        };
        let count = |done: &Mask<WORDS>| done.iter().map(|word| word.count_ones()).sum::<u32>();
        configurations.sort_by_cached_key(|it| (count(&it.done), it.register.store_revision));
        let mut kept: HashMap<(Content, Mask<WORDS>), Vec<Configuration<WORDS>>> = HashMap::new();
        configurations.retain(|it| {
            let (of_optional, of_others) = split(&it.done);
            let same = kept.entry((it.register.content, of_others)).or_default();
            let has_fewer = |other: &Configuration<WORDS>| {
                let (fewer, _) = split(&other.done);
                fewer.iter().zip(&of_optional).all(|(a, b)| a & !b == 0)
                    && other.register.permits(&it.register)
            };
            let is_needed = !same.iter().take(COMPARED_MAX).any(has_fewer);
            if is_needed {
                same.push(*it);
            }
            is_needed
        });
    }
}

fn distinct<const WORDS: usize>(configurations: &mut Vec<Configuration<WORDS>>) {
    if configurations.len() > 1 {
        let mut seen = HashSet::with_capacity(configurations.len());
        configurations.retain(|configuration| seen.insert(*configuration));
    }
}
