//! What can be asked of the state, and what it answers.

use std::time::Duration;

use super::bounds::Bounds;
use super::condition::{Condition, Expect};
use super::rejection::Rejection;
use super::time::Time;
use super::value::{Entry, Key, Name, Revision, Value};

/// Asks for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The key.
    pub key: Key,
    /// What must hold, or the read is refused.
    pub expect: Expect,
}

/// Sets one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// The value to store; none: the one there is.
    pub value: Option<Value>,
    /// What is said beyond that. Boxed for the same reason as [`Expect`].
    pub options: Option<Box<WriteOptions>>,
}

/// What is seldom said of a [`Write`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must hold, or the write is refused.
    pub expect: Option<Condition>,
    /// When the key is to end by itself.
    pub lifetime: SetLifetime,
    /// What to answer.
    pub shows: WriteShows,
}

/// What the answer to a [`Write`] shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteShows {
    /// The new revisions.
    #[default]
    Revisions,
    /// The new revisions and the entry as it was before.
    Previous,
}

/// When a key is to end by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SetLifetime {
    /// Not at all.
    #[default]
    Unlimited,
    /// As it was; a new key not at all.
    Keep,
    /// This long from now.
    Ttl(Duration),
    /// With a session.
    Session {
        /// The session.
        id: Name,
        /// Which life of it, if that matters.
        create_revision: Option<Revision>,
    },
}

/// Adds to one int.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// The key.
    pub key: Key,
    /// What to add.
    pub delta: i64,
    /// What is said beyond that. Boxed for the same reason as [`Expect`].
    pub options: Option<Box<AddOptions>>,
}

/// What is seldom said of an [`Add`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// What must hold, or the addition is refused.
    pub expect: Option<Condition>,
    /// Between what the sum must be, if not just 64 bits.
    pub bounds: Bounds,
    /// When the key is to end by itself if this creates it.
    pub lifetime: SetLifetime,
}

/// Moves one key to another state of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The key.
    pub key: Key,
    /// The state to move to.
    pub to: Name,
    /// What is said beyond that. Boxed for the same reason as [`Expect`].
    pub options: Option<Box<TransitionOptions>>,
}

/// What is seldom said of a [`Transition`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransitionOptions {
    /// What must hold, or the move is refused.
    pub expect: Option<Condition>,
    /// The value to store in the same step; none: the one there is.
    pub value: Option<Value>,
}

/// Deletes one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The key.
    pub key: Key,
    /// What must hold, or nothing is deleted.
    pub expect: Expect,
}

/// One operation of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Asks for one key.
    Read(Read),
    /// Sets one key.
    Write(Write),
    /// Adds to one int.
    Add(Add),
    /// Moves one key to another state.
    Transition(Transition),
    /// Deletes one key.
    Delete(Delete),
}

impl Operation {
    /// Bytes of the keys and the values that the operation carries.
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
    /// Bytes of the key and of the value tested for.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.key.as_str().len() + condition_byte_len(self.expect.as_deref())
    }
}

impl Write {
    /// Bytes of the key, the value, and the value tested for.
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
    /// Bytes of the key and of the value tested for.
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
    /// Bytes of the key, the state, the value, and the value tested for.
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
    /// Bytes of the key and of the value tested for.
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

/// The answer to a [`Read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// What is stored, if the key is there.
    pub entry: Option<Entry>,
    /// The store revision at which this was true.
    pub revision: Revision,
}

/// The answer to a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The store revision of the write.
    pub revision: Revision,
    /// The store revision at which the key came to be.
    pub create_revision: Revision,
    /// The entry as it was, if asked for and there.
    pub previous: Option<Box<Entry>>,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// The answer to an [`Add`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddOutcome {
    /// The store revision of the addition; the present one if it changed nothing.
    pub revision: Revision,
    /// The store revision at which the key came to be.
    pub create_revision: Revision,
    /// The value from now on.
    pub value: i64,
    /// What was really added.
    pub applied: i64,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// The answer to a [`Transition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionOutcome {
    /// The store revision of the move.
    pub revision: Revision,
    /// The store revision at which the key came to be.
    pub create_revision: Revision,
    /// The state that it was in before.
    pub from: Name,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// The answer to a [`Delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The store revision of the deletion; the present one if there was nothing to delete.
    pub revision: Revision,
    /// The entry as it was.
    pub previous: Option<Box<Entry>>,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// Asks for a page of keys, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What the keys begin with.
    pub prefix: String,
    /// The last key of the page before.
    pub after: Option<String>,
    /// Most entries.
    pub page_size: usize,
    /// Most bytes of keys, and of values if they are shown; one entry always fits.
    pub page_bytes: usize,
    /// What is shown of the entries.
    pub shows: ListShows,
}

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListShows {
    /// Whole entries.
    Entries,
    /// Everything but their values.
    Keys,
}

