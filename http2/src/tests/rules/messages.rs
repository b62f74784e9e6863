//! Requests that are malformed: section 8.1, and 8.2 and 8.3 (8.1.2 of RFC 7540).

use super::super::wire::{CALL, HEADERS_END, beginning, block, data, headers, open, whole};
use super::{Get, check, check_from};
use crate::error_code::ErrorCode as Code;
use crate::frame::{END_HEADERS, END_STREAM};
use crate::header_block::HeaderBlock;
use crate::limits::Limits;

const MALFORMED: Get = Get::Reset(1, Code::PROTOCOL_ERROR);

/// Section 8.1.
#[test]
fn the_order_of_frames() {
    check([
        (
            "trailers",
            [
                open(1),
                data(0, 1, b"a"),
                headers(HEADERS_END, 1, &[("a", "b")]),
            ]
            .concat(),
            Get::Sound,
        ),
        (
            "a second block in the middle",
            [
                open(1),
                headers(END_HEADERS, 1, &[("a", "b")]),
                data(END_STREAM, 1, b""),
            ]
            .concat(),
            MALFORMED,
        ),
        (
            "a pseudo-header in trailers",
            [open(1), headers(HEADERS_END, 1, &[(":method", "POST")])].concat(),
            MALFORMED,
        ),
    ]);
}

/// Sections 8.2 and 8.3, each as a call with something changed.
#[test]
fn fields() {
    const METHOD: (&str, &str) = (":method", "POST");
    const SCHEME: (&str, &str) = (":scheme", "http");
    const PATH: (&str, &str) = (":path", "/s/M");
    let long = "v".repeat(20_000);
    for (what, fields, get) in [
        (
            "8.2.1: a capital letter",
            vec![METHOD, SCHEME, PATH, ("X-TEST", "ok")],
            MALFORMED,
        ),
        (
            "8.2.1: an end of line",
            vec![METHOD, SCHEME, PATH, ("x", "a\r\nb")],
            MALFORMED,
        ),
        (
            "8.2.2: connection",
            vec![METHOD, SCHEME, PATH, ("connection", "keep-alive")],
            MALFORMED,
        ),
        (
            "8.2.2: te",
            vec![METHOD, SCHEME, PATH, ("te", "trailers, deflate")],
            MALFORMED,
        ),
        (
            "8.2.2: te: trailers",
            vec![METHOD, SCHEME, PATH, ("te", "trailers")],
            Get::Sound,
        ),
        (
            "8.3: an unknown one",
            vec![METHOD, SCHEME, PATH, (":test", "ok")],
            MALFORMED,
        ),
        (
            "8.3: one of responses",
            vec![METHOD, SCHEME, PATH, (":status", "200")],
            MALFORMED,
        ),
        (
            "8.3: behind another field",
            vec![METHOD, SCHEME, ("a", "b"), PATH],
            MALFORMED,
        ),
        (
            "8.3.1: an empty path",
            vec![METHOD, SCHEME, (":path", "")],
            MALFORMED,
        ),
        ("8.3.1: no method", vec![SCHEME, PATH], MALFORMED),
        ("8.3.1: no scheme", vec![METHOD, PATH], MALFORMED),
        ("8.3.1: no path", vec![METHOD, SCHEME], MALFORMED),
        (
            "8.3.1: the method twice",
            vec![METHOD, METHOD, SCHEME, PATH],
            MALFORMED,
        ),
        (
            "8.3.1: the scheme twice",
            vec![METHOD, SCHEME, SCHEME, PATH],
            MALFORMED,
        ),
        (
            "8.3.1: the path twice",
            vec![METHOD, SCHEME, PATH, PATH],
            MALFORMED,
        ),
        (
            "8.3.1: the authority twice",
            vec![
                METHOD,
                SCHEME,
                PATH,
                (":authority", "a"),
                (":authority", "a"),
            ],
            MALFORMED,
        ),
        (
            "8.5: CONNECT",
            vec![(":method", "CONNECT"), (":authority", "a:1")],
            Get::Sound,
        ),
        (
            "8.5: CONNECT with a path",
            vec![(":method", "CONNECT"), SCHEME, PATH],
            MALFORMED,
        ),
        ("nothing", vec![], MALFORMED),
        (
            "10.5.1: a list above the limit",
            vec![METHOD, SCHEME, PATH, ("x", long.as_str())],
            Get::Sound,
        ),
    ] {
        let mut bytes = beginning();
        HeaderBlock::from_encoded(&block(&fields)).put_last(&mut bytes, 1);
        check_from(Limits::DEFAULT, what, &bytes, get);
    }
}

/// Section 8.1.1: the body has as many bytes as `content-length` says.
#[test]
fn content_length() {
    let call = |length: &'static str, flags| {
        let fields = [CALL, &[("content-length", length)]].concat();
        headers(flags, 1, &fields)
    };
    check([
        (
            "right",
            [call("3", END_HEADERS), data(END_STREAM, 1, b"abc")].concat(),
            Get::Sound,
        ),
        (
            "right, in two frames",
            [
                call("3", END_HEADERS),
                data(0, 1, b"ab"),
                data(END_STREAM, 1, b"c"),
            ]
            .concat(),
            Get::Sound,
        ),
        ("0", call("0", HEADERS_END), Get::Sound),
        ("no body", call("1", HEADERS_END), MALFORMED),
        (
            "too short",
            [call("3", END_HEADERS), data(END_STREAM, 1, b"ab")].concat(),
            MALFORMED,
        ),
        (
            "too long",
            [call("1", END_HEADERS), data(0, 1, b"ab")].concat(),
            MALFORMED,
        ),
        (
            "too short, with trailers",
            [
                call("3", END_HEADERS),
                headers(HEADERS_END, 1, &[("a", "b")]),
            ]
            .concat(),
            MALFORMED,
        ),
        ("no number", call("-1", END_HEADERS), MALFORMED),
        (
            "other requests go on",
            [call("1", HEADERS_END), whole(3)].concat(),
            MALFORMED,
        ),
    ]);
}
