//! Replies to operations and lists.

use soloist::v1;

use crate::wire::non_empty;
use crate::{Entry, Error, Value};

/// The reply to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadReply {
    /// What is stored under the key. `None` if the key does not exist.
    pub entry: Option<Entry>,
    /// The store revision at which this reply was true. In a batch or an atomic frame it is that of the whole.
    pub revision: i64,
}

impl ReadReply {
    /// The stored value. `None` if the key does not exist.
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

/// The reply to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteReply {
    /// The store revision of this write, which is now the revision of the entry.
    pub revision: i64,
    /// The store revision at which the key was created. Equal to `revision` if this write created the key.
    pub create_revision: i64,
    /// This is the reply to an earlier call with the same request id. This call has changed nothing.
    pub replayed: bool,
    /// The entry as it was before the write. `None` if the call did not ask for it or the key did not exist.
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

/// The reply to an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddReply {
    /// The store revision of this addition. If the value of an existing key stayed the same, the present store
    /// revision.
    pub revision: i64,
    /// The store revision at which the key was created.
    pub create_revision: i64,
    /// As in [`WriteReply`].
    pub replayed: bool,
    /// The value after the addition.
    pub value: i64,
    /// The number that was added. It differs from the requested one only if a bound replaced the sum.
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

/// The reply to a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransitionReply {
    /// The store revision of this transition.
    pub revision: i64,
    /// The store revision at which the key was created.
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

/// The reply to a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteReply {
    /// The store revision of this deletion. If the key did not exist, the present store revision.
    pub revision: i64,
    /// As in [`WriteReply`].
    pub replayed: bool,
    /// The entry as it was before. `None` if the key did not exist.
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

/// The reply to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReply {
    /// One reply for each operation, in their order.
    pub results: Vec<OpReply>,
    /// The store revision of all changes of the batch. If it changed nothing, the present store revision.
    pub revision: i64,
    /// As in [`WriteReply`], for the batch as a whole; `replayed` of the results is not set.
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

/// What one call has deleted of the keys with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletePrefixReply {
    /// The store revision of all deletions of this call. If it deleted nothing, the present store revision.
    pub revision: i64,
    /// How many keys this call has deleted.
    pub deleted_count: u64,
    /// How many keys this call has kept, because they are in a state of their machine that is not final.
    pub kept_count: u64,
    /// The `page_token` for the next call. `None` if there were no more keys with the prefix.
    pub next_page_token: Option<String>,
    /// As in [`WriteReply`].
    pub replayed: bool,
}

impl TryFrom<v1::DeletePrefixResponse> for DeletePrefixReply {
    type Error = Error;

    fn try_from(response: v1::DeletePrefixResponse) -> Result<Self, Error> {
        Ok(Self {
            revision: response.revision,
            deleted_count: response.deleted_count.unsigned_abs(),
            kept_count: response.kept_count.unsigned_abs(),
            next_page_token: non_empty(response.next_page_token),
            replayed: response.replayed,
        })
    }
}

/// One page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListReply {
    /// The entries, in the order of the bytes of their keys.
    pub entries: Vec<ListedEntry>,
    /// The `page_token` for the next page. `None` if this is the last page.
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
    /// What is stored under the key. Its value is `None` if the call asked for keys only.
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

/// The reply to one operation of a frame or batch, of the same kind as the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpReply {
    /// The reply to a read.
    Read(ReadReply),
    /// The reply to a write.
    Write(WriteReply),
    /// The reply to an addition.
    Add(AddReply),
    /// The reply to a transition.
    Transition(TransitionReply),
    /// The reply to a deletion.
    Delete(DeleteReply),
}

/// The reply to one frame.
#[derive(Debug)]
#[non_exhaustive]
pub struct FrameReply {
    /// One result for each operation, in their order. A refused operation has changed nothing, and the operations
    /// around it are not affected. `Err` if the frame as a whole was refused. Nothing of it was applied then, unless
    /// the [outcome](Error::outcome) is unknown.
    pub results: Result<Vec<Result<OpReply, Error>>, Error>,
    /// The store revision after the last operation of the frame, at which the frame was true. 0 if the frame was
    /// refused.
    pub revision: i64,
    /// As in [`WriteReply`], for an atomic frame as a whole. Never set for a frame that is not atomic.
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
        None => Err(Error::malformed("a result without content")),
    }
}
