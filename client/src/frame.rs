//! Frames and batches: operations that travel together.

use std::time::Duration;

use soloist::v1;

use crate::wire::duration_to_wire;
use crate::{Add, Delete, Read, Transition, Write};

/// Operations that travel to the owner together as one message.
///
/// They are applied in order, and operations of other clients are never applied between them. Each operation stands
/// alone, unless the frame is [`atomic`](Self::atomic).
///
/// ```
/// use soloist_client::{Condition, Frame, Read, Write};
///
/// // Advances the counter if the lock is still the one that was created at revision 12.
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
    /// A frame without operations. A server refuses it until it has at least one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an operation: a [`Read`], [`Write`], [`Add`], [`Transition`] or [`Delete`].
    pub fn op(mut self, op: impl Into<Op>) -> Self {
        self.0.ops.push(op.into().0);
        self
    }

    /// Applies all operations of the frame or none. The first refused operation undoes them all, and all changes get
    /// one store revision.
    pub fn atomic(mut self) -> Self {
        self.0.atomic = true;
        self
    }

    /// Makes a retry of the frame safe: see [`Write::request_id`]. For an atomic frame only; its operations must have
    /// none.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// How long the frame may wait for the owner, counted from when the server has decoded it. Default, and maximum:
    /// `Limits.max_deadline`. A frame that waits longer is refused in its place with DEADLINE_EXCEEDED, and nothing of
    /// it is applied.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = Some(duration_to_wire(timeout));
        self
    }

    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ops.len()
    }

    /// Whether there are no operations.
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

/// Operations that are applied in order and at one store revision, or not at all: an atomic [`Frame`] as a single call.
///
/// ```
/// use soloist_client::{Add, Batch};
///
/// // Moves 5 from one account to another, unless that would overdraw the first.
/// let transfer = Batch::new()
///     .op(Add::new("accounts/anna", -5).min(0))
///     .op(Add::new("accounts/ben", 5));
/// assert_eq!(transfer.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a batch does nothing until it is sent"]
pub struct Batch(v1::BatchRequest);

impl Batch {
    /// A batch without operations. A server refuses it until it has at least one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an operation: a [`Read`], [`Write`], [`Add`], [`Transition`] or [`Delete`].
    pub fn op(mut self, op: impl Into<Op>) -> Self {
        self.0.ops.push(op.into().0);
        self
    }

    /// Makes a retry of the batch safe: see [`Write::request_id`]. Its operations must have none.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ops.len()
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ops.is_empty()
    }
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        Self(v1::BatchRequest {
            ops: ops.into_iter().map(|op| op.0).collect(),
            ..v1::BatchRequest::default()
        })
    }
}

impl From<Batch> for v1::BatchRequest {
    fn from(batch: Batch) -> Self {
        batch.0
    }
}

/// One operation of a frame or batch: a [`Read`], [`Write`], [`Add`], [`Transition`] or [`Delete`].
#[derive(Clone, Debug, PartialEq)]
pub struct Op(v1::Op);

macro_rules! op {
    ($($op:ident)*) => {$(
        impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self(v1::Op {
                    op: Some(v1::op::Op::$op(op.into())),
                })
            }
        }
    )*};
}

op! { Read Write Add Transition Delete }
