//! DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION: sections 6.1 to 6.4 and 6.10.

use super::super::wire::{CALL, HEADERS_END, block, data, frame, headers, open, reset, whole};
use super::{Get, check, check_with};
use crate::error_code::ErrorCode as Code;
use crate::frame::{END_HEADERS, END_STREAM, PADDED, PRIORITY, kind};
use crate::limits::Limits;

const PROTOCOL: Get = Get::GoAway(Code::PROTOCOL_ERROR);
const SIZE: Get = Get::GoAway(Code::FRAME_SIZE_ERROR);

/// Section 6.1.
#[test]
fn data_frames() {
    let padded = |padding: u8, rest: &[u8]| {
        let payload = [&[padding][..], rest].concat();
        [open(1), data(PADDED | END_STREAM, 1, &payload)].concat()
    };
    check([
        ("on stream 0", data(0, 0, b"a"), PROTOCOL),
        ("on an even stream", data(0, 2, b"a"), PROTOCOL),
        (
            "empty, at the end",
            [open(1), data(END_STREAM, 1, b"")].concat(),
            Get::Sound,
        ),
        ("padded", padded(3, b"abc\0\0\0"), Get::Sound),
        ("only padding", padded(3, b"\0\0\0"), Get::Sound),
        (
            "padding as long as the payload",
            padded(4, b"\0\0\0"),
            PROTOCOL,
        ),
        (
            "padded, and empty",
            [open(1), data(PADDED, 1, &[])].concat(),
            SIZE,
        ),
        (
            "on a stream that has ended",
            [whole(1), data(0, 1, b"a")].concat(),
            Get::GoAway(Code::STREAM_CLOSED),
        ),
    ]);
}

/// Section 6.2.
#[test]
fn headers_frames() {
    let with = |flags: u8, front: &[u8], back: &[u8]| {
        let payload = [front, &block(CALL), back].concat();
        frame(kind::HEADERS, HEADERS_END | flags, 1, &payload)
    };
    check([
        ("on stream 0", whole(0), PROTOCOL),
        ("padded", with(PADDED, &[2], &[0, 0]), Get::Sound),
        (
            "with a priority",
            with(PRIORITY, &[0, 0, 0, 0, 9], &[]),
            Get::Sound,
        ),
        (
            "both",
            with(PADDED | PRIORITY, &[1, 0, 0, 0, 0, 9], &[0]),
            Get::Sound,
        ),
        (
            "too much padding",
            frame(kind::HEADERS, HEADERS_END | PADDED, 1, &[1]),
            PROTOCOL,
        ),
        (
            "no padding length",
            frame(kind::HEADERS, HEADERS_END | PADDED, 1, &[]),
            SIZE,
        ),
        (
            "too short for the priority",
            frame(kind::HEADERS, HEADERS_END | PRIORITY, 1, &[0; 4]),
            SIZE,
        ),
        (
            "inside a block",
            [headers(0, 1, CALL), whole(1)].concat(),
            PROTOCOL,
        ),
    ]);
}

/// Section 6.3.
#[test]
fn priority_frames() {
    let priority = |stream, length| frame(kind::PRIORITY, 0, stream, &vec![0; length]);
    check([
        ("on stream 0", priority(0, 5), PROTOCOL),
        (
            "of another length",
            [open(1), priority(1, 4)].concat(),
            Get::Reset(1, Code::FRAME_SIZE_ERROR),
        ),
        ("of another length, on an idle stream", priority(1, 6), SIZE),
    ]);
}

/// Section 6.4.
#[test]
fn rst_stream_frames() {
    let of = |stream, length| frame(kind::RST_STREAM, 0, stream, &vec![0; length]);
    check([
        ("on stream 0", of(0, 4), PROTOCOL),
        ("on an idle stream", of(1, 4), PROTOCOL),
        ("too short", [open(1), of(1, 3)].concat(), SIZE),
        ("too long", [open(1), of(1, 5)].concat(), SIZE),
        (
            "on an open stream",
            [open(1), reset(1, 8), whole(3)].concat(),
            Get::Sound,
        ),
    ]);
}

/// Section 6.10.
#[test]
fn continuation_frames() {
    let more = |flags, stream, bytes: &[u8]| frame(kind::CONTINUATION, flags, stream, bytes);
    let call = block(CALL);
    let begin = frame(kind::HEADERS, END_STREAM, 1, &call[..9]);
    check([
        (
            "one",
            [begin.clone(), more(END_HEADERS, 1, &call[9..])].concat(),
            Get::Sound,
        ),
        (
            "several, some of them empty",
            [
                begin.clone(),
                more(0, 1, &call[9..20]),
                more(0, 1, &[]),
                more(0, 1, &call[20..]),
                more(END_HEADERS, 1, &[]),
            ]
            .concat(),
            Get::Sound,
        ),
        ("on stream 0", more(END_HEADERS, 0, &[]), PROTOCOL),
        (
            "behind a whole block",
            [open(1), more(END_HEADERS, 1, &[])].concat(),
            PROTOCOL,
        ),
        (
            "behind the last one",
            [
                begin.clone(),
                more(END_HEADERS, 1, &call[9..]),
                more(END_HEADERS, 1, &[]),
            ]
            .concat(),
            PROTOCOL,
        ),
        (
            "on another stream",
            [begin.clone(), more(END_HEADERS, 3, &[])].concat(),
            PROTOCOL,
        ),
        (
            "behind DATA",
            [open(1), data(0, 1, b"a"), more(4, 1, &[])].concat(),
            PROTOCOL,
        ),
        (
            "other frames between",
            [begin, super::super::wire::ping()].concat(),
            PROTOCOL,
        ),
    ]);
    // The list of a call has 275 bytes.
    let limits = Limits {
        header_frames_max: 4,
        header_bytes_decoded_max: 300,
        ..Limits::DEFAULT
    };
    let calm = Get::GoAway(Code::ENHANCE_YOUR_CALM);
    check_with(
        limits,
        [
            (
                "as many frames as allowed",
                [
                    headers(END_STREAM, 1, CALL),
                    more(0, 1, &[]).repeat(2),
                    more(4, 1, &[]),
                ]
                .concat(),
                Get::Sound,
            ),
            (
                "too many frames",
                [open_block(), more(0, 1, &[]).repeat(4)].concat(),
                calm,
            ),
            (
                "too many bytes",
                [open_block(), more(0, 1, &[0; 300])].concat(),
                calm,
            ),
        ],
    );
}

fn open_block() -> Vec<u8> {
    frame(kind::HEADERS, 0, 1, &[0x83])
}
