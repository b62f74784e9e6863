//! Finds the violations of a history. The evidence of each is still as long as the check made it.

use std::collections::BTreeMap;

use crate::history::{History, Initial};
use crate::key::{KeyHistory, key_history};
use crate::model::{Bounds, Criterion};
use crate::operation::{NEVER, Operation, Outcome};
use crate::options::{Options, Stage, StopReason, ValueSearch};
use crate::resolve::Resolved;
use crate::revision_order;
use crate::revisions::{self, Claims, Contradiction};
use crate::search::{DeadEnd, SearchResult, search};
use crate::shared_messages::{Choice, SharedMessages};
use crate::verdict::{Report, UndecidedKey, Verdict, ViolationKind};
use crate::watch::Changes;

/// Findings on more keys than these are left out: as a rule, all keys are wrong for the same reason.
const KEYS_MAX: usize = 4;

/// A violation whose evidence is not shrunk yet.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) kind: ViolationKind,
    pub(crate) key: Option<u32>,
    pub(crate) description: String,
    /// The places of the operations that contradict each other; of a key that cannot be explained, of all its operations.
    pub(crate) indices: Vec<usize>,
    /// The place of the watch that was told something wrong.
    pub(crate) watch: Option<usize>,
    /// The time at which the contradiction was complete. An operation that had not ended by then has no part in it, except
    /// that it may have been done.
    pub(crate) until: u64,
    /// Of a key: where the explanation fails.
    pub(crate) window: Option<Window>,
}

/// The operations on a key among which its explanation fails.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The key before them.
    pub(crate) initial: Initial,
    pub(crate) indices: Vec<usize>,
}

/// The findings, and a report whose verdict does not count them.
pub(crate) struct Judgement {
    pub(crate) report: Report,
    pub(crate) findings: Vec<Finding>,
}

/// Finds the violations of a valid history.
pub(crate) fn judge(history: &History, options: Options<'_>) -> Judgement {
    let by_key = by_key(history);
    let resolved = Resolved::new(history, &by_key);
    let operation = |index: usize| resolved.apply(index, history.operations[index].unpack());
    let mut judge = Judge::new(history, options, &operation);
    judge.report.keys = by_key.len();
    judge.report.unknown_observed = resolved.len();
    let by_revisions = options.value_search != ValueSearch::Only;
    if by_revisions {
        judge.across_keys();
    }
    judge.each_key(by_key);
    if by_revisions {
        judge.watches();
    }
    if !judge.undecided.is_empty() {
        judge.report.verdict = Verdict::Undecided(judge.undecided);
    }
    Judgement {
        report: judge.report,
        findings: judge.findings,
    }
}

/// The places of each key's operations.
fn by_key(history: &History) -> BTreeMap<u32, Vec<usize>> {
    let mut by_key: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, operation) in history.operations.iter().enumerate() {
        by_key.entry(operation.key()).or_default().push(index);
    }
    by_key
}

struct Judge<'a> {
    history: &'a History,
    options: Options<'a>,
    /// The operation at a place of the history, with what is proven of its outcome.
    operation: &'a dyn Fn(usize) -> Operation,
    claims: Claims,
    /// The revisions of all answered changes, in their order. Empty if only values are checked.
    revisions: Vec<i64>,
    /// For each operation. Empty if only values are checked.
    bounds: Vec<Bounds>,
    shared_messages: SharedMessages,
    undecided: Vec<UndecidedKey>,
    findings: Vec<Finding>,
    report: Report,
}

impl<'a> Judge<'a> {
    fn new(
        history: &'a History,
        options: Options<'a>,
        operation: &'a dyn Fn(usize) -> Operation,
    ) -> Self {
        let is_unknown = |it: &Operation| it.outcome == Outcome::Unknown;
        let operations = history.operations.iter();
        let claims = Claims::new(history, operation);
        let (revisions, bounds) = match options.value_search {
            ValueSearch::Only => (Vec::new(), Vec::new()),
            _ => (claims.revisions(), revisions::bounds(history, operation)),
        };
        Self {
            history,
            options,
            operation,
            claims,
            revisions,
            bounds,
            shared_messages: SharedMessages::new(history, operation),
            undecided: Vec::new(),
            findings: Vec::new(),
            report: Report {
                verdict: Verdict::Linearizable,
                operations: history.operations.len(),
                keys: 0,
                unknown: operations.filter(|it| is_unknown(&it.unpack())).count(),
                unknown_observed: 0,
                keys_by_revision: 0,
                configurations_max: 0,
            },
        }
    }

