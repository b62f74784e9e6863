//! What a client puts on the wire, by hand.

use crate::frame::{self, ACK, END_HEADERS, END_STREAM, FrameHeader, PREFACE, kind};
use crate::hpack::put_string;

pub(crate) const HEADERS_END: u8 = END_HEADERS | END_STREAM;

pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

/// The head of a call.
pub(crate) const CALL: Pairs<'static> = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/s/M"),
    (":authority", "host"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
];

/// A frame, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The frames of what was sent, which must be whole.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = FrameHeader::parse(header);
        let (payload, rest) = rest.split_at(header.length);
        frames.push(Frame {
            kind: header.kind,
            flags: header.flags,
            stream: header.stream,
            payload: payload.to_vec(),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a frame is cut off");
    frames
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, flags, stream, payload);
    out
}

/// Fields as literals that enter no table.
pub(crate) fn block(fields: Pairs<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        put_string(&mut block, name.as_bytes());
        put_string(&mut block, value.as_bytes());
    }
    block
}

pub(crate) fn headers(flags: u8, stream: u32, fields: Pairs<'_>) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &block(fields))
}

/// A call whose body follows.
pub(crate) fn open(stream: u32) -> Vec<u8> {
    headers(END_HEADERS, stream, CALL)
}

/// A call without a body.
pub(crate) fn whole(stream: u32) -> Vec<u8> {
    headers(HEADERS_END, stream, CALL)
}

pub(crate) fn data(flags: u8, stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_settings(&mut out, settings);
    out
}

pub(crate) fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, b"question")
}

/// What every client begins with: the preface, SETTINGS, and the ACK of the server's.
pub(crate) fn beginning() -> Vec<u8> {
    [PREFACE, &settings(&[]), &frame(kind::SETTINGS, ACK, 0, &[])].concat()
}
