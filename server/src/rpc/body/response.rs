//! HTTP responses of gRPC calls: messages, and the status in the trailers.
//!
//! tonic's own responses are built for streams: for one small message they need a stream, an encoder and three boxes, which
//! cost more than the message. So a unary response here is one buffer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame};
use prost::Message;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::framing::PREFIX_BYTES;
use super::unread;
use crate::config::{ANSWER_OVERHEAD_BYTES, WATCHED_ANSWER_BYTES};
use crate::owner::{ConnectionQuota, QuotaGuard};
use crate::rpc::call_count::CallCount;

/// Messages of a stream are collected up to this many bytes before they are handed to the connection. Source: tonic's
/// default for the same purpose.
pub(crate) const FLUSH_BYTES: usize = 32 * 1024;

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

/// What a stream sends at a time: messages that know how to put themselves and their prefixes into a buffer.
pub(crate) trait Put {
    /// Appends the encoded messages, each with its prefix, to `buf`.
    fn put(self, buf: &mut Vec<u8>);
}

impl<M: Encode> Put for M {
    fn put(self, buf: &mut Vec<u8>) {
        put(buf, |buf| self.encode(buf));
    }
}

/// The body of a response. Its bytes are charged to the connection's quota until they are on the socket.
#[derive(Default)]
pub(crate) struct ResponseBody {
    content: Content,
    /// None before the response is answered, and after its last byte was charged.
    quota: Option<ConnectionQuota>,
    /// Resolves when a large answer is on the socket; only then the trailers follow. Set once the answer was handed over.
    sent: Option<oneshot::Receiver<()>>,
}

/// What a response consists of.
#[derive(Default)]
enum Content {
    /// Nothing: the status is in the headers, or all of the response was sent.
    #[default]
    Empty,
    /// One message, then the trailers of OK.
    One(Bytes),
    /// The trailers of OK.
    Ok,
    /// A stream, or the response of a service that tonic generates. In a box, because the other responses are many, and are
    /// moved often.
    Other(Box<Other>),
}

struct Other {
    body: tonic::body::Body,
    /// Whether the next message waits while the connection has no room for it, and the wait.
    waits_for_room: bool,
    room: Option<Room>,
    /// The call that ends with the trailers. None if nobody counts.
    call: Option<CallCount>,
}

type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Bytes of a response on their way to the socket. They are charged until HTTP/2 has written them, and drops them.
pub(crate) struct UnreadBytes {
    bytes: Bytes,
    _charged: Option<QuotaGuard>,
    /// Dropped together with the bytes, which tells the body.
    _sent: Option<oneshot::Sender<()>>,
}

impl Buf for UnreadBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// What a call is answered with.
pub(crate) enum Answer {
    /// One message, and status OK: nearly all answers. It is sent as it is.
    One(OneMessage),
    /// Any other response. In a box, because answers are moved often.
    Other(Box<Response<ResponseBody>>),
}

/// An answer with one message, and status OK.
pub(crate) struct OneMessage {
    bytes: Bytes,
    /// None before the call is answered.
    quota: Option<ConnectionQuota>,
}

impl OneMessage {
    /// The message, in the framing of gRPC.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body with what comes after the first `sent` bytes of this message. It is charged while it is on its way.
    pub(crate) fn rest(mut self, sent: usize) -> ResponseBody {
        self.bytes.advance(sent);
        ResponseBody::from(Content::One(self.bytes)).charged_to(self.quota)
    }
}

impl Answer {
    /// Its status, if it is known before the end.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::One(_) => Some(Code::Ok),
            Self::Other(response) => {
                let status = response.headers().get(Status::GRPC_STATUS);
                status.map(|code| Code::from_bytes(code.as_bytes()))
            }
        }
    }

    /// The same answer, charged to `quota`, if there is one.
    pub(crate) fn charged_to(self, quota: Option<ConnectionQuota>) -> Self {
        match self {
            Self::One(message) => Self::One(OneMessage { quota, ..message }),
            Self::Other(mut response) => {
                response.body_mut().quota = quota;
                Self::Other(response)
            }
        }
    }

    /// The same answer, whose call is counted at its end: now, or with the trailers of a stream.
    pub(crate) fn counted(mut self, call: Option<CallCount>) -> Self {
        let Some(call) = call else {
            return self;
        };
        match &mut self {
            Self::One(_) => call.end(Code::Ok),
            Self::Other(response) => {
                if let Some(call) = call.end_with(response.headers())
                    && let Content::Other(other) = &mut response.body_mut().content
                {
                    other.call = Some(call);
                }
            }
        }
        self
    }
}

impl From<Response<ResponseBody>> for Answer {
    fn from(response: Response<ResponseBody>) -> Self {
        Self::Other(Box::new(response))
    }
}

/// The answer with one message of `len` encoded bytes, and status OK.
pub(crate) fn one(message: impl Message, len: usize) -> Answer {
    // Of exactly this length, because a full vector becomes `Bytes` without another allocation.
    let mut buf = Vec::with_capacity(PREFIX_BYTES + len);
    message.put(&mut buf);
    Answer::One(OneMessage {
        bytes: buf.into(),
        quota: None,
    })
}

