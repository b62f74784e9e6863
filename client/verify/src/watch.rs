//! What a watch was told, against what the clients were answered: every change of its keys once, in the order of revisions,
//! none left out up to the revision that it says it has come to, and nothing that did not happen.

use std::collections::{HashMap, HashSet};

use crate::history::{History, Watch, WatchUpdate};
use crate::operation::{Action, Entry, Observed, Operation, Outcome, Value};
use crate::revisions::Claims;

/// What is wrong with a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchContradiction {
    /// The place of an operation that contradicts it, if there is one.
    pub(crate) index: Option<usize>,
    pub(crate) key: Option<u32>,
    pub(crate) description: String,
}

impl WatchContradiction {
    fn of_watch(description: String) -> Self {
        Self {
            index: None,
            key: None,
            description,
        }
    }

    fn of_key(key: u32, description: String) -> Self {
        Self {
            index: None,
            key: Some(key),
            description,
        }
    }
}

/// An answered change of one key.
struct Change {
    /// The place of the operation in the history.
    index: usize,
    start: u64,
    left: Left,
}

/// What a change left under its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// This value; `None`: the key was deleted. A watch has to be told.
    Value(Option<Value>),
    /// The answer does not tell, or not even whether there was a change.
    Unknown,
}

/// The operations that a watch may be told of.
pub(crate) struct Changes<'a> {
    claims: &'a Claims,
    /// The answered changes, by key and revision.
    answered: HashMap<(u32, i64), Change>,
    /// The operations of unknown outcome, by key.
    unknown: HashMap<u32, Vec<Candidate>>,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(
        history: &History,
        operations: &dyn Fn(usize) -> Operation,
        claims: &'a Claims,
    ) -> Self {
        let mut answered: HashMap<(u32, i64), Change> = HashMap::new();
        let mut unknown: HashMap<u32, Vec<Candidate>> = HashMap::new();
        for index in 0..history.operations.len() {
            let operation = operations(index);
            if operation.outcome == Outcome::Unknown && operation.action != Action::Read {
                add_candidate(unknown.entry(operation.key).or_default(), operation);
            }
            let Some(revision) = operation.revision().filter(|_| !operation.is_read_only()) else {
                continue;
            };
            let change = Change {
                index,
                start: operation.start,
                left: left(&operation),
            };
            // Of several changes by one message the last counts.
            match operation.is_change() {
                true => drop(answered.insert((operation.key, revision), change)),
                false => drop(answered.entry((operation.key, revision)).or_insert(change)),
            }
        }
        Self {
            claims,
            answered,
            unknown,
        }
    }

    /// Finds the first thing that is wrong with a watch.
    pub(crate) fn find_contradiction(&self, watch: &Watch) -> Option<WatchContradiction> {
        let watched: HashSet<u32> = watch.keys.iter().copied().collect();
        let mut told = HashSet::new();
        let mut spent = Spent::default();
        let (mut latest, mut complete) = (watch.after, watch.after);
        for (time, update) in &watch.updates {
            let (key, revision, entry) = match *update {
                WatchUpdate::Progress { revision } if revision < latest => {
                    return Some(WatchContradiction::of_watch(format!(
                        "it says that it has come to revision {revision}, after one of {latest}"
                    )));
                }
                WatchUpdate::Progress { revision } => {
                    (latest, complete) = (revision, revision);
                    continue;
                }
                WatchUpdate::Event {
                    key,
                    revision,
                    entry,
                } => (key, revision, entry),
            };
            let wrong = |what: String| Some(WatchContradiction::of_key(key, what));
            if !watched.contains(&key) {
                return wrong(format!(
                    "an event of revision {revision} is of a key that is not watched"
                ));
            }
            if !told.insert((key, revision)) {
                return wrong(format!("the event of revision {revision} came twice"));
            }
            if revision < latest || revision <= complete {
                return wrong(format!(
                    "an event of revision {revision} came after revision {latest}"
                ));
            }
            latest = revision;
            let event = Event {
                key,
                revision,
                entry,
                time: *time,
            };
            if let Err(contradiction) = self.explain(&event, &mut spent) {
                return Some(contradiction);
            }
        }
        // Events come in the order of revisions: one of a later revision says, like progress, that all before it have come.
        let is_due = |revision| revision <= complete || revision < latest;
        let is_missing = |key, revision| {
            let is_watched = watch.after < revision && watched.contains(&key);
            is_watched && is_due(revision) && !told.contains(&(key, revision))
        };
        let (key, revision, index) = self.find_missing(is_missing)?;
        let later = match revision <= complete {
            true => format!("it says that it has come to {complete}"),
            false => format!("one came of revision {latest}"),
        };
        Some(WatchContradiction {
            index: Some(index),
            key: Some(key),
            description: format!("no event came of revision {revision}, and {later}"),
        })
    }

    /// Explains an event by an answered change; or else by an operation of unknown outcome, which is spent.
    fn explain(&self, event: &Event, spent: &mut Spent) -> Result<(), WatchContradiction> {
        let Event {
            key,
            revision,
            entry,
            time,
        } = *event;
        let wrong = |index, description| {
            Err(WatchContradiction {
                index,
                key: Some(key),
                description,
            })
        };
        if entry.is_some_and(|entry| entry.revision != revision) {
            return wrong(
                None,
                format!("the event of revision {revision} shows another one"),
            );
        }
        let value = entry.map(|entry| entry.value);
        if let Some(change) = self.answered.get(&(key, revision)) {
            let index = Some(change.index);
            return match change.left {
                _ if change.start > time => wrong(
                    index,
                    format!(
                        "the event of revision {revision} came before anybody asked for that change"
                    ),
                ),
                Left::Value(left) if left != value => wrong(
                    index,
                    format!(
                        "the event of revision {revision} shows another value than was answered"
                    ),
                ),
                _ => Ok(()),
            };
        }
        if let Some(index) = self.claims.foreign(revision, key) {
            return wrong(
                Some(index),
                format!("the event of revision {revision} is of a change of other keys"),
            );
        }
        let candidates = self.unknown.get(&key).map_or(&[][..], |it| it);
        match spent.explain(key, candidates, value, time) {
            true => Ok(()),
            false => wrong(
                None,
                format!("an event of revision {revision} is of no change that anybody asked for"),
            ),
        }
    }

    /// Finds the first change that a watch had to be told and was not: its key, its revision, and the place of the operation.
    fn find_missing(&self, is_missing: impl Fn(u32, i64) -> bool) -> Option<(u32, i64, usize)> {
        let missing = (self.answered.iter()).filter(|((key, revision), change)| {
            change.left != Left::Unknown && is_missing(*key, *revision)
        });
        let ((key, revision), change) = missing.min_by_key(|((_, revision), _)| *revision)?;
        Some((*key, *revision, change.index))
    }
}

