//! Ends a response when the server drains, or at the deadline of its call, even if its stream would go on for ever.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::rpc::status::{draining, stream_deadline};

type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// Passes on `B`. Once the server drains or the deadline passes, and `B` has nothing ready, ends with UNAVAILABLE/DRAINING or
/// DEADLINE_EXCEEDED/NOT_STARTED.
pub(crate) struct UntilEnd<B> {
    body: B,
    /// Resolves when the response must end. None once the trailers were sent.
    end: Option<End>,
}

impl<B> UntilEnd<B> {
    pub(crate) fn new(
        body: B,
        deadline: Option<Instant>,
        mut drain: watch::Receiver<bool>,
    ) -> Self {
        let passed = async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let end = async move {
            tokio::select! {
                () = passed => stream_deadline().into(),
                // An error means that the sender is gone: the server has stopped.
                _ = drain.wait_for(|drain| *drain) => draining().into(),
            }
        };
        Self {
            body,
            end: Some(Box::pin(end)),
        }
    }

    /// Passes on `B`, and ends with `status` once the server drains.
    pub(crate) fn drained(
        body: B,
        mut drain: watch::Receiver<bool>,
        status: fn() -> Status,
    ) -> Self {
        let end = async move {
            let _ = drain.wait_for(|drain| *drain).await;
            status()
        };
        Self {
            body,
            end: Some(Box::pin(end)),
        }
    }
}

impl<B> Body for UntilEnd<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.end.is_some()
            && let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx)
        {
            return Poll::Ready(frame);
        }
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let status = std::task::ready!(end.as_mut().poll(cx));
        self.end = None;
        let mut trailers = http::HeaderMap::new();
        let end = status.add_header(&mut trailers);
        Poll::Ready(Some(end.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
