//! What a server answers, in the types of this crate.

use soloist::v1;

use crate::{Entry, Error, Value};

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct WriteReply {
    /// The store revision of this write, and of the entry from now on.
    pub revision: i64,
    /// The store revision at which the key came to be: equal to `revision` if this write created it.
    pub create_revision: i64,
    /// The entry as it was before, if that was asked for and there was one.
    pub previous: Option<Entry>,
}

impl TryFrom<v1::WriteResponse> for WriteReply {
    type Error = Error;

    fn try_from(response: v1::WriteResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            create_revision: response.create_revision,
            previous: response.previous.map(Entry::try_from).transpose()?,
        })
    }
}

/// The answer to an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddReply {
    /// The store revision of this addition; the present one if nothing was added to a key that is there.
    pub revision: i64,
    /// The store revision at which the key came to be.
    pub create_revision: i64,
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
            value: response.value,
            applied: response.applied,
        })
    }
}

/// The answer to a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteReply {
    /// The store revision of this deletion; the present one if there was nothing to delete.
    pub revision: i64,
    /// The entry as it was; `None` if there was none.
    pub previous: Option<Entry>,
}

impl TryFrom<v1::DeleteResponse> for DeleteReply {
    type Error = Error;

    fn try_from(response: v1::DeleteResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            previous: response.previous.map(Entry::try_from).transpose()?,
        })
    }
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchReply {
    /// One answer for each operation, in their order.
    pub results: Vec<OpReply>,
    /// The store revision of the batch, and of everything that it changed. The present one if it changed nothing.
    pub revision: i64,
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
        })
    }
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct ListedEntry {
    /// The key.
    pub key: String,
    /// The value; `None` if only keys were asked for.
    pub value: Option<Value>,
    /// The store revision of the last change.
    pub revision: i64,
    /// The store revision at which the key came to be.
    pub create_revision: i64,
}

impl TryFrom<v1::ListResponse> for ListReply {
    type Error = Error;

    fn try_from(response: v1::ListResponse) -> Result<Self, Error> {
        let listed = |entry: v1::Entry| {
            Ok(ListedEntry {
                key: entry.key,
                value: entry.value.map(Value::try_from).transpose()?,
                revision: entry.revision,
                create_revision: entry.create_revision,
            })
        };
        Ok(Self {
            entries: response
                .entries
                .into_iter()
                .map(listed)
                .collect::<Result<_, Error>>()?,
            next_page_token: Some(response.next_page_token).filter(|token| !token.is_empty()),
            revision: response.revision,
        })
    }
}

/// The answer to one operation of a frame or batch, of the same kind as the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    /// The answer to a read.
    Read(ReadReply),
    /// The answer to a write.
    Write(WriteReply),
    /// The answer to an addition.
    Add(AddReply),
    /// The answer to a deletion.
    Delete(DeleteReply),
}

/// The answer to one frame.
#[derive(Debug)]
pub struct FrameReply {
    /// One result for each operation, in their order; the refused ones have changed nothing, and the ones around
    /// them stand. `Err` if the frame as a whole was refused: then nothing of it was applied.
    pub results: Result<Vec<Result<OpReply, Error>>, Error>,
    /// The store revision at which the frame was true: after its last operation.
    pub revision: i64,
}

impl From<v1::PipelineResponse> for FrameReply {
    fn from(response: v1::PipelineResponse) -> Self {
        let results = match response.error {
            Some(error) => Err(Error::in_place(error)),
            None => Ok(response.results.into_iter().map(op_reply).collect()),
        };
        Self {
            results,
            revision: response.revision,
        }
    }
}

fn op_reply(result: v1::OpResult) -> Result<OpReply, Error> {
    use v1::op_result::Result::{Add, Delete, Error as Refused, Read, Write};
    match result.result {
        Some(Read(response)) => response.try_into().map(OpReply::Read),
        Some(Write(response)) => response.try_into().map(OpReply::Write),
        Some(Add(response)) => response.try_into().map(OpReply::Add),
        Some(Delete(response)) => response.try_into().map(OpReply::Delete),
        Some(Refused(error)) => Err(Error::in_place(error)),
        None => Err(Error::malformed("a result without an answer")),
    }
}