fn left(operation: &Operation) -> Left {
    match (operation.action, operation.outcome) {
        (
            Action::Write(value)
            | Action::Transition {
                value: Some(value), ..
            },
            _,
        ) => Left::Value(Some(value)),
        // It changes the key only if it makes it.
        (Action::Add(0), _) => Left::Unknown,
        (
            _,
            Outcome::Done {
                observed: Observed::Sum(sum),
                ..
            },
        ) => Left::Value(Some(Value::Int(sum))),
        // A Delete of unknown outcome that is proven done may have found no key.
        (
            Action::Delete,
            Outcome::Done {
                observed: Observed::Entry(Some(_)),
                ..
            },
        ) => Left::Value(None),
        _ => Left::Unknown,
    }
}

fn add_candidate(candidates: &mut Vec<Candidate>, operation: Operation) {
    let is_sibling = |it: &&mut Candidate| {
        operation.message_kind.is_atomic() && it.operation.message_id() == operation.message_id()
    };
    // Operations of one message are side by side.
    let sibling = candidates.last_mut().filter(is_sibling);
    let has_sibling = sibling.map(|it| it.has_sibling = true).is_some();
    candidates.push(Candidate {
        operation,
        has_sibling,
    });
}

#[derive(Clone, Copy)]
struct Event {
    key: u32,
    revision: i64,
    entry: Option<Entry>,
    /// When it came.
    time: u64,
}

/// An operation of unknown outcome.
struct Candidate {
    operation: Operation,
    /// Whether its atomic message has another operation on the key. Then it leaves what all of them leave together.
    has_sibling: bool,
}

/// The places of the operations of unknown outcome that explain an event already, with their keys. Each can have happened
/// once only.
#[derive(Default)]
struct Spent(HashSet<(u32, usize)>);

impl Spent {
    /// Finds an operation that was asked for by this time and can have left this value, and spends it. Returns whether there
    /// is one.
    ///
    /// Of several, the one that can leave the fewest other values is spent: what is left for later events is more, whatever
    /// they are. Operations of one message on one key are never spent, because one alone does not say what they left.
    fn explain(
        &mut self,
        key: u32,
        candidates: &[Candidate],
        value: Option<Value>,
        time: u64,
    ) -> bool {
        let open = candidates
            .iter()
            .enumerate()
            .filter(|(place, it)| it.operation.start <= time && !self.0.contains(&(key, *place)));
        let fitting = open.filter_map(|(place, it)| {
            let breadth = breadth(it.operation.action, value)?;
            Some((it.has_sibling, breadth, place))
        });
        match fitting.min() {
            Some((false, _, place)) => self.0.insert((key, place)),
            Some((true, ..)) => true,
            None => false,
        }
    }
}

/// How many different values an operation can leave, if it can leave this one.
fn breadth(action: Action, value: Option<Value>) -> Option<Breadth> {
    match (action, value) {
        (Action::Read, _) => None,
        (
            Action::Write(new)
            | Action::Transition {
                value: Some(new), ..
            },
            value,
        ) => (Some(new) == value).then_some(Breadth::One),
        (Action::Delete, value) => value.is_none().then_some(Breadth::One),
        (Action::Add(_), value) => {
            matches!(value, Some(Value::Int(_))).then_some(Breadth::EveryInt)
        }
        (Action::Transition { value: None, .. }, value) => {
            value.is_some().then_some(Breadth::Every)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    One,
    EveryInt,
    Every,
}