    fn across_keys(&mut self) {
        let backwards = revisions::find_backwards(self.history, self.operation, &self.bounds);
        self.contradiction(None, backwards);
        self.contradiction(None, self.claims.find_twice());
        let torn = revisions::find_torn_message(self.history, self.operation);
        self.contradiction(None, torn);
    }

    /// Keeps the first contradiction across keys, and of each key.
    fn contradiction(&mut self, key: Option<u32>, contradiction: Option<Contradiction>) {
        let is_same = |it: &Finding| it.kind == ViolationKind::Revisions && it.key == key;
        if let Some(contradiction) = contradiction
            && !self.findings.iter().any(is_same)
        {
            self.findings.push(Finding {
                kind: ViolationKind::Revisions,
                key,
                description: contradiction.description,
                indices: contradiction.indices,
                watch: None,
                until: NEVER,
                window: None,
            });
        }
    }

    fn each_key(&mut self, by_key: BTreeMap<u32, Vec<usize>>) {
        let mut left = Vec::new();
        let observer = self.options.observer;
        let key_count = by_key.len();
        for (done, (key, indices)) in by_key.into_iter().enumerate() {
            observer.tell(Stage::Revisions, done, key_count);
            let criteria = self.by_revision(key, &indices);
            if !criteria.is_empty() {
                left.push((key, indices, criteria));
            }
        }
        let (count, deadline) = (left.len(), self.options.limits.deadline);
        let mut needs_messages = false;
        for (done, (key, indices, criteria)) in left.into_iter().enumerate() {
            observer.tell(Stage::Search, done, count);
            self.options.limits.deadline = deadline.share(count - done);
            needs_messages |= self.search_key(key, &indices, &criteria);
        }
        self.options.limits.deadline = deadline;
        if needs_messages && self.findings.is_empty() {
            self.shared_messages();
        }
    }

