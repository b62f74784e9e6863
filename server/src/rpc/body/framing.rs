//! Watches a request's body go by, and ends it where it breaks the rules of gRPC framing.
//!
//! tonic alone takes the first of two messages of a unary call and drops the second, answers a missing message with
//! INTERNAL, and one over the limit with OUT_OF_RANGE. Source of the format: gRPC over HTTP/2,
//! "Length-Prefixed-Message": one byte of flags, four of length, big-endian, then the message.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use soloist::codec::bad_message;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::owner::CallError;
use crate::rpc::status::{Refusal, message_too_large};

pub(crate) const PREFIX_BYTES: usize = 5;

/// How many messages a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageCount {
    /// Exactly one: a unary call.
    One,
    /// Any number: a stream.
    Any,
}

/// A body that is checked while it is read. An error in it is the answer to the call.
#[derive(Debug)]
pub(crate) struct CheckedBody<B> {
    body: B,
    framing: Framing,
    /// Told once everything that came before it was passed on.
    deferred: Option<Status>,
    /// When the whole of it must be here.
    deadline: Option<Instant>,
    /// Set once there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> CheckedBody<B> {
    pub(crate) fn new(
        body: B,
        messages: MessageCount,
        limit: usize,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            body,
            framing: Framing {
                messages,
                limit,
                completed: 0,
                prefix: [0; PREFIX_BYTES],
                prefix_len: 0,
                remaining: 0,
            },
            deferred: None,
            deadline,
            timer: None,
        }
    }

    /// Resolves when the body is late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Refusal::from(CallError::NotStarted).into_status())
    }

    /// Passes on as much of `data` as keeps to the rules.
    fn check(&mut self, data: Bytes) -> Result<Frame<Bytes>, Status> {
        let Err((whole, status)) = self.framing.data(&data) else {
            return Ok(Frame::data(data));
        };
        if whole == 0 {
            return Err(status);
        }
        // Whole messages in front of the bad one: they are answered first.
        self.deferred = Some(status);
        Ok(Frame::data(data.slice(..whole)))
    }
}

impl<B> Body for CheckedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(status) = self.deferred.take() {
            return Poll::Ready(Some(Err(status)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return self.poll_late(cx).map(|late| Some(Err(late)));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(match frame.into_data() {
                Ok(data) => self.check(data),
                Err(trailers) => self.framing.end().map(|()| trailers),
            }),
            Some(Err(error)) => Some(Err(Status::from_error(Box::new(error)))),
            None => self.framing.end().err().map(Err),
        })
    }

    // `is_end_stream` stays false to the last: a body that ends without a message has an error to tell.
}

#[derive(Debug)]
struct Framing {
    messages: MessageCount,
    limit: usize,
    /// MessageCount seen to their end.
    completed: u64,
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the present message still to come.
    remaining: usize,
}

impl Framing {
    /// Follows `data`. Where it breaks the rules, tells how much of it is whole messages in front of that.
    fn data(&mut self, data: &[u8]) -> Result<(), (usize, Status)> {
        let mut rest = data;
        // Where the last whole message ends.
        let mut whole = 0;
        while !rest.is_empty() {
            if self.remaining > 0 {
                let taken = self.remaining.min(rest.len());
                rest = &rest[taken..];
                self.remaining -= taken;
            } else {
                if self.messages == MessageCount::One && self.completed > 0 {
                    let status = bad_message("a unary call has one message, this has more");
                    return Err((0, status));
                }
                let taken = (PREFIX_BYTES - self.prefix_len).min(rest.len());
                self.prefix[self.prefix_len..][..taken].copy_from_slice(&rest[..taken]);
                self.prefix_len += taken;
                rest = &rest[taken..];
                if self.prefix_len < PREFIX_BYTES {
                    break;
                }
                self.prefix_len = 0;
                let [flags, length @ ..] = self.prefix;
                if flags != 0 {
                    let status = bad_message("the message is compressed, which was not agreed on");
                    return Err((whole, status));
                }
                self.remaining = u32::from_be_bytes(length) as usize;
                if self.remaining > self.limit {
                    let status = message_too_large(self.limit, self.remaining).into_status();
                    return Err((whole, status));
                }
            }
            if self.remaining == 0 {
                self.completed += 1;
                whole = data.len() - rest.len();
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Status> {
        if self.remaining > 0 || self.prefix_len > 0 {
            return Err(bad_message("the request ends in the middle of a message"));
        }
        if self.messages == MessageCount::One && self.completed == 0 {
            return Err(bad_message("a unary call has one message, this has none"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// The code with which `bytes` are refused, fed in pieces of every size.
    fn check(bytes: &[u8], messages: MessageCount) -> Option<Code> {
        let outcomes = (1..=bytes.len().max(1)).map(|size| {
            let mut framing = CheckedBody::new((), messages, 4, None).framing;
            bytes
                .chunks(size)
                .try_for_each(|chunk| framing.data(chunk).map_err(|(_, status)| status))
                .and_then(|()| framing.end())
                .err()
                .map(|status| status.code())
        });
        let outcomes: std::collections::HashSet<_> = outcomes.collect();
        assert_eq!(outcomes.len(), 1, "{bytes:?} depends on how it is cut");
        outcomes.into_iter().next().unwrap()
    }

    #[test]
    fn messages_of_unary_calls_and_streams() {
        let bad = Some(Code::InvalidArgument);
        let too_large = Some(Code::ResourceExhausted);
        for (bytes, unary, stream) in [
            (&[][..], bad, None),
            (&[0, 0, 0, 0, 0], None, None),
            (&[0, 0, 0, 0, 2, 8, 8], None, None),
            (&[0, 0, 0, 0, 4, 8, 8, 8, 8], None, None),
            (&[0, 0, 0, 0, 5, 8, 8, 8, 8, 8], too_large, too_large),
            (&[0, 255, 255, 255, 255], too_large, too_large),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], bad, None),
            (&[0, 0, 0, 0, 1, 8, 0], bad, bad),
            (&[0, 0, 0, 0, 2, 8], bad, bad),
            (&[0, 0, 0], bad, bad),
            (&[1, 0, 0, 0, 0], bad, bad),
            (&[7, 0, 0, 0, 1, 8], bad, bad),
        ] {
            assert_eq!(check(bytes, MessageCount::One), unary, "unary {bytes:?}");
            assert_eq!(check(bytes, MessageCount::Any), stream, "stream {bytes:?}");
        }
    }

    #[test]
    fn whole_messages_in_front_of_a_bad_one_are_sound() {
        let good = [0, 0, 0, 0, 2, 8, 8];
        let bad = [0, 0, 0, 0, 9];
        let mut framing = CheckedBody::new((), MessageCount::Any, 4, None).framing;
        let (whole, _) = framing
            .data(
                &[good, good]
                    .concat()
                    .into_iter()
                    .chain(bad)
                    .collect::<Vec<_>>(),
            )
            .unwrap_err();
        assert_eq!(whole, 14);
        // The prefix began in a piece that was passed on before.
        let mut framing = CheckedBody::new((), MessageCount::Any, 4, None).framing;
        framing.data(&bad[..3]).unwrap();
        assert_eq!(framing.data(&bad[3..]).unwrap_err().0, 0);
    }
}
