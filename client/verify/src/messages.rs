//! Atomic messages of unknown outcome with several keys: done on all of them, or on none. Keys are explained one by one, so
//! what is left is to find one choice of messages with which all of them can be.
//!
//! A choice is made message by message, as in a search for what satisfies clauses (Davis, Logemann and Loveland, "A machine
//! program for theorem-proving", 1962): of a key that cannot be explained with the messages chosen so far, one message more
//! is said to be done, or else not to be; and as soon as a key cannot be explained whatever is chosen yet, the last of it
//! is taken back. Messages whose unique values somebody saw are known to be done and are no part of this.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::History;
use crate::key::KeyHistory;
use crate::operation::{Action, Operation, Outcome};
use crate::options::Why;
use crate::search::Found;

/// Choices that are looked at: each takes a search of some keys.
const CHOICES: usize = 2_000;

/// A message, among those of all clients.
type Message = (u32, u32);

/// Atomic messages of unknown outcome that change several keys.
pub(super) struct Messages(BTreeSet<Message>);

/// What came of the search for a choice.
pub(super) enum Chosen {
    Some,
    /// These keys cannot agree.
    None {
        keys: Vec<usize>,
    },
    GaveUp {
        key: usize,
        configurations: u64,
        why: Why,
    },
}

impl Messages {
    pub(super) fn new(history: &History, operations: &dyn Fn(usize) -> Operation) -> Self {
        let mut first: HashMap<Message, u32> = HashMap::new();
        let mut shared = BTreeSet::new();
        for place in 0..history.operations.len() {
            let it = operations(place);
            let is_one = it.outcome == Outcome::Unknown && it.travel.is_atomic();
            if is_one && it.action != Action::Read {
                let key = first.entry(it.message_id()).or_insert(it.key);
                if *key != it.key {
                    shared.insert(it.message_id());
                }
            }
        }
        Self(shared)
    }

    pub(super) fn is_shared(&self, message: Message) -> bool {
        self.0.contains(&message)
    }

    pub(super) fn touch(&self, key: &KeyHistory<'_>) -> bool {
        !self.0.is_empty() && self.of(key).next().is_some()
    }

    /// The messages that have part in a key, in the order of their starts.
    fn of<'a>(&'a self, key: &'a KeyHistory<'_>) -> impl Iterator<Item = Message> + 'a {
        let is_one = |it: &&Operation| {
            it.outcome == Outcome::Unknown
                && it.travel.is_atomic()
                && self.is_shared(it.message_id())
        };
        (key.operations.iter().filter(is_one)).map(Operation::message_id)
    }

    /// Finds messages that, if they and no others were done, explain all of these keys: those with a part in any.
    pub(super) fn choose(
        &self,
        keys: &[&KeyHistory<'_>],
        explain: &dyn Fn(&KeyHistory<'_>) -> Found,
    ) -> Chosen {
        let mut choosing = Choosing {
            messages: self,
            keys,
            explain,
            chosen: BTreeMap::new(),
            choices: 0,
            involved: BTreeSet::new(),
        };
        match choosing.go_on(None) {
            Ok(true) => Chosen::Some,
            Ok(false) => Chosen::None {
                keys: choosing.involved.into_iter().collect(),
            },
            Err((key, configurations, why)) => Chosen::GaveUp {
                key,
                configurations,
                why,
            },
        }
    }
}

/// What becomes of messages that nothing was chosen for.
#[derive(Clone, Copy)]
enum Rest {
    Free,
    Undone,
}

/// The key that was too much, and why.
type TooMuch = (usize, u64, Why);

struct Choosing<'a> {
    messages: &'a Messages,
    keys: &'a [&'a KeyHistory<'a>],
    explain: &'a dyn Fn(&KeyHistory<'_>) -> Found,
    chosen: BTreeMap<Message, bool>,
    choices: usize,
    /// Keys that some choice could not explain.
    involved: BTreeSet<usize>,
}

impl Choosing<'_> {
    /// Whether the choices made so far can be completed. `last` is the one made last.
    fn go_on(&mut self, last: Option<Message>) -> Result<bool, TooMuch> {
        self.choices += 1;
        for key in 0..self.keys.len() {
            let has_part = |last| self.messages.of(self.keys[key]).any(|it| it == last);
            if last.is_some_and(has_part) && !self.can_be(key, Rest::Free)? {
                return Ok(false);
            }
        }
        let mut next = None;
        for key in 0..self.keys.len() {
            if !self.can_be(key, Rest::Undone)? {
                let is_free = |message: &Message| !self.chosen.contains_key(message);
                next = self.messages.of(self.keys[key]).find(is_free);
                if self.choices >= CHOICES {
                    return Err((key, 0, Why::Configurations));
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
            if self.go_on(Some(next))? {
                return Ok(true);
            }
        }
        self.chosen.remove(&next);
        Ok(false)
    }

    /// Whether a key can be explained with what is chosen so far.
    fn can_be(&mut self, key: usize, rest: Rest) -> Result<bool, TooMuch> {
        let is_done = |message| match (self.chosen.get(&message), rest) {
            (Some(is_done), _) => Some(*is_done),
            (None, Rest::Undone) if self.messages.is_shared(message) => Some(false),
            (None, _) => None,
        };
        match (self.explain)(&self.keys[key].with_messages(&is_done)) {
            Found::Explained { .. } => Ok(true),
            Found::Impossible(_) => {
                self.involved.insert(key);
                Ok(false)
            }
            Found::GaveUp {
                configurations,
                why,
            } => Err((key, configurations, why)),
        }
    }
}
