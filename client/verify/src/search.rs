//! The search for an order of the operations on one key that explains every answer.
//!
//! Just-in-time linearization (Lowe, "Testing for linearizability", 2017, section 5) on sets of *configurations*: which of
//! the operations in flight are done already, and what the key is then. Calls and returns are swept in the order of time.
//! When an operation returns, each configuration is led on by operations in flight until that one is done; those in which
//! it cannot be are dropped, and when none is left there is no order.
//!
//! What keeps the sets small loses nothing:
//! - What leaves the key as it is, is done as soon as it explains its answer.
//! - An unknown outcome is made to happen only where the next operation can tell: not before one that writes whatever was
//!   there.
//! - Of configurations that differ in unknown outcomes alone, those with the fewest are kept: whatever follows from more
//!   follows from fewer, because none of them has to happen.

use std::collections::{HashMap, HashSet};

use crate::key::{KeyHistory, Unit};
use crate::model::{Holds, Model, Register, Trust};
use crate::operation::{Action, Actual, Operation, Outcome, Refusal, Seen};
use crate::options::{Effort, SLOTS, Why};

/// Configurations between two looks at the clock: some tenths of a millisecond.
const LOOK_EVERY: u64 = 1024;

/// Configurations that one is compared with: more are kept, though fewer might do.
const COMPARED: usize = 32;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Explained {
        /// The most configurations that there were at one time.
        configurations: usize,
    },
    Impossible(Dead),
    GaveUp {
        /// Configurations that were looked at.
        configurations: u64,
        why: Why,
    },
}

/// Where the last explanation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    /// The unit that could not be done before its answer.
    pub(crate) unit: usize,
    /// The latest moment at which there was one explanation only, and what was then: what is before has no part in it.
    pub(crate) cut: Option<Cut>,
}

/// A moment at which it is certain what a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) register: Register,
    /// What was called before it and is not done.
    pub(crate) pending: Vec<usize>,
    /// What is called from then on: units from this one.
    pub(crate) next: usize,
}

/// Which slots are done.
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
pub(crate) fn search(key: &KeyHistory<'_>, model: &Model<'_>, effort: Effort<'_>) -> Found {
    let units = key.units(model.trust);
    let events = events(&units);
    let most = most_in_flight(&units, &events);
    match most {
        0..=128 => Search::<2>::new(key, model, &units, effort).run(&events),
        129..=512 => Search::<8>::new(key, model, &units, effort).run(&events),
        513..=SLOTS => Search::<{ SLOTS / 64 }>::new(key, model, &units, effort).run(&events),
        _ => Found::GaveUp {
            configurations: 0,
            why: Why::InFlight,
        },
    }
}

/// Calls and returns. At one time calls go first: then the two overlap.
fn events(units: &[Unit]) -> Vec<(u64, bool, u32)> {
    let mut events = Vec::with_capacity(units.len() * 2);
    for (index, unit) in (0..).zip(units) {
        events.push((unit.start, false, index));
        // What has no end is never waited for.
        if !(unit.is_optional() && unit.end == u64::MAX) {
            events.push((unit.end, true, index));
        }
    }
    events.sort_unstable();
    events
}

fn most_in_flight(units: &[Unit], events: &[(u64, bool, u32)]) -> usize {
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
enum Place {
    NotCalled,
    InFlight { slot: usize },
    Gone,
}

struct Search<'a, const WORDS: usize> {
    key: &'a KeyHistory<'a>,
    model: &'a Model<'a>,
    units: &'a [Unit],
    effort: Effort<'a>,
    has_unknown: bool,
    is_observation: Vec<bool>,
    /// What leaves the key as it would be had nothing been done before.
    is_blind: Vec<bool>,
    place: Vec<Place>,
    /// The units in flight, in the order of their calls.
    in_flight: Vec<usize>,
    free: Vec<usize>,
    slots: usize,
    looked_at: u64,
    most: usize,
    cut: Option<Cut>,
}

