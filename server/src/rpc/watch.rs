//! One Watch: a task asks the owner for what comes next, whenever the client has taken what came before.
//!
//! Nothing is asked for ahead of the client, so a slow one keeps a message at most, and falls off the owner's ring of
//! changes when it is too slow.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use soloist::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;

use super::arguments::watch::WatchArguments;
use super::context::CallContext;
use super::responses;
use super::status::Refusal;
use super::stream_end::stream_end;
use crate::config::RETRY_DELAY;
use crate::machine::{HasMore, Updates, WatchBatch};
use crate::owner::{
    CallError, ConnectionQuota, NewWatch, NextBatch, OpenWatch, OwnerHandle, QuotaGuard,
};

/// A message, and what it holds until it was taken.
type Queued = Result<(WatchBatch, Option<QuotaGuard>), Status>;

/// Begins a watch. Returns its messages; they come until the client takes no more, the deadline passes, the server shuts
/// down, or the watch falls too far behind.
///
/// # Errors
/// If it cannot begin there.
pub(crate) async fn serve(
    context: &CallContext,
    arguments: WatchArguments,
    begin_by: Instant,
    deadline: Option<Instant>,
) -> Result<impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + 'static, CallError> {
    let WatchArguments {
        target,
        from,
        shows,
        progress,
        store_id: _,
    } = arguments;
    let new = NewWatch {
        target,
        from,
        shows,
    };
    let watching = context.owner.watch(new, begin_by).await?;
    // One: what is next is asked for when the one before was taken.
    let (sender, messages) = mpsc::channel(1);
    let end = stream_end(deadline, context.drain.clone(), sender.clone());
    let watcher = Watcher {
        owner: context.owner.clone(),
        quota: context.quota.clone(),
        max_deadline: context.limits.max_deadline,
        watching,
        progress,
        messages: sender,
    };
    tokio::spawn(async move {
        let mut end = pin!(end);
        let last = tokio::select! {
            last = watcher.run() => last,
            status = &mut end => status,
        };
        // Room for it is made by the client, who may never do so: the end waits no longer than for that.
        let _ = watcher.messages.send(Err(last)).await;
    });
    Ok(WatchResponses {
        messages,
        held: None,
    })
}

struct Watcher {
    owner: OwnerHandle,
    quota: ConnectionQuota,
    max_deadline: Duration,
    watching: OpenWatch,
    progress: Option<Duration>,
    messages: mpsc::Sender<Queued>,
}

impl Watcher {
    /// Sends messages until the watch cannot go on. Returns why.
    async fn run(&self) -> Status {
        match self.send_all().await {
            Ok(()) => Status::cancelled("the client takes no more messages"),
            Err(error) => Refusal::from(error).into_status(),
        }
    }

    async fn send_all(&self) -> Result<(), CallError> {
        if let Some(revision) = self.watching.revision {
            let first = (from_here(revision), None);
            if self.messages.send(Ok(first)).await.is_err() {
                return Ok(());
            }
        }
        let mut quiet_since = Instant::now();
        loop {
            let Ok(slot) = self.messages.reserve().await else {
                return Ok(());
            };
            let (batch, held) = self.next().await?;
            let progress_due = self.progress.map(|interval| quiet_since + interval);
            let has_more = batch.has_more;
            if !batch.updates.is_empty()
                || batch.caught_up
                || progress_due.is_some_and(|due| due <= Instant::now())
            {
                slot.send(Ok((batch, Some(held))));
                quiet_since = Instant::now();
            } else {
                drop((slot, batch, held));
            }
            if has_more == HasMore::No {
                let progress_due = self.progress.map(|interval| quiet_since + interval);
                tokio::select! {
                    () = self.watching.changed() => {}
                    () = at(progress_due) => {}
                }
            }
        }
    }

    async fn next(&self) -> Result<(WatchBatch, QuotaGuard), CallError> {
        loop {
            let deadline = Instant::now() + self.max_deadline;
            let next = self
                .owner
                .next(&self.watching, self.quota.clone(), deadline);
            match next.await {
                Ok(NextBatch::Batch(batch, held)) => return Ok((batch, held)),
                Ok(NextBatch::QuotaUsedUp) => sleep(RETRY_DELAY).await,
                // The owner has had no time for so long. It is asked again: a watch has no hurry of its own.
                Err(CallError::NotStarted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The message that tells from where a watch sees everything.
fn from_here(revision: i64) -> WatchBatch {
    WatchBatch {
        updates: Updates::Changes(Vec::new()),
        revision,
        caught_up: false,
        has_more: HasMore::Yes,
        bytes: 0,
    }
}

/// The messages of a watch.
struct WatchResponses {
    messages: mpsc::Receiver<Queued>,
    /// Of the message that was taken last. When the next one is asked for, most of it is on its way.
    held: Option<QuotaGuard>,
}

impl Stream for WatchResponses {
    type Item = Result<v1::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.held = None;
        let message = ready!(self.messages.poll_recv(cx));
        Poll::Ready(message.map(|message| {
            let (batch, held) = message?;
            self.held = held;
            Ok(responses::watch_response(batch))
        }))
    }
}
