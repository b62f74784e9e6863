//! Atomic messages of unknown outcome that change several keys: each was done on all of its keys, or on none.
//!
//! Keys are explained one by one. What is left is to find one choice of messages with which all keys can be explained: a
//! satisfiability problem, solved message by message (Davis, Logemann and Loveland, "A machine program for theorem-proving",
//! 1962). If a key cannot be explained with the messages chosen so far, one more of its messages is chosen, first as done and
//! then as not done. As soon as a key cannot be explained whatever is chosen later, the last choice is taken back.
//!
//! A message that an answer or a watch proves done is resolved already, and has no part in this.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::History;
use crate::key::KeyHistory;
use crate::operation::{Action, Operation, Outcome};
use crate::options::StopReason;
use crate::search::SearchResult;

/// Choices that are tried. Each takes a search of some keys.
const CHOICES_MAX: usize = 2_000;

/// A message, by its client and the client's number for it.
type Message = (u32, u32);

/// The atomic messages of unknown outcome that change several keys.
pub(crate) struct SharedMessages(BTreeSet<Message>);

/// The result of the search for a choice.
pub(crate) enum Choice {
    /// All keys can be explained with one choice of messages.
    Possible,
    /// These keys cannot be.
    Impossible { keys: Vec<usize> },
    /// A limit was reached.
    Stopped(Stop),
}

/// The search of a key that reached a limit.
pub(crate) struct Stop {
    pub(crate) key: usize,
    /// Configurations that it had looked at.
    pub(crate) configurations: u64,
    pub(crate) reason: StopReason,
}

impl SharedMessages {
    pub(crate) fn new(history: &History, operation: &dyn Fn(usize) -> Operation) -> Self {
        let mut first_key: HashMap<Message, u32> = HashMap::new();
        let mut shared = BTreeSet::new();
        for index in 0..history.operations.len() {
            let it = operation(index);
            if is_open(&it) && it.action != Action::Read {
                let key = first_key.entry(it.message_id()).or_insert(it.key);
                if *key != it.key {
                    shared.insert(it.message_id());
                }
            }
        }
        Self(shared)
    }

    pub(crate) fn contains(&self, message: Message) -> bool {
        self.0.contains(&message)
    }

    /// Whether one of them has an operation on this key.
    pub(crate) fn touch(&self, key: &KeyHistory<'_>) -> bool {
        !self.0.is_empty() && self.of(key).next().is_some()
    }

    /// Those that have an operation on this key, in the order of their starts.
    fn of<'a>(&'a self, key: &'a KeyHistory<'_>) -> impl Iterator<Item = Message> + 'a {
        let is_shared = |it: &&Operation| is_open(it) && self.contains(it.message_id());
        (key.operations.iter().filter(is_shared)).map(Operation::message_id)
    }

    /// Searches for messages with which all of these keys can be explained, if no other message was done. The keys are all
    /// that the messages touch.
    pub(crate) fn choose(
        &self,
        keys: &[&KeyHistory<'_>],
        explain: &dyn Fn(&KeyHistory<'_>) -> SearchResult,
    ) -> Choice {
        let mut chooser = Chooser {
            messages: self,
            keys,
            explain,
            chosen: BTreeMap::new(),
            choices: 0,
            unexplained: BTreeSet::new(),
        };
        match chooser.complete(None) {
            Ok(true) => Choice::Possible,
            Ok(false) => Choice::Impossible {
                keys: chooser.unexplained.into_iter().collect(),
            },
            Err(stop) => Choice::Stopped(stop),
        }
    }
}

/// Whether the operation belongs to an atomic message of unknown outcome.
fn is_open(operation: &Operation) -> bool {
    operation.outcome == Outcome::Unknown && operation.message_kind.is_atomic()
}

/// What becomes of the messages that are not chosen yet.
#[derive(Clone, Copy)]
enum Unchosen {
    /// Each was done or not.
    Free,
    /// None was done.
    NotDone,
}

struct Chooser<'a> {
    messages: &'a SharedMessages,
    keys: &'a [&'a KeyHistory<'a>],
    explain: &'a dyn Fn(&KeyHistory<'_>) -> SearchResult,
    /// Whether each message chosen so far was done.
    chosen: BTreeMap<Message, bool>,
    choices: usize,
    /// The keys that some choice could not explain.
    unexplained: BTreeSet<usize>,
}

impl Chooser<'_> {
    /// Whether the choices so far can be completed. `last` is the one made last.
    fn complete(&mut self, last: Option<Message>) -> Result<bool, Stop> {
        self.choices += 1;
        for key in 0..self.keys.len() {
            let has_part = |last| self.messages.of(self.keys[key]).any(|it| it == last);
            if last.is_some_and(has_part) && !self.can_explain(key, Unchosen::Free)? {
                return Ok(false);
            }
        }
        let mut next = None;
        for key in 0..self.keys.len() {
            if !self.can_explain(key, Unchosen::NotDone)? {
                let is_free = |message: &Message| !self.chosen.contains_key(message);
                next = self.messages.of(self.keys[key]).find(is_free);
                if self.choices >= CHOICES_MAX {
                    return Err(Stop {
                        key,
                        configurations: 0,
                        reason: StopReason::Configurations,
                    });
                }
                if next.is_none() {
                    return Ok(false);
                }
                break;
            }
        }
        let Some(next) = next else {
            return Ok(true);
        };
        for is_done in [true, false] {
            self.chosen.insert(next, is_done);
            if self.complete(Some(next))? {
                return Ok(true);
            }
        }
        self.chosen.remove(&next);
        Ok(false)
    }

    /// Whether a key can be explained with the choices so far.
    fn can_explain(&mut self, key: usize, unchosen: Unchosen) -> Result<bool, Stop> {
        let is_done = |message| match (self.chosen.get(&message), unchosen) {
            (Some(is_done), _) => Some(*is_done),
            (None, Unchosen::NotDone) if self.messages.contains(message) => Some(false),
            (None, _) => None,
        };
        match (self.explain)(&self.keys[key].with_messages(&is_done)) {
            SearchResult::Explained { .. } => Ok(true),
            SearchResult::Impossible(_) => {
                self.unexplained.insert(key);
                Ok(false)
            }
            SearchResult::Stopped {
                configurations,
                reason,
            } => Err(Stop {
                key,
                configurations,
                reason,
            }),
        }
    }
}
