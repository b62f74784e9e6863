//! The verdict on a history. What is checked, in this order:
//!
//! 1. *Across keys* (`store`): revisions grow in real time; each belongs to one message; an atomic message has one.
//! 2. *Each key* against its own changes at their revisions: by the order that the answers name (`witness`); where that does
//!    not do, by search (`search`), with revisions; and to say what is wrong, without them. A List, and an atomic message,
//!    are true at one revision, so keys that are right one by one at their revisions are right together.
//! 3. *Watches* (`watch`).
//!
//! What is not: which revisions unknown outcomes of several keys can have had at the same time; that an atomic message of unknown outcome was done as a whole where no unique value of it was seen; the
//! values of a key before its first answer, if nobody looked before the run; lifetimes, sessions and timeouts of states.
//! None of these makes a right history look wrong, but for the last: keys that have them must not be recorded.
//!
//! Time: a million operations take seconds; but with some 40 unknown outcomes a key that nobody can be told to have seen (as
//! Adds and Deletes cannot), a search may take minutes before it ends or gives up.
//!
//! Memory, besides the history: 24 bytes an operation, 350 for each of the key with the most, and what a search may take.

use std::collections::{BTreeMap, HashMap};

use super::history::History;
use super::key::KeyHistory;
use super::model::{Bounds, Trust};
use super::operation::{NEVER, Operation, Outcome, Record, Seen};
use super::search::{Dead, Effort, Found, search};
use super::store::{self, Claims, Contradiction};
use super::watch::Changes;
use super::{shrink, witness};

/// When the black-box search is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlackBox {
    /// Of keys that revisions show to be wrong: to say whether values do so too.
    WhereWrong,
    /// Of every key.
    Always,
    /// Of every key, and nothing else: for answers without revisions.
    Only,
}

/// How to check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    pub(crate) black_box: BlackBox,
    pub(crate) effort: Effort,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            black_box: BlackBox::WhereWrong,
            effort: Effort::default(),
        }
    }
}

/// What a violation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Revisions of the store contradict each other.
    Revisions,
    /// No order of the operations on a key explains its values.
    Values,
    /// One explains its values, but none its values and revisions. (Or whether one does was too much to find out.)
    KeyRevisions,
    /// A watch was told something else than happened.
    Watch,
}

/// What cannot have been.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) key: Option<String>,
    pub(crate) what: String,
    /// The smallest part of the history that was found to show it: it is itself a history, with the same verdict.
    pub(crate) evidence: History,
}

/// A search that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp {
    pub(crate) key: String,
    /// So many configurations had been looked at; 0: more operations were in flight at once than can be followed.
    pub(crate) configurations: u64,
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Linearizable,
    /// The first of each kind, and of keys up to [`VIOLATIONS`].
    Violation(Vec<Violation>),
    /// Nothing was found wrong, but not everything was found out.
    GaveUp(Vec<GaveUp>),
}

/// The verdict, and how it was come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) operations: usize,
    /// Keys with operations.
    pub(crate) keys: usize,
    /// Operations of unknown outcome; and how many of them somebody saw done.
    pub(crate) unknown: usize,
    pub(crate) unknown_seen: usize,
    /// Keys explained by revisions alone; the others were searched.
    pub(crate) keys_explained: usize,
    /// The most configurations that a search had at one time.
    pub(crate) configurations: usize,
}

/// More keys than these are not told of: they have the same reason, as a rule.
pub(crate) const VIOLATIONS: usize = 4;

/// A history that cannot be checked: it was not made by recorders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadHistory(String);

impl std::fmt::Display for BadHistory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "not a history: {}", self.0)
    }
}

impl std::error::Error for BadHistory {}

/// Checks a history.
///
/// # Errors
///
/// If it makes no sense in itself.
pub(crate) fn check(history: &History, checks: Checks) -> Result<Report, BadHistory> {
    history.validate().map_err(BadHistory)?;
    let judged = judge(history, checks);
    let violations: Vec<Violation> = (judged.wrong.iter())
        .map(|wrong| shrink::violation(history, wrong, checks))
        .collect();
    let mut report = judged.report;
    if !violations.is_empty() {
        report.verdict = Verdict::Violation(violations);
    }
    Ok(report)
}

/// Something wrong, before its evidence is made small.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) kind: Kind,
    pub(super) key: Option<u32>,
    pub(super) what: String,
    /// The operations that contradict each other; of a key that cannot be explained, all.
    pub(super) places: Vec<usize>,
    pub(super) watch: Option<usize>,
    /// When it was certain: what had not ended then has no part in it but as something that may have been done.
    pub(super) until: u64,
    /// Of a key: where the explanation ends.
    pub(super) window: Option<Window>,
}

