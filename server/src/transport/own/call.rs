//! One call, from its handler to the last byte of its answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use soloist_http2::{Connection, ErrorCode, Gone, StreamKey};

use super::answer::{self, GRPC, OK};
use crate::rpc::answering::Answering;
use crate::rpc::body::incoming::RequestBody;
use crate::rpc::body::pipe::{PipeFeed, pipe};
use crate::rpc::body::response::{Answer, ResponseBody, UnreadBytes};
use crate::rpc::body::unread::UnreadAnswer;
use crate::rpc::services::{CallGuard, UnaryCall};

/// A call that is open.
pub(super) struct Call {
    stream: StreamKey,
    /// What the call reads its request from, if that did not come whole with its head.
    feed: Option<PipeFeed>,
    stage: Stage,
    unread: UnreadAnswer,
    /// Counts the call for as long as it is open.
    _counted: CallGuard,
}

/// How far a call is.
enum Stage {
    /// Its request has not come. None while the stage changes.
    Head(Option<UnaryCall>),
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
    /// A call whose handler reads the request from what `feed` is fed, if it reads any.
    pub(super) fn new(
        stream: StreamKey,
        answering: Answering,
        feed: Option<PipeFeed>,
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

    /// A call with one message, which most likely comes with its head.
    pub(super) fn of_head(stream: StreamKey, unary: UnaryCall, counted: CallGuard) -> Self {
        Self {
            stream,
            feed: None,
            stage: Stage::Head(Some(unary)),
            unread: UnreadAnswer::NEW,
            _counted: counted,
        }
    }

    /// Takes a whole request, if nothing of it has come. Returns whether it has.
    pub(super) fn take_whole(&mut self, request: &[u8]) -> bool {
        let Stage::Head(Some(_)) = self.stage else {
            return false;
        };
        let body = RequestBody::Whole(Bytes::copy_from_slice(request));
        self.handle(body);
        true
    }

    /// What the request is fed to. None if nobody reads it. `waker` is that of the call.
    pub(super) fn feed(&mut self, waker: &Waker) -> Option<&PipeFeed> {
        if let Stage::Head(Some(_)) = self.stage {
            let (feed, body) = pipe(waker.clone());
            self.feed = Some(feed);
            self.handle(body.into());
        }
        self.feed.as_ref()
    }

    /// Lets the handler begin.
    fn handle(&mut self, body: RequestBody) {
        if let Stage::Head(unary) = &mut self.stage
            && let Some(unary) = unary.take()
        {
            self.stage = Stage::Handler(unary.answer(body));
        }
    }

    pub(super) fn stream(&self) -> StreamKey {
        self.stream
    }

    /// Ends what the request is read from, because the client does not need the call any more.
    pub(super) fn cancel(&self) {
        if let Some(feed) = &self.feed {
            feed.cancel();
        }
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
        if let Some(feed) = &self.feed {
            core.consumed(self.stream, feed.take_read());
        }
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
                // It comes in parts.
                Stage::Head(_) => {
                    self.feed(cx.waker());
                }
                Stage::Handler(answering) => {
                    let response = match ready!(Pin::new(answering).poll(cx)) {
                        Answer::One(message) => {
                            let bytes = message.bytes();
                            let taken = core.respond(self.stream, &GRPC, bytes, &OK)?;
                            if taken == bytes.len() {
                                return Poll::Ready(Ok(()));
                            }
                            self.stage = Stage::Body {
                                body: message.rest(taken),
                                unsent: None,
                            };
                            continue;
                        }
                        Answer::Other(response) => response,
                    };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use soloist::v1;
    use soloist_http2::frame::{
        END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, FrameHeader, PREFACE, kind, put, put_settings,
    };
    use soloist_http2::hpack::put_string;
    use soloist_http2::{Event, Limits, Routes};

    use super::*;
    use crate::rpc::body::response;
    use crate::rpc::services::ConnectionQuota;

    /// A connection on which a client has asked for something, and the stream of the call.
    fn asked(output_bytes_max: usize) -> (Connection, StreamKey) {
        let limits = Limits {
            output_bytes_max,
            ..Limits::DEFAULT
        };
        let mut core = Connection::new(limits, Arc::new(Routes::new([])), Duration::ZERO);
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a/B"),
            (":authority", "a"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            block.push(0);
            put_string(&mut block, name.as_bytes());
            put_string(&mut block, value.as_bytes());
        }
        let mut input = PREFACE.to_vec();
        put_settings(&mut input, &[]);
        put(
            &mut input,
            kind::HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block,
        );
        let mut input = &input[..];
        let mut stream = None;
        loop {
            match core.next(&mut input, Duration::ZERO) {
                Some(Event::Request { stream: key, .. }) => stream = Some(key),
                Some(other) => panic!("{other:?}"),
                None if input.is_empty() => break,
                None => drop(written(&mut core)),
            }
        }
        written(&mut core);
        (core, stream.unwrap())
    }

    /// Takes the output, as a socket does that has room.
    fn written(core: &mut Connection) -> Vec<u8> {
        let bytes = core.output().to_vec();
        core.wrote(bytes.len());
        bytes
    }

    /// The DATA of an answer, and the kinds of the other frames around it.
    fn parts(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut data, mut kinds) = (Vec::new(), Vec::new());
        while let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() {
            let header = FrameHeader::parse(header);
            let (payload, rest) = rest.split_at(header.length);
            bytes = rest;
            match header.kind {
                kind::DATA => data.extend_from_slice(payload),
                kind => kinds.push(kind),
            }
        }
        (data, kinds)
    }

    #[test]
    fn an_answer_is_whole_however_little_room_the_output_has() {
        let quota = ConnectionQuota::new(1 << 20);
        let message = v1::ReadResponse {
            entry: Some(v1::Entry {
                value: Some(v1::Value {
                    kind: Some(v1::value::Kind::Bytes(vec![7; 200])),
                }),
                ..v1::Entry::default()
            }),
            revision: 1,
        };
        let len = prost::Message::encoded_len(&message);
        let mut cut = 0;
        for output_bytes_max in 1..400 {
            let (mut core, stream) = asked(output_bytes_max);
            let answering = Answering::answered(&quota, response::one(message.clone(), len));
            let mut call = Call::new(stream, answering, None, quota.call());
            let mut cx = Context::from_waker(Waker::noop());
            let mut bytes = Vec::new();
            let mut polls = 0;
            while call.poll(&mut core, &mut cx).is_pending() {
                polls += 1;
                bytes.extend(written(&mut core));
                let event = core.next(&mut &[][..], Duration::ZERO);
                assert!(
                    matches!(event, Some(Event::Writable { .. })),
                    "{output_bytes_max}: {event:?}"
                );
            }
            bytes.extend(written(&mut core));
            cut += usize::from(polls > 0);
            let (data, kinds) = parts(&bytes);
            assert_eq!(kinds, [kind::HEADERS, kind::HEADERS], "{output_bytes_max}");
            assert_eq!(data.len(), 5 + len);
            assert!(data.ends_with(&prost::Message::encode_to_vec(&message)));
        }
        assert!((200..300).contains(&cut), "{cut} were cut");
    }
}