/// The response with a stream of messages and the status after them.
///
/// While `quota` has no room, messages are sent one by one. HTTP/2 then takes two of a stream at most that its client does not
/// read. They do not wait for room: that would let a stream that is not read hold up the others of its connection.
pub(crate) fn stream<S, M>(messages: S, quota: ConnectionQuota) -> Answer
where
    S: Stream<Item = Result<M, Status>> + Send + 'static,
    M: Put + 'static,
{
    let body = StreamBody {
        messages: Box::pin(messages),
        quota,
        end: End::NotYet,
    };
    with_body(Content::other(tonic::body::Body::new(body)).into()).into()
}

/// The response without a message, only a status.
pub(crate) fn error(status: Status) -> Answer {
    let response: Response<ResponseBody> = status.into_http();
    response.into()
}

/// The response with this body, which ends with a status.
pub(crate) fn with_body(body: ResponseBody) -> Response<ResponseBody> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// Appends a message, which `encode` appends, behind its prefix. Source: gRPC over HTTP/2, "Length-Prefixed-Message".
pub(crate) fn put(buf: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = buf.len();
    buf.extend_from_slice(&[0; PREFIX_BYTES]);
    encode(buf);
    let len = buf.len() - start - PREFIX_BYTES;
    let len = u32::try_from(len).expect("responses are limited below 4 GiB");
    buf[start + 1..][..4].copy_from_slice(&len.to_be_bytes());
}

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, OK);
    trailers
}

impl From<Content> for ResponseBody {
    fn from(content: Content) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }
}

impl From<tonic::body::Body> for ResponseBody {
    fn from(body: tonic::body::Body) -> Self {
        Content::other(body).into()
    }
}

impl Content {
    fn other(body: tonic::body::Body) -> Self {
        Self::Other(Box::new(Other {
            body,
            waits_for_room: false,
            room: None,
            call: None,
        }))
    }
}

impl ResponseBody {
    /// The same body, charged to `quota`, if there is one.
    pub(crate) fn charged_to(self, quota: Option<ConnectionQuota>) -> Self {
        Self { quota, ..self }
    }

    /// The same body, whose next message waits while the connection has no room for it.
    pub(crate) fn waiting_for_room(mut self) -> Self {
        if let Content::Other(other) = &mut self.content {
            other.waits_for_room = true;
        }
        self
    }

    /// Hands over the only message of a response.
    fn hand_over_only(&mut self, bytes: Bytes) -> UnreadBytes {
        let sent = (bytes.len() > WATCHED_ANSWER_BYTES).then(|| {
            let (sent, receiver) = oneshot::channel();
            self.sent = Some(receiver);
            sent
        });
        UnreadBytes::new(bytes, self.quota.take(), sent)
    }
}

impl UnreadBytes {
    /// Charges bytes that are handed over to HTTP/2 to `quota`.
    fn new(
        bytes: Bytes,
        quota: Option<ConnectionQuota>,
        sent: Option<oneshot::Sender<()>>,
    ) -> Self {
        unread::note_handed_over();
        let charged = quota.map(|quota| quota.charge(bytes.len() + ANSWER_OVERHEAD_BYTES));
        Self {
            bytes,
            _charged: charged,
            _sent: sent,
        }
    }
}

impl Other {
    /// Waits until the connection has room for a further message, if this body waits for that.
    fn poll_room(&mut self, quota: Option<&ConnectionQuota>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waits_for_room {
            return Poll::Ready(());
        }
        if let Some(room) = &mut self.room {
            ready!(room.as_mut().poll(cx));
            self.room = None;
            return Poll::Ready(());
        }
        match quota {
            Some(quota) if !quota.may_encode() => {
                let quota = quota.clone();
                let room = async move { quota.room_to_encode().await };
                self.room.insert(Box::pin(room)).as_mut().poll(cx)
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Body for ResponseBody {
    type Data = UnreadBytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<UnreadBytes>, Status>>> {
        let this = &mut *self;
        if let Some(sent) = &mut this.sent {
            // Its other end is dropped, which is an error here.
            let _ = ready!(Pin::new(sent).poll(cx));
            this.sent = None;
        }
        Poll::Ready(match &mut this.content {
            Content::Empty => None,
            Content::One(message) => {
                let message = std::mem::take(message);
                this.content = Content::Ok;
                Some(Ok(Frame::data(this.hand_over_only(message))))
            }
            Content::Ok => {
                this.content = Content::Empty;
                Some(Ok(Frame::trailers(ok_trailers())))
            }
            Content::Other(other) => {
                let quota = this.quota.as_ref();
                ready!(other.poll_room(quota, cx));
                let frame = ready!(Pin::new(&mut other.body).poll_frame(cx));
                if let Some(Ok(frame)) = &frame
                    && let Some(trailers) = frame.trailers_ref()
                {
                    other.call = other.call.take().and_then(|call| call.end_with(trailers));
                }
                frame.map(|frame| {
                    frame.map(|frame| {
                        frame.map_data(|bytes| UnreadBytes::new(bytes, quota.cloned(), None))
                    })
                })
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::One(_) | Content::Ok => false,
            Content::Other(other) => other.body.is_end_stream(),
        }
    }

    // No `size_hint`: hyper would make a content-length of it, which no client of gRPC looks at.
}

/// The messages of a stream, then its status. Messages that are ready at the same time are sent as one piece.
struct StreamBody<S> {
    messages: Pin<Box<S>>,
    quota: ConnectionQuota,
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
    M: Put,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut buf = Vec::new();
        let most = if self.quota.may_encode() {
            FLUSH_BYTES
        } else {
            1
        };
        while matches!(self.end, End::NotYet) && buf.len() < most {
            match self.messages.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(messages))) => messages.put(&mut buf),
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
