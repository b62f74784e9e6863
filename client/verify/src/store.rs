//! What the revisions of the whole store say, across keys. A List, and an atomic message, are true at one revision; each
//! key's answers are checked against its own changes at theirs (`witness`, `search`), so what is left is that revisions
//! mean what they say: they grow in real time, and each belongs to one message.

use crate::history::History;
use crate::key::KeyHistory;
use crate::model::Bounds;
use crate::operation::{Operation, Outcome};

/// Operations whose answers contradict each other, by their places in the history; and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) places: Vec<usize>,
    pub(crate) what: String,
}

/// The bounds of each operation's revision: what had been answered before it began, and what was after it had ended.
/// O(n log n).
pub(crate) fn bounds(history: &History, operations: &dyn Fn(usize) -> Operation) -> Vec<Bounds> {
    let found = history.keys.iter().filter_map(|key| key.found);
    let first = found.map(|found| found.revision).max().unwrap_or(0);
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
    for place in 0..count {
        let operation = operations(place);
        if let Some(revision) = operation.revision() {
            ends.push((operation.end, revision));
            starts.push((operation.start, revision));
        }
    }
    ends.sort_unstable();
    let (mut floor, mut next) = (first, 0);
    // Operations are in the order of their starts.
    for (place, record) in history.operations.iter().enumerate() {
        while let Some((_, revision)) = ends.get(next).filter(|end| end.0 < record.start()) {
            floor = floor.max(*revision);
            next += 1;
        }
        bounds[place].floor = floor;
    }
    let mut least = i64::MAX;
    for (_, revision) in starts.iter_mut().rev() {
        least = least.min(*revision);
        *revision = least;
    }
    for (place, bounds) in bounds.iter_mut().enumerate() {
        let end = operations(place).end;
        let after = starts.partition_point(|start| start.0 <= end);
        bounds.ceiling = starts.get(after).map_or(i64::MAX, |start| start.1);
    }
    bounds
}

/// Finds an answer with a revision below one that was answered before the operation began, or a change with that one.
pub(crate) fn find_backwards(
    history: &History,
    operations: &dyn Fn(usize) -> Operation,
    bounds: &[Bounds],
) -> Option<Contradiction> {
    let (place, revision) = (0..history.operations.len()).find_map(|place| {
        let operation = operations(place);
        let revision = operation.revision()?;
        // A change takes a revision that nobody has been told of.
        let least = bounds[place]
            .floor
            .saturating_add(i64::from(operation.is_change()));
        (revision < least).then_some((place, revision))
    })?;
    let start = history.operations[place].start();
    let floor = bounds[place].floor;
    let earlier = (0..history.operations.len()).find(|other| {
        let other = operations(*other);
        other.end < start && other.revision() == Some(floor)
    });
    let what = match earlier {
        Some(_) => format!("revision {floor} was answered before, and then revision {revision}"),
        None => format!(
            "the store was at revision {floor} before, and revision {revision} was answered"
        ),
    };
    Some(Contradiction {
        places: earlier.into_iter().chain([place]).collect(),
        what,
    })
}

/// A revision, the message that it belongs to, and a change of that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    revision: i64,
    message: (u32, u32),
    /// Which operation of the message, where each takes a revision of its own.
    part: usize,
    key: u32,
    place: usize,
}

/// The revisions of all changes that were answered.
pub(crate) struct Claims(Vec<Claim>);

impl Claims {
    pub(crate) fn new(history: &History, operations: &dyn Fn(usize) -> Operation) -> Self {
        let mut claims = Vec::new();
        for place in 0..history.operations.len() {
            let operation = operations(place);
            if let (Some(revision), true) = (operation.revision(), operation.is_change()) {
                claims.push(Claim {
                    revision,
                    message: operation.message_id(),
                    part: if operation.travel.is_atomic() {
                        0
                    } else {
                        place
                    },
                    key: operation.key,
                    place,
                });
            }
        }
        claims.sort_unstable();
        Self(claims)
    }

    /// In their order, each once.
    pub(crate) fn revisions(&self) -> Vec<i64> {
        let mut revisions: Vec<i64> = self.0.iter().map(|claim| claim.revision).collect();
        revisions.dedup();
        revisions
    }

    /// Whether a change of this revision was answered; and whether it, or its message, changed this key.
    pub(crate) fn of(&self, revision: i64, key: u32) -> Option<bool> {
        let from = self.0.partition_point(|claim| claim.revision < revision);
        let same = self.0[from..]
            .iter()
            .take_while(|claim| claim.revision == revision);
        let mut same = same.peekable();
        same.peek()?;
        Some(same.any(|claim| claim.key == key))
    }

    /// Finds a revision that two messages were given.
    pub(crate) fn find_twice(&self) -> Option<Contradiction> {
        let pair = self.0.windows(2).find(|pair| {
            let id = |claim: &Claim| (claim.message, claim.part);
            pair[0].revision == pair[1].revision && id(&pair[0]) != id(&pair[1])
        })?;
        Some(Contradiction {
            places: pair.iter().map(|claim| claim.place).collect(),
            what: format!("revision {} was given twice", pair[0].revision),
        })
    }

    /// Finds an answer that shows a key with a revision which a message was given that did not change it.
    pub(crate) fn find_foreign(&self, key: &KeyHistory<'_>) -> Option<Contradiction> {
        let first = key.found.map_or(0, |found| found.revision);
        (key.operations.iter().zip(&key.places)).find_map(|(operation, place)| {
            let entry = operation.entry()?;
            let revision = entry.revision;
            if revision <= first || self.of(revision, operation.key) != Some(false) {
                return None;
            }
            let from = self.0.partition_point(|claim| claim.revision < revision);
            Some(Contradiction {
                places: vec![self.0[from].place, *place],
                what: format!("revision {revision} is that of a change of other keys"),
            })
        })
    }
}

/// Finds an atomic message whose operations were not answered with one revision.
pub(crate) fn find_torn_message(
    history: &History,
    operations: &dyn Fn(usize) -> Operation,
) -> Option<Contradiction> {
    let mut first: Option<(usize, Operation)> = None;
    for place in 0..history.operations.len() {
        let operation = operations(place);
        if !operation.travel.is_atomic() || operation.outcome == Outcome::NotDone {
            continue;
        }
        if let Some((before, other)) = first
            && other.message_id() == operation.message_id()
            && other.revision() != operation.revision()
        {
            return Some(Contradiction {
                places: vec![before, place],
                what: "the operations of one atomic message were answered with different revisions"
                    .into(),
            });
        }
        first = Some((place, operation));
    }
    None
}
