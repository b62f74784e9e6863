//! HTTP responses of gRPC calls: messages, and the status in the trailers.
//!
//! tonic's own responses are built for streams: for one small message they need a stream, an encoder and three boxes, which
//! cost more than the message. So a unary response here is one buffer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use prost::Message;
use tonic::Status;

use super::framing::PREFIX_BYTES;

/// Messages of a stream are collected up to this many bytes before they are handed to the connection. Source: tonic's
/// default for the same purpose.
const FLUSH_BYTES: usize = 32 * 1024;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");

/// A message that knows how to encode itself.
pub(crate) trait Encode {
    /// Appends the encoded message to `buf`.
    fn encode(self, buf: &mut Vec<u8>);
}

impl<M: Message> Encode for M {
    fn encode(self, buf: &mut Vec<u8>) {
        // `Message::encode` would first work out the length, to check that the buffer has room. A vector grows.
        self.encode_raw(buf);
    }
}

/// The body of a response.
#[derive(Default)]
pub(crate) enum ResponseBody {
    /// Nothing: the status is in the headers, or all of the response was sent.
    #[default]
    Empty,
    /// One message, then the trailers of OK.
    One(Bytes),
    /// The trailers of OK.
    Ok,
    /// A stream, or the response of a service that tonic generates.
    Other(tonic::body::Body),
}

/// The response with one message and status OK.
pub(crate) fn one(message: impl Message) -> Response<ResponseBody> {
    // Of exactly this length, because a full vector becomes `Bytes` without another allocation.
    let mut buf = Vec::with_capacity(PREFIX_BYTES + message.encoded_len());
    put(&mut buf, message);
    response(ResponseBody::One(buf.into()))
}

/// The response with a stream of messages and the status after them.
pub(crate) fn stream<S, M>(messages: S) -> Response<ResponseBody>
where
    S: Stream<Item = Result<M, Status>> + Send + 'static,
    M: Encode + 'static,
{
    let body = StreamBody {
        messages: Box::pin(messages),
        end: End::NotYet,
    };
    response(ResponseBody::Other(tonic::body::Body::new(body)))
}

/// The response without a message, only a status.
pub(crate) fn error(status: Status) -> Response<ResponseBody> {
    status.into_http()
}

fn response(body: ResponseBody) -> Response<ResponseBody> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// Appends a message and its prefix. Source: gRPC over HTTP/2, "Length-Prefixed-Message".
fn put(buf: &mut Vec<u8>, message: impl Encode) {
    let start = buf.len();
    buf.extend_from_slice(&[0; PREFIX_BYTES]);
    message.encode(buf);
    let len = buf.len() - start - PREFIX_BYTES;
    let len = u32::try_from(len).expect("responses are limited below 4 GiB");
    buf[start + 1..][..4].copy_from_slice(&len.to_be_bytes());
}

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, OK);
    trailers
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::One(message) => {
                let message = std::mem::take(message);
                *self = Self::Ok;
                Frame::data(message)
            }
            Self::Ok => {
                *self = Self::Empty;
                Frame::trailers(ok_trailers())
            }
            Self::Other(body) => return Pin::new(body).poll_frame(cx),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::One(_) | Self::Ok => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Ok => SizeHint::with_exact(0),
            Self::One(message) => SizeHint::with_exact(message.len() as u64),
            Self::Other(body) => body.size_hint(),
        }
    }
}

/// The messages of a stream, then its status. Messages that are ready at the same time are sent as one piece.
struct StreamBody<S> {
    messages: Pin<Box<S>>,
    end: End,
}

/// Whether a stream has ended.
enum End {
    NotYet,
    /// The messages have ended, and these trailers come next.
    Due(HeaderMap),
    Sent,
}

impl<S, M> Body for StreamBody<S>
where
    S: Stream<Item = Result<M, Status>>,
    M: Encode,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut buf = Vec::new();
        while matches!(self.end, End::NotYet) && buf.len() < FLUSH_BYTES {
            match self.messages.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => put(&mut buf, message),
                Poll::Ready(Some(Err(status))) => {
                    let mut trailers = HeaderMap::new();
                    status.add_header(&mut trailers)?;
                    self.end = End::Due(trailers);
                }
                Poll::Ready(None) => self.end = End::Due(ok_trailers()),
                Poll::Pending if buf.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !buf.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(buf.into()))));
        }
        Poll::Ready(match std::mem::replace(&mut self.end, End::Sent) {
            End::Due(trailers) => Some(Ok(Frame::trailers(trailers))),
            End::NotYet | End::Sent => None,
        })
    }
}
