//! A Watch cannot go on from the revision that it names.

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::{METADATA_BYTES, cut};
use crate::machine::Revision;

pub(super) fn compacted(oldest: Revision, actual: Revision) -> Refusal {
    Refusal::new(
        Code::OutOfRange,
        Reason::RevisionCompacted,
        format!(
            "the changes after revision {actual} are no longer kept, only those after {oldest}: start again with initial"
        ),
    )
    .violation("HISTORY", "after_revision", "revision")
    .with("oldest_revision", oldest)
    .with("actual", actual)
}

pub(super) fn unknown(limit: Revision, actual: Revision) -> Refusal {
    Refusal::new(
        Code::OutOfRange,
        Reason::RevisionUnknown,
        format!(
            "the store is at revision {limit} and has not reached {actual}: start again with initial"
        ),
    )
    .violation("HISTORY", "after_revision", "revision")
    .limit(limit, actual)
}

/// A Watch names another store_id than this store has.
#[must_use]
pub(crate) fn store_changed(expected: &str, actual: &str) -> Refusal {
    let expected = cut(expected.into(), METADATA_BYTES);
    Refusal::new(
        Code::OutOfRange,
        Reason::StoreChanged,
        "store_id is not the one of this store, which has another history: start again with initial",
    )
    .violation("HISTORY", "store_id", "store_id")
    .with("expected", expected)
    .with("actual", actual)
}