impl<'a, const WORDS: usize> Search<'a, WORDS> {
    fn new(
        key: &'a KeyHistory<'a>,
        model: &'a Model<'a>,
        units: &'a [Unit],
        effort: Effort<'a>,
    ) -> Self {
        let observes = |unit: &Unit| {
            let all = key.operations_of(unit);
            !unit.is_unknown && all.iter().all(Operation::is_observation)
        };
        // Under a machine a Write leaves the state, and what was deleted before begins anew.
        let overwrites = |unit: &Unit| {
            let first = &key.operations_of(unit)[0];
            let is_told = !matches!(
                first.outcome,
                Outcome::Unknown
                    | Outcome::Done {
                        seen: Seen::Untold,
                        ..
                    }
            );
            let is_optional_delete = || unit.is_optional() && first.action == Action::Delete;
            model.machine.is_none()
                && first.expect.is_none()
                && !is_told
                && (matches!(first.action, Action::Write(_)) || is_optional_delete())
        };
        Self {
            key,
            model,
            units,
            effort,
            has_unknown: units.iter().any(|unit| unit.is_unknown),
            is_blind: units.iter().map(overwrites).collect(),
            is_observation: units.iter().map(observes).collect(),
            place: vec![Place::NotCalled; units.len()],
            in_flight: Vec::new(),
            free: Vec::new(),
            slots: 0,
            looked_at: 0,
            most: 1,
            cut: None,
        }
    }

    fn run(mut self, events: &[(u64, bool, u32)]) -> Found {
        let mut now = vec![Configuration {
            register: self.model.start(self.key.found),
            done: [0; WORDS],
        }];
        let mut called = 0;
        for (_, is_return, unit) in events {
            let unit = *unit as usize;
            if !*is_return {
                self.call(unit);
                called = unit + 1;
                if self.is_observation[unit] {
                    for configuration in &mut now {
                        self.observe(configuration);
                    }
                    distinct(&mut now);
                }
                continue;
            }
            let Place::InFlight { slot } = self.place[unit] else {
                unreachable!("a unit returns after its call");
            };
            now = match self.finish(&now, unit, slot) {
                Ok(now) => now,
                Err(why) => {
                    let configurations = self.looked_at;
                    return Found::GaveUp {
                        configurations,
                        why,
                    };
                }
            };
            self.place[unit] = Place::Gone;
            self.in_flight.retain(|other| *other != unit);
            self.free.push(slot);
            self.fewest(&mut now);
            self.most = self.most.max(now.len());
            match &now[..] {
                [] => {
                    let cut = self.cut;
                    return Found::Impossible(Dead { unit, cut });
                }
                [only] if only.register.found().is_some() => {
                    let is_left = |it: &&usize| !self.is_done(&only.done, **it);
                    self.cut = Some(Cut {
                        register: only.register,
                        pending: self.in_flight.iter().filter(is_left).copied().collect(),
                        next: called,
                    });
                }
                _ => {}
            }
        }
        Found::Explained {
            configurations: self.most,
        }
    }

