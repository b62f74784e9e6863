//! Takes the messages of a request from its body, as they arrive.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tonic::Status;

use super::framing::{CheckedBody, PREFIX_BYTES};
use super::incoming::RequestBody;
use crate::rpc::status::bad_message;

/// The messages that a client sends in one call. A message that arrives in one piece is not copied.
#[derive(Debug)]
pub(crate) struct RequestMessages<B = RequestBody> {
    body: CheckedBody<B>,
    /// Bytes that have arrived and were not taken yet, if all of them are in one piece of the body.
    arrived: Bytes,
    /// The same, if a message begins in one piece of the body and goes on in the next. Only one of the two has any bytes.
    joined: BytesMut,
}

impl<B> RequestMessages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    pub(crate) fn new(body: CheckedBody<B>) -> Self {
        Self {
            body,
            arrived: Bytes::new(),
            joined: BytesMut::new(),
        }
    }

    /// Waits for the next message. Returns none at the end of the request. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The status with which the call has to end, if the request breaks the rules of framing. All whole messages in front of
    /// the error are returned first.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits until all of the next message has arrived. Returns false at the end of the request. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub(crate) async fn arrived(&mut self) -> Result<bool, Status> {
        poll_fn(|cx| self.poll_arrived(cx)).await
    }

    /// Shows the next message to `take`, if all of it has arrived. Nothing keeps the piece in which it came alive afterwards.
    pub(crate) fn take_arrived_with<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if !self.joined.is_empty() {
            return self.take_arrived().map(|message| take(&message));
        }
        let len = PREFIX_BYTES + message_len(&self.arrived)?;
        let taken = take(&self.arrived[PREFIX_BYTES..len]);
        if len == self.arrived.len() {
            self.arrived = Bytes::new();
        } else {
            self.arrived.advance(len);
        }
        Some(taken)
    }

    /// The next message, if all of it has arrived.
    fn take_arrived(&mut self) -> Option<Bytes> {
        if self.joined.is_empty() {
            let len = message_len(&self.arrived)?;
            self.arrived.advance(PREFIX_BYTES);
            return Some(self.arrived.split_to(len));
        }
        let len = message_len(&self.joined)?;
        self.joined.advance(PREFIX_BYTES);
        Some(self.joined.split_to(len).freeze())
    }

    /// Waits for the only message of a unary call.
    ///
    /// # Errors
    /// The status with which the call has to end, if the request has none, several, or breaks the rules of framing.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        let arrived = ready!(self.poll_arrived(cx))?;
        Poll::Ready(Ok(arrived.then(|| self.take_arrived()).flatten()))
    }

    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Status>> {
        loop {
            let bytes = match self.joined.is_empty() {
                true => &self.arrived[..],
                false => &self.joined[..],
            };
            if message_len(bytes).is_some() {
                return Poll::Ready(Ok(true));
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx)? else {
                if !self.arrived.is_empty() {
                    self.join_arrived();
                }
                return Poll::Pending;
            };
            let Some(frame) = frame else {
                return Poll::Ready(Ok(false));
            };
            // gRPC requests have no trailers that mean anything.
            if let Ok(data) = frame.into_data() {
                self.add(data);
            }
        }
    }

    fn add(&mut self, data: Bytes) {
        if self.arrived.is_empty() && self.joined.is_empty() {
            self.arrived = data;
            return;
        }
        self.join_arrived();
        self.joined.extend_from_slice(&data);
    }

    /// Copies part of a message out of the piece of the body in which it arrived. The piece belongs to a larger buffer of the
    /// connection, which it would keep alive until the rest of the message comes.
    fn join_arrived(&mut self) {
        let arrived = std::mem::take(&mut self.arrived);
        if let Some(len) = declared_len(&arrived) {
            // Memory that is not written to costs nothing, while a buffer that grows is up to twice as large as its content.
            self.joined.reserve(PREFIX_BYTES + len);
        }
        self.joined.extend_from_slice(&arrived);
    }
}

