//! Operations on keys and sessions, and their outcomes.

use std::time::Duration;

use super::bounds::Bounds;
use super::condition::{Condition, Expect};
use super::rejection::Rejection;
use super::time::Time;
use super::value::{Entry, Key, Name, Revision, Value};

/// Reads one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The key.
    pub key: Key,
    /// What must hold, or the read is refused.
    pub expect: Expect,
}

/// Writes one key: its value, its lifetime, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// The value to store; `None` keeps the present one.
    pub value: Option<Value>,
    /// Options; `None` for the defaults, which most writes have. Boxed for the same reason as [`Expect`].
    pub options: Option<Box<WriteOptions>>,
}

/// Options of a [`Write`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must hold, or the write is refused.
    pub expect: Option<Condition>,
    /// When the key is to end by itself.
    pub lifetime: SetLifetime,
    /// What the answer shows.
    pub shows: WriteShows,
}

/// What the answer to a [`Write`] shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteShows {
    /// The key's new revision and its create_revision, no entry.
    #[default]
    Revisions,
    /// Also the entry as it was before.
    Previous,
}

/// When a key is to end by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SetLifetime {
    /// Never.
    #[default]
    Unlimited,
    /// As it was before; a new key never.
    Keep,
    /// After this long from now.
    Ttl(Duration),
    /// Together with a session.
    Session {
        /// The session.
        id: Name,
        /// The store revision at which the session began, if it must be that life of the session; else any.
        create_revision: Option<Revision>,
    },
}

/// Adds to the int under one key. A key that does not exist counts as 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// The key.
    pub key: Key,
    /// The number to add.
    pub delta: i64,
    /// Options; `None` for the defaults, which most additions have. Boxed for the same reason as [`Expect`].
    pub options: Option<Box<AddOptions>>,
}

/// Options of an [`Add`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// What must hold, or the addition is refused.
    pub expect: Option<Condition>,
    /// The range that the sum must lie in.
    pub bounds: Bounds,
    /// When the key is to end by itself, if this operation creates it.
    pub lifetime: SetLifetime,
}

/// Moves one key to another state of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The key.
    pub key: Key,
    /// The state to move to.
    pub to: Name,
    /// Options; `None` for the defaults, which most transitions have. Boxed for the same reason as [`Expect`].
    pub options: Option<Box<TransitionOptions>>,
}

/// Options of a [`Transition`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransitionOptions {
    /// What must hold, or the transition is refused.
    pub expect: Option<Condition>,
    /// The value to store in the same step; `None` keeps the present one.
    pub value: Option<Value>,
}

/// Deletes one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The key.
    pub key: Key,
    /// What must hold, or the deletion is refused.
    pub expect: Expect,
}

/// One operation on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads one key.
    Read(Read),
    /// Writes one key.
    Write(Write),
    /// Adds to the int under one key.
    Add(Add),
    /// Moves one key to another state.
    Transition(Transition),
    /// Deletes one key.
    Delete(Delete),
}

impl Operation {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Read(read) => &read.key,
            Self::Write(write) => &write.key,
            Self::Add(add) => &add.key,
            Self::Transition(transition) => &transition.key,
            Self::Delete(delete) => &delete.key,
        }
    }

    /// Bytes of the keys and values in the operation.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Read(read) => read.byte_len(),
            Self::Write(write) => write.byte_len(),
            Self::Add(add) => add.byte_len(),
            Self::Transition(transition) => transition.byte_len(),
            Self::Delete(delete) => delete.byte_len(),
        }
    }
}

impl Read {
    /// Bytes of the key and of the value in the condition.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.key.as_str().len() + condition_byte_len(self.expect.as_deref())
    }
}

impl Write {
    /// Bytes of the key, the value and the value in the condition.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let expect = self
            .options
            .as_ref()
            .and_then(|options| options.expect.as_ref());
        self.key.as_str().len()
            + self.value.as_ref().map_or(0, Value::byte_len)
            + condition_byte_len(expect)
    }
}

impl Add {
    /// Bytes of the key and of the value in the condition.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let expect = self
            .options
            .as_ref()
            .and_then(|options| options.expect.as_ref());
        self.key.as_str().len() + condition_byte_len(expect)
    }
}

