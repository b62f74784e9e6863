//! Whether what a server answered can be true: is there one order of the operations on a key that explains every answer?
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993), with Lowe's memory of what was
//! tried in vain ("Testing for linearizability", 2017). Keys are searched apart: an order for each is an order for all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

/// A key's value, and the revision of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) value: i64,
    pub(crate) revision: i64,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write(i64),
    /// A Write if the key's revision is the expected one; 0: if the key is not there.
    CompareAndSet {
        expected: i64,
        value: i64,
    },
    Add(i64),
    Delete,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done: the entry that was made or, of a Read or Delete, that was there; and the store revision of the answer.
    Done { entry: Option<Entry>, revision: i64 },
    /// The key had another revision than was expected: this one, or 0 if it was not there.
    Refused { actual: i64 },
    /// It was done between start and end, or never.
    Unknown,
    /// It was certainly not done.
    NotDone,
}

impl Outcome {
    /// The revision of the change and the value that it left, if this is a change of the key.
    pub(crate) fn change(self, action: Action) -> Option<(i64, Option<i64>)> {
        match (action, self) {
            (Action::Read, _) | (Action::Delete, Self::Done { entry: None, .. }) => None,
            (Action::Delete, Self::Done { revision, .. }) => Some((revision, None)),
            (_, Self::Done { entry, revision }) => Some((revision, entry.map(|entry| entry.value))),
            _ => None,
        }
    }
}

/// One operation on one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    /// What it travelled in: the changes of one message may share a revision.
    pub(crate) message: u64,
    pub(crate) start: u64,
    /// `u64::MAX` if there was no end.
    pub(crate) end: u64,
    pub(crate) action: Action,
    pub(crate) outcome: Outcome,
}

/// A key before the first operation, and the store revision at which it was so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) entry: Option<Entry>,
    pub(crate) revision: i64,
}

/// Which message took which revision: no other may have it.
#[derive(Debug, Default)]
pub(crate) struct Revisions(HashMap<i64, u64>);

