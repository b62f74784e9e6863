//! The body of a request, whichever transport it comes from.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pipe::{BrokenBody, PipedBody};

/// The body of a request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Of a connection that hyper serves.
    Hyper(Incoming),
    /// Of a connection that the server's own transport serves.
    Piped(PipedBody),
    /// The same, if it came whole with the head of its call; empty once it was read.
    Whole(Bytes),
}

/// Why a body is not whole.
#[derive(Debug)]
pub(crate) enum RequestBodyError {
    /// hyper's reason.
    Hyper(hyper::Error),
    /// That of the own transport.
    Piped(BrokenBody),
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hyper(error) => error.fmt(f),
            Self::Piped(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Hyper(error) => Some(error),
            Self::Piped(_) => None,
        }
    }
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self::Hyper(body)
    }
}

impl From<PipedBody> for RequestBody {
    fn from(body: PipedBody) -> Self {
        Self::Piped(body)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match &mut *self {
            Self::Hyper(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(RequestBodyError::Hyper),
            Self::Piped(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(RequestBodyError::Piped),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Piped(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Piped(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
