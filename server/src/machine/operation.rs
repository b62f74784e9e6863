//! What can be asked of the state, and what it answers.

use super::add::Bounds;
use super::value::{Entry, Key, Revision, Value};

/// What must hold for an operation to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is there, or is not.
    Exists(bool),
    /// The key's last change was at this revision; 0: it is not there.
    Revision(Revision),
    /// The key came to be at this revision; 0: it is not there.
    CreateRevision(Revision),
    /// The key has this value.
    Value(Value),
}

/// What must hold, if anything. Boxed, because most operations have none and all of them are moved about by the
/// thousand.
pub type Expect = Option<Box<Condition>>;

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
    /// What must hold, or the write is refused.
    pub expect: Expect,
    /// The value to store.
    pub value: Value,
    /// What to answer.
    pub answer: WriteAnswer,
}

/// What the answer to a [`Write`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAnswer {
    /// The new revisions.
    Revisions,
    /// The new revisions and the entry as it was before.
    Previous,
}

/// Adds to one int.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// The key.
    pub key: Key,
    /// What must hold, or the addition is refused.
    pub expect: Expect,
    /// What to add.
    pub delta: i64,
    /// Between what the sum must be, if not just 64 bits. Boxed for the same reason as [`Expect`].
    pub bounds: Option<Box<Bounds>>,
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
    /// Deletes one key.
    Delete(Delete),
}

impl Operation {
    /// The key that the operation may change.
    #[must_use]
    pub fn changes(&self) -> Option<&Key> {
        match self {
            Self::Read(_) => None,
            Self::Write(Write { key, .. })
            | Self::Add(Add { key, .. })
            | Self::Delete(Delete { key, .. }) => Some(key),
        }
    }

    /// Bytes of the key and the value that the operation carries.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Read(read) => read.byte_len(),
            Self::Write(write) => write.byte_len(),
            Self::Add(add) => add.byte_len(),
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
        self.key.as_str().len() + self.value.byte_len() + condition_byte_len(self.expect.as_deref())
    }
}

impl Add {
    /// Bytes of the key and of the value tested for.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.key.as_str().len() + condition_byte_len(self.expect.as_deref())
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
    pub previous: Option<Entry>,
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
}

/// The answer to a [`Delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The store revision of the deletion; the present one if there was nothing to delete.
    pub revision: Revision,
    /// The entry as it was.
    pub previous: Option<Entry>,
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
    pub rest: Rest,
    /// What is shown of the entries.
    pub shows: ListShows,
    /// The store revision at which this was true.
    pub revision: Revision,
}

/// Whether a page is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is.
    Nothing,
    /// There are entries after it.
    More,
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
    /// To [`Operation::Delete`].
    Delete(DeleteOutcome),
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

/// The answer to a frame that was done as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct AllOutcome {
    /// One for each operation, in their order.
    pub outcomes: Vec<Outcome>,
    /// The store revision after the frame, and that of all its changes.
    pub revision: Revision,
    /// Bytes of the values that the outcomes show.
    pub answer_bytes: usize,
}

/// The state says no to an operation. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The key that the operation is on.
    pub key: Key,
    /// Why.
    pub cause: Cause,
}

/// Why the state says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The key has another revision, create_revision or value than the condition asks for.
    ExpectationFailed(Box<Mismatch>),
    /// The key should not be there.
    KeyExists {
        /// The key's revision.
        revision: Revision,
    },
    /// The key should be there.
    KeyNotFound,
    /// The value is not an int.
    NotAnInt {
        /// What it is.
        kind: &'static str,
    },
    /// The sum does not fit into 64 bits.
    Overflow {
        /// The value there is.
        value: i64,
        /// What was to be added.
        delta: i64,
    },
    /// The sum would be past a bound.
    BoundReached {
        /// Which bound: "min" or "max".
        bound: &'static str,
        /// The bound.
        limit: i64,
        /// The value there is.
        value: i64,
        /// What was to be added.
        delta: i64,
    },
    /// The store would grow past its limit.
    StoreFull {
        /// The limit, in bytes.
        limit: u64,
        /// What it would be, in bytes.
        actual: u64,
    },
    /// The answer to the frame would grow past its limit.
    AnswerTooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// What it would be, in bytes.
        actual: usize,
    },
}

/// What was expected and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The condition that was not met.
    pub expected: Condition,
    /// The entry as it is; none if the key is not there.
    pub actual: Option<Entry>,
}

/// An operation of a frame that is done as a whole or not at all was refused, and the frame with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedAt {
    /// The operation's place in the frame, from 0.
    pub index: usize,
    /// Why.
    pub rejection: Box<Rejection>,
}
