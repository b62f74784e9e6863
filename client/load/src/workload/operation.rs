//! Operations on their way to the server and back.

use std::time::Instant;

use bytes::Bytes;
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{self, condition, op};

use crate::plan::kind::Kind;
use crate::workload::call::messages::Messages;
use crate::workload::call::totals::StreamAnswer;

/// A call, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// An operation that can travel in a frame as well.
    Op(op::Op),
    List(v1::ListRequest),
    Batch(v1::BatchRequest),
    Renew(v1::RenewSessionRequest),
    /// A call of a method that the user names.
    Messages(Messages),
}

impl Call {
    /// Returns a Read of a key.
    pub(crate) fn read(key: String) -> Self {
        Self::Op(op::Op::Read(v1::ReadRequest { key, expect: None }))
    }
}

/// An answer, as it is received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Op(OpAnswer),
    List(v1::ListResponse),
    Batch(v1::BatchResponse),
    Renew(v1::Session),
    /// The only message of a call that the user names.
    Message(Bytes),
    /// The messages of a stream that the user names, and the last of them.
    Stream(StreamAnswer, Bytes),
}

/// What a worker keeps of an operation until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentOp {
    pub(crate) kind: Kind,
    /// The number of its key; of the turn, if it is a call that the user names.
    pub(crate) key: u64,
}

/// Operations that were sent together and are not answered yet: one frame, or one call.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) ops: Vec<SentOp>,
    /// The calls themselves, if a history needs them. Otherwise empty.
    pub(crate) calls: Vec<Call>,
    /// When the operations were due by the schedule. In a closed loop, when they started.
    pub(crate) intended: Instant,
    /// When they started.
    pub(crate) started: Instant,
}

impl InFlight {
    /// Returns how many operations these are.
    pub(crate) fn count(&self) -> u64 {
        self.ops.len() as u64
    }
}

/// Returns the condition that a key has this revision. Revision 0 means that the key does not exist.
pub(crate) fn has_revision(revision: i64) -> v1::Condition {
    let test = match revision {
        0 => condition::Test::Exists(false),
        revision => condition::Test::Revision(revision),
    };
    v1::Condition { test: Some(test) }
}
