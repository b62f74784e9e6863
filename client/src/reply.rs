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

/// The answer to one operation of a frame, of the same kind as the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    /// The answer to a read.
    Read(ReadReply),
    /// The answer to a write.
    Write(WriteReply),
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
    use v1::op_result::Result::{Error as Refused, Read, Write};
    match result.result {
        Some(Read(response)) => response.try_into().map(OpReply::Read),
        Some(Write(response)) => response.try_into().map(OpReply::Write),
        Some(Refused(error)) => Err(Error::in_place(error)),
        None => Err(Error::malformed("a result without an answer")),
    }
}
