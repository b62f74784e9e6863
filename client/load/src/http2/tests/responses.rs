//! What a response means to its call.

use soloist_http2::frame::{PADDED, PRIORITY};

use crate::http2::tests::*;

/// The server sends `bytes` for one call, on stream 1 with tag 1. The call must end as expected, and the connection go
/// on.
fn check(name: &str, bytes: &[u8], expected: OwnedEvent) {
    let end = conversation(
        &Config::default(),
        1,
        &[server_preface(), bytes.to_vec()].concat(),
    );
    assert_eq!(end.closed, None, "{name}");
    assert_eq!(end.events, [expected], "{name}");
}

#[test]
fn responses_are_messages_however_they_are_framed() {
    check("one", &ok(1, b"text"), response(1, b"text"));
    check("empty", &ok(1, b""), response(1, b""));
    let long = vec![7; 100_000];
    check("in many frames", &ok(1, &long), response(1, &long));
    check(
        "after status 103",
        &[headers(1, &[(":status", "103")]), ok(1, b"text")].concat(),
        response(1, b"text"),
    );

    let whole = message(b"text");
    let pieces: Vec<u8> = whole.iter().flat_map(|byte| data(1, &[*byte])).collect();
    let (begin, end) = (headers(1, OK_HEADERS), last_headers(1, OK_TRAILERS));
    check(
        "byte by byte",
        &[begin.clone(), pieces, end.clone()].concat(),
        response(1, b"text"),
    );
    let empty = [data(1, &[]), data(1, &whole), data(1, &[])].concat();
    check(
        "between empty frames",
        &[begin.clone(), empty, end.clone()].concat(),
        response(1, b"text"),
    );

    let padded = [&[3][..], &whole, &[0; 3]].concat();
    let padded = frame(kind::DATA, PADDED, 1, &padded);
    check(
        "padded",
        &[begin, padded, end].concat(),
        response(1, b"text"),
    );
    let flags = END_HEADERS | PADDED | PRIORITY;
    let odd = [&[2, 0, 0, 0, 9, 200][..], &block(OK_HEADERS), &[0; 2]].concat();
    let odd = frame(kind::HEADERS, flags, 1, &odd);
    let rest = [
        data(1, &whole),
        last_headers(1, &[("grpc-status", "0"), ("x", "y")]),
    ]
    .concat();
    check(
        "headers padded and with priority",
        &[odd, rest].concat(),
        response(1, b"text"),
    );

    let split = block(OK_HEADERS);
    let (first, second) = split.split_at(9);
    let split = [
        frame(kind::HEADERS, 0, 1, first),
        frame(kind::CONTINUATION, 0, 1, &[]),
        frame(kind::CONTINUATION, END_HEADERS, 1, second),
    ]
    .concat();
    let trailers = [
        frame(kind::HEADERS, END_STREAM, 1, &[]),
        frame(kind::CONTINUATION, END_HEADERS, 1, &block(OK_TRAILERS)),
    ]
    .concat();
    check(
        "with CONTINUATION",
        &[split, data(1, &whole), trailers].concat(),
        response(1, b"text"),
    );
}

#[test]
fn interleaved_responses_are_told_apart() {
    let bytes = [
        server_preface(),
        headers(3, OK_HEADERS),
        headers(1, OK_HEADERS),
        data(3, &message(b"three")),
        headers(
            5,
            &[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("date", "now"),
            ],
        ),
        data(1, &message(b"one")),
        data(5, &message(b"five")),
        last_headers(5, OK_TRAILERS),
        last_headers(3, &[("grpc-status", "5"), ("grpc-message", "gone")]),
        last_headers(1, OK_TRAILERS),
    ];
    let end = conversation(&Config::default(), 3, &bytes.concat());
    let not_found = failed(2, Processed::Answered, Code::NotFound, "gone");
    assert_eq!(
        end.events,
        [response(3, b"five"), not_found, response(1, b"one")]
    );
}

#[test]
fn the_status_of_the_server_is_reported() {
    let only = |fields: &[(&str, &str)]| last_headers(1, &[OK_HEADERS, fields].concat());
    let reported = |code, message| failed(1, Processed::Answered, code, message);
    check(
        "alone",
        &only(&[("grpc-status", "7")]),
        reported(Code::PermissionDenied, ""),
    );
    let text = [
        ("grpc-status", "3"),
        ("grpc-message", "50%25 of %C3%BC %zz %ff"),
    ];
    check(
        "percent",
        &only(&text),
        reported(Code::InvalidArgument, "50% of ü %zz \u{fffd}"),
    );
    check(
        "no number",
        &only(&[("grpc-status", "x")]),
        reported(Code::Unknown, ""),
    );
    check(
        "no code",
        &only(&[("grpc-status", "99")]),
        reported(Code::Unknown, ""),
    );
    // A gRPC status takes precedence over the status of HTTP.
    let http = last_headers(1, &[(":status", "503"), ("grpc-status", "8")]);
    check("over HTTP", &http, reported(Code::ResourceExhausted, ""));
    let late = last_headers(1, &[("grpc-status", "10"), ("grpc-message", "no")]);
    let late = [headers(1, OK_HEADERS), data(1, &message(b"text")), late].concat();
    check("after a message", &late, reported(Code::Aborted, "no"));
}