/// Waits for the only message of a unary call. The body is dropped with what was charged for it: when this returns, the request
/// is whole, or refused.
///
/// # Errors
/// The status with which the call has to end, if the request has none, several, or breaks the rules of framing.
pub(crate) async fn only_message<B>(body: CheckedBody<B>) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut messages = RequestMessages::new(body);
    let message = messages.next().await?;
    // The body has to end here; otherwise this is an error.
    messages.next().await?;
    message.ok_or_else(|| bad_message("a unary call has one message, this has none"))
}

/// The length of the message at the start of `bytes`, without its prefix; none if part of the message is missing.
fn message_len(bytes: &[u8]) -> Option<usize> {
    declared_len(bytes).filter(|len| *len <= bytes.len() - PREFIX_BYTES)
}

/// The length that the prefix at the start of `bytes` declares; none if part of the prefix is missing.
fn declared_len(bytes: &[u8]) -> Option<usize> {
    let [_flags, length @ ..] = *bytes.first_chunk::<PREFIX_BYTES>()?;
    Some(u32::from_be_bytes(length) as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body::Frame;
    use tonic::Code;

    use super::*;
    use crate::rpc::body::framing::MessageCount;

    /// A body that arrives in pieces.
    struct Pieces(VecDeque<Bytes>);

    impl Pieces {
        fn of(bytes: &[u8], size: usize) -> Self {
            Self(bytes.chunks(size).map(Bytes::copy_from_slice).collect())
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn body(bytes: &[u8], size: usize, count: MessageCount) -> CheckedBody<Pieces> {
        CheckedBody::new(Pieces::of(bytes, size), count, 8, None)
    }

    fn messages(bytes: &[u8], size: usize, count: MessageCount) -> RequestMessages<Pieces> {
        RequestMessages::new(body(bytes, size, count))
    }

    #[tokio::test]
    async fn messages_come_whole_however_the_body_is_cut() {
        let bytes = [
            &[0, 0, 0, 0, 2, 8, 9][..],
            &[0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 0, 0, 0, 1, 7],
        ]
        .concat();
        let expected: [&[u8]; 4] = [&[8, 9], &[], &[1, 2, 3, 4, 5, 6, 7, 8], &[7]];
        for size in 1..=bytes.len() {
            let mut messages = messages(&bytes, size, MessageCount::Any);
            for expected in expected {
                assert_eq!(
                    messages.next().await.unwrap().unwrap(),
                    expected,
                    "in {size}s"
                );
            }
            assert_eq!(messages.next().await.unwrap(), None, "in {size}s");
        }
    }

    #[tokio::test]
    async fn an_error_comes_after_the_whole_messages_in_front_of_it() {
        let bytes = [0, 0, 0, 0, 2, 8, 9, 0, 0, 0, 0, 9];
        for size in 1..=bytes.len() {
            let mut messages = messages(&bytes, size, MessageCount::Any);
            assert_eq!(messages.next().await.unwrap().unwrap(), &[8, 9][..]);
            let error = messages.next().await.unwrap_err();
            assert_eq!(error.code(), Code::ResourceExhausted, "in {size}s");
        }
    }

    #[tokio::test]
    async fn a_unary_call_has_one_message() {
        let one = [0, 0, 0, 0, 1, 7];
        for size in 1..=one.len() {
            let body = body(&one, size, MessageCount::One);
            assert_eq!(only_message(body).await.unwrap(), &[7][..]);
        }
        for bytes in [&[][..], &[0, 0], &[one, one].concat()] {
            for size in 1..=bytes.len().max(1) {
                let body = body(bytes, size, MessageCount::One);
                let error = only_message(body).await.unwrap_err();
                assert_eq!(error.code(), Code::InvalidArgument, "{bytes:?}");
            }
        }
    }
}
