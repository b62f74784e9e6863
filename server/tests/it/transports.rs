//! Both transports say the same: the same bytes, valid, odd and broken, are sent to a server with each, and what comes back is compared.
//!
//! Where they may differ, [`DIFFERENCES`] says why.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use soloist_http2::ErrorCode;
use soloist_http2::frame::{
    ACK, END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, FrameHeader, PADDED, PREFACE, PRIORITY, kind,
};
use soloist_http2::hpack::{Decoder, Unclassified, put_integer, put_string};
use soloist_server::config::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::TestServer;

/// Cases in which what comes back differs, and why that is as well.
const DIFFERENCES: &[(&str, &str)] = &[
    ("a method that is none", MALFORMED),
    ("a name in capitals", MALFORMED),
    ("a name with a blank", MALFORMED),
    ("a name with a bracket", MALFORMED),
    ("a value with a control character", MALFORMED),
    ("an unknown pseudo-header", MALFORMED),
    ("trailers with a broken name", MALFORMED),
    (
        "trailers with a pseudo-header",
        "they are malformed (section 8.1), which h2 does not look at",
    ),
    (
        "data after the end",
        "it depends on whether the call is answered by then (section 5.1)",
    ),
    ("a short window update", CODE),
    ("settings with half a setting", CODE),
    ("an acknowledgement with a payload", CODE),
    ("an initial window that is too large", CODE),
    ("a short ping", CODE),
    ("an index that is too large", CODE),
    ("index 0", CODE),
];

/// Why a request with broken fields loses its stream with the own transport, and its connection with hyper.
const MALFORMED: &str =
    "RFC 9113 makes it an error of the stream (section 8.1.1), and h2 one of the connection";

/// Why a broken frame ends the connection with different codes.
const CODE: &str = "RFC 9113 and RFC 7541 name this code, and h2 says PROTOCOL_ERROR to all";

const LONG: Duration = Duration::from_secs(30);

const READ: &str = "/soloist.v1.State/Read";
const WRITE: &str = "/soloist.v1.State/Write";
const PIPELINE: &str = "/soloist.v1.State/Pipeline";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// The ping that is sent last: when its answer has come, whatever was sent has been looked at.
const LAST: &[u8; 8] = b"the last";

/// What came back on one stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Heads and trailers, each sorted.
    blocks: Vec<Vec<(String, String)>>,
    data: Vec<u8>,
    reset: Option<ErrorCode>,
    has_ended: bool,
}

/// What came back on a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Conversation {
    streams: BTreeMap<u32, Answer>,
    /// The code of the last GOAWAY.
    goaway: Option<ErrorCode>,
    /// Whether the server has closed the connection before the ping was answered.
    closed: bool,
}

/// What is sent, and the streams whose ends are waited for.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    [&header.bytes()[..], payload].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        put_integer(&mut block, 0, 4, 0);
        put_string(&mut block, name.as_bytes());
        put_string(&mut block, value.as_bytes());
    }
    block
}

