//! A limit is reached.

use std::time::Duration;

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::Subject;
use crate::config::{RETRY_DELAY, WATCH_RETRY_DELAY};
use crate::machine::{SpaceLow, SpaceOf};

/// No more messages or bytes fit into the owner's mailbox, or no more frames of one stream may be unanswered.
pub(super) fn overloaded(limit: usize, unit: &str) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no more than {limit} {unit} may wait, and this would be one too many"),
    )
    .with("limit", limit)
    .retry_after(RETRY_DELAY)
}

/// As many frames of one stream are unanswered as the limit allows.
#[must_use]
pub(crate) fn too_many_frames(limit: usize) -> Refusal {
    overloaded(limit, "frames of this stream")
}

/// As many watches or backups are open as the limit allows.
pub(super) fn too_many_open(what: &str, limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no more than {limit} {what} may be open, and this would be one too many"),
    )
    .with("limit", limit)
    .retry_after(WATCH_RETRY_DELAY)
}

/// The connection holds as many bytes as it may.
pub(super) fn no_room(limit: usize, actual: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!(
            "this connection would hold {actual} bytes of unread answers and unfinished requests, the limit is {limit} at present"
        ),
    )
    .limit(limit, actual)
    .retry_after(RETRY_DELAY)
}

/// A backup is so slow that the old values kept for it take more than `limit` bytes.
pub(super) fn backup_too_slow(limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("the backup is too slow: more than {limit} bytes were changed before it came to copy them"),
    )
    .with("limit", limit)
    .retry_after(WATCH_RETRY_DELAY)
}

/// The client of a backup has read nothing for `timeout`.
#[must_use]
pub(crate) fn backup_unread(timeout: Duration) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("the backup is not read: its client took nothing for {timeout:?}, the limit is {timeout:?}"),
    )
    .with("limit", format!("{timeout:?}"))
    .retry_after(WATCH_RETRY_DELAY)
}

pub(super) fn request_ids_full(limit: usize, unit: &str, retry_after: Duration) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("no room to remember another request_id: the limit is {limit} {unit}"),
    )
    .with("limit", limit)
    .retry_after(retry_after.max(RETRY_DELAY))
}

/// There are as many sessions or machines as the limit allows.
pub(super) fn too_many(what: &str, limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::StoreFull,
        format!("there are {limit} {what} already, the limit is {limit}"),
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

/// Nothing can be written.
pub(super) fn disk_full(low: SpaceLow) -> Refusal {
    let SpaceLow {
        of,
        free,
        least,
        files,
    } = low;
    if of == SpaceOf::Etcd {
        let message = format!(
            "etcd has no space, {free} bytes of its quota are free and {least} must be: no change is accepted, not even a delete, until \
             etcd has been defragmented and its alarm disarmed, as the log of the owner says with the commands of etcdctl"
        );
        return low_refusal(low, message);
    }
    let help = format!(
        "no change is accepted, not even a delete, until space on the disk of the data directory is freed: the store's own files take {files} bytes, and only removing or moving other files helps"
    );
    low_refusal(
        low,
        format!("the disk is full, {free} bytes are free and {least} must be: {help}"),
    )
}

/// There is too little space for changes that make the store larger.
pub(super) fn disk_low(low: SpaceLow) -> Refusal {
    let SpaceLow {
        of,
        free,
        least,
        files,
    } = low;
    let missing = least.saturating_sub(free);
    if of == SpaceOf::Etcd {
        let message = format!(
            "etcd has {free} bytes of its quota free, the minimum is {least}: deletes are accepted, other changes are not, until a \
             snapshot has made the log shorter, or less is stored ({files} bytes of a file are in use)"
        );
        return low_refusal(low, message);
    }
    let help = match files > missing {
        true => format!(
            "{missing} more must become free: delete keys, the space of which comes back after a snapshot or two (the store's files take {files} bytes), or remove other files"
        ),
        false => format!(
            "{missing} more must become free: the store's files take only {files} bytes, so remove other files, or start with a lower --min-free-bytes"
        ),
    };
    low_refusal(
        low,
        format!(
            "the disk of the data directory has {free} bytes free, the minimum is {least}: deletes are accepted, other changes are not; {help}"
        ),
    )
}

fn low_refusal(
    SpaceLow {
        of, free, least, ..
    }: SpaceLow,
    message: String,
) -> Refusal {
    Refusal::new(Code::ResourceExhausted, Reason::StoreFull, message)
        .limit(least, free)
        .details(|details| {
            let description = format!("{free} bytes are free, {least} must be");
            let subject = match of {
                SpaceOf::Disk => "disk",
                SpaceOf::Etcd => "etcd",
            };
            details.add_quota_failure_violation(subject, description);
        })
}

/// The answer to a frame or batch would be too large with the operation on `key`.
pub(super) fn answer_too_large(key: &Subject, limit: usize, actual: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::AnswerTooLarge,
        format!(
            "with key {} the answer would hold {actual} bytes of values, the limit is {limit}",
            key.quoted
        ),
    )
    .over_quota("answer", limit as u64, actual as u64)
}

/// A request message is larger than the limit, as its prefix says.
#[must_use]
pub(crate) fn message_too_large(limit: usize, actual: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        Reason::MessageTooLarge,
        format!("request message has {actual} bytes, the limit is {limit}"),
    )
    .over_quota("message", limit as u64, actual as u64)
}
