//! What can be asked: operations, and frames and batches of them.

use std::time::Duration;

use soloist::v1;

use crate::{Condition, Value};

/// Operations that travel together: one message to the owner, however many they are.
///
/// Applied in order, without operations of other clients in between. Each operation stands alone, unless the frame
/// is [`atomic`](Self::atomic).
///
/// ```
/// use soloist_client::{Condition, Frame, Read, Write};
///
/// // Moves the lock's counter on, if the lock is still the one that was taken at revision 12.
/// let frame = Frame::new()
///     .op(Read::new("lock").expect(Condition::CreateRevision(12)))
///     .op(Write::new("counter", 5))
///     .atomic();
/// assert_eq!(frame.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a frame does nothing until it is sent"]
pub struct Frame(v1::PipelineRequest);

impl Frame {
    /// A frame without operations; a server refuses it until it has at least one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation at the end: a [`Read`], [`Write`], [`Add`] or [`Delete`].
    pub fn op(mut self, op: impl Into<Op>) -> Self {
        self.0.ops.push(op.into().0);
        self
    }

    /// All of the frame or none: the first refusal undoes every operation, and whatever changes, changes at one
    /// store revision.
    pub fn atomic(mut self) -> Self {
        self.0.atomic = true;
        self
    }

    /// How long the frame may wait for the owner, counted by the server from when it has decoded it. At most, and
    /// without this call, `Limits.max_deadline`. A frame that waited longer is answered DEADLINE_EXCEEDED in its
    /// place, with nothing of it applied.
    ///
    /// # Panics
    ///
    /// Above 292 billion years.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let timeout = timeout
            .try_into()
            .expect("a timeout fits the wire's 64-bit seconds");
        self.0.timeout = Some(timeout);
        self
    }

    /// How many operations it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ops.len()
    }

    /// Whether it has no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ops.is_empty()
    }
}

impl Extend<Op> for Frame {
    fn extend<I: IntoIterator<Item = Op>>(&mut self, ops: I) {
        self.0.ops.extend(ops.into_iter().map(|op| op.0));
    }
}

impl FromIterator<Op> for Frame {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        let mut frame = Self::new();
        frame.extend(ops);
        frame
    }
}

impl From<Frame> for v1::PipelineRequest {
    fn from(frame: Frame) -> Self {
        frame.0
    }
}

/// Operations that are done in order and at one store revision, or not at all: an atomic [`Frame`] as a single call.
///
/// ```
/// use soloist_client::{Add, Batch};
///
/// // Moves 5 from one account to another, unless that would leave less than nothing.
/// let transfer = Batch::new()
///     .op(Add::new("accounts/anna", -5).min(0))
///     .op(Add::new("accounts/ben", 5));
/// assert_eq!(transfer.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a batch does nothing until it is sent"]
pub struct Batch(v1::BatchRequest);

impl Batch {
    /// A batch without operations; a server refuses it until it has at least one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation at the end: a [`Read`], [`Write`], [`Add`] or [`Delete`].
    pub fn op(mut self, op: impl Into<Op>) -> Self {
        self.0.ops.push(op.into().0);
        self
    }

    /// How many operations it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ops.len()
    }

    /// Whether it has no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ops.is_empty()
    }
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        Self(v1::BatchRequest {
            ops: ops.into_iter().map(|op| op.0).collect(),
        })
    }
}

/// One operation of a frame or batch: a [`Read`], [`Write`], [`Add`] or [`Delete`].
#[derive(Clone, Debug, PartialEq)]
pub struct Op(v1::Op);

/// Operations travel in frames as well as in calls of their own.
macro_rules! op {
    ($($op:ident: $request:ident;)*) => {$(
        impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self(v1::Op {
                    op: Some(v1::op::Op::$op(op.0)),
                })
            }
        }

        impl From<$op> for v1::$request {
            fn from(op: $op) -> Self {
                op.0
            }
        }
    )*};
}

op! {
    Read: ReadRequest;
    Write: WriteRequest;
    Add: AddRequest;
    Delete: DeleteRequest;
}

/// Reads one key.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Read(v1::ReadRequest);

impl Read {
    /// Reads `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self(v1::ReadRequest {
            key: key.into(),
            expect: None,
        })
    }

    /// What must hold for the read to succeed: a guard, in an atomic frame.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }
}

/// Creates or replaces one value.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Write(v1::WriteRequest);

impl Write {
    /// Writes `value` under `key`.
    pub fn new(key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(v1::WriteRequest {
            key: key.into(),
            expect: None,
            value: Some(value.into().into()),
            return_previous: false,
        })
    }

    /// What must hold, or the write is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// Asks for the entry as it was before.
    pub fn return_previous(mut self) -> Self {
        self.0.return_previous = true;
        self
    }
}

/// Adds to an int in one step; a missing key counts from 0, and is created.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Add(v1::AddRequest);

impl Add {
    /// Adds `delta` under `key`. 0 changes nothing, but creates a missing key.
    pub fn new(key: impl Into<String>, delta: i64) -> Self {
        Self(v1::AddRequest {
            key: key.into(),
            delta,
            ..v1::AddRequest::default()
        })
    }

    /// What must hold, or the addition is refused and nothing changes.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    /// The least value there may be afterwards. A value that is below it already may come nearer.
    pub fn min(mut self, min: i64) -> Self {
        self.0.min = Some(min);
        self
    }

    /// The greatest value there may be afterwards. A value that is above it already may come nearer.
    pub fn max(mut self, max: i64) -> Self {
        self.0.max = Some(max);
        self
    }

    /// Stop at the bound (`min`, `max` or 64 bits) instead of refusing.
    pub fn saturate(mut self) -> Self {
        self.0.saturate = true;
        self
    }
}

/// Deletes one key. That there is none is an answer, not an error.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until it is sent"]
pub struct Delete(v1::DeleteRequest);

impl Delete {
    /// Deletes `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self(v1::DeleteRequest {
            key: key.into(),
            expect: None,
        })
    }

    /// What must hold, or nothing is deleted.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }
}

/// A page of the keys that begin with a prefix, in the order of their bytes.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a list does nothing until it is sent"]
pub struct List(v1::ListRequest);

impl List {
    /// The first page of the keys that begin with `prefix`; of all keys if it is empty.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self(v1::ListRequest {
            prefix: prefix.into(),
            ..v1::ListRequest::default()
        })
    }

    /// The most entries on the page; at most, and without this call, `Limits.max_page_size`.
    pub fn page_size(mut self, page_size: u32) -> Self {
        // The server cuts it to much less.
        self.0.page_size = i32::try_from(page_size).unwrap_or(i32::MAX);
        self
    }

    /// Where to go on: the token of the page before, which must be of the same prefix.
    pub fn page_token(mut self, page_token: impl Into<String>) -> Self {
        self.0.page_token = page_token.into();
        self
    }

    /// Leave the values out.
    pub fn keys_only(mut self) -> Self {
        self.0.keys_only = true;
        self
    }
}

impl From<List> for v1::ListRequest {
    fn from(list: List) -> Self {
        list.0
    }
}

impl From<Batch> for v1::BatchRequest {
    fn from(batch: Batch) -> Self {
        batch.0
    }
}
