//! Calls from their begin to their end, and how many there may be.

use crate::http2::SendError;
use crate::http2::frame::setting;
use crate::http2::tests::*;

#[test]
fn a_connection_begins_as_http2_wants() {
    let mut client = Client::new(Config::default());
    client.take_output();
    let [settings, window] = &client.frames()[..] else {
        panic!("{:?}", client.frames());
    };
    let mut pairs = settings.payload.chunks(6);
    assert_eq!(pairs.next().unwrap(), [0, 1, 0, 0, 0, 0], "no table");
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
fn a_goaway_leaves_the_calls_that_were_begun() {
    let bytes = [
        server_preface(),
        goaway(u32::MAX, ErrorCode::NO_ERROR, ""),
        goaway(3, ErrorCode::NO_ERROR, "bye"),
        ok(3, b"two"),
        ok(1, b"one"),
        // Of what it gave up it may still speak.
        reset(5, ErrorCode::REFUSED_STREAM),
    ];
    let end = conversation(&Config::default(), 4, &bytes.concat());
    let text = "the server said GOAWAY: NO_ERROR (\"bye\")";
    let left = |tag| failed(tag, Processed::No, Code::Unavailable, text);
    assert_eq!(
        end.events,
        [left(3), left(4), response(2, b"two"), response(1, b"one")]
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
    let text = "the server closed the connection, after the server said GOAWAY: ENHANCE_YOUR_CALM";
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
    // Before its settings 100, then what they say, which may be less than are open.
    let mut client = Client::new(Config::default()).calls(100);
    assert_eq!(client.connection.check_send(0), Err(SendError::StreamLimit));
    assert!(!client.connection.is_ready());
    client.receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 2)]));
    assert!(client.connection.is_ready());
    let answers: Vec<u8> = (0..98).flat_map(|n| ok(2 * n + 1, b"")).collect();
    client.receive(&answers);
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
fn the_callback_may_begin_the_next_call() {
    let mut client = Client::new(Config::default()).calls(1);
    let method = client.method.clone();
    let mut tags = Vec::new();
    // All answers in one piece: each is to a call that was begun when the one before came.
    let answers = [
        server_preface(),
        ok(1, b""),
        ok(3, b""),
        reset(5, ErrorCode::CANCEL),
        ok(7, b""),
    ]
    .concat();
    let received = client.connection.receive(&answers, |connection, event| {
        let (Event::Response { tag, .. } | Event::Failed { tag, .. }) = event;
        tags.push(tag);
        connection.send(&method, tag + 1, b"").unwrap();
    });
    assert_eq!(received, Ok(()));
    assert_eq!(tags, [1, 2, 3, 4]);
    assert_eq!(client.connection.open_calls(), 1);
}

#[test]
fn what_comes_for_a_cancelled_call_is_ignored_and_counted() {
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
        let opened: u32 = end
            .sent_of(kind::WINDOW_UPDATE)
            .iter()
            .map(|frame| u32::from_be_bytes(frame.payload[..].try_into().unwrap()))
            .sum();
        assert_eq!(
            opened,
            if late.len() > 40_000 {
                2 * 16_384 + opened % 16_384
            } else {
                0
            }
        );
    }
}
