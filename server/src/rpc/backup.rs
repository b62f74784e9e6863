//! One Backup: a task asks the owner for the next slice of the state whenever the client has taken the one before.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use soloist::v1;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio::time::Instant;
use tonic::Status;
use tracing::info;

use super::answering;
use super::context::CallContext;
use super::status::{Refusal, backup_unread, handler_panicked};
use super::stream_end::stream_end;
use crate::access::Needs;
use crate::config::BACKUP_LOG_INTERVAL;
use crate::journal::backup::BackupWriter;
use crate::metrics;
use crate::owner::{CallError, OpenBackup};

type Chunk = Result<v1::BackupResponse, Status>;

/// Begins a backup, and returns its chunks. They come until the backup is complete, the client has left, `deadline` passes,
/// the server drains, or the backup is too slow.
///
/// # Errors
/// [`Refusal`] if the caller is no admin, the owner cannot begin the backup before `begin_by`, or too many are open already.
pub(crate) async fn serve(
    context: &CallContext,
    begin_by: Instant,
    deadline: Option<Instant>,
) -> Result<impl Stream<Item = Chunk> + Send + 'static, Refusal> {
    let copy = context.caller.begin_backup(begin_by).await?;
    // Room for one, because the next slice is fetched when the client has taken the one before.
    let (sender, receiver) = mpsc::channel(1);
    let end = stream_end(deadline, context.drain.clone(), sender.clone());
    let (context, queue) = (context.clone(), sender.clone());
    let sending = async move {
        let mut end = pin!(end);
        let lost = context.caller.lost(|rights| rights.need(Needs::Admin));
        let last = tokio::select! {
            biased;
            refusal = lost => refusal.into_status(),
            sent = send_all(&context, &copy, &sender) => match sent {
                Ok(()) => return,
                Err(refusal) => refusal.into_status(),
            },
            status = &mut end => status,
        };
        drop(copy);
        // Waits until the client takes the chunk before it, or leaves.
        let _ = sender.send(Err(last)).await;
    };
    answering::spawn(sending, queue, |refusal| Err(refusal.into()));
    Ok(BackupResponses::new(receiver))
}

/// Sends the whole backup, or stops when the client has left.
async fn send_all(
    context: &CallContext,
    copy: &OpenBackup,
    queue: &mpsc::Sender<Chunk>,
) -> Result<(), Refusal> {
    let timeout = context.limits.max_deadline;
    let (revision, key_total) = (copy.head.revision, copy.head.key_count);
    let began = Instant::now();
    let mut told = began;
    let mut writer = BackupWriter::new(&context.store_id, copy.time, &copy.head);
    loop {
        let deadline = Instant::now() + context.limits.max_deadline;
        let end = match context.caller.next_backup_slice(copy, deadline).await {
            Ok(slice) => writer.write(&slice),
            // The owner was busy until the deadline. Ask again: the deadline of one slice is not that of the backup.
            Err(CallError::NotStarted) => continue,
            Err(error) => return Err(error.into()),
        };
        let chunks = writer.take_chunks().into_iter();
        let chunk = |chunk| v1::BackupResponse {
            revision,
            chunk,
            keys_so_far: writer.key_count().cast_signed(),
            key_total: key_total as i64,
            ..v1::BackupResponse::default()
        };
        let mut chunks: Vec<_> = chunks.map(chunk).collect();
        let ended = end.is_some();
        if let (Some((digest, key_count)), Some(last)) = (end, chunks.last_mut()) {
            last.digest = digest.to_vec();
            last.key_count = key_count.cast_signed();
        }
        for chunk in chunks {
            // A backup that nobody reads takes one of the few places, and keeps values aside.
            match queue.send_timeout(Ok(chunk), timeout).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return Ok(()),
                Err(SendTimeoutError::Timeout(_)) => return Err(backup_unread(timeout)),
            }
        }
        let now = Instant::now();
        if ended {
            let took_ms = (now - began).as_millis() as u64;
            info!(revision, keys = key_total, took_ms, "sent a backup");
            metrics::here(|cells| cells.server.backup_at.set(metrics::now_nanos()));
            return Ok(());
        }
        if now - told >= BACKUP_LOG_INTERVAL {
            told = now;
            info!(
                revision,
                keys = writer.key_count(),
                of = key_total,
                "sending a backup"
            );
        }
    }
}

/// The responses of a backup.
struct BackupResponses {
    queue: mpsc::Receiver<Chunk>,
    /// Whether the last chunk was handed out, or an error.
    has_ended: bool,
}

impl BackupResponses {
    fn new(queue: mpsc::Receiver<Chunk>) -> Self {
        Self {
            queue,
            has_ended: false,
        }
    }
}

impl Stream for BackupResponses {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let chunk = match ready!(self.queue.poll_recv(cx)) {
            // The task that sends chunks has ended before its end, so the backup must not seem to be complete.
            None if !self.has_ended => Some(Err(handler_panicked().into())),
            chunk => chunk,
        };
        // Only the last chunk has a digest.
        let goes_on = |chunk: &v1::BackupResponse| chunk.digest.is_empty();
        self.has_ended = !matches!(&chunk, Some(Ok(chunk)) if goes_on(chunk));
        Poll::Ready(chunk)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_backup_without_its_last_chunk_ends_with_an_error() {
        let part = v1::BackupResponse {
            chunk: vec![1],
            ..v1::BackupResponse::default()
        };
        let last = v1::BackupResponse {
            digest: vec![2],
            ..part.clone()
        };
        let error = Status::unavailable("draining");
        for (chunks, code) in [
            (vec![], Some(Code::Internal)),
            (vec![Ok(part.clone())], Some(Code::Internal)),
            (vec![Ok(part.clone()), Err(error)], Some(Code::Unavailable)),
            (vec![Ok(part), Ok(last)], None),
        ] {
            let (queue, receiver) = mpsc::channel(2);
            for chunk in chunks {
                queue.send(chunk).await.unwrap();
            }
            drop(queue);
            let responses: Vec<Chunk> = BackupResponses::new(receiver).collect().await;
            let errors = responses.iter().filter_map(|it| it.as_ref().err());
            let codes: Vec<Code> = errors.map(Status::code).collect();
            assert_eq!(codes, Vec::from_iter(code), "{responses:?}");
        }
    }
}
