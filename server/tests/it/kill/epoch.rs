//! What happened between two restarts, and whether it can be true.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use soloist_verify::{
    Action, Deadline, History, Initial, Key, Limits, MessageKind, Observed, Operation, Options,
    Outcome, PackedOperation, Value, Verdict, Watch, WatchUpdate, check,
};

use super::call::{Call, Step};
use super::keys::{PAIR, counter, has_machine, keys, machine};
use super::{CLIENTS, Checked};

/// How long the search for an order of the operations may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything from the moment after one restart at which nothing is in flight to the same moment after the next.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// The keys at the beginning.
    pub(super) before: BTreeMap<String, Initial>,
    pub(super) calls: Vec<Call>,
    /// One Read of each key, in the end.
    pub(super) reads: Vec<FinalRead>,
    pub(super) watch: Watch,
}

/// A Read of one key when nothing else is in flight.
#[derive(Clone, Debug)]
pub(super) struct FinalRead {
    pub(super) key: String,
    pub(super) start: u64,
    pub(super) end: u64,
    /// What was read, and the store revision.
    pub(super) read: Initial,
}

impl Epoch {
    /// The keys in the end.
    pub(super) fn after(&self) -> BTreeMap<String, Initial> {
        let reads = self.reads.iter();
        reads.map(|it| (it.key.clone(), it.read)).collect()
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (&Step, Outcome)> {
        self.calls.iter().flat_map(Call::each)
    }

    /// Says which keys each DeletePrefix has deleted, as the watch tells: they must be as many as its answer says.
    pub(super) fn resolve_sweeps(&mut self) -> Checked<()> {
        let names: Vec<String> = keys().collect();
        for call in &mut self.calls {
            let Some(count) = call.swept else { continue };
            let (Some(Outcome::Done { revision, .. }), 1..) = (call.outcomes.first(), count) else {
                continue;
            };
            let revision = *revision;
            let told = self.watch.updates.iter();
            let deleted: Vec<&String> = told
                .filter_map(|(_, update)| match update {
                    WatchUpdate::Event {
                        key,
                        revision: of,
                        entry: None,
                    } if *of == revision => Some(&names[*key as usize]),
                    _ => None,
                })
                .collect();
            if deleted.len() as i64 != count {
                return Err(format!(
                    "{call:?} says that it deleted {count} keys, and the watch was told of {deleted:?}"
                ));
            }
            for (step, outcome) in call.steps.iter().zip(&mut call.outcomes) {
                let observed = match deleted.contains(&&step.key) {
                    true => Observed::NotReported,
                    false => Observed::Entry(None),
                };
                *outcome = Outcome::Done { revision, observed };
            }
        }
        Ok(())
    }

    /// The epoch in the terms of the checker.
    pub(super) fn history(&self) -> History {
        let names: Vec<String> = keys().collect();
        let number = |name: &str| {
            let place = names.iter().position(|it| it == name);
            place.expect("the clients use no other keys") as u32
        };
        let mut operations = Vec::new();
        for (message, call) in (0..).zip(&self.calls) {
            operations.extend(call.each().map(|(step, outcome)| Operation {
                client: call.client,
                message,
                message_kind: call.kind,
                key: number(&step.key),
                start: call.start,
                end: call.end,
                action: step.action,
                expect: step.expect,
                outcome,
            }));
        }
        operations.extend((0..).zip(&self.reads).map(|(message, it)| Operation {
            client: CLIENTS,
            message,
            message_kind: MessageKind::Call,
            key: number(&it.key),
            start: it.start,
            end: it.end,
            action: Action::Read,
            expect: None,
            outcome: Outcome::Done {
                revision: it.read.revision,
                observed: Observed::Entry(it.read.entry),
            },
        }));
        let mut operations: Vec<PackedOperation> =
            operations.iter().map(PackedOperation::from).collect();
        operations.sort_by_key(PackedOperation::order);
        // A key that nobody has read yet is new, and so is the store.
        let key = |name: String| {
            let initial = self.before.get(&name).copied().unwrap_or_default();
            let machine = has_machine(&name).then_some(0);
            Key {
                machine,
                ..Key::new(name, Some(initial))
            }
        };
        History {
            keys: names.into_iter().map(key).collect(),
            machines: vec![machine()],
            operations,
            watches: vec![self.watch.clone()],
            ..History::default()
        }
    }

    /// Checks that all answers, the final Reads and the watch can be true together.
    pub(super) fn check_history(&self) -> Checked<()> {
        let began = Instant::now();
        let clock = || began.elapsed();
        let limits = Limits {
            deadline: Deadline::new(&clock, SEARCH_TIMEOUT),
            ..Limits::default()
        };
        let options = Options {
            limits,
            shrink_timeout: SEARCH_TIMEOUT,
            ..Options::default()
        };
        let report = check(&self.history(), options).map_err(|error| error.to_string())?;
        match report.verdict {
            Verdict::Linearizable => Ok(()),
            Verdict::Undecided(keys) => Err(format!("not decided in time: {keys:?}")),
            Verdict::NotLinearizable(violations) => {
                let violations: Vec<String> = violations.iter().map(|it| it.to_string()).collect();
                Err(violations.join("\n"))
            }
        }
    }

    /// Checks that the last answered change of each key is there, unless a change of unknown outcome may have come after it.
    /// The history says the same. This says it in few words, and before anything else can fail.
    pub(super) fn check_last_changes(&self) -> Checked<()> {
        for FinalRead { key, read, .. } in &self.reads {
            let steps = || self.steps().filter(|(step, _)| step.key == *key);
            let before = self.before.get(key).and_then(|before| before.entry);
            let before = before.map_or((0, None), |entry| (entry.revision, Some(entry.value)));
            let answered = steps().filter_map(|(step, outcome)| step.change(outcome));
            let (revision, value) = answered
                .chain([before])
                .max_by_key(|(revision, _)| *revision)
                .unwrap();
            let may_be = |left| {
                steps().any(|(step, outcome)| outcome == Outcome::Unknown && step.can_leave(left))
            };
            let is_kept = match read.entry {
                Some(entry) if entry.revision == revision => value == Some(entry.value),
                Some(entry) => entry.revision > revision && may_be(Some(entry.value)),
                None => value.is_none() || may_be(None),
            };
            if !is_kept {
                return Err(format!(
                    "key {key:?}: {value:?} was answered with revision {revision}, but {:?} is there",
                    read.entry
                ));
            }
        }
        let after = self.after();
        let [a, b] = PAIR.map(|key| after[key].entry);
        match a == b {
            true => Ok(()),
            false => Err(format!(
                "half a Batch is there: {PAIR:?} have {a:?} and {b:?}"
            )),
        }
    }

    /// Checks that each counter is the sum of the Adds to it: none is missing, none was applied twice. Every Add to a counter
    /// has a request_id, so that no outcome is left unknown after the retries.
    pub(super) fn check_counters(&self) -> Checked<()> {
        let value = |initial: Option<&Initial>| match initial.and_then(|it| it.entry) {
            Some(entry) => entry.value,
            None => Value::Int(0),
        };
        let after = self.after();
        for key in (0..CLIENTS).map(counter) {
            let Value::Int(mut expected) = value(self.before.get(&key)) else {
                return Err(format!("key {key:?} is not an integer"));
            };
            for (step, outcome) in self.steps().filter(|(step, _)| step.key == key) {
                match (step.action, outcome) {
                    (Action::Add(delta), Outcome::Done { .. }) => expected += delta,
                    (Action::Read, _) | (_, Outcome::NotDone) => {}
                    _ => {
                        return Err(format!("key {key:?}: {step:?} is left as {outcome:?}"));
                    }
                }
            }
            let counted = value(after.get(&key));
            if counted != Value::Int(expected) {
                return Err(format!(
                    "key {key:?}: the Adds sum up to {expected}, but {counted:?} is there"
                ));
            }
        }
        Ok(())
    }
}
