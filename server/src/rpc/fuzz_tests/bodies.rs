//! The framing of bodies, cut anywhere, against a reading of all bytes at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Body, Frame};
use soloist_fuzz::{Format, Shape, Target, pieces};
use tonic::{Code, Status};

use crate::rpc::body::framing::{CheckedBody, MessageCount};
use crate::rpc::body::request::{RequestMessages, only_message};

const LIMIT: usize = 24;

/// A body that arrives in pieces, with nothing ready before every other piece.
struct Pieces {
    pieces: VecDeque<Bytes>,
    ready: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.ready = !self.ready;
        match self.ready || self.pieces.len().is_multiple_of(2) {
            true => Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
            false => Poll::Pending,
        }
    }
}

/// What a body holds: its whole messages, and the code of the error behind them.
type Read = (Vec<Vec<u8>>, Option<Code>);

/// Reads a stream by the rules of the format, from all of its bytes.
fn naive(mut bytes: &[u8]) -> Read {
    let mut messages = Vec::new();
    loop {
        let Some((prefix, rest)) = bytes.split_first_chunk::<5>() else {
            let cut = !bytes.is_empty();
            return (messages, cut.then_some(Code::InvalidArgument));
        };
        let [flags, length @ ..] = *prefix;
        let length = u32::from_be_bytes(length) as usize;
        if flags != 0 {
            return (messages, Some(Code::InvalidArgument));
        }
        if length > LIMIT {
            return (messages, Some(Code::ResourceExhausted));
        }
        let Some((message, rest)) = rest.split_at_checked(length) else {
            return (messages, Some(Code::InvalidArgument));
        };
        messages.push(message.to_vec());
        bytes = rest;
    }
}

fn body(pieces: &[&[u8]], count: MessageCount) -> CheckedBody<Pieces> {
    let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
    let body = Pieces {
        pieces: pieces.collect(),
        ready: false,
    };
    CheckedBody::new(body, count, LIMIT, None)
}

fn stream(pieces: &[&[u8]]) -> Read {
    let mut source = RequestMessages::new(body(pieces, MessageCount::Any));
    let mut read = Vec::new();
    loop {
        // `next` may be cancelled, which this does whenever nothing is ready.
        match source.next().now_or_never() {
            None => {}
            Some(Ok(Some(message))) => read.push(message.to_vec()),
            Some(Ok(None)) => return (read, None),
            Some(Err(status)) => return (read, Some(status.code())),
        }
    }
}

fn unary(pieces: &[&[u8]]) -> Result<Bytes, Status> {
    let mut only = Box::pin(only_message(body(pieces, MessageCount::One)));
    loop {
        if let Some(read) = only.as_mut().now_or_never() {
            return read;
        }
    }
}

fn check(input: &[u8]) -> Shape {
    let expected = naive(input);
    let shape = Shape::of("messages")
        .with(expected.0.len().min(5))
        .with(expected.1.map_or(99, |code| code as usize));
    for pieces in [vec![input], pieces(input), input.chunks(1).collect()] {
        assert_eq!(stream(&pieces), expected);
        let only = unary(&pieces);
        match (&expected.0[..], expected.1) {
            ([message], None) => assert_eq!(only.unwrap(), message),
            // The first message is whole; whatever follows it is one too many.
            ([_, ..], _) => assert_eq!(only.unwrap_err().code(), Code::InvalidArgument),
            ([], code) => {
                let code = code.unwrap_or(Code::InvalidArgument);
                assert_eq!(only.unwrap_err().code(), code);
            }
        }
    }
    shape
}

#[test]
fn bodies_are_read_alike_however_they_are_cut() {
    Target::new("bodies", Format::Bytes)
        .seeds([
            vec![0, 0, 0, 0, 2, 8, 8],
            vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 3, 1, 2, 3],
            vec![1, 0, 0, 0, 0],
            vec![0, 0, 0, 0, 25],
        ])
        .words([&[0, 0, 0, 0][..], &[0, 0, 0, 0, 24]])
        .len_max(200)
        .run(check);
}
