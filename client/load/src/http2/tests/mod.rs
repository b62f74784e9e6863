//! The protocol against scripted servers, against random bytes, and against a real server.

mod calls;
mod connection_errors;
mod flow;
mod fuzz_tests;
mod header_compression;

mod live;
mod random;
mod responses;

use soloist_http2::ErrorCode;
use soloist_http2::frame::{
    self, ACK, END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, FrameHeader, PREFACE, kind,
};
use soloist_http2::hpack::put_string;
use tonic::Code;

use crate::http2::config::Config;
use crate::http2::connection::{Connection, Event};
use crate::http2::{Method, Processed};

/// An [`Event`] that owns its message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnedEvent {
    Response(u64, Vec<u8>),
    Failed(u64, Processed, Code, String),
}

impl From<Event<'_>> for OwnedEvent {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Response { tag, message } => Self::Response(tag, message.to_vec()),
            Event::Failed { tag, failure } => {
                Self::Failed(tag, failure.processed, failure.code, failure.message)
            }
        }
    }
}

fn response(tag: u64, message: &[u8]) -> OwnedEvent {
    OwnedEvent::Response(tag, message.to_vec())
}

fn failed(tag: u64, processed: Processed, code: Code, message: &str) -> OwnedEvent {
    OwnedEvent::Failed(tag, processed, code, message.to_owned())
}

/// A frame that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The result of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Transcript {
    events: Vec<OwnedEvent>,
    /// Without the preface, and the SETTINGS and WINDOW_UPDATE that every connection begins with.
    sent: Vec<Frame>,
    closed: Option<String>,
}

impl Transcript {
    fn sent_of(&self, kind: u8) -> Vec<&Frame> {
        self.sent
            .iter()
            .filter(|frame| frame.kind == kind)
            .collect()
    }
}

/// The client side of a conversation.
struct Client {
    connection: Connection,
    method: Method,
    events: Vec<OwnedEvent>,
    sent: Vec<u8>,
}

impl Client {
    fn new(config: Config) -> Self {
        Self {
            connection: Connection::new(config),
            method: Method::new("http", "host", "/s.S/M", &[], None).unwrap(),
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Sends calls with the tags 1, 2, 3 and so on, on the streams 1, 3, 5 and so on.
    fn calls(mut self, count: u64) -> Self {
        for tag in 1..=count {
            self.connection.send(&self.method, tag, b"hello").unwrap();
        }
        self
    }

    fn receive(&mut self, bytes: &[u8]) {
        let events = &mut self.events;
        // If the connection ended, `closed` says so.
        let _ = self
            .connection
            .receive(bytes, |_, event| events.push(event.into()));
        self.take_output();
    }

    fn take_output(&mut self) {
        self.sent.extend_from_slice(self.connection.output());
        let count = self.connection.output().len();
        self.connection.consume(count);
    }

    fn frames(&self) -> Vec<Frame> {
        frames(&self.sent)
    }

    fn end(mut self) -> Transcript {
        self.take_output();
        let sent = self.frames();
        let begin = sent
            .iter()
            .position(|frame| frame.stream != 0 || frame.flags == ACK)
            .unwrap_or(2)
            .min(2);
        Transcript {
            sent: sent[begin..].to_vec(),
            events: self.events,
            closed: self.connection.closed().map(ToString::to_string),
        }
    }
}

fn frames(sent: &[u8]) -> Vec<Frame> {
    let mut rest = sent.strip_prefix(PREFACE).expect("the preface comes first");
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let header = FrameHeader::parse(header);
        let (payload, after) = after.split_at(header.length);
        frames.push(Frame {
            kind: header.kind,
            flags: header.flags,
            stream: header.stream,
            payload: payload.to_vec(),
        });
        rest = after;
    }
    assert!(rest.is_empty(), "an incomplete frame was sent");
    frames
}

/// Sends `bytes` to a client with open calls: in one piece, in two pieces cut at every place, and byte by byte. All
/// ways must have the same result.
fn conversation(config: &Config, calls: u64, bytes: &[u8]) -> Transcript {
    let converse = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut client = Client::new(config.clone()).calls(calls);
        client.take_output();
        for piece in pieces {
            client.receive(piece);
        }
        client.end()
    };
    let whole = converse(&mut [bytes].into_iter());
    // Of long conversations only some 2,000 places: all would take minutes.
    let step = 1 + bytes.len() / 2_000;
    for at in (0..bytes.len()).step_by(step) {
        let (before, after) = bytes.split_at(at);
        assert_eq!(
            converse(&mut [before, after].into_iter()),
            whole,
            "cut at {at}"
        );
    }
    assert_eq!(
        converse(&mut bytes.chunks(step)),
        whole,
        "in pieces of {step}"
    );
    whole
}

// Frames of a server.

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, flags, stream, payload);
    out
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_settings(&mut out, settings);
    out
}

/// The preface of a server: its SETTINGS, here with the acknowledgement of the client's.
fn server_preface() -> Vec<u8> {
    [settings(&[]), frame(kind::SETTINGS, ACK, 0, &[])].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        put_string(&mut block, name.as_bytes());
        put_string(&mut block, value.as_bytes());
    }
    block
}

const OK_HEADERS: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];
const OK_TRAILERS: &[(&str, &str)] = &[("grpc-status", "0")];

fn headers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &block(fields))
}

/// A header block that ends the stream: trailers, or Trailers-Only.
fn last_headers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(
        kind::HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &block(fields),
    )
}

fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, 0, stream, payload)
}

/// A message with its length prefix.
fn message(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

fn ok(stream: u32, text: &[u8]) -> Vec<u8> {
    let payload = message(text);
    let frames = payload
        .chunks(frame::PAYLOAD_MAX)
        .flat_map(|chunk| data(stream, chunk))
        .collect();
    [
        headers(stream, OK_HEADERS),
        frames,
        last_headers(stream, OK_TRAILERS),
    ]
    .concat()
}

fn reset(stream: u32, reason: ErrorCode) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &reason.0.to_be_bytes())
}

fn goaway(last: u32, reason: ErrorCode, text: &str) -> Vec<u8> {
    let payload = [
        &last.to_be_bytes()[..],
        &reason.0.to_be_bytes(),
        text.as_bytes(),
    ]
    .concat();
    frame(kind::GOAWAY, 0, 0, &payload)
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}
