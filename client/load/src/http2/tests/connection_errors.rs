//! What a server must not do: it ends the connection, says why, and what became of the calls is unknown.

use crate::http2::frame::{PADDED, PRIORITY, setting};
use crate::http2::tests::*;

/// After its settings the server says `bytes`; `text` is in the reason.
fn check(bytes: &[u8], reason: ErrorCode, text: &str) {
    check_from_start(&[server_preface(), bytes.to_vec()].concat(), reason, text);
}

fn check_from_start(bytes: &[u8], reason: ErrorCode, text: &str) {
    let end = conversation(&Config::default(), 2, bytes);
    let closed = end.closed.expect(text);
    assert!(closed.contains(text), "{closed:?} has no {text:?}");
    for (event, tag) in end.events.iter().rev().zip([2, 1]) {
        if !matches!(event, OwnedEvent::Response(1, _)) {
            assert_eq!(
                *event,
                failed(tag, Processed::Unknown, Code::Unavailable, &closed)
            );
        }
    }
    assert_eq!(end.events.len(), 2, "{text}");
    let last = end.sent.last().unwrap();
    assert_eq!(
        (last.kind, &last.payload[4..8]),
        (kind::GOAWAY, &reason.0.to_be_bytes()[..]),
        "{text}"
    );
}

#[test]
fn the_first_frame_must_be_settings() {
    let protocol = ErrorCode::PROTOCOL_ERROR;
    check_from_start(
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        protocol,
        "its first frame is of kind 80, not SETTINGS",
    );
    check_from_start(
        &frame(kind::SETTINGS, ACK, 0, &[]),
        protocol,
        "its first frame is of kind 4",
    );
    check_from_start(&ok(1, b""), protocol, "its first frame is of kind 1");
}

#[test]
fn frames_have_the_length_of_their_kind() {
    let size = ErrorCode::FRAME_SIZE_ERROR;
    for (bytes, text) in [
        (
            frame(kind::PING, 0, 0, &[0; 7]),
            "PING of 7 bytes instead of 8",
        ),
        (frame(kind::SETTINGS, 0, 0, &[0; 7]), "SETTINGS of 7 bytes"),
        (
            frame(kind::SETTINGS, ACK, 0, &[0; 6]),
            "SETTINGS with ACK of 6 bytes",
        ),
        (
            frame(kind::RST_STREAM, 0, 1, &[0; 3]),
            "RST_STREAM of 3 bytes",
        ),
        (
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 5]),
            "WINDOW_UPDATE of 5 bytes",
        ),
        (frame(kind::GOAWAY, 0, 0, &[0; 7]), "a GOAWAY of 7 bytes"),
        (frame(kind::PRIORITY, 0, 1, &[0; 4]), "PRIORITY of 4 bytes"),
        (
            frame(kind::DATA, PADDED, 1, &[]),
            "a padded frame that is empty",
        ),
        (
            frame(kind::HEADERS, PRIORITY | END_HEADERS, 1, &[0; 4]),
            "too short for its priority",
        ),
        // Only the head: the rest need not come.
        (
            vec![0, 0x40, 1, kind::DATA, 0, 0, 0, 0, 1],
            "a frame of 16385 bytes",
        ),
        (
            vec![0xff, 0xff, 0xff, 0x55, 0, 0, 0, 0, 0],
            "a frame of 16777215 bytes",
        ),
    ] {
        check(&bytes, size, text);
    }
}

