//! One end of a conversation: a connection with a user that writes down what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::wire::{Frame, beginning, frames};
use crate::connection::{Connection, Event, Side, StreamKey, Then};
use crate::error_code::ErrorCode;
use crate::fields::{Route, Routes};
use crate::frame::kind;
use crate::header_block::HeaderBlock;
use crate::limits::Limits;

/// An event with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Request(u32, Then),
    Data(u32, Vec<u8>, Then),
    Trailers(u32),
    Reset(u32, ErrorCode, Side),
    Writable(u32),
    Pong([u8; 8]),
    GoAway(ErrorCode),
    Failed(ErrorCode, String),
}

pub(crate) struct Talk {
    pub(crate) connection: Connection,
    pub(crate) seen: Vec<Seen>,
    /// The open streams by their ids, as far as the user was told.
    pub(crate) keys: BTreeMap<u32, StreamKey>,
    /// All that was written.
    pub(crate) sent: Vec<u8>,
    pub(crate) now: Duration,
    /// Whether whole requests are answered at once, with this as the body.
    pub(crate) answer: Option<Vec<u8>>,
    /// Whether the output is written.
    pub(crate) reads: bool,
}

pub(crate) fn routes() -> Arc<Routes> {
    Arc::new(Routes::new([("/s/M", Route(1)), ("/s/N", Route(2))]))
}

pub(crate) fn answer_head() -> HeaderBlock {
    HeaderBlock::new([(":status", "200"), ("content-type", "application/grpc")])
}

pub(crate) fn ok() -> HeaderBlock {
    HeaderBlock::new([("grpc-status", "0")])
}

impl Talk {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            connection: Connection::new(limits, routes(), Duration::ZERO),
            seen: Vec::new(),
            keys: BTreeMap::new(),
            sent: Vec::new(),
            now: Duration::ZERO,
            answer: None,
            reads: true,
        }
    }

    /// A conversation behind its beginning, of which nothing is kept.
    pub(crate) fn begun(limits: Limits) -> Self {
        let mut talk = Self::new(limits);
        talk.receive(&beginning());
        assert!(talk.connection.has_begun() && talk.seen.is_empty());
        talk.sent.clear();
        talk
    }

    /// Hands over bytes, and takes every event. Returns how many bytes were not taken.
    pub(crate) fn receive(&mut self, mut bytes: &[u8]) -> usize {
        loop {
            while let Some(event) = self.connection.next(&mut bytes, self.now) {
                let seen = owned(event, &mut self.keys);
                self.act(&seen);
                self.seen.push(seen);
            }
            if self.reads {
                self.write();
            }
            let is_stuck = !self.connection.output().is_empty();
            if bytes.is_empty() || is_stuck {
                return bytes.len();
            }
        }
    }

    fn act(&mut self, seen: &Seen) {
        let (Seen::Request(id, then) | Seen::Data(id, _, then)) = seen else {
            return;
        };
        if let Seen::Data(_, data, _) = seen {
            self.connection.consumed(self.keys[id], data.len());
        }
        if let Some(answer) = &self.answer
            && *then == Then::End
        {
            let key = self.keys[id];
            let taken = self.connection.respond(key, &answer_head(), answer, &ok());
            if taken == Ok(answer.len()) {
                self.keys.remove(id);
            }
        }
    }

    /// Writes the output.
    pub(crate) fn write(&mut self) {
        let count = self.connection.output().len();
        self.sent.extend_from_slice(self.connection.output());
        self.connection.wrote(count);
    }

    /// The frames that were written since the last call.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        self.write();
        frames(&std::mem::take(&mut self.sent))
    }

    /// The error with which the connection has ended.
    pub(crate) fn failure(&self) -> Option<ErrorCode> {
        match self.seen.last() {
            Some(Seen::Failed(code, _)) => Some(*code),
            _ => None,
        }
    }

    /// The codes of the resets that were written on a stream.
    pub(crate) fn resets(&mut self, stream: u32) -> Vec<ErrorCode> {
        let frames = self.frames().into_iter();
        let resets =
            frames.filter(|frame| frame.kind == kind::RST_STREAM && frame.stream == stream);
        resets
            .map(|frame| ErrorCode(u32::from_be_bytes(frame.payload.try_into().unwrap())))
            .collect()
    }
}

/// Copies an event, and keeps account of the streams.
pub(crate) fn owned(event: Event<'_>, keys: &mut BTreeMap<u32, StreamKey>) -> Seen {
    match event {
        Event::Request { stream, then, .. } => {
            assert!(keys.insert(stream.id(), stream).is_none());
            Seen::Request(stream.id(), then)
        }
        Event::Data { stream, data, then } => {
            assert_eq!(keys.get(&stream.id()), Some(&stream));
            Seen::Data(stream.id(), data.to_vec(), then)
        }
        Event::Trailers { stream, .. } => Seen::Trailers(stream.id()),
        Event::Reset { stream, code, by } => {
            assert_eq!(keys.remove(&stream.id()), Some(stream));
            Seen::Reset(stream.id(), code, by)
        }
        Event::Writable { stream } => {
            assert_eq!(keys.get(&stream.id()), Some(&stream));
            Seen::Writable(stream.id())
        }
        Event::Pong { payload } => Seen::Pong(payload),
        Event::GoAway { code } => Seen::GoAway(code),
        Event::Failed(error) => Seen::Failed(error.code, error.text),
    }
}