/// The answer to a [`List`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOutcome {
    /// The page.
    pub entries: Vec<(Key, Entry)>,
    /// Whether there are more.
    pub has_more: HasMore,
    /// What is shown of the entries.
    pub shows: ListShows,
    /// The store revision at which this was true.
    pub revision: Revision,
}

/// Whether a page is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasMore {
    /// It is.
    No,
    /// There are entries after it.
    Yes,
}

/// A page of something that has names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it, in the order of the bytes of the names.
    pub items: Vec<T>,
    /// Whether there are more.
    pub has_more: HasMore,
}

/// Begins a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its name.
    pub id: Name,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// What to do with a living one of that name.
    pub on_existing: OnExisting,
}

/// What to do with a session that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// Leave it, and refuse.
    Refuse,
    /// End it, and its keys.
    TakeOver,
}

/// Names one life of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLife {
    /// The session's name.
    pub id: Name,
    /// When it began.
    pub create_revision: Revision,
}

/// A session as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: Name,
    /// How long it lives without being renewed.
    pub ttl: Duration,
    /// When it ends unless it is renewed.
    pub ends: Time,
    /// The store revision at which it began.
    pub create_revision: Revision,
    /// How many keys end with it.
    pub key_count: usize,
}

/// The answer to an [`OpenSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOutcome {
    /// The session.
    pub session: Session,
    /// Which earlier life it has ended, by its create_revision. Its last keys may still be [ending](super::StateMachine::is_ending).
    pub taken_over: Option<Revision>,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// The answer to a session's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseOutcome {
    /// How many keys it had.
    pub key_count: usize,
    /// The store revision at which it ended, with its first keys.
    pub revision: Revision,
    /// Which life it was. Its last keys may still be [ending](super::StateMachine::is_ending).
    pub create_revision: Revision,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}

/// The answer to an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To [`Operation::Read`].
    Read(ReadOutcome),
    /// To [`Operation::Write`].
    Write(WriteOutcome),
    /// To [`Operation::Add`].
    Add(AddOutcome),
    /// To [`Operation::Transition`].
    Transition(TransitionOutcome),
    /// To [`Operation::Delete`].
    Delete(DeleteOutcome),
}

impl Outcome {
    /// What it shows of the entry as it was, if it is the answer to an earlier try.
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

    /// The revision that it names, to be set.
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

/// The answer to a frame, each operation of which stands alone.
#[derive(Debug, PartialEq, Eq)]
pub struct EachOutcome {
    /// One for each operation, in their order.
    pub results: Vec<Result<Outcome, Box<Rejection>>>,
    /// The store revision after the last operation.
    pub revision: Revision,
    /// Bytes of the values that the results show.
    pub answer_bytes: usize,
}

impl EachOutcome {
    /// Names another revision as of which it is: for what only read.
    pub(crate) fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
        for outcome in self.results.iter_mut().flatten() {
            *outcome.revision_mut() = revision;
        }
    }
}

impl AllOutcome {
    /// Names another revision as of which it is.
    pub(crate) fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
        for outcome in &mut self.outcomes {
            *outcome.revision_mut() = revision;
        }
    }
}

/// The answer to a frame that was done as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllOutcome {
    /// One for each operation, in their order.
    pub outcomes: Vec<Outcome>,
    /// The store revision after the frame, and that of all its changes.
    pub revision: Revision,
    /// Bytes of the values that the outcomes show.
    pub answer_bytes: usize,
    /// This is the answer to an earlier try.
    pub replayed: bool,
}