#[test]
fn details_are_decoded_with_padding_and_without() {
    for (text, details) in [
        ("AQID/w", &[1, 2, 3, 255][..]),
        ("AQID/w==", &[1, 2, 3, 255]),
        ("*", &[]),
        ("", &[]),
    ] {
        let fields = [
            OK_HEADERS,
            &[("grpc-status", "9"), ("grpc-status-details-bin", text)],
        ]
        .concat();
        let mut client = Client::new(Config::default()).calls(1);
        let mut seen = Vec::new();
        let bytes = [server_preface(), last_headers(1, &fields)].concat();
        let received = client.connection.receive(&bytes, |_, event| match event {
            Event::Failed { failure, .. } => seen.push((failure.code, failure.details)),
            Event::Response { .. } => panic!("the call succeeded"),
        });
        assert_eq!(received, Ok(()));
        assert_eq!(
            seen,
            [(Code::FailedPrecondition, details.to_vec())],
            "{text}"
        );
    }
}

#[test]
fn responses_that_are_not_grpc_have_the_code_for_their_http_status() {
    for (status, code) in [
        ("400", Code::Internal),
        ("401", Code::Unauthenticated),
        ("403", Code::PermissionDenied),
        ("404", Code::Unimplemented),
        ("429", Code::Unavailable),
        ("502", Code::Unavailable),
        ("503", Code::Unavailable),
        ("504", Code::Unavailable),
        ("200", Code::Unknown),
        ("500", Code::Unknown),
    ] {
        let fields = [(":status", status), ("content-type", "text/html")];
        let expected = failed(
            1,
            Processed::Unknown,
            code,
            &format!("the response is HTTP {status}, not gRPC"),
        );
        check(status, &last_headers(1, &fields), expected.clone());
        // With a page after the headers, which is ignored.
        let page = [
            headers(1, &fields),
            data(1, b"<html>"),
            frame(kind::DATA, END_STREAM, 1, b"..."),
        ]
        .concat();
        check(status, &page, expected);
    }
}

#[test]
fn malformed_responses_say_how() {
    let begin = || headers(1, OK_HEADERS);
    let end = || last_headers(1, OK_TRAILERS);
    let with = |payload: &[u8]| [begin(), data(1, payload), end()].concat();
    let prefix = |length: u32| [&[0][..], &length.to_be_bytes()].concat();
    for (bytes, text) in [
        (
            [begin(), end()].concat(),
            "the response has status OK and no message",
        ),
        (
            last_headers(1, &[OK_HEADERS, OK_TRAILERS].concat()),
            "the response has status OK and no message",
        ),
        (
            with(&[0, 0, 0]),
            "the response has status OK and 3 bytes of an incomplete message",
        ),
        (
            with(&prefix(7)),
            "the response has status OK and 5 bytes of an incomplete message",
        ),
        (
            with(&[message(b"a"), message(b"b")].concat()),
            "the response has 6 bytes after its message",
        ),
        (
            with(&[1, 0, 0, 0, 0]),
            "the response is compressed, and compression was not offered",
        ),
        (
            [begin(), frame(kind::DATA, END_STREAM, 1, &message(b"a"))].concat(),
            "the response ends without trailers",
        ),
        (
            last_headers(1, OK_HEADERS),
            "the response has no grpc-status",
        ),
        (
            [
                begin(),
                data(1, &message(b"a")),
                last_headers(1, &[("x", "y")]),
            ]
            .concat(),
            "the trailers have no grpc-status",
        ),
        (
            [
                begin(),
                last_headers(1, &[(":status", "200"), ("grpc-status", "0")]),
            ]
            .concat(),
            "the trailers have a :status",
        ),
        (
            [begin(), begin()].concat(),
            "the response has headers twice",
        ),
        (
            headers(1, &[("content-type", "application/grpc")]),
            "the response has no :status",
        ),
        (last_headers(1, OK_TRAILERS), "the response has no :status"),
        (data(1, &message(b"a")), "the response begins with DATA"),
        (
            headers(1, &[("X", "y")]),
            "the response has a header name that HTTP/2 forbids",
        ),
        (
            headers(1, &[("connection", "close")]),
            "the response has a header of HTTP/1.1",
        ),
        (
            headers(1, &[("x", "y"), (":status", "200")]),
            "the response has pseudo-headers that a response may not have",
        ),
        (
            headers(1, &[(":path", "/")]),
            "the response has pseudo-headers that a response may not have",
        ),
    ] {
        check(
            text,
            &bytes,
            failed(1, Processed::Unknown, Code::Internal, text),
        );
    }
    let large = headers(1, &[(":status", "200"), ("x", &"v".repeat(16_350))]);
    let text = "headers of 16425 bytes, the limit is 16384";
    check(
        text,
        &large,
        failed(1, Processed::Unknown, Code::ResourceExhausted, text),
    );
    let text = "the response has 4294967295 bytes, the limit is 4259840";
    check(
        text,
        &with(&prefix(u32::MAX)),
        failed(1, Processed::Unknown, Code::ResourceExhausted, text),
    );
}