#[test]
fn frames_come_in_their_order_and_on_their_streams() {
    let begun = || frame(kind::HEADERS, 0, 1, &block(OK_HEADERS));
    for (bytes, text) in [
        (
            frame(kind::CONTINUATION, END_HEADERS, 1, &[]),
            "a CONTINUATION after no header block",
        ),
        (
            [begun(), ok(3, b"")].concat(),
            "a frame of kind 1 on stream 3 inside the header block of stream 1",
        ),
        (
            [begun(), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            "a frame of kind 6 on stream 0 inside",
        ),
        (
            [begun(), frame(kind::CONTINUATION, 0, 3, &[])].concat(),
            "kind 9 on stream 3 inside",
        ),
        (
            [begun(), frame(0xee, 0, 0, &[])].concat(),
            "kind 238 on stream 0 inside",
        ),
        (
            headers(2, OK_HEADERS),
            "a frame of kind 1 on stream 2, which was never opened",
        ),
        (
            headers(5, OK_HEADERS),
            "a frame of kind 1 on stream 5, which was never opened",
        ),
        (
            data(0, b""),
            "a frame of kind 0 on stream 0, which was never opened",
        ),
        (
            reset(7, ErrorCode::CANCEL),
            "a frame of kind 3 on stream 7, which was never opened",
        ),
        (
            window_update(9, 1),
            "a frame of kind 8 on stream 9, which was never opened",
        ),
        (frame(kind::SETTINGS, 0, 1, &[]), "SETTINGS on stream 1"),
        (frame(kind::PING, 0, 1, &[0; 8]), "PING on stream 1"),
        (frame(kind::GOAWAY, 0, 1, &[0; 8]), "GOAWAY on stream 1"),
        (
            frame(kind::SETTINGS, ACK, 0, &[]),
            "an ACK of SETTINGS that were not sent",
        ),
        (
            frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            "a PUSH_PROMISE",
        ),
        (
            frame(kind::DATA, PADDED, 1, &[2, 0]),
            "padding of 2 bytes in a frame of 2",
        ),
        (window_update(0, 0), "a WINDOW_UPDATE by 0"),
        (
            settings(&[(setting::ENABLE_PUSH, 1)]),
            "ENABLE_PUSH of 1 from a server",
        ),
        (
            settings(&[(setting::MAX_FRAME_SIZE, 16_383)]),
            "MAX_FRAME_SIZE of 16383",
        ),
        (
            settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]),
            "MAX_FRAME_SIZE of 16777216",
        ),
    ] {
        check(&bytes, ErrorCode::PROTOCOL_ERROR, text);
    }
}

#[test]
fn windows_have_an_end() {
    let flow = ErrorCode::FLOW_CONTROL_ERROR;
    check(
        &window_update(0, 0x7fff_ffff),
        flow,
        "window of the connection became",
    );
    check(
        &settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]),
        flow,
        "INITIAL_WINDOW_SIZE of 2147483648",
    );
}

#[test]
fn a_stream_that_has_ended_is_silent() {
    let closed = ErrorCode::STREAM_CLOSED;
    let over = |bytes: Vec<u8>| [ok(1, b""), bytes].concat();
    check(
        &over(data(1, b"more")),
        closed,
        "a frame of kind 0 on stream 1, which it had ended",
    );
    check(
        &over(last_headers(1, OK_TRAILERS)),
        closed,
        "a frame of kind 1 on stream 1, which it had ended",
    );
}

#[test]
fn header_blocks_must_be_readable_and_short() {
    let bad = |block: &[u8]| frame(kind::HEADERS, END_HEADERS, 1, block);
    let compression = ErrorCode::COMPRESSION_ERROR;
    check(&bad(&[0xbe]), compression, "names entry 62");
    check(
        &bad(&[0x3f, 0xe1, 0x1f, 0x88]),
        compression,
        "sets the table's size to 4096",
    );
    check(&bad(&[0x48, 0x05]), compression, "cut short");
    // Also behind headers that were fine, and though the call would fail anyway.
    let trailers = [
        headers(1, OK_HEADERS),
        frame(kind::HEADERS, END_HEADERS, 1, &[0xbe]),
    ]
    .concat();
    check(&trailers, compression, "names entry 62");

    let begin = frame(kind::HEADERS, 0, 1, &[0; 16_384]);
    let long = [begin, frame(kind::CONTINUATION, 0, 1, &[0; 1])].concat();
    check(
        &long,
        ErrorCode::ENHANCE_YOUR_CALM,
        "a header block of 16385 bytes in 2 frames",
    );
    let many = [
        frame(kind::HEADERS, 0, 1, &[]),
        frame(kind::CONTINUATION, 0, 1, &[]).repeat(64),
    ]
    .concat();
    check(
        &many,
        ErrorCode::ENHANCE_YOUR_CALM,
        "a header block of 0 bytes in 65 frames",
    );
}

