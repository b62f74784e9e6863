//! The beginning of a connection, and its end: sections 3.4 (3.5 of RFC 7540), 5.4.1, 5.5, 7.

use super::super::wire::{
    CALL, beginning, data, frame, headers, open, ping, reset, settings, whole,
};
use super::{Get, check, check_from};
use crate::error_code::ErrorCode;
use crate::frame::{ACK, END_HEADERS, PREFACE, kind};
use crate::limits::Limits;

/// Section 3.4.
#[test]
fn the_preface() {
    let bad = Get::GoAway(ErrorCode::PROTOCOL_ERROR);
    let after = |bytes: Vec<u8>| [PREFACE, &bytes].concat();
    for (what, bytes, get) in [
        ("the preface and SETTINGS", after(settings(&[])), Get::Sound),
        (
            "another preface",
            b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(),
            bad,
        ),
        (
            "HTTP/1.1",
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            bad,
        ),
        (
            "a preface that ends differently",
            [&PREFACE[..23], b"\r"].concat(),
            bad,
        ),
        ("PING instead of SETTINGS", after(ping()), bad),
        ("HEADERS instead of SETTINGS", after(whole(1)), bad),
        (
            "an ACK instead of SETTINGS",
            after(frame(kind::SETTINGS, ACK, 0, &[])),
            bad,
        ),
    ] {
        check_from(Limits::DEFAULT, what, &bytes, get);
    }
}

/// Section 5.4.1: after an error nothing is answered any more, and GOAWAY names the last stream that was taken.
#[test]
fn a_connection_error_is_the_end() {
    let mut talk = super::super::talk::Talk::new(Limits::DEFAULT);
    talk.answer = Some(Vec::new());
    let broken = frame(kind::PING, 0, 0, &[0; 6]);
    talk.receive(&[beginning(), whole(5), broken, whole(7), ping()].concat());
    assert_eq!(talk.failure(), Some(ErrorCode::FRAME_SIZE_ERROR));
    let frames = talk.frames();
    let goaway = frames.last().unwrap();
    assert_eq!(
        (goaway.kind, &goaway.payload[..8]),
        (kind::GOAWAY, &[0, 0, 0, 5, 0, 0, 0, 6][..])
    );
    assert!(!frames.iter().any(|frame| frame.stream == 7));
    talk.receive(&ping());
    assert!(talk.connection.is_over() && talk.frames().is_empty());
}

/// Section 5.5.
#[test]
fn extensions() {
    let unknown = |stream| frame(0xfe, 0xff, stream, &[7; 8]);
    check([
        ("a frame of an unknown type", unknown(0), Get::Sound),
        (
            "one on a stream",
            [open(1), unknown(1)].concat(),
            Get::Sound,
        ),
        ("one on a stream that is idle", unknown(9), Get::Sound),
        (
            "one inside a header block",
            [frame(kind::HEADERS, 0, 1, &[0x83]), unknown(0)].concat(),
            Get::GoAway(ErrorCode::PROTOCOL_ERROR),
        ),
        (
            "a setting that is unknown",
            settings(&[(0xfe, 7)]),
            Get::Sound,
        ),
    ]);
}

/// Section 7: codes that are unknown mean nothing in particular.
#[test]
fn error_codes() {
    check([
        (
            "RST_STREAM with an unknown code",
            [open(1), reset(1, 0xff)].concat(),
            Get::Sound,
        ),
        (
            "GOAWAY with an unknown code",
            frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]),
            Get::Sound,
        ),
        (
            "a request after GOAWAY",
            [frame(kind::GOAWAY, 0, 0, &[0; 8]), whole(1)].concat(),
            Get::Sound,
        ),
    ]);
}

/// Section 4.1 and 4.2, and 4.3: frames and header blocks.
#[test]
fn formats() {
    use ErrorCode as Code;
    let flagged = frame(kind::PING, 0xfe, 0, b"question");
    let reserved = {
        let mut ping = ping();
        ping[5] |= 0x80;
        ping
    };
    let too_long = |kind, stream| frame(kind, 0, stream, &vec![0; 16_385]);
    let part = frame(kind::HEADERS, 0, 1, &[0x83]);
    check([
        ("4.1: flags that are not defined", flagged, Get::Sound),
        (
            "4.1: the same of HEADERS",
            headers(0xd2 | END_HEADERS, 1, CALL),
            Get::Sound,
        ),
        (
            "4.1: the same of DATA",
            [open(1), data(0xf6, 1, b"a")].concat(),
            Get::Sound,
        ),
        ("4.1: the reserved bit of a stream", reserved, Get::Sound),
        (
            "4.2: DATA of the largest size",
            [open(1), data(0, 1, &[0; 16_384])].concat(),
            Get::Sound,
        ),
        (
            "4.2: DATA above the largest size",
            [open(1), too_long(kind::DATA, 1)].concat(),
            Get::GoAway(Code::FRAME_SIZE_ERROR),
        ),
        (
            "4.2: HEADERS above it",
            too_long(kind::HEADERS, 1),
            Get::GoAway(Code::FRAME_SIZE_ERROR),
        ),
        (
            "4.2: one of an unknown type",
            too_long(0xfe, 0),
            Get::GoAway(Code::FRAME_SIZE_ERROR),
        ),
        (
            "4.3: a block that cannot be decoded",
            frame(kind::HEADERS, END_HEADERS, 1, &[0x80]),
            Get::GoAway(Code::COMPRESSION_ERROR),
        ),
        (
            "4.3: PRIORITY inside a block",
            [part.clone(), frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 9])].concat(),
            Get::GoAway(Code::PROTOCOL_ERROR),
        ),
        (
            "4.3: HEADERS of another stream inside a block",
            [part, open(3)].concat(),
            Get::GoAway(Code::PROTOCOL_ERROR),
        ),
        (
            "HPACK 2.3.3: an index beyond the table",
            frame(kind::HEADERS, END_HEADERS, 1, &[0xbe]),
            Get::GoAway(Code::COMPRESSION_ERROR),
        ),
        (
            "HPACK 4.2: the table's size behind a field",
            frame(kind::HEADERS, END_HEADERS, 1, &[0x83, 0x20]),
            Get::GoAway(Code::COMPRESSION_ERROR),
        ),
        (
            "HPACK 5.2: the symbol EOS",
            frame(
                kind::HEADERS,
                END_HEADERS,
                1,
                &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
            ),
            Get::GoAway(Code::COMPRESSION_ERROR),
        ),
        (
            "HPACK 6.3: a size above SETTINGS",
            frame(kind::HEADERS, END_HEADERS, 1, &[0x3f, 0xe2, 0x1f]),
            Get::GoAway(Code::COMPRESSION_ERROR),
        ),
    ]);
}
