//! One Watch: a task asks the owner for the next batch of changes whenever the client has taken the one before.
//!
//! Nothing is fetched ahead of the client. So a slow client keeps one batch in memory at most, and its watch ends when the
//! owner's ring of changes has moved past it.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use soloist::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::answering;
use super::arguments::watch::WatchArguments;
use super::caller::Caller;
use super::context::CallContext;
use super::responses;
use super::status::{Refusal, handler_panicked};
use super::stream_end::stream_end;
use crate::machine::{HasMore, Updates, WatchBatch};
use crate::owner::{CallError, ConnectionQuota, NewWatch, NextBatch, OpenWatch, QuotaGuard};

/// A batch, and the guard of its bytes in the connection's quota. The first batch has no changes, and no guard.
type Queued = Result<(WatchBatch, Option<QuotaGuard>), Status>;

/// Begins a watch, and returns its responses. They come until the client has left, `deadline` passes, the server drains, or
/// the watch falls too far behind, or the caller loses its right.
///
/// # Errors
/// [`Refusal`] if the caller may not read the whole target, the owner cannot begin the watch before `begin_by`, or not from where the arguments ask for.
pub(crate) async fn serve(
    context: &CallContext,
    arguments: WatchArguments,
    begin_by: Instant,
    deadline: Option<Instant>,
) -> Result<impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + 'static, Refusal> {
    let WatchArguments {
        target,
        from,
        shows,
        progress,
        store_id: _,
    } = arguments;
    let new = NewWatch {
        target: target.clone(),
        from,
        shows,
    };
    let watching = context.caller.watch(new, begin_by).await?;
    // Room for one, because the next batch is fetched when the client has taken the one before.
    let (sender, receiver) = mpsc::channel(1);
    let end = stream_end(deadline, context.drain.clone(), sender.clone());
    let watcher = Watcher {
        caller: context.caller.clone(),
        quota: context.quota.clone(),
        max_deadline: context.limits.max_deadline,
        watching,
        progress,
        queue: sender.clone(),
    };
    let watching = async move {
        let mut end = pin!(end);
        let lost = watcher.caller.lost(|rights| rights.watch(&target));
        // Biased, so that nothing is fetched once the caller has lost its right.
        let last = tokio::select! {
            biased;
            refusal = lost => refusal.into_status(),
            last = watcher.run() => last,
            status = &mut end => status,
        };
        // Waits until the client takes the batch before it, or leaves.
        let _ = watcher.queue.send(Err(last)).await;
    };
    answering::spawn(watching, sender, |refusal| Err(refusal.into()));
    Ok(WatchResponses { queue: receiver })
}

/// Fetches the batches of a watch from the owner.
struct Watcher {
    caller: Caller,
    quota: ConnectionQuota,
    max_deadline: Duration,
    watching: OpenWatch,
    progress: Option<Duration>,
    queue: mpsc::Sender<Queued>,
}

impl Watcher {
    /// Sends batches until the watch must end. Returns the status to end it with.
    async fn run(&self) -> Status {
        match self.send_all().await {
            Ok(()) => Status::cancelled("the client has left"),
            Err(error) => Refusal::from(error).into_status(),
        }
    }

    /// Sends batches until the client has left.
    ///
    /// # Errors
    /// [`CallError`] if the watch cannot go on.
    async fn send_all(&self) -> Result<(), CallError> {
        if let Some(revision) = self.watching.revision {
            let first = (start_batch(revision), None);
            if self.queue.send(Ok(first)).await.is_err() {
                return Ok(());
            }
        }
        let mut quiet_since = Instant::now();
        loop {
            let Ok(permit) = self.queue.reserve().await else {
                return Ok(());
            };
            let (batch, guard) = self.next_batch().await?;
            let progress_due = self.progress.map(|interval| quiet_since + interval);
            let has_more = batch.has_more;
            if !batch.updates.is_empty()
                || batch.caught_up
                || progress_due.is_some_and(|due| due <= Instant::now())
            {
                permit.send(Ok((batch, Some(guard))));
                quiet_since = Instant::now();
            } else {
                drop((permit, batch, guard));
            }
            if has_more == HasMore::No {
                let progress_due = self.progress.map(|interval| quiet_since + interval);
                tokio::select! {
                    () = self.watching.changed() => {}
                    () = sleep_until_some(progress_due) => {}
                }
            }
        }
    }

    /// Fetches the next batch. While the quota is used up, waits until the client has read something.
    async fn next_batch(&self) -> Result<(WatchBatch, QuotaGuard), CallError> {
        loop {
            let deadline = Instant::now() + self.max_deadline;
            let next = self
                .caller
                .next_batch(&self.watching, self.quota.clone(), deadline);
            match next.await {
                Ok(NextBatch::Batch(batch, guard)) => return Ok((batch, guard)),
                Ok(NextBatch::QuotaUsedUp) => self.quota.room().await,
                // The owner was busy until the deadline. Ask again: the deadline of one fetch is not that of the watch.
                Err(CallError::NotStarted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sleeps until `time`, or for ever.
async fn sleep_until_some(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The first batch of a watch that does not begin with the initial entries. It has no changes, only the revision after which
/// the client sees all of them.
fn start_batch(revision: i64) -> WatchBatch {
    WatchBatch {
        updates: Updates::Changes(Vec::new()),
        revision,
        caught_up: false,
        has_more: HasMore::Yes,
        bytes: 0,
    }
}

/// The responses of a watch.
struct WatchResponses {
    queue: mpsc::Receiver<Queued>,
}

impl Stream for WatchResponses {
    type Item = Result<v1::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let queued = ready!(self.queue.poll_recv(cx));
        // The task that fetches batches ends with a status, even if it panics. If it was dropped instead, the watch must not seem
        // to end in order.
        let queued = queued.unwrap_or_else(|| Err(handler_panicked().into()));
        Poll::Ready(Some(queued.map(|(batch, _guard)| {
            // The batch stops counting here, just before it is encoded: from then on its encoded bytes count.
            responses::watch_response(batch)
        })))
    }
}