impl Revisions {
    pub(crate) fn claim(&mut self, revision: i64, message: u64) -> Result<(), String> {
        match self.0.insert(revision, message) {
            Some(other) if other != message => Err(format!(
                "messages {other} and {message} were both given revision {revision}"
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn is_taken(&self, revision: i64) -> bool {
        self.0.contains_key(&revision)
    }
}

/// Checks the operations on every key. A key that is not in `before` was never there.
pub(crate) fn check(
    before: &BTreeMap<String, Found>,
    history: &BTreeMap<String, Vec<Operation>>,
    revisions: &mut Revisions,
) -> Result<(), String> {
    for (key, operations) in history {
        let found = before.get(key).copied().unwrap_or_default();
        check_key(found, operations).map_err(|what| format!("key {key:?}: {what}"))?;
        for operation in operations {
            if let Some((revision, _)) = operation.outcome.change(operation.action) {
                let claimed = revisions.claim(revision, operation.message);
                claimed.map_err(|what| format!("key {key:?}: {what}"))?;
            }
        }
    }
    Ok(())
}

/// Finds an order of the operations on one key that explains all answers, or says how far it came.
fn check_key(before: Found, operations: &[Operation]) -> Result<(), String> {
    let mut operations = operations.to_vec();
    operations.retain(|operation| operation.outcome != Outcome::NotDone);
    let mut events = Events::new(&operations);
    let mut state = Register {
        value: before.entry.map(|entry| entry.value),
        revision: before.entry.map(|entry| entry.revision),
        least: before.revision,
    };
    let mut ordered = vec![0_u64; operations.len().div_ceil(64)];
    let mut tried = HashSet::new();
    let mut order: Vec<Taken> = Vec::new();
    let mut longest = Vec::new();
    let mut event = events.next[0];
    while event != events.end() {
        let operation = events.operation[event];
        // A call is the next in order, if it explains its answer; or it comes later. Where an operation ends it is too
        // late for that: if its outcome is unknown it was not done, and otherwise what was tried so far is wrong.
        let is_call = events.call[operation] == event;
        let next = match operations[operation].outcome {
            _ if is_call => state.step(&operations[operation]),
            Outcome::Unknown => Some(state),
            _ => None,
        };
        if let Some(next) = next {
            let mut with = ordered.clone();
            with[operation / 64] |= 1 << (operation % 64);
            if tried.insert((with.clone(), next)) {
                events.lift(operation);
                order.push(Taken {
                    event,
                    state,
                    ordered,
                });
                (state, ordered, event) = (next, with, events.next[0]);
                continue;
            }
        }
        if is_call {
            event = events.next[event];
            continue;
        }
        if order.len() >= longest.len() {
            longest = order
                .iter()
                .map(|taken| events.operation[taken.event])
                .collect();
        }
        let Some(taken) = order.pop() else {
            return Err(explain(before, &operations, &longest));
        };
        (state, ordered) = (taken.state, taken.ordered);
        let operation = events.operation[taken.event];
        events.unlift(operation);
        // Not to be done was the last choice: it is met again, was tried, and what came before it is undone too.
        let was_call = events.call[operation] == taken.event;
        event = if was_call {
            events.next[taken.event]
        } else {
            taken.event
        };
    }
    Ok(())
}

/// An operation of the order that is tried: the event at which it was chosen, and what there was before.
struct Taken {
    event: usize,
    state: Register,
    ordered: Vec<u64>,
}

fn explain(before: Found, operations: &[Operation], longest: &[usize]) -> String {
    let count = operations.len();
    let mut left: Vec<_> = (0..count).filter(|it| !longest.contains(it)).collect();
    left.sort_by_key(|it| operations[*it].start);
    left.truncate(16);
    let mut text =
        format!("no order of {count} operations explains the answers, from {before:?} on.");
    for (title, some) in [
        ("The longest that does:", longest),
        ("And then none of:", &left[..]),
    ] {
        let _ = write!(text, "\n{title}");
        for it in some.iter().map(|index| &operations[*index]) {
            let _ = write!(text, "\n  {}..{} client {}", it.start, it.end, it.client);
            let _ = write!(text, ", message {}: ", it.message);
            let _ = write!(text, "{:?}, {:?}", it.action, it.outcome);
        }
    }
    text
}

/// Calls and returns in the order of time, as a linked list from which operations are taken and to which they come back.
struct Events {
    operation: Vec<usize>,
    next: Vec<usize>,
    previous: Vec<usize>,
    call: Vec<usize>,
    end: Vec<usize>,
}

impl Events {
    /// Event 0 is before all others, and one more is after them.
    fn new(operations: &[Operation]) -> Self {
        // At one instant a call goes before a return: then they overlap.
        let mut times: Vec<(u64, bool, usize)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            assert!(operation.start <= operation.end, "{operation:?}");
            let (start, end) = (operation.start, operation.end);
            times.extend([(start, false, index), (end, true, index)]);
        }
        times.sort_unstable();
        let last = times.len() + 1;
        let mut events = Self {
            operation: vec![usize::MAX],
            next: (0..=last).map(|event| event + 1).collect(),
            previous: (0..=last).map(|event| event.saturating_sub(1)).collect(),
            call: vec![0; operations.len()],
            end: vec![0; operations.len()],
        };
        for (index, (_, is_end, operation)) in times.into_iter().enumerate() {
            events.operation.push(operation);
            match is_end {
                true => events.end[operation] = index + 1,
                false => events.call[operation] = index + 1,
            }
        }
        events
    }

    fn end(&self) -> usize {
        self.next.len() - 1
    }

    fn lift(&mut self, operation: usize) {
        for event in [self.call[operation], self.end[operation]] {
            let (previous, next) = (self.previous[event], self.next[event]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
    }

    /// In the opposite order of [`lift`](Self::lift).
    fn unlift(&mut self, operation: usize) {
        for event in [self.end[operation], self.call[operation]] {
            let (previous, next) = (self.previous[event], self.next[event]);
            self.next[previous] = event;
            self.previous[next] = event;
        }
    }
}

/// A key, as far as it is known: a change whose outcome is unknown has a revision that nobody was told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Register {
    value: Option<i64>,
    /// None of a value: `least`, or any above it.
    revision: Option<i64>,
    /// The store has come to this revision: each later change has a greater one.
    least: i64,
}

impl Register {
    /// What is next if this is the next operation, and None if that cannot be.
    fn step(self, operation: &Operation) -> Option<Self> {
        let action = operation.action;
        match operation.outcome {
            Outcome::Done { entry, revision } => self.done(action, entry, revision),
            Outcome::Refused { actual } => match action {
                Action::CompareAndSet { expected, .. } if actual != expected => self.known(actual),
                _ => None,
            },
            Outcome::Unknown => {
                let (known, value) = self.change(action)?;
                Some(Self {
                    value,
                    revision: None,
                    least: known.least + 1,
                })
            }
            Outcome::NotDone => None,
        }
    }

    fn done(self, action: Action, entry: Option<Entry>, revision: i64) -> Option<Self> {
        let mut before = self;
        if let Action::Read | Action::Delete = action {
            before = self.known(entry.map_or(0, |entry| entry.revision))?;
            if before.value != entry.map(|entry| entry.value) || revision < before.least {
                return None;
            }
            if action == Action::Read || entry.is_none() {
                before.least = revision;
                return Some(before);
            }
        }
        let (before, value) = before.change(action)?;
        let made = value.map(|value| Entry { value, revision });
        let fits = revision > before.least && (action == Action::Delete || made == entry);
        fits.then_some(Self {
            value,
            revision: value.map(|_| revision),
            least: revision,
        })
    }

    /// What a change finds, and the value that it leaves; None if it would change nothing.
    fn change(self, action: Action) -> Option<(Self, Option<i64>)> {
        match action {
            Action::Read => None,
            Action::Write(value) => Some((self, Some(value))),
            Action::CompareAndSet { expected, value } => Some((self.known(expected)?, Some(value))),
            Action::Add(delta) => Some((self, Some(self.value.unwrap_or(0) + delta))),
            Action::Delete => self.value.map(|_| (self, None)),
        }
    }

    /// The same, now that the key's revision is known; None if it cannot be this one. 0: the key is not there.
    fn known(self, revision: i64) -> Option<Self> {
        let can_be = match (self.value, self.revision) {
            (None, _) => revision == 0,
            (Some(_), Some(known)) => revision == known,
            (Some(_), None) => revision >= self.least,
        };
        can_be.then_some(Self {
            revision: self.value.map(|_| revision),
            least: self.least.max(revision),
            ..self
        })
    }
}

mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use Action::{Add, CompareAndSet, Delete, Read, Write};
    use Outcome::{Refused, Unknown};

    const NEVER: u64 = u64::MAX;

    fn done(entry: Option<Entry>, revision: i64) -> Outcome {
        Outcome::Done { entry, revision }
    }

    /// Reads a history: "start-end action outcome; ...", without end if there is none. Outcomes: `value@revision` that was
    /// made or found, `none@revision`, `value@revision@revision of the delete`, `refused@actual`, `unknown`, `undone`.
    fn history(text: &str) -> Vec<Operation> {
        let operation = |(message, text): (usize, &str)| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let (start, end) = words[0].split_once('-').unwrap();
            let number = |word: &str| word.parse::<i64>().unwrap();
            let told: Vec<&str> = words[words.len() - 1].split('@').collect();
            let entry = |value, revision| {
                let (value, revision) = (number(value), number(revision));
                Some(Entry { value, revision })
            };
            Operation {
                client: message,
                message: message as u64,
                start: start.parse().unwrap(),
                end: end.parse().unwrap_or(NEVER),
                action: match words[1] {
                    "read" => Read,
                    "write" => Write(number(words[2])),
                    "cas" => CompareAndSet {
                        expected: number(words[2]),
                        value: number(words[3]),
                    },
                    "add" => Add(number(words[2])),
                    _ => Delete,
                },
                outcome: match told[..] {
                    ["unknown"] => Unknown,
                    ["undone"] => Outcome::NotDone,
                    ["refused", actual] => Refused {
                        actual: number(actual),
                    },
                    ["none", revision] => done(None, number(revision)),
                    [value, of, revision] => done(entry(value, of), number(revision)),
                    _ => done(entry(told[0], told[1]), number(told[1])),
                },
            }
        };
        text.split(';').enumerate().map(operation).collect()
    }

    const CANNOT_BE: &str = "
        a stale read: 0-1 write 1 1@1; 2-3 write 2 2@2; 4-5 read 1@1
        a read of what was never written: 0-1 write 1 1@1; 0-9 read 5@1
        a read before the write: 0-1 read 1@1; 2-3 write 1 1@1
        reads in the wrong order: 0-9 write 1 1@1; 0-9 write 2 2@2; 1-2 read 2@2; 3-4 read 1@1
        a lost update: 0-1 write 1 1@1; 2-5 cas 1 9 9@2; 2-5 cas 1 8 8@3
        a vanished write: 0-1 write 1 1@1; 2-3 read none@1
        the same, an unknown one after it: 0-1 write 1 1@1; 0-5 write 2 unknown; 6-7 read none@2
        a resurrected delete: 0-1 write 1 1@1; 2-3 delete 1@1@2; 4-5 read 1@1
        a delete of what was deleted: 0-1 write 1 1@1; 2-9 delete 1@1@2; 2-9 delete 1@1@3
        a delete at the revision of the write: 0-5 write 1 unknown; 6-7 delete 1@1@1
        an Add done twice: 0-1 add 2 2@1; 2-3 read 4@2
        an unknown Add done twice: 0-5 add 2 unknown; 6-7 read 4@2
        a wrong sum: 0-1 add 2 2@1; 2-3 add 2 2@2
        two changes with one revision: 0-1 write 1 1@1; 2-3 write 2 2@1
        revisions that fall: 0-1 write 1 1@5; 2-3 write 2 2@4
        a store revision that falls: 0-1 read none@5; 2-3 write 2 2@5
        no room for an unknown one: 0-1 write 1 1@1; 2- add 1 unknown; 4-5 add 1 3@2
        an unknown one after its end: 0-1 write 1 unknown; 2-3 read none@0; 4-5 read 1@1
        an unknown one before its start: 0-1 read 1@1; 2- write 1 unknown
        an unknown one that comes back: 0-9 write 1 unknown; 10-11 write 2 2@3; 12-13 read 1@1
        a refusal without reason: 0-1 write 1 1@1; 2-3 cas 1 9 refused@1
        a refusal that names another revision: 0-1 write 1 1@3; 2-3 cas 1 9 refused@2
        a compare-and-set of nothing: 0-1 cas 1 9 9@2
        what was not done: 0-1 write 1 undone; 0-1 read 1@1";

    const CAN_BE: &str = "
        one after the other: 0-1 write 1 1@1; 2-3 cas 1 9 9@2; 4-5 add -2 7@4; 6-7 read 7@4; 8-9 delete 7@4@5
        what is not there: 0-1 read none@5; 2-3 delete none@5; 4-5 cas 0 3 3@6; 6-7 cas 1 9 refused@6
        all at once: 0-9 read 2@2; 0-9 write 2 2@2; 0-9 write 1 1@1; 0-9 read none@0
        a return and a call at one instant: 0-5 write 1 1@1; 5-9 read none@0
        an unknown write that was done: 0-5 write 1 unknown; 6-7 read 1@4
        one that was not: 0-5 write 1 unknown; 6-7 read none@0
        one that was done late: 0- write 1 unknown; 6-7 read none@0; 8-9 read 1@1
        an unknown delete between two: 0-1 write 1 1@1; 0-9 delete unknown; 2-9 cas 0 2 2@3
        unknown upon unknown: 0-9 write 1 unknown; 0-9 cas 3 2 unknown; 10-11 read 2@4
        a refusal that tells: 0-9 write 1 unknown; 3-4 cas 1 9 refused@7; 5-6 read 1@7
        what was not done: 0-1 write 1 undone; 2-3 read none@0";

    #[test]
    fn the_impossible_is_refused_and_nothing_else() {
        for (table, can_be) in [(CANNOT_BE, false), (CAN_BE, true)] {
            for line in table.lines().skip(1) {
                let verdict =
                    check_key(Found::default(), &history(line.split_once(':').unwrap().1));
                assert_eq!(verdict.is_ok(), can_be, "{line}: {verdict:?}");
            }
        }
    }

    #[test]
    fn a_revision_belongs_to_one_message() {
        let history = |message| {
            let (one, mut other) = (history("0-1 write 1 1@1"), history("0-1 write 2 2@1"));
            other[0].message = message;
            BTreeMap::from([("a".to_owned(), one), ("b".to_owned(), other)])
        };
        let check = |message| {
            check(
                &BTreeMap::new(),
                &history(message),
                &mut Revisions::default(),
            )
        };
        assert_eq!(check(0), Ok(()), "one batch");
        assert!(check(1).unwrap_err().contains("revision 1"));
    }

    /// Tries every order, each unknown operation left out or done at every revision that there could be.
    fn every_order(entry: Option<Entry>, store: i64, left: &[Operation]) -> bool {
        let known = |it: &Operation| it.outcome != Unknown;
        let may_follow = |(index, next): (usize, &Operation)| {
            let (past, rest): (Vec<Operation>, Vec<_>) = (left.iter().enumerate())
                .filter(|(other, _)| *other != index)
                .map(|(_, it)| *it)
                .partition(|it| it.end < next.start);
            if past.iter().any(known) {
                return false;
            }
            let is = entry.map_or(0, |entry| entry.revision);
            let value = match next.action {
                Write(value) => Some(value),
                CompareAndSet { expected, value } if expected == is => Some(value),
                Add(delta) => Some(delta + entry.map_or(0, |entry| entry.value)),
                _ => None,
            };
            let changes = value.is_some() || (next.action == Delete && entry.is_some());
            let made = |revision| value.map(|value| Entry { value, revision });
            let at = |revision| every_order(made(revision), revision, &rest);
            match next.outcome {
                Unknown => changes && (store + 1..=store + 12).any(at),
                Outcome::NotDone => false,
                Refused { actual } => {
                    let is_guarded = matches!(next.action, CompareAndSet { .. });
                    is_guarded && !changes && actual == is && every_order(entry, store, &rest)
                }
                Outcome::Done {
                    entry: it,
                    revision,
                } => match next.action {
                    Read | Delete if it != entry => false,
                    Delete if changes => revision > store && at(revision),
                    Read | Delete => revision >= store && every_order(entry, revision, &rest),
                    _ => changes && it == made(revision) && revision > store && at(revision),
                },
            }
        };
        !left.iter().any(known) || left.iter().enumerate().any(may_follow)
    }

    /// A history as a register would give it, but for what is done to it afterwards.
    fn some_history(dice: &mut SmallRng) -> Vec<Operation> {
        let (mut entry, mut store) = (None::<Entry>, 0);
        let mut history = Vec::new();
        for message in 0..dice.random_range(2..7_u64) {
            let (value, is) = (message as i64 * 10, entry.map_or(0, |it| it.revision));
            let expected = [is, dice.random_range(0..4)][dice.random_range(0..2)];
            let action = match dice.random_range(0..6) {
                0 => Write(value),
                1 => CompareAndSet { expected, value },
                2 => Add(dice.random_range(1..3)),
                3 => Delete,
                _ => Read,
            };
            let is_refused = matches!(action, CompareAndSet { expected, .. } if expected != is);
            let is_unknown = action != Read && dice.random_bool(0.2);
            let is_nothing = is_refused || action == Read || (action == Delete && entry.is_none());
            let before = entry;
            if !(is_nothing || is_unknown && dice.random()) {
                store += dice.random_range(1..3);
                let value = match action {
                    Add(delta) => Some(delta + entry.map_or(0, |entry| entry.value)),
                    Delete => None,
                    _ => Some(value),
                };
                let revision = store;
                entry = value.map(|value| Entry { value, revision });
            }
            let told = if action == Delete { before } else { entry };
            let point = message * 10 + 30;
            let mut end = point + dice.random_range(0..25);
            if is_unknown && dice.random() {
                end = NEVER;
            }
            history.push(Operation {
                client: 0,
                message,
                start: point - dice.random_range(0..25),
                end,
                action,
                outcome: match () {
                    () if is_unknown => Unknown,
                    () if is_refused => Refused { actual: is },
                    () => done(told, store),
                },
            });
        }
        for _ in 0..dice.random_range(0..3) {
            let [one, other] = [(); 2].map(|()| dice.random_range(0..history.len()));
            let of_other = history[other].outcome;
            match (dice.random_range(0..3), &mut history[one].outcome) {
                (0, Outcome::Done { entry, revision }) => match entry {
                    Some(entry) if dice.random() => entry.value += 1,
                    _ => *revision += [1, -1][dice.random_range(0..2)],
                },
                (1, outcome) => *outcome = of_other,
                _ => {
                    history[one].start += 20;
                    history[one].end = history[one].end.saturating_add(20);
                }
            }
        }
        history
    }

    #[test]
    fn it_agrees_with_trying_every_order() {
        const HISTORIES: usize = 10_000;
        let mut dice = SmallRng::seed_from_u64(7);
        let mut accepted = 0;
        for number in 0..HISTORIES {
            let history = some_history(&mut dice);
            let verdict = check_key(Found::default(), &history);
            let expected = every_order(None, 0, &history);
            assert_eq!(verdict.is_ok(), expected, "history {number}: {history:?}");
            accepted += usize::from(expected);
        }
        assert!(
            accepted * 4 > HISTORIES && accepted * 4 < HISTORIES * 3,
            "{accepted}"
        );
    }
}