    fn key_history(&self, key: u32, indices: &[usize]) -> KeyHistory<'a> {
        let bounds = match self.options.value_search {
            ValueSearch::Only => vec![Bounds::NONE; indices.len()],
            _ => indices.iter().map(|index| self.bounds[*index]).collect(),
        };
        key_history(self.history, key, indices.to_vec(), bounds, self.operation)
    }

    /// Tries the order of revisions on a key. Returns the criteria by which the key is still to be searched.
    fn by_revision(&mut self, number: u32, indices: &[usize]) -> Vec<Criterion> {
        let more = match self.options.value_search {
            ValueSearch::Only => return vec![Criterion::Values],
            ValueSearch::Always => Some(Criterion::Values),
            ValueSearch::OnViolation => None,
        };
        let key = self.key_history(number, indices);
        self.contradiction(Some(number), self.claims.find_foreign(&key));
        let model = key.model(Criterion::Revisions, &self.revisions);
        match revision_order::explains(&key, &model) {
            true => {
                self.report.keys_by_revision += 1;
                more.into_iter().collect()
            }
            false => [Criterion::Revisions].into_iter().chain(more).collect(),
        }
    }

    /// Searches a key by each criterion. Returns whether it takes shared messages of unknown outcome to explain it.
    fn search_key(&mut self, number: u32, indices: &[usize], criteria: &[Criterion]) -> bool {
        let key = self.key_history(number, indices);
        let mut needs_messages = false;
        for criterion in criteria {
            // First with none of the shared messages done: a choice on which all keys agree.
            let shared_messages = &self.shared_messages;
            let none_done = |message| shared_messages.contains(message).then_some(false);
            if shared_messages.touch(&key) {
                let less = key.with_messages(&none_done);
                if let SearchResult::Explained { .. } = self.search(&less, *criterion) {
                    continue;
                }
                needs_messages |= *criterion == criteria[0];
            }
            match self.search(&key, *criterion) {
                SearchResult::Explained { .. } => {}
                SearchResult::Stopped {
                    configurations,
                    reason,
                } => self.undecided(&key, number, configurations, reason),
                SearchResult::Impossible(dead_end) => {
                    self.impossible(number, &key, *criterion, dead_end);
                    return false;
                }
            }
        }
        needs_messages
    }

    /// Searches first without the changes of unknown outcome that nobody saw. An order without them is an order of all.
    fn search(&mut self, key: &KeyHistory<'_>, criterion: Criterion) -> SearchResult {
        let limits = self.options.limits;
        let search =
            |key: &KeyHistory<'_>| search(key, &key.model(criterion, &self.revisions), limits);
        let result = match key.without_unseen().map(|less| search(&less)) {
            Some(result @ SearchResult::Explained { .. }) => result,
            _ => search(key),
        };
        if let SearchResult::Explained { configurations_max } = result {
            let most = &mut self.report.configurations_max;
            *most = configurations_max.max(*most);
        }
        result
    }

    fn undecided(
        &mut self,
        key: &KeyHistory<'_>,
        number: u32,
        configurations: u64,
        reason: StopReason,
    ) {
        let is_unknown = |it: &&Operation| it.outcome == Outcome::Unknown;
        self.undecided.push(UndecidedKey {
            key: self.history.keys[number as usize].name.clone(),
            operations: key.operations.len(),
            unknown: key.operations.iter().filter(is_unknown).count(),
            configurations,
            reason,
        });
    }

    /// Checks that all keys can be explained with the same shared messages done.
    fn shared_messages(&mut self) {
        let criterion = match self.options.value_search {
            ValueSearch::Only => Criterion::Values,
            _ => Criterion::Revisions,
        };
        let by_key = by_key(self.history);
        let shared: Vec<(u32, KeyHistory<'_>)> = (by_key.iter())
            .map(|(number, indices)| (*number, self.key_history(*number, indices)))
            .filter(|(_, key)| self.shared_messages.touch(key))
            .collect();
        let keys: Vec<&KeyHistory<'_>> = shared.iter().map(|(_, key)| key).collect();
        let (limits, revisions) = (self.options.limits, &self.revisions);
        let explain = |key: &KeyHistory<'_>| search(key, &key.model(criterion, revisions), limits);
        match self.shared_messages.choose(&keys, &explain) {
            Choice::Possible => {}
            Choice::Stopped(stop) => {
                let (number, key) = &shared[stop.key];
                self.undecided(key, *number, stop.configurations, stop.reason);
            }
            Choice::Impossible { keys } => self.findings.push(Finding {
                kind: ViolationKind::Messages,
                key: None,
                description: "each key can be explained, but not all with the same messages of unknown outcome done"
                    .into(),
                indices: (keys.iter())
                    .flat_map(|key| by_key[&shared[*key].0].iter().copied())
                    .collect(),
                watch: None,
                until: NEVER,
                window: None,
            }),
        }
    }

    /// Keeps that no order explains a key.
    fn impossible(
        &mut self,
        number: u32,
        key: &KeyHistory<'_>,
        criterion: Criterion,
        dead_end: DeadEnd,
    ) {
        let on_keys = self.findings.iter().filter(|it| it.window.is_some());
        if on_keys.count() >= KEYS_MAX {
            return;
        }
        let kind = match criterion {
            Criterion::Values => ViolationKind::Values,
            Criterion::Revisions => match self.search(key, Criterion::Values) {
                SearchResult::Impossible(_) => ViolationKind::Values,
                SearchResult::Explained { .. } | SearchResult::Stopped { .. } => {
                    ViolationKind::KeyRevisions
                }
            },
        };
        let description = match kind {
            ViolationKind::Values => "no order of the operations explains what was answered",
            _ => "no order of the operations explains the revisions that were answered",
        };
        let units = key.units(criterion);
        // The unit that could not be done may have waited for one that had not ended, so that one is evidence too.
        let died = units[dead_end.unit].end;
        let waiting = (units.iter()).filter(|unit| unit.start <= died && unit.end != NEVER);
        let until = waiting.map(|unit| unit.end).max().unwrap_or(died);
        let indices = |unit: &usize| key.indices[units[*unit].from..units[*unit].to].to_vec();
        let begun = |unit: &usize| units[*unit].start <= until;
        let window = dead_end.cut.and_then(|cut| {
            let initial = cut.register.initial()?;
            let later = cut.next..units.len();
            let units = cut.pending.into_iter().chain(later).filter(begun);
            Some(Window {
                initial,
                indices: units.flat_map(|unit| indices(&unit)).collect(),
            })
        });
        let all = (0..units.len()).filter(begun);
        self.findings.push(Finding {
            kind,
            key: Some(number),
            description: description.into(),
            indices: all.flat_map(|unit| indices(&unit)).collect(),
            watch: None,
            until,
            window,
        });
    }

    /// Keeps what is wrong with the first watch that was told something wrong.
    fn watches(&mut self) {
        if self.history.watches.is_empty() {
            return;
        }
        let changes = Changes::new(self.history, self.operation, &self.claims);
        for (number, watch) in self.history.watches.iter().enumerate() {
            if let Some(found) = changes.find_contradiction(watch) {
                self.findings.push(Finding {
                    kind: ViolationKind::Watch,
                    key: found.key,
                    description: format!("watch {number}: {}", found.description),
                    indices: found.index.into_iter().collect(),
                    watch: Some(number),
                    until: NEVER,
                    window: None,
                });
                return;
            }
        }
    }
}