/// Header blocks are remembered, but only for the place in which they were valid.
#[test]
fn remembered_headers_are_not_taken_as_trailers() {
    let begin = |stream| headers(stream, OK_HEADERS);
    let text = |stream| data(stream, &message(b"text"));
    let bytes = [
        server_preface(),
        [begin(1), text(1), last_headers(1, OK_HEADERS)].concat(),
        ok(3, b"text"),
        last_headers(5, OK_HEADERS),
        headers(7, OK_TRAILERS),
        [begin(9), text(9), headers(9, OK_TRAILERS)].concat(),
        last_headers(11, OK_TRAILERS),
        ok(13, b"text"),
    ];
    let end = conversation(&Config::default(), 7, &bytes.concat());
    let wrong = |tag, text| failed(tag, Processed::Unknown, Code::Internal, text);
    let expected = [
        wrong(1, "the trailers have a :status"),
        response(2, b"text"),
        wrong(3, "the response has no grpc-status"),
        wrong(4, "the response has no :status"),
        wrong(5, "the response has headers twice"),
        wrong(6, "the response has no :status"),
        response(7, b"text"),
    ];
    assert_eq!(end.events, expected);
}

#[test]
fn messages_have_a_limit_in_one_frame_or_many() {
    let config = Config {
        message_bytes_max: 100,
        ..Config::default()
    };
    let pieces = |stream, length| {
        let whole = message(&vec![1; length]);
        let frames: Vec<u8> = whole
            .chunks(60)
            .flat_map(|chunk| data(stream, chunk))
            .collect();
        [
            headers(stream, OK_HEADERS),
            frames,
            last_headers(stream, OK_TRAILERS),
        ]
        .concat()
    };
    let bytes = [
        server_preface(),
        ok(1, &[1; 100]),
        ok(3, &[1; 101]),
        pieces(5, 100),
        pieces(7, 101),
    ];
    let end = conversation(&config, 4, &bytes.concat());
    let text = "the response has 101 bytes, the limit is 100";
    let too_long = |tag| failed(tag, Processed::Unknown, Code::ResourceExhausted, text);
    let expected = [
        response(1, &[1; 100]),
        too_long(2),
        response(3, &[1; 100]),
        too_long(4),
    ];
    assert_eq!(end.events, expected);
}

#[test]
fn resets_have_the_code_that_grpc_gives_them() {
    for (reason, processed, code, name) in [
        (
            ErrorCode::NO_ERROR,
            Processed::Unknown,
            Code::Internal,
            "NO_ERROR",
        ),
        (
            ErrorCode::PROTOCOL_ERROR,
            Processed::Unknown,
            Code::Internal,
            "PROTOCOL_ERROR",
        ),
        (
            ErrorCode::INTERNAL_ERROR,
            Processed::Unknown,
            Code::Internal,
            "INTERNAL_ERROR",
        ),
        (
            ErrorCode::REFUSED_STREAM,
            Processed::No,
            Code::Unavailable,
            "REFUSED_STREAM",
        ),
        (
            ErrorCode::CANCEL,
            Processed::Unknown,
            Code::Cancelled,
            "CANCEL",
        ),
        (
            ErrorCode::ENHANCE_YOUR_CALM,
            Processed::Unknown,
            Code::ResourceExhausted,
            "ENHANCE_YOUR_CALM",
        ),
        (
            ErrorCode::INADEQUATE_SECURITY,
            Processed::Unknown,
            Code::PermissionDenied,
            "INADEQUATE_SECURITY",
        ),
        (
            ErrorCode(0xd),
            Processed::Unknown,
            Code::Unknown,
            "HTTP_1_1_REQUIRED",
        ),
        (
            ErrorCode(0x77),
            Processed::Unknown,
            Code::Unknown,
            "error 0x77",
        ),
    ] {
        let text = format!("the server reset the stream: {name}");
        check(name, &reset(1, reason), failed(1, processed, code, &text));
        let late = [
            headers(1, OK_HEADERS),
            data(1, &message(b"a")),
            reset(1, reason),
        ]
        .concat();
        check(name, &late, failed(1, processed, code, &text));
    }
}
