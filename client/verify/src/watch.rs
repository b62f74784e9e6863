//! What a watch was told, against what the clients were answered: every change of its keys once, in the order of
//! revisions, none left out up to where it says that it has come, and nothing that did not happen.

use std::collections::{HashMap, HashSet};

use crate::history::{History, Told, Watched};
use crate::operation::{Action, Entry, Operation, Outcome, Seen, Value};

/// What a watch was told wrongly, and the operation that shows it, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchContradiction {
    pub(crate) place: Option<usize>,
    pub(crate) key: Option<u32>,
    pub(crate) what: String,
}

/// What the changes of one key at one revision left: None where the answers do not tell.
struct Change {
    place: usize,
    start: u64,
    after: Option<Option<Value>>,
}

/// All changes that were answered, by key and revision; and the keys of which it is not all known.
pub(crate) struct Changes {
    known: HashMap<(u32, i64), Change>,
    /// Keys with unknown outcomes: what they can have left.
    unknown: HashMap<u32, Vec<Operation>>,
}

impl Changes {
    pub(crate) fn new(history: &History, operations: &dyn Fn(usize) -> Operation) -> Self {
        let mut known: HashMap<(u32, i64), Change> = HashMap::new();
        let mut unknown: HashMap<u32, Vec<Operation>> = HashMap::new();
        for place in 0..history.operations.len() {
            let operation = operations(place);
            if operation.outcome == Outcome::Unknown {
                unknown.entry(operation.key).or_default().push(operation);
            }
            let Outcome::Done { revision, seen } = operation.outcome else {
                continue;
            };
            if !operation.is_change() {
                continue;
            }
            let after = match (operation.action, seen) {
                (Action::Write(value), _)
                | (
                    Action::Transition {
                        value: Some(value), ..
                    },
                    _,
                ) => Some(Some(value)),
                (_, Seen::Sum(sum)) => Some(Some(Value::Int(sum))),
                // An unknown Delete that turned out to be done may have found nothing to delete.
                (Action::Delete, Seen::Entry(Some(_))) => Some(None),
                _ => None,
            };
            let start = operation.start;
            // Of several operations in one message the last counts.
            let change = Change {
                place,
                start,
                after,
            };
            known.insert((operation.key, revision), change);
        }
        Self { known, unknown }
    }

    /// Finds what is wrong with one watch.
    pub(crate) fn find_wrong(&self, watch: &Watched) -> Option<WatchContradiction> {
        let wrong = |place, key, what: String| Some(WatchContradiction { place, key, what });
        let watched: HashSet<u32> = watch.keys.iter().copied().collect();
        let mut told = HashSet::new();
        let (mut latest, mut complete) = (watch.after, watch.after);
        for (time, it) in &watch.told {
            let (key, revision, entry) = match *it {
                Told::Progress { revision } if revision < latest => {
                    return wrong(
                        None,
                        None,
                        format!(
                            "it says that it has come to revision {revision}, after one of {latest}"
                        ),
                    );
                }
                Told::Progress { revision } => {
                    (latest, complete) = (revision, revision);
                    continue;
                }
                Told::Event {
                    key,
                    revision,
                    entry,
                } => (key, revision, entry),
            };
            if !watched.contains(&key) {
                return wrong(
                    None,
                    Some(key),
                    format!("an event of revision {revision} is of a key that is not watched"),
                );
            }
            if !told.insert((key, revision)) {
                return wrong(
                    None,
                    Some(key),
                    format!("the event of revision {revision} came twice"),
                );
            }
            if revision < latest || revision <= complete {
                return wrong(
                    None,
                    Some(key),
                    format!("an event of revision {revision} came after revision {latest}"),
                );
            }
            latest = revision;
            if let Some((place, what)) = self.contradicts(key, revision, entry, *time) {
                return wrong(place, Some(key), what);
            }
        }
        let missing = self.known.iter().filter(|((key, revision), change)| {
            let is_due = *revision > watch.after && *revision <= complete && watched.contains(key);
            is_due && change.after.is_some() && !told.contains(&(*key, *revision))
        });
        let ((key, revision), change) = missing.min_by_key(|((_, revision), _)| *revision)?;
        wrong(
            Some(change.place),
            Some(*key),
            format!(
                "no event came of revision {revision}, and it says that it has come to {complete}"
            ),
        )
    }

    fn contradicts(
        &self,
        key: u32,
        revision: i64,
        entry: Option<Entry>,
        time: u64,
    ) -> Option<(Option<usize>, String)> {
        let value = entry.map(|entry| entry.value);
        if entry.is_some_and(|entry| entry.revision != revision) {
            return Some((
                None,
                format!("the event of revision {revision} shows another one"),
            ));
        }
        match self.known.get(&(key, revision)) {
            Some(change) if change.start > time => {
                let what = format!(
                    "the event of revision {revision} came before anybody asked for that change"
                );
                Some((Some(change.place), what))
            }
            Some(change) => {
                let differs = change.after.is_some_and(|after| after != value);
                let what = || {
                    format!(
                        "the event of revision {revision} shows another value than was answered"
                    )
                };
                differs.then(|| (Some(change.place), what()))
            }
            None => {
                let made = |it: &Operation| it.start <= time && can_leave(it.action, value);
                let unknown = self.unknown.get(&key);
                let what = || {
                    format!(
                        "an event of revision {revision} is of no change that anybody asked for"
                    )
                };
                (!unknown.is_some_and(|all| all.iter().any(made))).then(|| (None, what()))
            }
        }
    }
}

/// Whether this, if it was done, can have left this value.
fn can_leave(action: Action, value: Option<Value>) -> bool {
    match (action, value) {
        (Action::Read, _) => false,
        (Action::Write(written), value) => Some(written) == value,
        (Action::Delete, value) => value.is_none(),
        (Action::Add(_), value) => matches!(value, Some(Value::Int(_))),
        (
            Action::Transition {
                value: Some(new), ..
            },
            value,
        ) => Some(new) == value,
        (Action::Transition { value: None, .. }, value) => value.is_some(),
    }
}
