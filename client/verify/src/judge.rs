//! Finds what is wrong with a history.

use std::collections::BTreeMap;

use crate::history::{Found as Before, History};
use crate::key::{KeyHistory, key_history};
use crate::messages::{Chosen, Messages};
use crate::model::{Bounds, Trust};
use crate::operation::{NEVER, Operation, Outcome, Seen};
use crate::options::{BlackBox, Checks, Why};
use crate::resolve::decide;
use crate::search::{Dead, Found, search};
use crate::store::{self, Claims, Contradiction};
use crate::verdict::{GaveUp, Kind, Report, Verdict};
use crate::watch::Changes;
use crate::witness;

/// More keys than these are not told of: they have the same reason, as a rule.
const VIOLATIONS: usize = 4;

/// Something wrong, before its evidence is made small.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) kind: Kind,
    pub(crate) key: Option<u32>,
    pub(crate) what: String,
    /// The operations that contradict each other; of a key that cannot be explained, all.
    pub(crate) places: Vec<usize>,
    pub(crate) watch: Option<usize>,
    /// When it was certain: what had not ended then has no part in it but as something that may have been done.
    pub(crate) until: u64,
    /// Of a key: where the explanation ends.
    pub(crate) window: Option<Window>,
}

/// The part of a key's operations in which its explanation fails.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// What the key was before it.
    pub(crate) found: Before,
    pub(crate) places: Vec<usize>,
}

pub(crate) struct Judged {
    pub(crate) report: Report,
    pub(crate) wrong: Vec<Wrong>,
}

/// Finds what is wrong. The history is a valid one.
pub(crate) fn judge(history: &History, checks: Checks<'_>) -> Judged {
    let raw = |place: usize| history.operations[place].operation();
    let by_key = by_key(history);
    let decided = decide(history, &by_key, &raw);
    let operation = |place: usize| {
        let mut operation = raw(place);
        if let Some((revision, time)) = decided.get(&place) {
            operation.end = operation.end.min(*time).max(operation.start);
            if let Some(revision) = *revision {
                let seen = Seen::Untold;
                operation.outcome = Outcome::Done { revision, seen };
            }
        }
        operation
    };
    let unknown = |place: &usize| raw(*place).outcome == Outcome::Unknown;
    let mut judge = Judge {
        history,
        checks,
        operation: &operation,
        claims: Claims::new(history, &operation),
        revisions: Vec::new(),
        bounds: Vec::new(),
        messages: Messages::new(history, &operation),
        gave_up: Vec::new(),
        wrong: Vec::new(),
        report: Report {
            verdict: Verdict::Linearizable,
            operations: history.operations.len(),
            keys: by_key.len(),
            unknown: (0..history.operations.len()).filter(unknown).count(),
            unknown_seen: decided.len(),
            keys_explained: 0,
            configurations: 0,
        },
    };
    if checks.black_box != BlackBox::Only {
        judge.revisions = judge.claims.revisions();
        judge.bounds = store::bounds(history, &operation);
        judge.across_keys();
    }
    let mut left = Vec::new();
    for (key, places) in by_key {
        let trusts = judge.explain(key, &places);
        if !trusts.is_empty() {
            left.push((key, places, trusts));
        }
    }
    // All keys share the time: what one leaves over is there for those after it.
    let (count, patience) = (left.len(), checks.effort.patience);
    let mut torn = false;
    for (index, (key, places, trusts)) in left.into_iter().enumerate() {
        judge.checks.effort.patience = patience.part(count - index);
        torn |= judge.key(key, &places, &trusts);
    }
    judge.checks.effort.patience = patience;
    if torn && judge.wrong.is_empty() {
        judge.messages();
    }
    if checks.black_box != BlackBox::Only {
        judge.watches();
    }
    if !judge.gave_up.is_empty() {
        judge.report.verdict = Verdict::GaveUp(judge.gave_up);
    }
    Judged {
        report: judge.report,
        wrong: judge.wrong,
    }
}

/// The places of each key's operations.
fn by_key(history: &History) -> BTreeMap<u32, Vec<usize>> {
    let mut by_key: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, record) in history.operations.iter().enumerate() {
        by_key.entry(record.key()).or_default().push(place);
    }
    by_key
}