impl Transition {
    /// Bytes of the key, the state, the value and the value in the condition.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let options = self.options.as_deref().map_or(0, |options| {
            options.value.as_ref().map_or(0, Value::byte_len)
                + condition_byte_len(options.expect.as_ref())
        });
        self.key.as_str().len() + self.to.as_str().len() + options
    }
}

impl Delete {
    /// Bytes of the key and of the value in the condition.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.key.as_str().len() + condition_byte_len(self.expect.as_deref())
    }
}

fn condition_byte_len(condition: Option<&Condition>) -> usize {
    match condition {
        Some(Condition::Value(value)) => value.byte_len(),
        _ => 0,
    }
}

/// The outcome of a [`Read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The entry; `None` if the key does not exist.
    pub entry: Option<Entry>,
    /// The store revision of the read.
    pub revision: Revision,
}

/// The outcome of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The store revision of the write.
    pub revision: Revision,
    /// The store revision at which the key was created.
    pub create_revision: Revision,
    /// The entry as it was before; `None` if it was not asked for, or the key did not exist.
    pub previous: Option<Box<Entry>>,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// The outcome of an [`Add`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddOutcome {
    /// The store revision of the addition; the present one if the sum is the value that was there.
    pub revision: Revision,
    /// The store revision at which the key was created.
    pub create_revision: Revision,
    /// The new value.
    pub value: i64,
    /// The number that was really added: less than was asked for, if the sum stopped at a bound.
    pub applied: i64,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// The outcome of a [`Transition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionOutcome {
    /// The store revision of the transition.
    pub revision: Revision,
    /// The store revision at which the key was created.
    pub create_revision: Revision,
    /// The state that the key was in before.
    pub from: Name,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// The outcome of a [`Delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The store revision of the deletion; the present one if the key did not exist.
    pub revision: Revision,
    /// The entry as it was before; `None` if the key did not exist.
    pub previous: Option<Box<Entry>>,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// Deletes a slice of the keys with a prefix, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletePrefix {
    /// What all deleted keys begin with.
    pub prefix: String,
    /// The last key of the slice before; `None` for the first slice.
    pub after: Option<String>,
    /// Most keys in the slice.
    pub limit: usize,
}

/// The outcome of a [`DeletePrefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletePrefixOutcome {
    /// How many keys were deleted.
    pub deleted_count: usize,
    /// How many keys of the slice are in a state that is not final, and stay.
    pub kept_count: usize,
    /// The last key of the slice, if keys with the prefix follow it.
    pub more_after: Option<Key>,
    /// The store revision of all the deletions; the present one if there was none.
    pub revision: Revision,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// Lists a page of keys, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What all listed keys begin with.
    pub prefix: String,
    /// The last key of the page before; `None` for the first page.
    pub after: Option<String>,
    /// Most entries on the page.
    pub page_size: usize,
    /// Most bytes of keys on the page, and of values if they are shown. One entry always fits.
    pub page_bytes: usize,
    /// What to show of each entry.
    pub shows: ListShows,
}

/// What a page shows of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListShows {
    /// All of it.
    Entries,
    /// Everything except the value.
    Keys,
}

/// The outcome of a [`List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOutcome {
    /// The entries of the page.
    pub entries: Vec<(Key, Entry)>,
    /// Whether entries follow this page.
    pub has_more: HasMore,
    /// What the page shows of each entry.
    pub shows: ListShows,
    /// The store revision of the list.
    pub revision: Revision,
}

/// Whether anything follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasMore {
    /// Nothing follows.
    No,
    /// Something follows.
    Yes,
}

/// A page of sessions or machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the bytes of their names.
    pub items: Vec<T>,
    /// Whether items follow this page.
    pub has_more: HasMore,
}

/// Opens a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The session's id.
    pub id: Name,
    /// How long the session lives without being renewed.
    pub ttl: Duration,
    /// What to do if a session of that id is live.
    pub on_existing: OnExisting,
}

/// What opening a session does if a session of the same id is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// Refuses; the live session goes on.
    Refuse,
    /// Ends the live session and its keys first.
    TakeOver,
}

