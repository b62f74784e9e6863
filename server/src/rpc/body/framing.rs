//! Checks the body of a request while it is read, and ends it with an error where it breaks the rules of gRPC framing.
//!
//! tonic does not check as strictly. In a unary call it takes the first of two messages and drops the second. It answers a
//! missing message with INTERNAL, and a message over the limit with OUT_OF_RANGE.
//!
//! Source of the format: gRPC over HTTP/2, "Length-Prefixed-Message": one byte of flags, four bytes of length, big-endian,
//! then the message.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::config::REQUEST_UNCOUNTED_BYTES;
use crate::owner::{CallError, ConnectionQuota, QuotaGuard};
use crate::rpc::status::{Refusal, bad_message, message_too_large, unfinished_message};

/// Bytes in front of a message: its flags and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// How many messages a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageCount {
    /// Exactly one: a unary call.
    One,
    /// Any number: a stream.
    Any,
}

/// A body that is checked while it is read. An error that it yields is the status to answer the call with.
#[derive(Debug)]
pub(crate) struct CheckedBody<B> {
    body: B,
    framing: Framing,
    /// An error to be yielded next: the messages in front of it were passed on first.
    deferred: Option<Status>,
    /// When the whole body must have arrived.
    deadline: Option<Instant>,
    /// Set for the deadline, the first time that the body has nothing ready.
    timer: Option<Pin<Box<Sleep>>>,
    /// What the bytes of an unfinished request are charged to.
    quota: Option<ConnectionQuota>,
    /// The charge for an unfinished request.
    charged: Option<QuotaGuard>,
    /// How long each message of a stream may take to arrive, and the timer for the one of this number.
    message_timeout: Option<Duration>,
    message_timer: Option<(u64, Pin<Box<Sleep>>)>,
}

impl<B> CheckedBody<B> {
    pub(crate) fn new(
        body: B,
        count: MessageCount,
        limit: usize,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            body,
            framing: Framing {
                count,
                limit,
                completed: 0,
                prefix: [0; PREFIX_BYTES],
                prefix_len: 0,
                remaining: 0,
                announced: 0,
            },
            deferred: None,
            deadline,
            timer: None,
            quota: None,
            charged: None,
            message_timeout: None,
            message_timer: None,
        }
    }

    /// The same body, whose bytes are charged to `quota` while the request, or the message of a stream, is not whole.
    pub(crate) fn charged_to(self, quota: ConnectionQuota) -> Self {
        Self {
            quota: Some(quota),
            ..self
        }
    }

    /// The same body, each message of which must arrive within `timeout`.
    pub(crate) fn message_timeout(self, timeout: Duration) -> Self {
        Self {
            message_timeout: Some(timeout),
            ..self
        }
    }

    /// Charges what is not whole yet, as soon as its length is known: so what is admitted also has room for its end.
    fn charge_announced(&mut self) -> Result<(), Status> {
        let Some(quota) = &self.quota else {
            return Ok(());
        };
        let charged = self.charged.as_ref().map_or(0, QuotaGuard::bytes);
        let bytes = self.framing.announced;
        if bytes <= REQUEST_UNCOUNTED_BYTES {
            self.charged = None;
        } else if bytes != charged {
            quota
                .check_room(bytes.saturating_sub(charged))
                .map_err(Refusal::from)?;
            self.charged = Some(quota.clone().charge(bytes));
        }
        Ok(())
    }

    /// Resolves when a message of a stream has begun, and taken too long to arrive.
    fn poll_message_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(timeout) = self.message_timeout else {
            return Poll::Pending;
        };
        if self.framing.is_between_messages() {
            return Poll::Pending;
        }
        let number = self.framing.completed;
        match &mut self.message_timer {
            Some((of, _)) if *of == number => {}
            Some((of, timer)) => {
                *of = number;
                timer.as_mut().reset(Instant::now() + timeout);
            }
            None => {
                let timer = sleep_until(Instant::now() + timeout);
                self.message_timer = Some((number, Box::pin(timer)));
            }
        }
        let Some((_, timer)) = &mut self.message_timer else {
            return Poll::Pending;
        };
        let passed = timer.as_mut().poll(cx);
        passed.map(|()| unfinished_message(timeout).into_status())
    }

    /// Resolves when the deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
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

    /// Passes on the part of `data` that keeps to the rules.
    fn check(&mut self, data: Bytes) -> Result<Frame<Bytes>, Status> {
        let Err((whole, status)) = self.framing.follow(&data) else {
            self.charge_announced()?;
            return Ok(Frame::data(data));
        };
        if whole == 0 {
            return Err(status);
        }
        // The whole messages in front of the bad one are to be answered first.
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
            let passed = match self.poll_deadline(cx) {
                Poll::Pending => self.poll_message_timeout(cx),
                passed => passed,
            };
            return passed.map(|passed| Some(Err(passed)));
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

    // `is_end_stream` always says false, the default: at the end of a body without a message there is still an error to yield.
}