struct Judge<'a> {
    history: &'a History,
    checks: Checks<'a>,
    operation: &'a dyn Fn(usize) -> Operation,
    claims: Claims,
    revisions: Vec<i64>,
    bounds: Vec<Bounds>,
    messages: Messages,
    gave_up: Vec<GaveUp>,
    wrong: Vec<Wrong>,
    report: Report,
}

impl<'a> Judge<'a> {
    fn contradiction(&mut self, key: Option<u32>, found: Option<Contradiction>) {
        let is_first = !self
            .wrong
            .iter()
            .any(|it| it.kind == Kind::Revisions && it.key == key);
        if let (Some(Contradiction { places, what }), true) = (found, is_first) {
            self.wrong.push(Wrong {
                kind: Kind::Revisions,
                key,
                what,
                places,
                watch: None,
                until: NEVER,
                window: None,
            });
        }
    }

    fn across_keys(&mut self) {
        let backwards = store::find_backwards(self.history, self.operation, &self.bounds);
        self.contradiction(None, backwards);
        self.contradiction(None, self.claims.find_twice());
        let torn = store::find_torn_message(self.history, self.operation);
        self.contradiction(None, torn);
    }

    fn key_history(&self, number: u32, places: &[usize]) -> KeyHistory<'a> {
        let bounds = match self.checks.black_box {
            BlackBox::Only => vec![Bounds::NONE; places.len()],
            _ => places.iter().map(|place| self.bounds[*place]).collect(),
        };
        key_history(
            self.history,
            number,
            places.to_vec(),
            bounds,
            self.operation,
        )
    }

    /// Explains a key by its revisions, and says by what it is left to search.
    fn explain(&mut self, number: u32, places: &[usize]) -> Vec<Trust> {
        let rest = match self.checks.black_box {
            BlackBox::Only => return vec![Trust::Values],
            BlackBox::Always => Some(Trust::Values),
            BlackBox::WhereWrong => None,
        };
        let key = self.key_history(number, places);
        self.contradiction(Some(number), self.claims.find_foreign(&key));
        match witness::explains(&key, &key.model(Trust::Revisions, &self.revisions)) {
            true => {
                self.report.keys_explained += 1;
                rest.into_iter().collect()
            }
            false => [Trust::Revisions].into_iter().chain(rest).collect(),
        }
    }

    /// Searches a key. Returns whether it takes atomic messages of unknown outcome to explain it.
    fn key(&mut self, number: u32, places: &[usize], trusts: &[Trust]) -> bool {
        let key = self.key_history(number, places);
        let mut takes_messages = false;
        for trust in trusts {
            // First with none of the messages that other keys have part in: then all keys agree on them.
            let messages = &self.messages;
            let without = |message| messages.is_shared(message).then_some(false);
            if self.messages.touch(&key) {
                let less = key.with_messages(&without);
                if let Found::Explained { .. } = self.search(&less, *trust) {
                    continue;
                }
                takes_messages |= *trust == trusts[0];
            }
            match self.search(&key, *trust) {
                Found::Explained { .. } => {}
                Found::GaveUp {
                    configurations,
                    why,
                } => self.give_up(&key, number, configurations, why),
                Found::Impossible(dead) => {
                    self.impossible(number, &key, *trust, dead);
                    return false;
                }
            }
        }
        takes_messages
    }

    fn give_up(&mut self, key: &KeyHistory<'_>, number: u32, configurations: u64, why: Why) {
        let is_unknown = |it: &&Operation| it.outcome == Outcome::Unknown;
        self.gave_up.push(GaveUp {
            key: self.history.keys[number as usize].name.clone(),
            operations: key.operations.len(),
            unknown: key.operations.iter().filter(is_unknown).count(),
            configurations,
            why,
        });
    }

    /// First without what nobody saw: what can be explained so, can be.
    fn search(&mut self, key: &KeyHistory<'_>, trust: Trust) -> Found {
        let effort = self.checks.effort;
        let less = key.without_unseen();
        let of_less = less.map(|less| search(&less, &less.model(trust, &self.revisions), effort));
        let found = match of_less {
            Some(found @ Found::Explained { .. }) => found,
            _ => search(key, &key.model(trust, &self.revisions), effort),
        };
        if let Found::Explained { configurations } = found {
            self.report.configurations = self.report.configurations.max(configurations);
        }
        found
    }

    /// Whether the keys agree on which atomic messages of unknown outcome were done.
    fn messages(&mut self) {
        let trust = match self.checks.black_box {
            BlackBox::Only => Trust::Values,
            _ => Trust::Revisions,
        };
        let by_key = by_key(self.history);
        let shared: Vec<(u32, KeyHistory<'_>)> = (by_key.iter())
            .map(|(number, places)| (*number, self.key_history(*number, places)))
            .filter(|(_, key)| self.messages.touch(key))
            .collect();
        let keys: Vec<&KeyHistory<'_>> = shared.iter().map(|(_, key)| key).collect();
        let (effort, revisions) = (self.checks.effort, &self.revisions);
        let explain = |key: &KeyHistory<'_>| search(key, &key.model(trust, revisions), effort);
        match self.messages.choose(&keys, &explain) {
            Chosen::Some => {}
            Chosen::GaveUp {
                key,
                configurations,
                why,
            } => self.give_up(&shared[key].1, shared[key].0, configurations, why),
            Chosen::None { keys } => self.wrong.push(Wrong {
                kind: Kind::Messages,
                key: None,
                what: "each key can be explained, but not all with the same messages of unknown outcome done"
                    .into(),
                places: (keys.iter())
                    .flat_map(|key| by_key[&shared[*key].0].iter().copied())
                    .collect(),
                watch: None,
                until: NEVER,
                window: None,
            }),
        }
    }

    fn impossible(&mut self, number: u32, key: &KeyHistory<'_>, trust: Trust, dead: Dead) {
        let keys = self.wrong.iter().filter(|it| it.window.is_some());
        if keys.count() >= VIOLATIONS {
            return;
        }
        let kind = match trust {
            Trust::Values => Kind::Values,
            Trust::Revisions => match self.search(key, Trust::Values) {
                Found::Impossible(_) => Kind::Values,
                Found::Explained { .. } | Found::GaveUp { .. } => Kind::KeyRevisions,
            },
        };
        let units = key.units(trust);
        // What could not be done may have waited for what has not ended, so that is looked at too.
        let died = units[dead.unit].end;
        let waiting = units
            .iter()
            .filter(|unit| unit.start <= died && unit.end != NEVER);
        let end = waiting.map(|unit| unit.end).max().unwrap_or(died);
        let (found, mut chosen) = match dead.cut {
            Some(cut) => {
                let later = (cut.next..units.len()).collect::<Vec<_>>();
                (cut.register.found(), [cut.pending, later].concat())
            }
            None => (None, (0..units.len()).collect()),
        };
        chosen.retain(|unit| units[*unit].start <= end);
        let places = |unit: &usize| key.places[units[*unit].from..units[*unit].to].to_vec();
        let window = found.map(|found| Window {
            found,
            places: chosen.iter().flat_map(places).collect(),
        });
        let all = (0..units.len()).filter(|unit| units[*unit].start <= end);
        let what = match kind {
            Kind::Values => "no order of the operations explains what was answered",
            _ => "no order of the operations explains the revisions that were answered",
        };
        self.wrong.push(Wrong {
            kind,
            key: Some(number),
            what: what.into(),
            places: all.flat_map(|unit| places(&unit)).collect(),
            watch: None,
            until: end,
            window,
        });
    }

    fn watches(&mut self) {
        if self.history.watches.is_empty() {
            return;
        }
        let changes = Changes::new(self.history, self.operation);
        for (index, watch) in self.history.watches.iter().enumerate() {
            if let Some(wrong) = changes.find_wrong(watch) {
                self.wrong.push(Wrong {
                    kind: Kind::Watch,
                    key: wrong.key,
                    what: format!("watch {index}: {}", wrong.what),
                    places: wrong.place.into_iter().collect(),
                    watch: Some(index),
                    until: NEVER,
                    window: None,
                });
                return;
            }
        }
    }
}
