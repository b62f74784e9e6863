//! A limit is reached.

use std::time::Duration;

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::Subject;
use crate::config::{RETRY_DELAY, WATCH_RETRY_DELAY};
use crate::machine::DiskLow;

/// `limit` messages or bytes wait in the owner's mailbox, or frames of one stream for their answers.
pub(super) fn overloaded(limit: usize, unit: &str) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no more than {limit} {unit} may wait, and this is one too many"),
    )
    .with("limit", limit)
    .retry_after(RETRY_DELAY)
}

/// As many frames of one stream are unanswered as may be.
#[must_use]
pub(crate) fn too_many_frames(limit: usize) -> Refusal {
    overloaded(limit, "frames of this stream")
}

/// As many watches or backups are open as may be.
pub(super) fn too_many_open(what: &str, limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no more than {limit} {what} may be open, and this is one too many"),
    )
    .with("limit", limit)
    .retry_after(WATCH_RETRY_DELAY)
}

/// A backup is so slow that the values put aside for it take more than `limit` bytes.
pub(super) fn backup_too_slow(limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("more than {limit} bytes were changed ahead of the backup, which is too slow"),
    )
    .with("limit", limit)
    .retry_after(WATCH_RETRY_DELAY)
}

pub(super) fn request_ids_full(limit: usize, unit: &str, retry_after: Duration) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no more than {limit} {unit} are remembered, and none is forgotten early"),
    )
    .with("limit", limit)
    .retry_after(retry_after.max(RETRY_DELAY))
}

/// There are as many sessions or machines as may be.
pub(super) fn too_many(what: &str, limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::StoreFull,
        format!("there are {limit} {what}, and no more may be"),
    )
    .limit(limit, limit)
    .details(|details| {
        details.add_quota_failure_violation(what, format!("the limit is {limit}"));
    })
}

pub(super) fn store_full(limit: u64, actual: u64) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::StoreFull,
        format!("the store would hold {actual} bytes, the limit is {limit}"),
    )
    .over_quota("store", limit, actual)
}

pub(super) fn disk_full(DiskLow { free, least }: DiskLow) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::StoreFull,
        format!(
            "the disk has {free} bytes left, and {least} should be: nothing is changed until there is space, but for deletes while they can be kept"
        ),
    )
    .limit(least, free)
    .details(|details| {
        let description = format!("{free} bytes are free, {least} must be");
        details.add_quota_failure_violation("disk", description);
    })
}

/// The answer to a frame or batch would be too large, from the operation on `key` on.
pub(super) fn answer_too_large(key: &Subject, limit: usize, actual: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::AnswerTooLarge,
        format!(
            "up to key {} the answer would hold {actual} bytes of values, the limit is {limit}",
            key.quoted
        ),
    )
    .over_quota("answer", limit as u64, actual as u64)
}

/// A request message announces more bytes than may be.
#[must_use]
pub(crate) fn message_too_large(limit: usize, actual: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::MessageTooLarge,
        format!("request message has {actual} bytes, the limit is {limit}"),
    )
    .over_quota("message", limit as u64, actual as u64)
}
