//! The life of calls: how they are sent and end, and how many may be open.

use soloist_http2::frame::setting;

use crate::http2::SendError;
use crate::http2::tests::*;

#[test]
fn a_connection_begins_with_the_preface_and_its_windows() {
    let mut client = Client::new(Config::default());
    client.take_output();
    let [settings, window] = &client.frames()[..] else {
        panic!("{:?}", client.frames());
    };
    let mut pairs = settings.payload.chunks(6);
    assert_eq!(
        pairs.next().unwrap(),
        [0, 1, 0, 0, 0, 0],
        "no dynamic table"
    );
    assert_eq!(pairs.next().unwrap(), [0, 2, 0, 0, 0, 0], "no push");
    assert_eq!((window.kind, window.stream), (kind::WINDOW_UPDATE, 0));
}

#[test]
fn a_call_is_headers_and_a_message() {
    let end = Client::new(Config::default()).calls(2).end();
    for (frames, stream) in end.sent.chunks(2).zip([1, 3]) {
        assert_eq!(
            (frames[0].kind, frames[0].flags, frames[0].stream),
            (kind::HEADERS, END_HEADERS, stream)
        );
        assert_eq!(
            (frames[1].kind, frames[1].flags, frames[1].stream),
            (kind::DATA, END_STREAM, stream)
        );
        assert_eq!(frames[1].payload, message(b"hello"));
    }
}

#[test]
fn a_goaway_fails_only_the_calls_above_its_last_stream() {
    let bytes = [
        server_preface(),
        goaway(u32::MAX, ErrorCode::NO_ERROR, ""),
        goaway(3, ErrorCode::NO_ERROR, "bye"),
        ok(3, b"two"),
        ok(1, b"one"),
        // A stream above the last one may still be reset.
        reset(5, ErrorCode::REFUSED_STREAM),
    ];
    let end = conversation(&Config::default(), 4, &bytes.concat());
    let text = "the server sent GOAWAY: NO_ERROR (\"bye\")";
    let not_processed = |tag| failed(tag, Processed::No, Code::Unavailable, text);
    assert_eq!(
        end.events,
        [
            not_processed(3),
            not_processed(4),
            response(2, b"two"),
            response(1, b"one")
        ]
    );
    assert_eq!(end.closed, None);

    let mut client = Client::new(Config::default()).calls(1);
    client.receive(
        &[
            server_preface(),
            goaway(1, ErrorCode::ENHANCE_YOUR_CALM, ""),
        ]
        .concat(),
    );
    assert!(client.connection.is_draining());
    assert_eq!(
        client.connection.send(&client.method, 9, b"").unwrap_err(),
        SendError::Draining
    );
    client
        .connection
        .close("the server closed the connection", |_, event| {
            client.events.push(event.into())
        });
    let text = "the server closed the connection, after the server sent GOAWAY: ENHANCE_YOUR_CALM";
    assert_eq!(
        client.events,
        [failed(1, Processed::Unknown, Code::Unavailable, text)]
    );
    assert_eq!(
        client.connection.send(&client.method, 9, b"").unwrap_err(),
        SendError::Closed
    );
}

#[test]
fn stream_ids_end() {
    let config = Config {
        stream_first: 0x7fff_fffd,
        ..Config::default()
    };
    let mut client = Client::new(config).calls(2);
    assert!(client.connection.is_exhausted());
    assert_eq!(
        client.connection.send(&client.method, 3, b"").unwrap_err(),
        SendError::Draining
    );
    client.receive(
        &[
            server_preface(),
            ok(0x7fff_ffff, b"b"),
            ok(0x7fff_fffd, b"a"),
        ]
        .concat(),
    );
    assert_eq!(client.events, [response(2, b"b"), response(1, b"a")]);
    assert_eq!(
        (client.connection.open_calls(), client.connection.closed()),
        (0, None)
    );
}

#[test]
fn no_more_calls_are_open_than_the_server_allows() {
    // 100 before the server's SETTINGS. Then as many as they allow, which may be fewer than are open.
    let mut client = Client::new(Config::default()).calls(100);
    assert_eq!(client.connection.check_send(0), Err(SendError::StreamLimit));
    assert!(!client.connection.is_ready());
    client.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 2)]));
    assert!(client.connection.is_ready());
    let responses: Vec<u8> = (0..98).flat_map(|n| ok(2 * n + 1, b"")).collect();
    client.receive(&responses);
    assert_eq!(client.connection.check_send(0), Err(SendError::StreamLimit));
    client.receive(&ok(197, b""));
    assert_eq!(client.connection.check_send(0), Ok(()));
    client.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 0)]));
    assert_eq!(client.connection.check_send(0), Err(SendError::StreamLimit));
    client.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, u32::MAX)]));
    assert_eq!(
        client.connection.open_calls_max(),
        Config::default().streams_max
    );
}

#[test]
fn the_callback_may_send_the_next_call() {
    let mut client = Client::new(Config::default()).calls(1);
    let method = client.method.clone();
    let mut tags = Vec::new();
    // All responses in one piece. Each call but the first is sent when the response before arrives.
    let responses = [
        server_preface(),
        ok(1, b""),
        ok(3, b""),
        reset(5, ErrorCode::CANCEL),
        ok(7, b""),
    ]
    .concat();
    let received = client.connection.receive(&responses, |connection, event| {
        let (Event::Response { tag, .. } | Event::Failed { tag, .. }) = event;
        tags.push(tag);
        connection.send(&method, tag + 1, b"").unwrap();
    });
    assert_eq!(received, Ok(()));
    assert_eq!(tags, [1, 2, 3, 4]);
    assert_eq!(client.connection.open_calls(), 1);
}

#[test]
fn frames_for_a_cancelled_call_are_ignored_but_use_the_window() {
    let config = Config {
        connection_window: 65_535,
        ..Config::default()
    };
    for late in [
        ok(1, &[0; 40_000]),
        reset(1, ErrorCode::CANCEL),
        [
            headers(1, OK_HEADERS),
            data(1, &vec![0; 16_384]),
            data(1, &vec![0; 16_384]),
            data(1, &[0; 7_245]),
        ]
        .concat(),
    ] {
        let mut client = Client::new(config.clone());
        let call = client.connection.send(&client.method, 7, b"").unwrap();
        client.connection.send(&client.method, 8, b"").unwrap();
        assert_eq!(client.connection.cancel(call), Some(7));
        assert_eq!(client.connection.cancel(call), None);
        assert_eq!(client.connection.open_calls(), 1);
        client.receive(&[server_preface(), late.clone(), ok(3, b"other")].concat());
        assert_eq!(client.connection.closed(), None);
        let end = client.end();
        assert_eq!(end.events, [response(8, b"other")]);
        assert_eq!(end.sent_of(kind::RST_STREAM)[0].payload, [0, 0, 0, 8]);
        let returned: u32 = end
            .sent_of(kind::WINDOW_UPDATE)
            .iter()
            .map(|frame| u32::from_be_bytes(frame.payload[..].try_into().unwrap()))
            .sum();
        assert_eq!(
            returned,
            if late.len() > 40_000 {
                2 * 16_384 + returned % 16_384
            } else {
                0
            }
        );
    }
}
