//! Frames: operations that travel, and wait, together.

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

    /// Adds an operation at the end, a [`Read`] or a [`Write`].
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

/// One operation of a frame: a [`Read`] or a [`Write`].
#[derive(Clone, Debug, PartialEq)]
pub struct Op(v1::Op);

impl From<Read> for Op {
    fn from(read: Read) -> Self {
        Self(v1::Op {
            op: Some(v1::op::Op::Read(read.0)),
        })
    }
}

impl From<Write> for Op {
    fn from(write: Write) -> Self {
        Self(v1::Op {
            op: Some(v1::op::Op::Write(write.0)),
        })
    }
}

/// Reads one key, as an operation of a frame.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until its frame is sent"]
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

/// Creates or replaces one value, as an operation of a frame.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an operation does nothing until its frame is sent"]
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

// The unary calls are the same requests, sent on their own.
impl From<Read> for v1::ReadRequest {
    fn from(read: Read) -> Self {
        read.0
    }
}

impl From<Write> for v1::WriteRequest {
    fn from(write: Write) -> Self {
        write.0
    }
}
