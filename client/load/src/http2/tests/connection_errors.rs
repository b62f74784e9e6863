//! Connection errors: the connection ends with a reason, and it is unknown whether the server processed the open calls.

use soloist_http2::frame::{PADDED, PRIORITY, setting};

use crate::http2::tests::*;

/// The server sends `bytes` after its preface. The connection must end with `code`, and `text` in its reason.
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
        "its first frame is of type 80, not SETTINGS",
    );
    check_from_start(
        &frame(kind::SETTINGS, ACK, 0, &[]),
        protocol,
        "its first frame is of type 4",
    );
    check_from_start(&ok(1, b""), protocol, "its first frame is of type 1");
}

#[test]
fn frames_have_the_length_of_their_type() {
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
        (frame(kind::GOAWAY, 0, 0, &[0; 7]), "GOAWAY of 7 bytes"),
        (frame(kind::PRIORITY, 0, 1, &[0; 4]), "PRIORITY of 4 bytes"),
        (
            frame(kind::DATA, PADDED, 1, &[]),
            "a padded frame without a payload",
        ),
        (
            frame(kind::HEADERS, PRIORITY | END_HEADERS, 1, &[0; 4]),
            "too short for the priority",
        ),
        // Only the frame header: the payload need not arrive.
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
fn frames_of_a_type_come_where_they_are_allowed() {
    let open_block = || frame(kind::HEADERS, 0, 1, &block(OK_HEADERS));
    for (bytes, text) in [
        (
            frame(kind::CONTINUATION, END_HEADERS, 1, &[]),
            "a CONTINUATION outside a header block",
        ),
        (
            [open_block(), ok(3, b"")].concat(),
            "a frame of type 1 on stream 3 inside the header block of stream 1",
        ),
        (
            [open_block(), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            "a frame of type 6 on stream 0 inside",
        ),
        (
            [open_block(), frame(kind::CONTINUATION, 0, 3, &[])].concat(),
            "type 9 on stream 3 inside",
        ),
        (
            [open_block(), frame(0xee, 0, 0, &[])].concat(),
            "type 238 on stream 0 inside",
        ),
        (
            headers(2, OK_HEADERS),
            "a frame of type 1 on stream 2, which was never opened",
        ),
        (
            headers(5, OK_HEADERS),
            "a frame of type 1 on stream 5, which was never opened",
        ),
        (
            data(0, b""),
            "a frame of type 0 on stream 0, which was never opened",
        ),
        (
            reset(7, ErrorCode::CANCEL),
            "a frame of type 3 on stream 7, which was never opened",
        ),
        (
            window_update(9, 1),
            "a frame of type 8 on stream 9, which was never opened",
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
fn windows_have_a_limit() {
    let flow = ErrorCode::FLOW_CONTROL_ERROR;
    check(
        &window_update(0, 0x7fff_ffff),
        flow,
        "window of the connection is",
    );
    check(
        &settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]),
        flow,
        "INITIAL_WINDOW_SIZE of 2147483648",
    );
}

#[test]
fn a_closed_stream_has_no_more_frames() {
    let closed = ErrorCode::STREAM_CLOSED;
    let over = |bytes: Vec<u8>| [ok(1, b""), bytes].concat();
    check(
        &over(data(1, b"more")),
        closed,
        "a frame of type 0 on stream 1, which the server had closed",
    );
    check(
        &over(last_headers(1, OK_TRAILERS)),
        closed,
        "a frame of type 1 on stream 1, which the server had closed",
    );
}

#[test]
fn header_blocks_must_be_valid_and_short() {
    let bad = |block: &[u8]| frame(kind::HEADERS, END_HEADERS, 1, block);
    let compression = ErrorCode::COMPRESSION_ERROR;
    check(&bad(&[0xbe]), compression, "has the index 62");
    check(
        &bad(&[0x3f, 0xe1, 0x1f, 0x88]),
        compression,
        "sets the table size to 4096",
    );
    check(&bad(&[0x48, 0x05]), compression, "is truncated");
    // Also where the block itself would only fail the call.
    let trailers = [
        headers(1, OK_HEADERS),
        frame(kind::HEADERS, END_HEADERS, 1, &[0xbe]),
    ]
    .concat();
    check(&trailers, compression, "has the index 62");

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
fn a_goaway_must_not_raise_the_last_stream() {
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
            .contains("a GOAWAY with last stream 3 after one with 1")
    );
    assert_eq!(end.events.len(), 2);
}

/// A stream error ends only that stream.
#[test]
fn stream_errors_end_only_their_stream() {
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
        matches!(&client.events[..], [OwnedEvent::Failed(1, Processed::Unknown, Code::Internal, text)] if text.contains("window of the stream is"))
    );
    assert_eq!(client.connection.closed(), None);
}

#[test]
fn unknown_frames_and_settings_are_ignored() {
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

/// A server that sends PING and does not read fills the output with acknowledgements, up to a limit.
#[test]
fn unread_acknowledgements_have_a_limit() {
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
            .contains("does not read the acknowledgements")
    );
}