/// The part of a key's operations in which its explanation fails.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// What the key was before it.
    pub(super) found: super::history::Found,
    pub(super) places: Vec<usize>,
}

pub(super) struct Judged {
    pub(super) report: Report,
    pub(super) wrong: Vec<Wrong>,
}

/// An unknown outcome that somebody saw: its revision, if it was told, and when it was known.
type Decided = HashMap<usize, (Option<i64>, u64)>;

/// Finds what is wrong. The history is a valid one.
pub(super) fn judge(history: &History, checks: Checks) -> Judged {
    let raw = |place: usize| {
        let record: &Record = &history.operations[place];
        record.operation().expect("a valid history")
    };
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
    for (key, places) in by_key {
        judge.key(key, places);
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

/// Decides the unknown outcomes that somebody saw; of an atomic message all parts together.
fn decide(
    history: &History,
    by_key: &BTreeMap<u32, Vec<usize>>,
    raw: &dyn Fn(usize) -> Operation,
) -> Decided {
    let mut unknown_of: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    for place in 0..history.operations.len() {
        let operation = raw(place);
        if operation.outcome == Outcome::Unknown {
            unknown_of
                .entry(operation.message_id())
                .or_default()
                .push(place);
        }
    }
    let mut decided = Decided::new();
    if unknown_of.is_empty() {
        return decided;
    }
    let mut told: HashMap<u32, Vec<_>> = HashMap::new();
    for (time, it) in history.watches.iter().flat_map(|watch| &watch.told) {
        if let super::history::Told::Event {
            key,
            entry: Some(entry),
            ..
        } = it
        {
            told.entry(*key)
                .or_default()
                .push((entry.value, entry.revision, *time));
        }
    }
    for (key, places) in by_key {
        let none = vec![Bounds::NONE; places.len()];
        let key_history = key_history(history, *key, places.clone(), none, raw);
        for (place, revision, time) in key_history.resolve(told.get(key).map_or(&[], |it| it)) {
            decided.insert(place, (revision, time));
            let operation = raw(place);
            if operation.travel.is_atomic() {
                for other in &unknown_of[&operation.message_id()] {
                    decided.entry(*other).or_insert((revision, time));
                }
            }
        }
    }
    decided
}

fn key_history<'a>(
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
        operations,
        places,
        bounds,
    };
    match keep.iter().all(|keep| *keep) {
        true => all,
        false => all.only(&keep),
    }
}

struct Judge<'a> {
    history: &'a History,
    checks: Checks,
    operation: &'a dyn Fn(usize) -> Operation,
    claims: Claims,
    revisions: Vec<i64>,
    bounds: Vec<Bounds>,
    gave_up: Vec<GaveUp>,
    wrong: Vec<Wrong>,
    report: Report,
}

impl Judge<'_> {
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

    fn key(&mut self, number: u32, places: Vec<usize>) {
        let bounds = match self.checks.black_box {
            BlackBox::Only => vec![Bounds::NONE; places.len()],
            _ => places.iter().map(|place| self.bounds[*place]).collect(),
        };
        let key = key_history(self.history, number, places, bounds, self.operation);
        let trusts = match self.checks.black_box {
            BlackBox::Only => [None, Some(Trust::Values)],
            BlackBox::Always => [Some(Trust::Revisions), Some(Trust::Values)],
            BlackBox::WhereWrong => [Some(Trust::Revisions), None],
        };
        if trusts[0].is_some() {
            self.contradiction(Some(number), self.claims.find_foreign(&key));
        }
        for trust in trusts.into_iter().flatten() {
            let model = key.model(trust, &self.revisions);
            if trust == Trust::Revisions && witness::explains(&key, &model) {
                self.report.keys_explained += 1;
                continue;
            }
            match self.search(&key, trust) {
                Found::Explained { .. } => {}
                Found::GaveUp { configurations } => {
                    let key = self.history.keys[number as usize].name.clone();
                    self.gave_up.push(GaveUp {
                        key,
                        configurations,
                    });
                }
                Found::Impossible(dead) => {
                    self.impossible(number, &key, trust, dead);
                    return;
                }
            }
        }
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

/// The same operation, had nobody heard of it again.
pub(super) fn weakened(operation: &Operation) -> Operation {
    Operation {
        outcome: Outcome::Unknown,
        end: NEVER,
        ..*operation
    }
}