/// The fields of a call, with others instead of some and behind them. An empty value leaves a field out.
fn fields<'a>(path: &'a str, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    for (name, value) in changes {
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

fn head(stream: u32, path: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let block = block(&fields(path, changes));
    frame(kind::HEADERS, END_HEADERS, stream, &block)
}

fn message(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

fn end(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, END_STREAM, stream, bytes)
}

/// A whole call.
fn call(stream: u32, path: &str, changes: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    [head(stream, path, changes), end(stream, body)].concat()
}

/// Reads key "k".
fn read() -> Vec<u8> {
    message(&[0x0a, 1, b'k'])
}

/// Writes 1 to key "k".
fn write() -> Vec<u8> {
    message(&[0x0a, 1, b'k', 0x22, 2, 0x08, 1])
}

fn case(name: &'static str, ends: &[u32], parts: &[Vec<u8>]) -> Case {
    Case {
        name,
        bytes: parts.concat(),
        ends: ends.into(),
    }
}

/// Calls, as clients make them, and as none does.
fn calls() -> Vec<Case> {
    let nothing = message(&[]);
    let two = [read(), read()].concat();
    let unary =
        |name, path, changes: &[_], body: &[u8]| case(name, &[1], &[call(1, path, changes, body)]);
    vec![
        unary("a read", READ, &[], &read()),
        unary("a write", WRITE, &[], &write()),
        unary("a read of what was written", READ, &[], &read()),
        unary("a health check", HEALTH, &[], &nothing),
        unary("a pipeline without frames", PIPELINE, &[], &[]),
        unary("a pipeline with an empty frame", PIPELINE, &[], &nothing),
        unary("an unknown method", "/soloist.v1.State/Reed", &[], &nothing),
        unary("an unknown service", "/soloist.v1.Stat/Read", &[], &nothing),
        unary("a path without a method", "/soloist", &[], &nothing),
        unary("a path that is no path", "soloist", &[], &nothing),
        unary(
            "a path with a query",
            "/soloist.v1.State/Read?a=b",
            &[],
            &read(),
        ),
        unary(
            "a path with a blank",
            "/soloist.v1.State/Read ",
            &[],
            &read(),
        ),
        unary("a path with blanks inside", "/a b/c", &[], &read()),
        unary(
            "the path of OPTIONS",
            "*",
            &[(":method", "OPTIONS")],
            &read(),
        ),
        unary("a GET", READ, &[(":method", "GET")], &read()),
        unary(
            "a method that is none",
            READ,
            &[(":method", "P(ST")],
            &read(),
        ),
        unary("another scheme", READ, &[(":scheme", "ftp")], &read()),
        unary("no authority", READ, &[(":authority", "")], &read()),
        unary("no te", READ, &[("te", "")], &read()),
        unary("another te", READ, &[("te", "gzip")], &read()),
        unary("no content type", READ, &[("content-type", "")], &read()),
        unary(
            "JSON",
            READ,
            &[("content-type", "application/json")],
            &read(),
        ),
        unary(
            "proto",
            READ,
            &[("content-type", "application/grpc+proto")],
            &read(),
        ),
        unary(
            "a codec",
            READ,
            &[("content-type", "application/grpc+json")],
            &read(),
        ),
        unary(
            "a parameter",
            READ,
            &[("content-type", "application/grpc;a=b")],
            &read(),
        ),
        unary(
            "grpc-web",
            READ,
            &[("content-type", "application/grpc-web")],
            &read(),
        ),
        unary("gzip", READ, &[("grpc-encoding", "gzip")], &read()),
        unary("identity", READ, &[("grpc-encoding", "identity")], &read()),
        unary(
            "metadata",
            READ,
            &[("a-key", "a value"), ("a-bin", "AAEC")],
            &read(),
        ),
        unary("a name in capitals", READ, &[("A-Key", "a")], &read()),
        unary("a name with a blank", READ, &[("a key", "a")], &read()),
        unary("a name with a bracket", READ, &[("a(key", "a")], &read()),
        unary(
            "a value with a control character",
            READ,
            &[("key", "a\u{1}b")],
            &read(),
        ),
        unary("a value beyond ASCII", READ, &[("key", "\u{e9}")], &read()),
        unary(
            "a field of HTTP/1",
            READ,
            &[("connection", "close")],
            &read(),
        ),
        unary("an unknown pseudo-header", READ, &[(":a", "b")], &read()),
        unary(
            "a timeout of none",
            READ,
            &[("grpc-timeout", "0n")],
            &read(),
        ),
        unary(
            "a long timeout",
            READ,
            &[("grpc-timeout", "99999999H")],
            &read(),
        ),
        unary(
            "a timeout that is none",
            READ,
            &[("grpc-timeout", "soon")],
            &read(),
        ),
        unary(
            "a token that nobody asks for",
            READ,
            &[("authorization", "Bearer a")],
            &read(),
        ),
        unary("direct", READ, &[("soloist-direct", "1")], &read()),
        unary("no message", READ, &[], &[]),
        unary("an empty message", READ, &[], &nothing),
        unary("two messages", READ, &[], &two),
        unary("part of a prefix", READ, &[], &[0, 0]),
        unary("part of a message", READ, &[], &[0, 0, 0, 0, 9, 8]),
        unary("a compressed message", READ, &[], &[1, 0, 0, 0, 0]),
        unary(
            "a message that is too large",
            READ,
            &[],
            &[0, 255, 255, 255, 255],
        ),
        unary("no message of protobuf", READ, &[], &message(&[255; 3])),
        unary(
            "a content-length",
            READ,
            &[("content-length", "8")],
            &read(),
        ),
        unary(
            "a content-length that is too short",
            READ,
            &[("content-length", "7")],
            &read(),
        ),
        unary(
            "a content-length that is too long",
            READ,
            &[("content-length", "9")],
            &read(),
        ),
        unary(
            "a content-length that is none",
            READ,
            &[("content-length", "a")],
            &read(),
        ),
        unary(
            "a header list that is too large",
            READ,
            &[("a", &"a".repeat(16 << 10))],
            &read(),
        ),
    ]
}

/// The name of a case, the streams whose ends are waited for, and the frames.
type Parts<'a> = (&'static str, &'a [u32], Vec<Vec<u8>>);

/// Streams and frames.
fn frames() -> Vec<Case> {
    let (headers, data) = (kind::HEADERS, kind::DATA);
    let whole = block(&fields(READ, &[]));
    let (front, rest) = whole.split_at(20);
    let trailers = |fields: &[_]| frame(headers, END_HEADERS | END_STREAM, 1, &block(fields));
    let padded = [&[3][..], &read(), &[0; 3]].concat();
    let last = [&[0, 0, 0, 0, 9][..], &whole].concat();
    let itself = [&[0, 0, 0, 1, 9][..], &whole].concat();
    let one = || call(1, READ, &[], &read());
    let cases: Vec<Parts<'_>> = vec![
        (
            "two calls",
            &[1, 3],
            vec![one(), call(3, READ, &[], &read())],
        ),
        (
            "a head that ends the request",
            &[1],
            vec![frame(headers, END_HEADERS | END_STREAM, 1, &whole)],
        ),
        (
            "a body in parts",
            &[1],
            vec![
                head(1, READ, &[]),
                frame(data, 0, 1, &read()[..3]),
                end(1, &read()[3..]),
            ],
        ),
        (
            "a body with an empty end",
            &[1],
            vec![head(1, READ, &[]), frame(data, 0, 1, &read()), end(1, &[])],
        ),
        (
            "trailers",
            &[1],
            vec![
                head(1, READ, &[]),
                frame(data, 0, 1, &read()),
                trailers(&[("a", "b")]),
            ],
        ),
        (
            "trailers with a pseudo-header",
            &[1],
            vec![head(1, READ, &[]), trailers(&[(":path", "/")])],
        ),
        (
            "trailers with a broken name",
            &[1],
            vec![head(1, READ, &[]), trailers(&[("a(", "b")])],
        ),
        (
            "trailers without an end",
            &[1],
            vec![
                head(1, READ, &[]),
                frame(headers, END_HEADERS, 1, &block(&[("a", "b")])),
            ],
        ),
        (
            "padding",
            &[1],
            vec![
                head(1, READ, &[]),
                frame(data, END_STREAM | PADDED, 1, &padded),
            ],
        ),
        (
            "only padding",
            &[1],
            vec![
                head(1, READ, &[]),
                frame(data, END_STREAM | PADDED, 1, &[2, 0, 0]),
            ],
        ),
        (
            "too much padding",
            &[],
            vec![
                head(1, READ, &[]),
                frame(data, END_STREAM | PADDED, 1, &[9, 0]),
            ],
        ),
        (
            "a continuation",
            &[1],
            vec![
                frame(headers, 0, 1, front),
                frame(kind::CONTINUATION, END_HEADERS, 1, rest),
                end(1, &read()),
            ],
        ),
        (
            "a frame inside a header block",
            &[],
            vec![frame(headers, 0, 1, front), end(1, &read())],
        ),
        (
            "a priority",
            &[1],
            vec![
                frame(headers, END_HEADERS | PRIORITY, 1, &last),
                end(1, &read()),
            ],
        ),
        (
            "a stream that depends on itself",
            &[1],
            vec![frame(headers, END_HEADERS | PRIORITY, 1, &itself)],
        ),
        ("an even stream", &[], vec![call(2, READ, &[], &read())]),
        (
            "a stream that was left out",
            &[3],
            vec![call(3, READ, &[], &read()), one()],
        ),
        ("data on stream 0", &[], vec![end(0, &read())]),
        (
            "data on a stream that never was",
            &[],
            vec![end(7, &read())],
        ),
        ("data after the end", &[], vec![one(), end(1, &read())]),
        (
            "an unknown frame",
            &[1],
            vec![frame(99, 0, 0, &[1, 2, 3]), one()],
        ),
        (
            "a push from a client",
            &[],
            vec![frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
        ),
        (
            "a window of nothing",
            &[],
            vec![frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])],
        ),
        (
            "a window that is too large",
            &[],
            vec![frame(kind::WINDOW_UPDATE, 0, 0, &[127, 255, 255, 255])],
        ),
        (
            "a short window update",
            &[],
            vec![frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3])],
        ),
        (
            "settings with half a setting",
            &[],
            vec![frame(kind::SETTINGS, 0, 0, &[0; 5])],
        ),
        (
            "settings of a stream",
            &[],
            vec![frame(kind::SETTINGS, 0, 1, &[])],
        ),
        (
            "an acknowledgement with a payload",
            &[],
            vec![frame(kind::SETTINGS, ACK, 0, &[0; 6])],
        ),
        (
            "a frame size that is too small",
            &[],
            vec![frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])],
        ),
        (
            "an initial window that is too large",
            &[],
            vec![frame(kind::SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255])],
        ),
        (
            "a setting that nobody knows",
            &[1],
            vec![frame(kind::SETTINGS, 0, 0, &[9, 9, 0, 0, 0, 1]), one()],
        ),
        (
            "a small table",
            &[1],
            vec![frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]), one()],
        ),
        ("a short ping", &[], vec![frame(kind::PING, 0, 0, &[0; 7])]),
        (
            "a reset of a stream that never was",
            &[],
            vec![frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])],
        ),
        (
            "a reset",
            &[3],
            vec![
                head(1, PIPELINE, &[]),
                frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]),
                call(3, READ, &[], &read()),
            ],
        ),
        (
            "an index that is too large",
            &[],
            vec![frame(
                headers,
                END_HEADERS | END_STREAM,
                1,
                &[0xff, 0xff, 1],
            )],
        ),
        (
            "index 0",
            &[],
            vec![frame(headers, END_HEADERS | END_STREAM, 1, &[0x80])],
        ),
        (
            "a frame that is too large",
            &[],
            vec![frame(data, 0, 1, &[0; 16_385])],
        ),
        (
            "a goodbye",
            &[1],
            vec![frame(kind::GOAWAY, 0, 0, &[0; 8]), one()],
        ),
    ];
    let cases = cases.into_iter();
    cases
        .map(|(name, ends, parts)| case(name, ends, &parts))
        .collect()
}

