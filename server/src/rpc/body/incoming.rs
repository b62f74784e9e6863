//! The body of a request.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::pipe::{BrokenBody, PipedBody};

/// The body of a request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// It arrives in parts.
    Piped(PipedBody),
    /// It came whole with the head of its call; empty once it was read.
    Whole(Bytes),
    /// Of a connection that hyper serves, in tests.
    #[cfg(feature = "hyper")]
    Hyper(hyper::body::Incoming),
}

impl From<PipedBody> for RequestBody {
    fn from(body: PipedBody) -> Self {
        Self::Piped(body)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match &mut *self {
            Self::Piped(body) => Pin::new(body).poll_frame(cx),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            #[cfg(feature = "hyper")]
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(|_| BrokenBody),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Piped(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
            #[cfg(feature = "hyper")]
            Self::Hyper(body) => body.is_end_stream(),
        }
    }
}
