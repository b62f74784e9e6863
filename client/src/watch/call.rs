//! The request to watch: the keys to watch, and where to start.

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
/// Waits until the server has accepted the watch, at most the client's timeout. The watch sees every change from then
/// on.
///
/// # Errors
///
/// INVALID_ARGUMENT (BAD_KEY, BAD_WATCH): never retry. OUT_OF_RANGE (REVISION_COMPACTED, REVISION_UNKNOWN,
/// STORE_CHANGED) if the watch cannot resume at the given revision: start again with [`initial`](Self::initial).
/// RESOURCE_EXHAUSTED (OVERLOADED) if too many watches are open, UNAVAILABLE and DEADLINE_EXCEEDED: safe to retry.
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

    /// Resumes after this store revision, the last one that was received: sends every change after it, then a message
    /// with [`caught_up`](crate::WatchMessage::caught_up), then every new change. Not together with
    /// [`initial`](Self::initial).
    pub fn after_revision(mut self, revision: i64) -> Self {
        self.request.after_revision = Some(revision);
        self
    }

    /// First sends all entries as of one revision, in the order of their keys and in as many messages as needed. Then
    /// sends a message with [`caught_up`](crate::WatchMessage::caught_up), then every new change. No change is missed
    /// in between.
    pub fn initial(mut self) -> Self {
        self.request.initial = true;
        self
    }

    /// Sends a message without events whenever nothing was sent for this long, 100 ms to 1 h. Its revision tells that
    /// no change was missed up to there.
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.request.progress_interval = Some(duration_to_wire(interval));
        self
    }

    /// The `store_id` of [`Info`](crate::Info) that [`after_revision`](Self::after_revision) belongs to. If the store
    /// has another one, the watch is refused with OUT_OF_RANGE (STORE_CHANGED), because revisions of different stores
    /// cannot be compared.
    pub fn store_id(mut self, id: impl Into<String>) -> Self {
        self.request.store_id = id.into();
        self
    }

    /// Sends each changed entry as it was before the change, too.
    pub fn previous(mut self) -> Self {
        self.request.previous = true;
        self
    }

    /// Resumes by itself when the watch breaks for a transient cause: the connection is lost, or the server goes away
    /// and comes back. No change is missed, and none is received twice.
    ///
    /// While [`next`](Watch::next) waits, the watch is opened again with the pauses of `retry`, without end or
    /// [`Retry::max_attempts`] times in a row. Any other cause ends the watch: OUT_OF_RANGE if the missed changes are
    /// no longer kept, or if the store has another id. A break among the [initial](Self::initial) entries ends it too,
    /// because the entries received so far may be deleted before they are sent again.
    ///
    /// To notice another store, the watch first asks for its [`store_id`](Self::store_id), unless one was given. This
    /// request and the opening are retried too, within the client's timeout.
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