/// The details of an error have a map, whose order is another each time.
fn without_order((name, value): &mut (String, String)) {
    if name == "grpc-status-details-bin" {
        let mut bytes = STANDARD_NO_PAD.decode(&*value).unwrap();
        bytes.sort_unstable();
        *value = format!("{bytes:?}");
    }
}

/// Reads frames until the last ping and these streams are answered, or the connection ends.
async fn converse(addr: SocketAddr, case: &Case) -> Conversation {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat();
    socket.write_all(&hello).await.unwrap();
    // It may be closed before everything is sent.
    let bytes = [&case.bytes[..], &frame(kind::PING, 0, 0, LAST)].concat();
    let _ = socket.write_all(&bytes).await;
    let mut seen = Conversation::default();
    let mut decoder: Decoder<()> = Decoder::new(4_096, 1 << 20);
    let mut is_answered = false;
    let ends = |seen: &Conversation| {
        let ended = |stream| seen.streams.get(stream).is_some_and(|of| of.has_ended);
        case.ends.iter().all(ended)
    };
    while !(is_answered && ends(&seen)) {
        let mut header = [0; FRAME_HEADER_BYTES];
        if socket.read_exact(&mut header).await.is_err() {
            seen.closed = true;
            break;
        }
        let header = FrameHeader::parse(&header);
        let mut payload = vec![0; header.length];
        if socket.read_exact(&mut payload).await.is_err() {
            seen.closed = true;
            break;
        }
        let code = |at: usize| {
            let code = payload[at..].first_chunk().unwrap();
            ErrorCode(u32::from_be_bytes(*code))
        };
        match header.kind {
            kind::PING => is_answered |= payload == LAST,
            kind::GOAWAY => seen.goaway = Some(code(4)),
            kind::HEADERS | kind::DATA | kind::RST_STREAM => {
                let answer = seen.streams.entry(header.stream).or_default();
                match header.kind {
                    kind::DATA => answer.data.extend_from_slice(&payload),
                    kind::RST_STREAM => {
                        answer.reset = Some(code(0));
                        answer.has_ended = true;
                    }
                    _ => {
                        assert!(header.has(END_HEADERS), "short blocks");
                        let mut fields = Vec::new();
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        decoder
                            .decode(&payload, &Unclassified, |(), name, value| {
                                fields.push((text(name), text(value)));
                            })
                            .unwrap();
                        fields.iter_mut().for_each(without_order);
                        fields.sort();
                        answer.blocks.push(fields);
                    }
                }
                let is_last = header.kind != kind::RST_STREAM && header.has(END_STREAM);
                answer.has_ended |= is_last;
            }
            _ => {}
        }
    }
    seen
}

#[tokio::test]
async fn the_same_bytes_have_the_same_answers_over_both_transports() {
    let server = |transport| TestServer::with(|config| config.transport.transport = transport);
    let (hyper, own) = (server(Transport::Hyper), server(Transport::Own));
    let mut different = Vec::new();
    let cases: Vec<_> = calls().into_iter().chain(frames()).collect();
    let count = cases.len();
    for case in cases {
        let of = |addr| timeout(LONG, converse(addr, &case));
        let (by_hyper, by_own) = (of(hyper.addr()).await, of(own.addr()).await);
        let name = case.name;
        let known = DIFFERENCES.iter().find(|(of, _)| *of == name);
        match known {
            None if by_hyper != by_own => {
                different.push(format!("{name}:\n  hyper {by_hyper:?}\n  own   {by_own:?}"))
            }
            None => {}
            Some((_, why)) => println!("{name} differs, because {why}: {by_own:?}"),
        }
    }
    println!("{count} cases");
    assert!(different.is_empty(), "{}", different.join("\n"));
}