    fn call(&mut self, unit: usize) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.place[unit] = Place::InFlight { slot };
        self.in_flight.push(unit);
    }

    fn is_done(&self, done: &Mask<WORDS>, unit: usize) -> bool {
        match self.place[unit] {
            Place::NotCalled => false,
            Place::InFlight { slot } => has(done, slot),
            Place::Gone => true,
        }
    }

    /// The state if this unit is done next, unless it is done, or something must be done before it.
    fn step(&self, from: &Configuration<WORDS>, unit: usize) -> Option<Register> {
        let Place::InFlight { slot } = self.place[unit] else {
            return None;
        };
        let it = &self.units[unit];
        let may_be = |before: &u32| self.is_done(&from.done, *before as usize);
        if has(&from.done, slot) || !it.after.iter().flatten().all(may_be) {
            return None;
        }
        let operations = self.key.operations_of(it);
        self.model
            .step(from.register, operations, it.bounds, it.must)
    }

    /// Does all in flight that leaves the key as it is and explains its answer now, where waiting can gain nothing.
    fn observe(&self, configuration: &mut Configuration<WORDS>) {
        let mut again = true;
        while again {
            again = false;
            for unit in &self.in_flight {
                if !self.is_observation[*unit] {
                    continue;
                }
                if let Some(next) = self.step(configuration, *unit)
                    && self.is_free(*unit, &configuration.register, &next)
                    && let Place::InFlight { slot } = self.place[*unit]
                {
                    again |= configuration.register != next;
                    again |= self.model.trust == Trust::Revisions;
                    configuration.register = next;
                    set(&mut configuration.done, slot);
                }
            }
        }
    }

    /// Whether nothing is lost by doing it now. It may tell how far the store has come: then changes that nobody was told
    /// of have less room, unless what it saw is gone after them anyway.
    fn is_free(&self, unit: usize, before: &Register, after: &Register) -> bool {
        let pins = || {
            let operations = self.key.operations_of(&self.units[unit]);
            operations.iter().any(|operation| match operation.outcome {
                Outcome::Done { .. } => operation.entry().is_some(),
                Outcome::Refused(Refusal::Expectation(Actual::Revision(actual))) => actual > 0,
                _ => false,
            })
        };
        before == after || (before.same_but_later(after) && (!self.has_unknown || pins()))
    }

    /// The configurations after this return.
    fn finish(
        &mut self,
        now: &[Configuration<WORDS>],
        unit: usize,
        slot: usize,
    ) -> Result<Vec<Configuration<WORDS>>, Why> {
        let mut after = Vec::with_capacity(now.len());
        let mut todo = Vec::new();
        let without = |mut configuration: Configuration<WORDS>| {
            configuration.done[slot / 64] &= !(1 << (slot % 64));
            configuration
        };
        for configuration in now {
            match has(&configuration.done, slot) {
                true => after.push(without(*configuration)),
                false => {
                    if self.units[unit].is_optional() {
                        // It was not done.
                        after.push(*configuration);
                    }
                    todo.push((*configuration, Last::Told));
                }
            }
        }
        self.look(now.len() as u64)?;
        let mut tried: HashSet<(Configuration<WORDS>, Last)> = HashSet::new();
        while let Some((configuration, last)) = todo.pop() {
            self.look(1)?;
            for &other in &self.in_flight {
                // What was done before it, and need not be, makes no difference.
                if last == Last::Optional && self.is_blind[other] {
                    continue;
                }
                let Some(register) = self.step(&configuration, other) else {
                    continue;
                };
                let Place::InFlight { slot: place } = self.place[other] else {
                    continue;
                };
                let mut next = configuration;
                next.register = register;
                set(&mut next.done, place);
                let before = next.done;
                self.observe(&mut next);
                let last = match self.units[other].is_optional() && before == next.done {
                    true => Last::Optional,
                    false => Last::Told,
                };
                if has(&next.done, slot) {
                    after.push(without(next));
                } else if tried.insert((next, last)) {
                    todo.push((next, last));
                }
                let at_once = after.len().max(tried.len());
                let bytes = at_once * size_of::<Configuration<WORDS>>();
                if bytes > self.effort.bytes {
                    return Err(Why::Memory);
                }
            }
        }
        distinct(&mut after);
        Ok(after)
    }

    /// Counts configurations, and looks at the clock now and then.
    fn look(&mut self, configurations: u64) -> Result<(), Why> {
        let before = self.looked_at / LOOK_EVERY;
        self.looked_at += configurations;
        if self.looked_at > self.effort.in_all {
            return Err(Why::Configurations);
        }
        match self.looked_at / LOOK_EVERY > before && self.effort.patience.is_over() {
            true => Err(Why::Time),
            false => Ok(()),
        }
    }

    /// Drops what differs from another configuration in unknown outcomes alone, and has more of them.
    fn fewest(&self, configurations: &mut Vec<Configuration<WORDS>>) {
        if !self.has_unknown || configurations.len() < 2 {
            return;
        }
        let mut optional = [0; WORDS];
        for unit in &self.in_flight {
            if let (true, Place::InFlight { slot }) =
                (self.units[*unit].is_optional(), self.place[*unit])
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
        configurations.sort_by_cached_key(|it| (count(&it.done), it.register.least));
        let mut kept: HashMap<(Holds, Mask<WORDS>), Vec<Configuration<WORDS>>> = HashMap::new();
        configurations.retain(|it| {
            let (of_optional, of_others) = split(&it.done);
            let same = kept.entry((it.register.holds, of_others)).or_default();
            let has_fewer = |other: &Configuration<WORDS>| {
                let (fewer, _) = split(&other.done);
                fewer.iter().zip(&of_optional).all(|(a, b)| a & !b == 0)
                    && other.register.permits(&it.register)
            };
            let is_needed = !same.iter().take(COMPARED).any(has_fewer);
            if is_needed {
                same.push(*it);
            }
            is_needed
        });
    }
}

/// What was done last.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Last {
    /// Something that need not have been done, and of which nothing was told yet.
    Optional,
    Told,
}

fn distinct<const WORDS: usize>(configurations: &mut Vec<Configuration<WORDS>>) {
    if configurations.len() > 1 {
        let mut seen = HashSet::with_capacity(configurations.len());
        configurations.retain(|configuration| seen.insert(*configuration));
    }
}
