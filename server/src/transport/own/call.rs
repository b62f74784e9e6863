//! One call, from its handler to the last byte of its answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http_body::{Body as _, Frame};
use soloist_http2::{Connection, ErrorCode, Gone, StreamKey};

use super::answer;
use crate::rpc::answering::Answering;
use crate::rpc::body::pipe::PipeFeed;
use crate::rpc::body::response::{ResponseBody, UnreadBytes};
use crate::rpc::body::unread::UnreadAnswer;
use crate::rpc::services::CallGuard;

/// A call that is open.
pub(super) struct Call {
    stream: StreamKey,
    /// What the call reads its request from.
    feed: PipeFeed,
    stage: Stage,
    unread: UnreadAnswer,
    /// Counts the call for as long as it is open.
    _counted: CallGuard,
}

/// How far a call is.
enum Stage {
    /// Its handler runs.
    Handler(Answering),
    /// Its head was sent.
    Body {
        body: ResponseBody,
        /// What the body has handed over, and the client's windows or the output had no room for.
        unsent: Option<UnreadBytes>,
    },
}

impl Call {
    pub(super) fn new(
        stream: StreamKey,
        feed: PipeFeed,
        answering: Answering,
        counted: CallGuard,
    ) -> Self {
        Self {
            stream,
            feed,
            stage: Stage::Handler(answering),
            unread: UnreadAnswer::NEW,
            _counted: counted,
        }
    }

    pub(super) fn stream(&self) -> StreamKey {
        self.stream
    }

    pub(super) fn feed(&self) -> &PipeFeed {
        &self.feed
    }

    /// Goes on with the call, as far as it gets. Resolves when it has ended: its stream is closed then.
    pub(super) fn poll(&mut self, core: &mut Connection, cx: &mut Context<'_>) -> Poll<()> {
        UnreadAnswer::begin_poll();
        let polled = self.go_on(core, cx);
        let waits = self.waits();
        let ended = match polled {
            Poll::Pending => self.unread.poll_end(waits, cx).map(|()| {
                // What is left of the answer is given up.
                core.reset(self.stream, ErrorCode::CANCEL);
            }),
            // The stream was closed by the client or an error: its event is on the way, or came.
            Poll::Ready(Ok(()) | Err(Gone)) => Poll::Ready(()),
        };
        // What the call has read, in this poll or in another task since.
        core.consumed(self.stream, self.feed.take_read());
        ended
    }

    /// Whether the answer waits for the client.
    fn waits(&self) -> bool {
        matches!(
            self.stage,
            Stage::Body {
                unsent: Some(_),
                ..
            }
        )
    }

    fn go_on(&mut self, core: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        loop {
            match &mut self.stage {
                Stage::Handler(answering) => {
                    let Ok(response) = ready!(Pin::new(answering).poll(cx));
                    let (parts, body) = response.into_parts();
                    let head = answer::head(&parts);
                    if body.is_end_stream() {
                        return Poll::Ready(core.send_trailers(self.stream, &head));
                    }
                    core.send_head(self.stream, &head)?;
                    self.stage = Stage::Body { body, unsent: None };
                }
                Stage::Body { body, unsent } => {
                    if let Some(bytes) = unsent {
                        let taken = core.send_data(self.stream, bytes.chunk())?;
                        bytes.advance(taken);
                        if bytes.has_remaining() {
                            return Poll::Pending;
                        }
                        *unsent = None;
                    }
                    // Also without room: what the body hands over is charged, and its time runs.
                    match ready!(next(body, cx)) {
                        Next::Data(bytes) => *unsent = Some(bytes),
                        Next::Trailers(fields) => {
                            let trailers = answer::trailers(&fields);
                            return Poll::Ready(core.send_trailers(self.stream, &trailers));
                        }
                        Next::End => {
                            let ended = core.send_last_data(self.stream, &[]);
                            return Poll::Ready(ended.map(|_| ()));
                        }
                        Next::Failed => {
                            core.reset(self.stream, ErrorCode::INTERNAL_ERROR);
                            return Poll::Ready(Ok(()));
                        }
                    }
                }
            }
        }
    }
}

/// What a body goes on with.
enum Next {
    Data(UnreadBytes),
    Trailers(http::HeaderMap),
    End,
    /// It cannot go on.
    Failed,
}

/// Asks a body for its next part. A body that panics has failed: the panic hook has logged why, and the connection goes on.
fn next(body: &mut ResponseBody, cx: &mut Context<'_>) -> Poll<Next> {
    let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
    Poll::Ready(match polled {
        Ok(frame) => match ready!(frame) {
            None => Next::End,
            Some(Ok(frame)) => match frame.into_data().map_err(Frame::into_trailers) {
                Ok(data) => Next::Data(data),
                Err(Ok(trailers)) => Next::Trailers(trailers),
                Err(Err(_)) => Next::Failed,
            },
            Some(Err(_)) => Next::Failed,
        },
        Err(_) => Next::Failed,
    })
}
