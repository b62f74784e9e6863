//! What a server answers, in the types of this crate.

use soloist::v1;

use crate::wire::non_empty;
use crate::{Entry, Error, Value};

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadReply {
    /// What is stored; `None` if the key is not there.
    pub entry: Option<Entry>,
    /// The store revision at which this was true. In an atomic frame: the frame's.
    pub revision: i64,
}

impl ReadReply {
    /// The stored value, if the key is there.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.entry.as_ref().map(|entry| &entry.value)
    }
}

impl TryFrom<v1::ReadResponse> for ReadReply {
    type Error = Error;

    fn try_from(response: v1::ReadResponse) -> Result<Self, Error> {
        Ok(Self {
            entry: response.entry.map(Entry::try_from).transpose()?,
            revision: response.revision,
        })
    }
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteReply {
    /// The store revision of this write, and of the entry from now on.
    pub revision: i64,
    /// The store revision at which the key came to be: equal to `revision` if this write created it.
    pub create_revision: i64,
    /// This is the first answer to an earlier call with the same request id; nothing was changed this time.
    pub replayed: bool,
    /// The entry as it was before, if that was asked for and there was one.
    pub previous: Option<Entry>,
}

impl TryFrom<v1::WriteResponse> for WriteReply {
    type Error = Error;

    fn try_from(response: v1::WriteResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            create_revision: response.create_revision,
            replayed: response.replayed,
            previous: response.previous.map(Entry::try_from).transpose()?,
        })
    }
}

/// The answer to an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddReply {
    /// The store revision of this addition; the present one if nothing was added to a key that is there.
    pub revision: i64,
    /// The store revision at which the key came to be.
    pub create_revision: i64,
    /// As in [`WriteReply`].
    pub replayed: bool,
    /// The value from now on.
    pub value: i64,
    /// What was really added; differs from what was asked for only where it stopped at a bound.
    pub applied: i64,
}

impl TryFrom<v1::AddResponse> for AddReply {
    type Error = Error;

    fn try_from(response: v1::AddResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            create_revision: response.create_revision,
            replayed: response.replayed,
            value: response.value,
            applied: response.applied,
        })
    }
}

/// The answer to a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransitionReply {
    /// The store revision of this move.
    pub revision: i64,
    /// The store revision at which the key came to be.
    pub create_revision: i64,
    /// As in [`WriteReply`].
    pub replayed: bool,
    /// The state that the key was in before.
    pub from: String,
}

impl TryFrom<v1::TransitionResponse> for TransitionReply {
    type Error = Error;

    fn try_from(response: v1::TransitionResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            create_revision: response.create_revision,
            replayed: response.replayed,
            from: response.from,
        })
    }
}

/// The answer to a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteReply {
    /// The store revision of this deletion; the present one if there was nothing to delete.
    pub revision: i64,
    /// As in [`WriteReply`].
    pub replayed: bool,
    /// The entry as it was; `None` if there was none.
    pub previous: Option<Entry>,
}

impl TryFrom<v1::DeleteResponse> for DeleteReply {
    type Error = Error;

    fn try_from(response: v1::DeleteResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            replayed: response.replayed,
            previous: response.previous.map(Entry::try_from).transpose()?,
        })
    }
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReply {
    /// One answer for each operation, in their order.
    pub results: Vec<OpReply>,
    /// The store revision of the batch, and of everything that it changed. The present one if it changed nothing.
    pub revision: i64,
    /// As in [`WriteReply`]; the results themselves then say nothing of it.
    pub replayed: bool,
}

impl TryFrom<v1::BatchResponse> for BatchReply {
    type Error = Error;

    fn try_from(response: v1::BatchResponse) -> Result<Self, Error> {
        Ok(Self {
            results: response
                .results
                .into_iter()
                .map(op_reply)
                .collect::<Result<_, _>>()?,
            revision: response.revision,
            replayed: response.replayed,
        })
    }
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListReply {
    /// The entries, in the order of the bytes of their keys.
    pub entries: Vec<ListedEntry>,
    /// Where to go on; `None` if this was the last page.
    pub next_page_token: Option<String>,
    /// The store revision at which this page was true.
    pub revision: i64,
}

/// One entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedEntry {
    /// The key.
    pub key: String,
    /// What is stored under it; its value is `None` if only keys were asked for.
    pub entry: Entry<Option<Value>>,
}

impl TryFrom<v1::ListResponse> for ListReply {
    type Error = Error;

    fn try_from(response: v1::ListResponse) -> Result<Self, Error> {
        let listed = |mut entry: v1::Entry| {
            Ok(ListedEntry {
                key: std::mem::take(&mut entry.key),
                entry: entry.try_into()?,
            })
        };
        Ok(Self {
            entries: response
                .entries
                .into_iter()
                .map(listed)
                .collect::<Result<_, Error>>()?,
            next_page_token: non_empty(response.next_page_token),
            revision: response.revision,
        })
    }
}

/// The answer to one operation of a frame or batch, of the same kind as the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpReply {
    /// The answer to a read.
    Read(ReadReply),
    /// The answer to a write.
    Write(WriteReply),
    /// The answer to an addition.
    Add(AddReply),
    /// The answer to a transition.
    Transition(TransitionReply),
    /// The answer to a deletion.
    Delete(DeleteReply),
}

/// The answer to one frame.
#[derive(Debug)]
#[non_exhaustive]
pub struct FrameReply {
    /// One result for each operation, in their order; the refused ones have changed nothing, and the ones around
    /// them stand. `Err` if the frame as a whole was refused: then nothing of it was applied.
    pub results: Result<Vec<Result<OpReply, Error>>, Error>,
    /// The store revision at which the frame was true: after its last operation. 0 if it was refused.
    pub revision: i64,
    /// As in [`WriteReply`], of an atomic frame as a whole.
    pub replayed: bool,
}

impl From<v1::PipelineResponse> for FrameReply {
    fn from(response: v1::PipelineResponse) -> Self {
        let results = match response.error {
            Some(error) => Err(Error::from_rpc_status(&error)),
            None => Ok(response.results.into_iter().map(op_reply).collect()),
        };
        Self {
            results,
            revision: response.revision,
            replayed: response.replayed,
        }
    }
}

fn op_reply(result: v1::OpResult) -> Result<OpReply, Error> {
    use v1::op_result::Result::{Add, Delete, Error as Refused, Read, Transition, Write};
    match result.result {
        Some(Read(response)) => response.try_into().map(OpReply::Read),
        Some(Write(response)) => response.try_into().map(OpReply::Write),
        Some(Add(response)) => response.try_into().map(OpReply::Add),
        Some(Transition(response)) => response.try_into().map(OpReply::Transition),
        Some(Delete(response)) => response.try_into().map(OpReply::Delete),
        Some(Refused(error)) => Err(Error::from_rpc_status(&error)),
        None => Err(Error::malformed("a result without an answer")),
    }
}
