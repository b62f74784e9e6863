//! The states of streams: sections 5.1, 5.1.1, 5.1.2, and 5.3.1 of RFC 7540.

use super::super::wire::{
    CALL, HEADERS_END, block, data, frame, headers, open, reset, settings, whole, window_update,
};
use super::{Get, check, check_with};
use crate::error_code::ErrorCode as Code;
use crate::frame::{END_HEADERS, END_STREAM, PRIORITY, kind, setting};
use crate::limits::Limits;

const PROTOCOL: Get = Get::GoAway(Code::PROTOCOL_ERROR);
const CLOSED: Get = Get::GoAway(Code::STREAM_CLOSED);

/// Section 5.1, idle: HEADERS and PRIORITY only.
#[test]
fn idle() {
    let continuation = frame(kind::CONTINUATION, END_HEADERS, 1, &[]);
    check([
        ("DATA", data(0, 1, b"a"), PROTOCOL),
        ("RST_STREAM", reset(1, 8), PROTOCOL),
        ("WINDOW_UPDATE", window_update(1, 100), PROTOCOL),
        ("CONTINUATION", continuation, PROTOCOL),
        (
            "PRIORITY",
            frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 9]),
            Get::Sound,
        ),
    ]);
}

/// Section 5.1, half-closed (remote): the request is whole, and its answer is not, for want of a window.
#[test]
fn half_closed() {
    let get = Get::Reset(1, Code::STREAM_CLOSED);
    let after = |bytes: Vec<u8>| {
        let no_window = settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
        [no_window, whole(1), bytes].concat()
    };
    check([
        ("DATA", after(data(0, 1, b"a")), get),
        ("HEADERS", after(whole(1)), get),
        (
            "CONTINUATION",
            after(frame(kind::CONTINUATION, 4, 1, &[])),
            PROTOCOL,
        ),
        ("WINDOW_UPDATE", after(window_update(1, 100)), Get::Sound),
        (
            "PRIORITY",
            after(frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
            Get::Sound,
        ),
        ("RST_STREAM", after(reset(1, 8)), Get::Sound),
    ]);
}

/// Section 5.1, closed by the client's RST_STREAM.
#[test]
fn closed_by_a_reset() {
    let after = |bytes: Vec<u8>| [open(1), reset(1, 8), bytes].concat();
    check([
        ("DATA", after(data(0, 1, b"a")), CLOSED),
        (
            "HEADERS",
            after(headers(HEADERS_END, 1, &[("a", "b")])),
            CLOSED,
        ),
        (
            "CONTINUATION",
            after(frame(kind::CONTINUATION, 4, 1, &[])),
            PROTOCOL,
        ),
        ("WINDOW_UPDATE", after(window_update(1, 1)), Get::Sound),
        ("RST_STREAM", after(reset(1, 8)), Get::Sound),
        (
            "PRIORITY",
            after(frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
            Get::Sound,
        ),
    ]);
}

/// Section 5.1, closed by both ends: the request was whole, and so was the answer.
#[test]
fn closed_by_both() {
    let after = |bytes: Vec<u8>| [whole(1), bytes].concat();
    check([
        ("DATA", after(data(0, 1, b"a")), CLOSED),
        ("HEADERS", after(whole(1)), CLOSED),
        (
            "CONTINUATION",
            after(frame(kind::CONTINUATION, 4, 1, &[])),
            PROTOCOL,
        ),
        ("WINDOW_UPDATE", after(window_update(1, 1)), Get::Sound),
        ("RST_STREAM", after(reset(1, 8)), Get::Sound),
        (
            "PRIORITY",
            after(frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
            Get::Sound,
        ),
    ]);
}

/// Section 5.1, closed by this side's RST_STREAM: what was under way is ignored.
#[test]
fn closed_by_this_side() {
    let get = Get::Reset(1, Code::PROTOCOL_ERROR);
    let after = |bytes: Vec<u8>| [open(1), window_update(1, 0), bytes].concat();
    check([
        ("DATA", after(data(0, 1, b"a")), get),
        (
            "trailers",
            after(headers(HEADERS_END, 1, &[("a", "b")])),
            get,
        ),
        ("WINDOW_UPDATE", after(window_update(1, 0)), get),
        ("RST_STREAM", after(reset(1, 8)), get),
        ("the next request", after(whole(3)), get),
    ]);
}

/// Section 5.1.1.
#[test]
fn identifiers() {
    check([
        ("an even one", whole(2), PROTOCOL),
        ("none", whole(0), PROTOCOL),
        (
            "one that was left out",
            [whole(5), whole(3)].concat(),
            PROTOCOL,
        ),
        (
            "one that was left out by others",
            [whole(1), whole(9), whole(7)].concat(),
            PROTOCOL,
        ),
        ("the same again", [whole(1), whole(1)].concat(), CLOSED),
        (
            "some are left out",
            [whole(5), whole(101)].concat(),
            Get::Sound,
        ),
        ("the last of all", whole(0x7fff_ffff), Get::Sound),
    ]);
}

/// Section 5.1.2.
#[test]
fn concurrency() {
    let limits = Limits {
        streams_max: 2,
        ..Limits::DEFAULT
    };
    check_with(
        limits,
        [
            (
                "as many as allowed",
                [open(1), open(3)].concat(),
                Get::Sound,
            ),
            (
                "one more",
                [open(1), open(3), open(5)].concat(),
                Get::Reset(5, Code::REFUSED_STREAM),
            ),
            (
                "one more, whole",
                [open(1), open(3), whole(5), data(END_STREAM, 1, b"")].concat(),
                Get::Reset(5, Code::REFUSED_STREAM),
            ),
            (
                "one after another",
                [whole(1), whole(3), whole(5), open(7), reset(7, 8), open(9)].concat(),
                Get::Sound,
            ),
        ],
    );
}

/// Section 5.3.1 of RFC 7540; RFC 9113 has left priorities.
#[test]
fn dependencies() {
    let on_itself = |stream: u8| [0, 0, 0, stream, 9];
    let prioritized = |priority: [u8; 5]| {
        let payload = [&priority[..], &block(CALL)].concat();
        frame(kind::HEADERS, HEADERS_END | PRIORITY, 1, &payload)
    };
    let reset = Get::Reset(1, Code::PROTOCOL_ERROR);
    check([
        (
            "HEADERS on another stream",
            prioritized(on_itself(3)),
            Get::Sound,
        ),
        ("HEADERS on itself", prioritized(on_itself(1)), reset),
        (
            "HEADERS on itself, exclusively",
            prioritized([0x80, 0, 0, 1, 9]),
            reset,
        ),
        (
            "PRIORITY on itself",
            [open(1), frame(kind::PRIORITY, 0, 1, &on_itself(1))].concat(),
            reset,
        ),
        (
            "PRIORITY of an idle stream on itself",
            frame(kind::PRIORITY, 0, 1, &on_itself(1)),
            PROTOCOL,
        ),
    ]);
}
