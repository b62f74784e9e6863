//! A watch: a stream of changes that goes on after breaks.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::sleep;
use tonic::Code;

use super::event::WatchMessage;
use super::open::{Messages, open};
use super::position::Position;
use crate::connection::Connection;
use crate::{Error, Outcome, Retry};

type Reopening = Pin<Box<dyn Future<Output = Result<Messages, Error>> + Send>>;

/// Changes as they happen: in the order of their revisions, each once, all of one revision in one message.
///
/// Also a [`Stream`] of `Result<WatchMessage, Error>`. It takes the place of one call on its connection. Dropped, it ends.
///
/// A watch that is read slowly slows nobody down: the server keeps so many changes for it, and tells by OUT_OF_RANGE when
/// one that was not read yet is not kept any more. Then begin again with [`initial`](crate::WatchCall::initial).
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
    /// How to go on after a break, if at all.
    resume: Option<(Connection, Retry)>,
    /// How many breaks there were since the last message.
    consecutive_breaks: u32,
}

enum StreamState {
    Open(Box<Messages>),
    /// It broke, and is being opened again.
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

    /// The next message; `None` after an error.
    ///
    /// Waits as long as it takes. Dropped midway, no message is lost.
    ///
    /// # Errors
    ///
    /// They end the watch. OUT_OF_RANGE with reason REVISION_COMPACTED if it was read too slowly: begin again with
    /// [`initial`](crate::WatchCall::initial). UNAVAILABLE, with reason DRAINING if the server shuts down, and otherwise for a
    /// broken connection: watch again [after](crate::WatchCall::after_revision) the last [`revision`](Self::revision), which a
    /// watch that [resumes](crate::WatchCall::resume) does by itself.
    pub async fn next(&mut self) -> Result<Option<WatchMessage>, Error> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    /// Everything up to here has been told; `None` as long as the server has not said from where on that is. To go on
    /// later, or elsewhere, watch [after](crate::WatchCall::after_revision) it.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        self.position.revision
    }

    /// Begins to open the watch again, if that is asked for and can help.
    fn reopen(&mut self, error: &Error) -> Option<Reopening> {
        let (connection, retry) = self.resume.as_ref()?;
        if !error.is_retryable() {
            return None;
        }
        let request = self.position.resume_request()?;
        self.consecutive_breaks = self.consecutive_breaks.saturating_add(1);
        // Not at once: all the watches of a server that goes away break at the same moment.
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
            let error = match &mut this.state {
                StreamState::Ended => return Poll::Ready(None),
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
                StreamState::Open(messages) => match ready!(Pin::new(messages).poll_next(cx)) {
                    Some(Ok(response)) => match this.position.advance(response) {
                        Ok(message) => {
                            this.consecutive_breaks = 0;
                            match message {
                                Some(message) => return Poll::Ready(Some(Ok(message))),
                                None => continue,
                            }
                        }
                        Err(error) => error,
                    },
                    Some(Err(status)) => Error::from_status(&status, Outcome::NotApplied),
                    None => Error::new(
                        Code::Unavailable,
                        "the server ended the watch",
                        Outcome::NotApplied,
                    ),
                },
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
