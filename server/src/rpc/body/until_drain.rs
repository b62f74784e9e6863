//! Ends a response when the server drains, even if its stream would go on for ever.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::watch;
use tonic::Status;

use crate::rpc::status::draining;

type Drained = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Passes on `B`. Once the server drains and `B` has nothing ready, ends with UNAVAILABLE/DRAINING.
pub(crate) struct UntilDrain<B> {
    body: B,
    /// Resolves when the server drains. None once the trailers of DRAINING were sent.
    drained: Option<Drained>,
}

impl<B> UntilDrain<B> {
    pub(crate) fn new(body: B, mut drain: watch::Receiver<bool>) -> Self {
        Self {
            body,
            drained: Some(Box::pin(async move {
                // An error means that the sender is gone: the server has stopped.
                let _ = drain.wait_for(|drain| *drain).await;
            })),
        }
    }
}

impl<B> Body for UntilDrain<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.drained.is_some()
            && let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx)
        {
            return Poll::Ready(frame);
        }
        let Some(drained) = &mut self.drained else {
            return Poll::Ready(None);
        };
        std::task::ready!(drained.as_mut().poll(cx));
        self.drained = None;
        let mut trailers = http::HeaderMap::new();
        let end = draining().into_status().add_header(&mut trailers);
        Poll::Ready(Some(end.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
