//! What to watch, and from where on.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use soloist::v1;
use soloist::v1::watch_request::Target;
use tokio::time::Instant;

use super::open::open;
use super::position::Position;
use super::stream::Watch;
use crate::connection::Connection;
use crate::wire::duration_to_wire;
use crate::{Error, Retry};

/// Opens a [`Watch`] when awaited.
///
/// Waits until the server has accepted the watch, at most the client's timeout: every change from then on is seen.
///
/// # Errors
///
/// INVALID_ARGUMENT (BAD_KEY, BAD_WATCH) for what cannot be watched; OUT_OF_RANGE if the revision to go on from is not
/// kept any more (REVISION_COMPACTED) or of another history (REVISION_UNKNOWN, STORE_CHANGED): begin again with
/// [`initial`](Self::initial). RESOURCE_EXHAUSTED (OVERLOADED) with as many watches as the server allows, UNAVAILABLE and
/// DEADLINE_EXCEEDED: safe to retry.
#[derive(Clone, Debug)]
#[must_use = "a watch is opened when awaited"]
pub struct WatchCall<'a> {
    connection: &'a Connection,
    request: v1::WatchRequest,
    resume: Option<Retry>,
}

impl<'a> WatchCall<'a> {
    pub(crate) fn key(connection: &'a Connection, key: impl Into<String>) -> Self {
        Self::new(connection, Target::Key(key.into()))
    }

    pub(crate) fn prefix(connection: &'a Connection, prefix: impl Into<String>) -> Self {
        Self::new(connection, Target::Prefix(prefix.into()))
    }

    fn new(connection: &'a Connection, target: Target) -> Self {
        Self {
            connection,
            request: v1::WatchRequest {
                target: Some(target),
                ..v1::WatchRequest::default()
            },
            resume: None,
        }
    }

    /// First sends every change after this revision, the last one seen, then a message that says
    /// [`caught_up`](crate::WatchMessage::caught_up), then what happens from then on. Not together with
    /// [`initial`](Self::initial).
    pub fn after_revision(mut self, revision: i64) -> Self {
        self.request.after_revision = Some(revision);
        self
    }

    /// First sends what there is, as of one revision, in the order of the keys and in as many messages as it takes, then
    /// a message that says [`caught_up`](crate::WatchMessage::caught_up), then what happens from then on, with no gap.
    pub fn initial(mut self) -> Self {
        self.request.initial = true;
        self
    }

    /// Also sends a message without events when this long nothing was sent, 100 ms to 1 h: it tells by its revision that
    /// nothing was missed.
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.request.progress_interval = Some(duration_to_wire(interval));
        self
    }

    /// The `store_id` of [`Info`](crate::Info) as of the [revision](Self::after_revision) to go on from. In another
    /// history the same number means something else: OUT_OF_RANGE (STORE_CHANGED).
    pub fn store_id(mut self, id: impl Into<String>) -> Self {
        self.request.store_id = id.into();
        self
    }

    /// Also sends each changed entry as it was before.
    pub fn previous(mut self) -> Self {
        self.request.previous = true;
        self
    }

    /// Goes on by itself after the last revision seen when the watch breaks in a way that passes: the connection is lost,
    /// the server goes away and comes back. Nothing is missed and nothing told twice.
    ///
    /// It tries for ever, or as often in a row as [`Retry::max_attempts`] says, with the pauses of `retry`, while
    /// [`next`](Watch::next) waits. What does not pass ends the watch: OUT_OF_RANGE, if what was missed is not kept any
    /// more, or if the store is another one. So does a break amid the [initial](Self::initial) entries, of which keys may
    /// be gone by the time that they are sent again.
    ///
    /// To notice that the store is another one, it asks for the [`store_id`](Self::store_id) first, unless it was told.
    /// That and the opening are retried too, within the client's timeout.
    pub fn resume(mut self, retry: Retry) -> Self {
        self.resume = Some(retry);
        self
    }
}

impl IntoFuture for WatchCall<'_> {
    type Output = Result<Watch, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Watch, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let connection = self.connection.clone();
        let mut request = self.request;
        Box::pin(async move {
            let messages = match self.resume {
                None => open(&connection, request.clone(), connection.timeout).await?,
                Some(retry) => {
                    let attempt = |left| {
                        let (connection, mut request) = (&connection, request.clone());
                        async move {
                            let start = Instant::now();
                            if request.store_id.is_empty() {
                                request.store_id = connection.info(left).await?.store_id;
                            }
                            let left = left.saturating_sub(start.elapsed());
                            let messages = open(connection, request.clone(), left).await?;
                            Ok((messages, request))
                        }
                    };
                    let (messages, opened) = retry.run(connection.timeout, true, attempt).await?;
                    request = opened;
                    messages
                }
            };
            let resume = self.resume.map(|retry| (connection, retry));
            Ok(Watch::new(messages, Position::new(request), resume))
        })
    }
}
