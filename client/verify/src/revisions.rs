//! What revisions say across keys.
//!
//! A List and an atomic message are true at one revision, and each key is checked against its own changes at their revisions.
//! So keys that are right one by one are right together, if revisions keep their promise: they grow in real time, and each
//! belongs to one message. That promise is checked here.

use std::collections::HashSet;

use crate::history::History;
use crate::key::KeyHistory;
use crate::model::Bounds;
use crate::operation::{Operation, Outcome};

/// Answers that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The places of the operations in the history.
    pub(crate) indices: Vec<usize>,
    pub(crate) description: String,
}

/// The bounds of each operation's revision: the greatest that was answered before it began, and the least in the answers to
/// operations that began after it had ended. O(n log n).
pub(crate) fn bounds(history: &History, operations: &dyn Fn(usize) -> Operation) -> Vec<Bounds> {
    let initial = history.keys.iter().filter_map(|key| key.initial);
    let first = initial.map(|initial| initial.revision).max().unwrap_or(0);
    let count = history.operations.len();
    let mut bounds = vec![
        Bounds {
            floor: first,
            ..Bounds::NONE
        };
        count
    ];
    let mut ends: Vec<(u64, i64)> = Vec::with_capacity(count);
    let mut starts: Vec<(u64, i64)> = Vec::with_capacity(count);
    for index in 0..count {
        let operation = operations(index);
        if let Some(revision) = operation.revision() {
            ends.push((operation.end, revision));
            starts.push((operation.start, revision));
        }
    }
    ends.sort_unstable();
    let (mut floor, mut next) = (first, 0);
    // Operations are in the order of their starts.
    for (operation, bounds) in history.operations.iter().zip(&mut bounds) {
        while let Some((_, revision)) = ends.get(next).filter(|end| end.0 < operation.start()) {
            floor = floor.max(*revision);
            next += 1;
        }
        bounds.floor = floor;
    }
    let mut least = i64::MAX;
    for (_, revision) in starts.iter_mut().rev() {
        least = least.min(*revision);
        *revision = least;
    }
    for (index, bounds) in bounds.iter_mut().enumerate() {
        let end = operations(index).end;
        let after = starts.partition_point(|start| start.0 <= end);
        bounds.ceiling = starts.get(after).map_or(i64::MAX, |start| start.1);
    }
    bounds
}

/// Finds an answer with a revision below one that was answered before the operation began; or a change with that very
/// revision.
pub(crate) fn find_backwards(
    history: &History,
    operations: &dyn Fn(usize) -> Operation,
    bounds: &[Bounds],
) -> Option<Contradiction> {
    let (index, revision) = (0..history.operations.len()).find_map(|index| {
        let operation = operations(index);
        let revision = operation.revision()?;
        // A change has a revision that no answer had before.
        let least = bounds[index]
            .floor
            .saturating_add(i64::from(operation.is_change()));
        (revision < least).then_some((index, revision))
    })?;
    let start = history.operations[index].start();
    let floor = bounds[index].floor;
    let earlier = (0..history.operations.len()).find(|other| {
        let other = operations(*other);
        other.end < start && other.revision() == Some(floor)
    });
    let description = match earlier {
        Some(_) => format!("revision {revision} was answered after revision {floor}"),
        None => format!(
            "revision {revision} was answered, and the store was at revision {floor} before the run"
        ),
    };
    Some(Contradiction {
        indices: earlier.into_iter().chain([index]).collect(),
        description,
    })
}

/// A change that was answered, and its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    revision: i64,
    message: (u32, u32),
    /// Which operation of the message, if each has a revision of its own.
    part: usize,
    key: u32,
    /// The place of the operation in the history.
    index: usize,
}

/// Which change has which revision.
pub(crate) struct Claims {
    /// In the order of revisions.
    certain: Vec<Claim>,
    /// The revisions and keys of operations whose answers leave open whether they changed the key: an Add of 0 does if it
    /// makes the key.
    possible: HashSet<(i64, u32)>,
}

impl Claims {
    pub(crate) fn new(history: &History, operations: &dyn Fn(usize) -> Operation) -> Self {
        let mut certain = Vec::new();
        let mut possible = HashSet::new();
        for index in 0..history.operations.len() {
            let operation = operations(index);
            let Some(revision) = operation.revision() else {
                continue;
            };
            if operation.is_change() {
                certain.push(Claim {
                    revision,
                    message: operation.message_id(),
                    part: match operation.message_kind.is_atomic() {
                        true => 0,
                        false => index,
                    },
                    key: operation.key,
                    index,
                });
            } else if !operation.is_read_only() {
                possible.insert((revision, operation.key));
            }
        }
        certain.sort_unstable();
        Self { certain, possible }
    }

    /// The revisions of all answered changes, in their order, each once.
    pub(crate) fn revisions(&self) -> Vec<i64> {
        let mut revisions: Vec<i64> = self.certain.iter().map(|claim| claim.revision).collect();
        revisions.dedup();
        revisions
    }

    /// Returns the place of a change with this revision, if its message did not change this key.
    pub(crate) fn foreign(&self, revision: i64, key: u32) -> Option<usize> {
        let from = (self.certain).partition_point(|claim| claim.revision < revision);
        let mut same = (self.certain[from..].iter())
            .take_while(|claim| claim.revision == revision)
            .peekable();
        let first = same.peek()?.index;
        let is_own = same.any(|claim| claim.key == key) || self.possible.contains(&(revision, key));
        (!is_own).then_some(first)
    }

    /// Finds two messages with one revision.
    pub(crate) fn find_twice(&self) -> Option<Contradiction> {
        let pair = self.certain.windows(2).find(|pair| {
            let id = |claim: &Claim| (claim.message, claim.part);
            pair[0].revision == pair[1].revision && id(&pair[0]) != id(&pair[1])
        })?;
        Some(Contradiction {
            indices: pair.iter().map(|claim| claim.index).collect(),
            description: format!("revision {} was given twice", pair[0].revision),
        })
    }

    /// Finds an answer that shows the key with the revision of a message that did not change it.
    pub(crate) fn find_foreign(&self, key: &KeyHistory<'_>) -> Option<Contradiction> {
        let first = key.initial.map_or(0, |initial| initial.revision);
        (key.operations.iter().zip(&key.indices)).find_map(|(operation, index)| {
            let revision = operation.entry()?.revision;
            if revision <= first {
                return None;
            }
            let foreign = self.foreign(revision, operation.key)?;
            Some(Contradiction {
                indices: vec![foreign, *index],
                description: format!("revision {revision} is that of a change of other keys"),
            })
        })
    }
}

/// Finds an atomic message whose operations were answered with different revisions.
pub(crate) fn find_torn_message(
    history: &History,
    operations: &dyn Fn(usize) -> Operation,
) -> Option<Contradiction> {
    let mut first: Option<(usize, Operation)> = None;
    for index in 0..history.operations.len() {
        let operation = operations(index);
        if !operation.message_kind.is_atomic() || operation.outcome == Outcome::NotDone {
            continue;
        }
        if let Some((before, other)) = first
            && other.message_id() == operation.message_id()
            && other.revision() != operation.revision()
        {
            return Some(Contradiction {
                indices: vec![before, index],
                description:
                    "the operations of one atomic message were answered with different revisions"
                        .into(),
            });
        }
        first = Some((index, operation));
    }
    None
}
