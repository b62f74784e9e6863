//! The verdict on a history. What is checked, in this order:
//!
//! 1. *Across keys* (`store`): revisions grow in real time; each belongs to one message; an atomic message has one.
//! 2. *Each key* against its own changes at their revisions: by the order that the answers name (`witness`); where that does
//!    not do, by search (`search`), with revisions; and to say what is wrong, without them. A List, and an atomic message,
//!    are true at one revision, so keys that are right one by one at their revisions are right together.
//! 3. *Watches* (`watch`).
//!
//! An atomic message of unknown outcome was done on all of its keys or on none (`messages`).
//!
//! What is not checked: the order of unknown outcomes on *different* keys, beyond what the revisions say that were answered
//! before and after each of them; whether two messages of unknown outcome were given one revision, where no unique value
//! tells which was; the values of a key before its first answer, if nobody looked before the run; lifetimes, sessions and
//! timeouts of states. None of these makes a right history look wrong, but for the last: keys that have them must not be
//! recorded.
//!
//! Time: a million operations take seconds, with hundreds of unknown outcomes too, where answers have revisions. Without
//! them the orders of changes in flight have to be tried: see [`Patience`](super::patience::Patience).
//!
//! Memory, besides the history: 24 bytes an operation, 350 for each of the key with the most, and what a search may take.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::history::History;
use crate::key::KeyHistory;
use crate::messages::{Chosen, Messages};
use crate::model::{Bounds, Must, Trust};
use crate::operation::{NEVER, Operation, Outcome, Record, Seen};
use crate::search::{Dead, Effort, Found, Why, search};
use crate::store::{self, Claims, Contradiction};
use crate::watch::Changes;
use crate::{shrink, witness};

/// When the black-box search is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlackBox {
    /// Of keys that revisions show to be wrong: to say whether values do so too.
    WhereWrong,
    /// Of every key.
    Always,
    /// Of every key, and nothing else: for answers without revisions.
    Only,
}

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct Checks<'a> {
    pub black_box: BlackBox,
    /// For each key; but the time is for all.
    pub effort: Effort<'a>,
    /// How long making the evidence small may take: where it is over, the evidence is true, and longer.
    pub shrinking: Duration,
}

impl Default for Checks<'_> {
    fn default() -> Self {
        Self {
            black_box: BlackBox::WhereWrong,
            effort: Effort::default(),
            shrinking: Duration::MAX,
        }
    }
}

/// What a violation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Revisions of the store contradict each other.
    Revisions,
    /// No order of the operations on a key explains its values.
    Values,
    /// One explains its values, but none its values and revisions. (Or whether one does was too much to find out.)
    KeyRevisions,
    /// Each key can be explained, but not all with the same messages of unknown outcome done.
    Messages,
    /// A watch was told something else than happened.
    Watch,
}

/// What cannot have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub kind: Kind,
    pub key: Option<String>,
    pub what: String,
    /// The smallest part of the history that was found to show it: it is itself a history, with the same verdict.
    pub evidence: History,
}

/// A search that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp {
    pub key: String,
    pub operations: usize,
    /// Those of them of unknown outcome.
    pub unknown: usize,
    /// So many configurations had been looked at.
    pub configurations: u64,
    pub why: Why,
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Linearizable,
    /// The first of each kind, and of keys up to [`VIOLATIONS`].
    Violation(Vec<Violation>),
    /// Nothing was found wrong, but not everything was found out.
    GaveUp(Vec<GaveUp>),
}

/// The verdict, and how it was come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub verdict: Verdict,
    pub operations: usize,
    /// Keys with operations.
    pub keys: usize,
    /// Operations of unknown outcome; and how many of them somebody saw done.
    pub unknown: usize,
    pub unknown_seen: usize,
    /// Keys explained by revisions alone; the others were searched.
    pub keys_explained: usize,
    /// The most configurations that a search had at one time.
    pub configurations: usize,
}

/// More keys than these are not told of: they have the same reason, as a rule.
pub const VIOLATIONS: usize = 4;

/// A history that cannot be checked: it was not made by recorders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHistory(String);

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
pub fn check(history: &History, checks: Checks<'_>) -> Result<Report, BadHistory> {
    history.validate().map_err(BadHistory)?;
    let judged = judge(history, checks);
    let patience = checks.effort.patience.again(checks.shrinking);
    let effort = Effort {
        patience,
        ..checks.effort
    };
    let checks = Checks { effort, ..checks };
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
    pub(crate) found: crate::history::Found,
    pub(crate) places: Vec<usize>,
}

pub(crate) struct Judged {
    pub(crate) report: Report,
    pub(crate) wrong: Vec<Wrong>,
}

/// An unknown outcome that somebody saw: its revision, if it was told, and when it was known.
type Decided = HashMap<usize, (Option<i64>, u64)>;

/// Finds what is wrong. The history is a valid one.
pub(crate) fn judge(history: &History, checks: Checks<'_>) -> Judged {
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
        if let crate::history::Told::Event {
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

/// The same operation, had nobody heard of it again.
pub(crate) fn weakened(operation: &Operation) -> Operation {
    Operation {
        outcome: Outcome::Unknown,
        end: NEVER,
        ..*operation
    }
}