/// Where in the framing a body stands.
#[derive(Debug)]
struct Framing {
    count: MessageCount,
    /// Most bytes of a message.
    limit: usize,
    /// Messages that were seen to their end.
    completed: u64,
    /// The prefix of the current message, of which `prefix_len` bytes have arrived.
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the current message that have not arrived yet.
    remaining: usize,
    /// Bytes of what is not whole yet, as its prefix says: of a unary call, or of the current message of a stream.
    announced: usize,
}

impl Framing {
    /// Follows the framing through `data`, the next piece of the body.
    ///
    /// # Errors
    /// The status, and how many bytes of `data` are whole messages in front of the error.
    fn follow(&mut self, data: &[u8]) -> Result<(), (usize, Status)> {
        let mut rest = data;
        // Where in `data` the last whole message ends.
        let mut whole = 0;
        while !rest.is_empty() {
            if self.remaining > 0 {
                let taken = self.remaining.min(rest.len());
                rest = &rest[taken..];
                self.remaining -= taken;
            } else {
                if self.count == MessageCount::One && self.completed > 0 {
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
                self.announced = self.remaining;
            }
            if self.remaining == 0 {
                self.completed += 1;
                whole = data.len() - rest.len();
                if self.count == MessageCount::Any {
                    self.announced = 0;
                }
            }
        }
        Ok(())
    }

    fn is_between_messages(&self) -> bool {
        self.remaining == 0 && self.prefix_len == 0
    }

    /// Checks that the body may end here.
    fn end(&self) -> Result<(), Status> {
        if self.remaining > 0 || self.prefix_len > 0 {
            return Err(bad_message("the request ends in the middle of a message"));
        }
        if self.count == MessageCount::One && self.completed == 0 {
            return Err(bad_message("a unary call has one message, this has none"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// The code with which `bytes` are refused, which must be the same however they are cut into pieces.
    fn check(bytes: &[u8], count: MessageCount) -> Option<Code> {
        let outcomes = (1..=bytes.len().max(1)).map(|size| {
            let mut framing = CheckedBody::new((), count, 4, None).framing;
            bytes
                .chunks(size)
                .try_for_each(|chunk| framing.follow(chunk).map_err(|(_, status)| status))
                .and_then(|()| framing.end())
                .err()
                .map(|status| status.code())
        });
        let outcomes: std::collections::HashSet<_> = outcomes.collect();
        assert_eq!(outcomes.len(), 1, "{bytes:?} depends on how it is cut");
        outcomes.into_iter().next().unwrap()
    }

    #[test]
    fn unary_calls_have_exactly_one_message_and_streams_any_number() {
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
            .follow(
                &[good, good]
                    .concat()
                    .into_iter()
                    .chain(bad)
                    .collect::<Vec<_>>(),
            )
            .unwrap_err();
        assert_eq!(whole, 14);
        // The prefix of the bad message began in a piece that was passed on before.
        let mut framing = CheckedBody::new((), MessageCount::Any, 4, None).framing;
        framing.follow(&bad[..3]).unwrap();
        assert_eq!(framing.follow(&bad[3..]).unwrap_err().0, 0);
    }
}
