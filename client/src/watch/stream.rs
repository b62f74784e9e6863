//! The watch itself: a stream of changes that can resume after a break.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use soloist::v1;
use tokio::time::sleep;
use tonic::{Code, Status};

use super::event::WatchMessage;
use super::open::{Messages, open};
use super::position::Position;
use crate::connection::Connection;
use crate::{Error, Outcome, Retry};

type Reopening = Pin<Box<dyn Future<Output = Result<Messages, Error>> + Send>>;

/// Changes as they happen: in the order of their revisions, each once, all changes of one revision in one message.
///
/// It is also a [`Stream`] of `Result<WatchMessage, Error>`. It counts as one of the calls that its connection carries.
/// Dropping it ends it.
///
/// A watch that is read slowly slows nobody down. The server keeps a limited number of changes; when the next one to
/// send is no longer kept, the watch ends with OUT_OF_RANGE. Then start again with
/// [`initial`](crate::WatchCall::initial).
///
/// ```
/// use soloist_client::{Cause, Client};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = soloist_server::Server::start(listener, &Default::default())?;
/// # let client = Client::connect(format!("http://{}", server.local_addr())).await?;
/// let mut watch = client.watch_prefix("config/").await?;
/// client.write("config/color", "blue").await?;
///
/// while let Some(message) = watch.next().await? {
///     if let Some(event) = message.events.first() {
///         assert_eq!((event.cause, event.key.as_str()), (Cause::Written, "config/color"));
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a watch ends when it is dropped"]
pub struct Watch {
    state: StreamState,
    position: Position,
    /// The connection on which, and the pauses with which, the watch resumes after a break. `None`: it does not resume.
    resume: Option<(Connection, Retry)>,
    /// The number of breaks since the last message.
    consecutive_breaks: u32,
}

enum StreamState {
    Open(Box<Messages>),
    /// The stream broke and is being opened again.
    Reopening(Reopening),
    Ended,
}

impl Watch {
    pub(super) fn new(
        messages: Messages,
        position: Position,
        resume: Option<(Connection, Retry)>,
    ) -> Self {
        Self {
            state: StreamState::Open(Box::new(messages)),
            position,
            resume,
            consecutive_breaks: 0,
        }
    }

    /// Receives the next message. `None` after an error.
    ///
    /// Waits as long as it takes. If the future is dropped, no message is lost.
    ///
    /// # Errors
    ///
    /// An error ends the watch. OUT_OF_RANGE (REVISION_COMPACTED) if it was read too slowly: start again with
    /// [`initial`](crate::WatchCall::initial). UNAVAILABLE, with reason DRAINING if the server shuts down and without
    /// one if the connection broke: watch again [after](crate::WatchCall::after_revision) the last
    /// [`revision`](Self::revision). A watch that [resumes](crate::WatchCall::resume) does so by itself.
    pub async fn next(&mut self) -> Result<Option<WatchMessage>, Error> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    /// Every change up to this store revision was received. `None` until the server has named a revision. Watch
    /// [after](crate::WatchCall::after_revision) it to resume later or elsewhere.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        self.position.revision
    }

    /// Takes one item of the stream. `None` if it has nothing new for the caller; an error if the stream broke.
    fn receive(
        &mut self,
        item: Option<Result<v1::WatchResponse, Status>>,
    ) -> Result<Option<WatchMessage>, Error> {
        let response = match item {
            Some(Ok(response)) => response,
            Some(Err(status)) => return Err(Error::from_status(&status, Outcome::NotApplied)),
            None => {
                return Err(Error::new(
                    Code::Unavailable,
                    "the server ended the watch",
                    Outcome::NotApplied,
                ));
            }
        };
        let message = self.position.advance(response)?;
        self.consecutive_breaks = 0;
        Ok(message)
    }

    /// Starts to open the watch again, if it may resume and the error is transient.
    fn reopen(&mut self, error: &Error) -> Option<Reopening> {
        let (connection, retry) = self.resume.as_ref()?;
        if !error.is_retryable() {
            return None;
        }
        let request = self.position.resume_request()?;
        self.consecutive_breaks = self.consecutive_breaks.saturating_add(1);
        // Wait before the first attempt, too: when a server goes away, all its watches break at the same moment.
        let delay = retry.delay(self.consecutive_breaks, error);
        let (connection, retry) = (connection.clone(), *retry);
        Some(Box::pin(async move {
            sleep(delay).await;
            retry
                .run(Duration::MAX, true, |_| {
                    open(&connection, request.clone(), connection.timeout)
                })
                .await
        }))
    }
}

impl Stream for Watch {
    type Item = Result<WatchMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let item = match &mut this.state {
                StreamState::Ended => return Poll::Ready(None),
                StreamState::Open(messages) => ready!(Pin::new(messages).poll_next(cx)),
                StreamState::Reopening(reopening) => match ready!(reopening.as_mut().poll(cx)) {
                    Ok(messages) => {
                        this.state = StreamState::Open(Box::new(messages));
                        continue;
                    }
                    Err(error) => {
                        this.state = StreamState::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            };
            let error = match this.receive(item) {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => continue,
                Err(error) => error,
            };
            match this.reopen(&error) {
                Some(reopening) => this.state = StreamState::Reopening(reopening),
                None => {
                    this.state = StreamState::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