#[test]
fn goaways_do_not_grow() {
    let bytes = [
        server_preface(),
        goaway(1, ErrorCode::NO_ERROR, ""),
        goaway(3, ErrorCode::NO_ERROR, ""),
    ]
    .concat();
    let end = conversation(&Config::default(), 2, &bytes);
    assert!(
        end.closed
            .unwrap()
            .contains("a GOAWAY at stream 3 after one at 1")
    );
    assert_eq!(end.events.len(), 2);
}

/// Faults of a stream end only that.
#[test]
fn a_stream_may_be_at_fault_alone() {
    let zero = window_update(1, 0);
    let end = conversation(
        &Config::default(),
        2,
        &[server_preface(), zero, ok(3, b"fine")].concat(),
    );
    let text = "a WINDOW_UPDATE by 0";
    assert_eq!(
        end.events,
        [
            failed(1, Processed::Unknown, Code::Internal, text),
            response(2, b"fine")
        ]
    );
    let mut client = Client::new(Config::default());
    client
        .connection
        .send(&client.method, 1, &[0; 100_000])
        .unwrap();
    client.receive(
        &[
            server_preface(),
            window_update(1, 0x7fff_ffff),
            window_update(1, 0x7fff_ffff),
        ]
        .concat(),
    );
    assert!(
        matches!(&client.events[..], [OwnedEvent::Failed(1, Processed::Unknown, Code::Internal, text)] if text.contains("window of the stream"))
    );
    assert_eq!(client.connection.closed(), None);
}

#[test]
fn what_means_nothing_is_ignored() {
    let bytes = [
        server_preface(),
        frame(0xbb, 0xff, 77, b"future"),
        frame(kind::PRIORITY, 0, 9, &[0; 5]),
        frame(kind::PING, ACK, 0, &[0; 8]),
        settings(&[
            (0x99, 5),
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::MAX_HEADER_LIST_SIZE, 9),
        ]),
        frame(kind::PING, 0, 0, b"12345678"),
        ok(1, b"fine"),
        ok(3, b"fine"),
        reset(1, ErrorCode::NO_ERROR),
        window_update(1, 5),
    ];
    let end = conversation(&Config::default(), 2, &bytes.concat());
    assert_eq!(end.closed, None);
    assert_eq!(end.events, [response(1, b"fine"), response(2, b"fine")]);
    let pings = end.sent_of(kind::PING);
    assert_eq!(
        (pings.len(), pings[0].flags, &pings[0].payload[..]),
        (1, ACK, &b"12345678"[..])
    );
    assert_eq!(
        end.sent_of(kind::SETTINGS)
            .iter()
            .filter(|frame| frame.flags == ACK)
            .count(),
        2
    );
}

/// A server that pings and does not read makes us keep the answers: up to a limit.
#[test]
fn pings_that_nobody_wants_answered_have_a_limit() {
    let mut client = Client::new(Config::default());
    let pings = frame(kind::PING, 0, 0, &[0; 8]).repeat(1_000);
    let _ = client.connection.receive(&server_preface(), |_, _| {});
    let mut rounds = 0;
    while client.connection.receive(&pings, |_, _| {}).is_ok() {
        rounds += 1;
        assert!(rounds < 1_000, "no limit");
    }
    assert!(client.connection.output().len() < 2_000_000);
    assert!(
        client
            .connection
            .closed()
            .unwrap()
            .0
            .contains("does not read them")
    );
}