/// Names one life of a session: from its opening to its end. A later session of the same id is another life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLife {
    /// The session's id.
    pub id: Name,
    /// The store revision at which the session began.
    pub create_revision: Revision,
}

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's id.
    pub id: Name,
    /// How long the session lives without being renewed.
    pub ttl: Duration,
    /// When the session ends unless it is renewed.
    pub ends: Time,
    /// The store revision at which the session began.
    pub create_revision: Revision,
    /// How many keys end with the session.
    pub key_count: usize,
}

/// The outcome of an [`OpenSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOutcome {
    /// The session.
    pub session: Session,
    /// The create_revision of the session that was taken over. Its last keys may still be
    /// [ending](super::StateMachine::is_ending).
    pub taken_over: Option<Revision>,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// The outcome of closing a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseOutcome {
    /// How many keys ended with the session, or are still to end.
    pub key_count: usize,
    /// The store revision at which the session ended, with the first of its keys.
    pub revision: Revision,
    /// The store revision at which the session began. Its last keys may still be
    /// [ending](super::StateMachine::is_ending).
    pub create_revision: Revision,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

/// The outcome of an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Operation::Read`].
    Read(ReadOutcome),
    /// Of [`Operation::Write`].
    Write(WriteOutcome),
    /// Of [`Operation::Add`].
    Add(AddOutcome),
    /// Of [`Operation::Transition`].
    Transition(TransitionOutcome),
    /// Of [`Operation::Delete`].
    Delete(DeleteOutcome),
}

impl Outcome {
    /// The entry that the outcome shows, if it shows one.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Read(read) => read.entry.as_ref(),
            Self::Write(write) => write.previous.as_deref(),
            Self::Delete(delete) => delete.previous.as_deref(),
            Self::Add(_) | Self::Transition(_) => None,
        }
    }

    /// About how many bytes the outcome takes in memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let entry = self
            .entry()
            .map_or(0, |entry| size_of::<Entry>() + entry.more_byte_len());
        size_of::<Self>() + entry
    }

    /// The entry that a replayed outcome shows as it was before the operation.
    pub(super) fn replayed_previous(&self) -> Option<&Entry> {
        match self {
            Self::Write(WriteOutcome {
                replayed: true,
                previous,
                ..
            })
            | Self::Delete(DeleteOutcome {
                replayed: true,
                previous,
                ..
            }) => previous.as_deref(),
            _ => None,
        }
    }

    /// The same outcome, which names another store revision, if there is one.
    pub(super) fn at_revision(mut self, revision: Option<Revision>) -> Self {
        if let Some(revision) = revision {
            *self.revision_mut() = revision;
        }
        self
    }

    /// The store revision that the outcome names.
    pub(super) fn revision_mut(&mut self) -> &mut Revision {
        match self {
            Self::Read(ReadOutcome { revision, .. })
            | Self::Write(WriteOutcome { revision, .. })
            | Self::Add(AddOutcome { revision, .. })
            | Self::Transition(TransitionOutcome { revision, .. })
            | Self::Delete(DeleteOutcome { revision, .. }) => revision,
        }
    }
}

/// The outcome of a frame that is not atomic: each of its operations succeeds or is refused by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct EachOutcome {
    /// The result of each operation, in the order of the frame.
    pub results: Vec<Result<Outcome, Box<Rejection>>>,
    /// The store revision after the last operation.
    pub revision: Revision,
    /// Bytes of the values that the results show.
    pub answer_bytes: usize,
}

/// The outcome of an atomic frame: all of its operations were applied, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllOutcome {
    /// The outcome of each operation, in the order of the frame.
    pub outcomes: Vec<Outcome>,
    /// The store revision after the frame: that of its changes, if it made any.
    pub revision: Revision,
    /// Bytes of the values that the outcomes show.
    pub answer_bytes: usize,
    /// This is the outcome of an earlier request with the same request id.
    pub replayed: bool,
}

impl AllOutcome {
    /// About how many bytes the outcomes take in memory, with the values that they show.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.answer_bytes + self.outcomes.len() * size_of::<Outcome>()
    }

    /// Names another store revision in all outcomes.
    pub(crate) fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
        for outcome in &mut self.outcomes {
            *outcome.revision_mut() = revision;
        }
    }
}
