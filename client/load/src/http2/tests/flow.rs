//! Flow control in both directions, and other limits.

use soloist_http2::frame::{PAYLOAD_MAX, setting};

use crate::http2::SendError;
use crate::http2::tests::*;

/// A client that has sent `message` on stream 1, as far as the windows allow.
fn sending(config: Config, message: &[u8]) -> Client {
    let mut client = Client::new(config);
    client.connection.send(&client.method, 1, message).unwrap();
    client.take_output();
    client
}

/// The bytes of the message that were sent on `stream`, and whether the message is complete.
fn sent(client: &Client, stream: u32) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut ended = false;
    for frame in client.frames() {
        if frame.kind == kind::DATA && frame.stream == stream {
            assert!(!ended && frame.payload.len() <= PAYLOAD_MAX);
            bytes.extend(frame.payload);
            ended = frame.flags == END_STREAM;
        }
    }
    (bytes, ended)
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_message_longer_than_the_windows_is_continued_when_they_grow() {
    let body = text(200_000);
    let whole = message(&body);
    let mut client = sending(Config::default(), &body);
    assert_eq!(sent(&client, 1), (whole[..65_535].to_vec(), false));
    // One of the windows alone is not enough.
    client.receive(&[server_preface(), window_update(1, 100_000)].concat());
    assert_eq!(sent(&client, 1).0.len(), 65_535);
    client.receive(&window_update(0, 1_000));
    assert_eq!(sent(&client, 1).0.len(), 66_535);
    client.receive(&window_update(0, 1_000_000));
    assert_eq!(sent(&client, 1).0.len(), 165_535);
    client.receive(&window_update(1, 34_469));
    assert_eq!(sent(&client, 1), (whole[..200_004].to_vec(), false));
    client.receive(&window_update(1, 1));
    assert_eq!(sent(&client, 1), (whole, true));
    client.receive(&ok(1, b""));
    assert_eq!(client.events, [response(1, b"")]);
}

#[test]
fn a_small_message_overtakes_a_large_one_that_waits_for_its_own_window() {
    let mut client = sending(Config::default(), &text(70_000));
    client.receive(&[server_preface(), window_update(0, 100_000)].concat());
    client.connection.send(&client.method, 2, b"small").unwrap();
    client.take_output();
    assert_eq!(sent(&client, 3), (message(b"small"), true));
    assert_eq!(sent(&client, 1).0.len(), 65_535);
}

#[test]
fn a_smaller_initial_window_shrinks_the_windows_of_open_streams() {
    let body = text(100_000);
    let mut client = sending(Config::default(), &body);
    // 65,535 bytes are sent, so the window of the stream becomes -55,535.
    client.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 10_000)]));
    client.receive(&window_update(0, 1_000_000));
    client.receive(&window_update(1, 55_535));
    assert_eq!(sent(&client, 1).0.len(), 65_535);
    client.receive(&window_update(1, 5));
    assert_eq!(sent(&client, 1).0.len(), 65_540);
    // It grows again, by 10,000.
    client.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 20_000)]));
    assert_eq!(sent(&client, 1).0.len(), 75_540);
    // A new stream begins with the new window.
    client.connection.send(&client.method, 2, &body).unwrap();
    client.take_output();
    assert_eq!(sent(&client, 3).0.len(), 20_000);
}

#[test]
fn frames_keep_to_the_smallest_limit_of_their_size() {
    let windows = [
        settings(&[
            (setting::INITIAL_WINDOW_SIZE, 1 << 20),
            (setting::MAX_FRAME_SIZE, 1 << 20),
        ]),
        window_update(0, 1 << 20),
    ];
    let mut client = Client::new(Config::default());
    client.receive(&windows.concat());
    let body = text(500_000);
    client.connection.send(&client.method, 1, &body).unwrap();
    client.take_output();
    assert_eq!(sent(&client, 1), (message(&body), true));
}

#[test]
fn a_response_before_the_end_of_the_request_stops_the_request() {
    for (bytes, event) in [
        (ok(1, b"enough"), response(1, b"enough")),
        (
            last_headers(1, &[OK_HEADERS, &[("grpc-status", "8")]].concat()),
            failed(1, Processed::Answered, Code::ResourceExhausted, ""),
        ),
    ] {
        let mut client = sending(Config::default(), &text(100_000));
        let late = [
            reset(1, ErrorCode::NO_ERROR),
            window_update(1, 100),
            window_update(0, 1 << 20),
        ];
        client.receive(&[server_preface(), bytes, late.concat()].concat());
        assert_eq!(client.connection.closed(), None);
        let end = client.end();
        assert_eq!(end.events, [event]);
        assert_eq!(end.sent_of(kind::RST_STREAM).len(), 1);
        assert_eq!(
            end.sent_of(kind::DATA)
                .iter()
                .map(|frame| frame.payload.len())
                .sum::<usize>(),
            65_535
        );
    }
}

#[test]
fn small_messages_use_up_the_window_of_the_connection() {
    let mut client = Client::new(Config::default());
    for tag in 0..20 {
        client
            .connection
            .send(&client.method, tag, &[7; 9_995])
            .unwrap();
    }
    client.take_output();
    let total = |client: &Client| {
        (0..20)
            .map(|n| sent(client, 2 * n + 1).0.len())
            .sum::<usize>()
    };
    assert_eq!(total(&client), 65_535);
    client.receive(&[server_preface(), window_update(0, 34_465)].concat());
    assert_eq!(total(&client), 100_000);
    client.receive(&window_update(0, 100_000));
    assert_eq!(total(&client), 200_000);
    assert!(sent(&client, 39).1);
}

#[test]
fn a_message_is_not_continued_after_a_reset() {
    let mut client = sending(Config::default(), &text(100_000));
    let wide = [
        window_update(0, 1 << 20),
        settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]),
    ];
    client.receive(&[server_preface(), reset(1, ErrorCode::CANCEL), wide.concat()].concat());
    assert_eq!(sent(&client, 1).0.len(), 65_535);
    assert_eq!(client.connection.open_calls(), 0);
}

#[test]
fn a_message_is_not_continued_after_cancelling() {
    let mut client = Client::new(Config::default());
    let call = client
        .connection
        .send(&client.method, 1, &text(100_000))
        .unwrap();
    client.connection.cancel(call);
    client.receive(
        &[
            server_preface(),
            window_update(0, 1 << 20),
            window_update(1, 1 << 20),
        ]
        .concat(),
    );
    assert_eq!(sent(&client, 1).0.len(), 65_535);
}

#[test]
fn window_updates_are_sent_in_batches() {
    let config = Config {
        stream_window: 100_000,
        connection_window: 100_000,
        ..Config::default()
    };
    let end = conversation(
        &config,
        2,
        &[
            server_preface(),
            ok(1, &text(90_000)),
            ok(3, &text(200_000)),
        ]
        .concat(),
    );
    assert_eq!(
        end.events,
        [response(1, &text(90_000)), response(2, &text(200_000))]
    );
    let updates = |stream| -> Vec<u32> {
        let frames = end.sent_of(kind::WINDOW_UPDATE).into_iter();
        frames
            .filter(|frame| frame.stream == stream)
            .map(|frame| u32::from_be_bytes(frame.payload[..].try_into().unwrap()))
            .collect()
    };
    // Each time more than half of the window was used, so at most once in four frames of 16 KiB.
    assert!(
        updates(0)
            .iter()
            .all(|count| (50_000..100_000).contains(count)),
        "{:?}",
        updates(0)
    );
    assert!((3..=6).contains(&updates(0).len()) && updates(3).len() >= 2);
    assert!(updates(1).len() <= 1);
}

#[test]
fn data_beyond_a_window_ends_the_connection() {
    let config = Config {
        stream_window: 20_000,
        ..Config::default()
    };
    // The first frame uses less than half of the window, so it is not returned, and the second frame exceeds it.
    let bytes = [
        server_preface(),
        headers(1, OK_HEADERS),
        data(1, &message(&text(9_000))[..9_000]),
        data(1, &text(12_000)),
    ];
    let end = conversation(&config, 1, &bytes.concat());
    assert!(
        end.closed
            .unwrap()
            .contains("beyond the window of stream 1")
    );
}

#[test]
fn incomplete_responses_have_a_limit() {
    let config = Config {
        buffered_bytes_max: 30_000,
        ..Config::default()
    };
    let begin = |stream| {
        [
            headers(stream, OK_HEADERS),
            data(stream, &message(&text(50_000))[..16_000]),
        ]
        .concat()
    };
    let end = conversation(&config, 2, &[server_preface(), begin(1), begin(3)].concat());
    assert!(
        end.closed
            .unwrap()
            .contains("32000 bytes of incomplete responses, the limit is 30000")
    );
    assert_eq!(end.events.len(), 2);
    // A call that has ended does not count any more.
    let end = conversation(
        &config,
        2,
        &[
            server_preface(),
            begin(1),
            reset(1, ErrorCode::CANCEL),
            begin(3),
        ]
        .concat(),
    );
    assert_eq!(end.closed, None);
}

#[test]
fn the_output_and_unsent_messages_have_limits() {
    let config = Config {
        output_bytes_max: 1_000,
        unsent_bytes_max: 100_000,
        ..Config::default()
    };
    let mut client = Client::new(config);
    while client.connection.send(&client.method, 1, &[0; 100]).is_ok() {}
    assert_eq!(client.connection.check_send(0), Err(SendError::Backlog));
    assert!((1_000..1_500).contains(&client.connection.output().len()));
    client.take_output();
    // A message above all limits is sent if no other waits.
    client
        .connection
        .send(&client.method, 2, &text(300_000))
        .unwrap();
    while !client.connection.output().is_empty() {
        assert!(client.connection.output().len() < 1_000 + PAYLOAD_MAX + 500);
        client.take_output();
    }
    assert_eq!(client.connection.check_send(0), Err(SendError::Backlog));
    client.receive(
        &[
            settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]),
            window_update(0, 1 << 20),
        ]
        .concat(),
    );
    while !client.connection.output().is_empty() {
        client.take_output();
    }
    assert_eq!(client.connection.check_send(0), Ok(()));
    // Sent messages do not count any more. Beside one that waits there is room up to the limit.
    client.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    client
        .connection
        .send(&client.method, 3, &text(60_000))
        .unwrap();
    client.take_output();
    assert_eq!(client.connection.check_send(39_990), Ok(()));
    assert_eq!(
        client.connection.check_send(40_000),
        Err(SendError::Backlog)
    );
}

#[test]
fn partly_written_output_goes_on_where_it_stopped() {
    let config = Config {
        output_bytes_max: 1_000,
        ..Config::default()
    };
    let mut client = Client::new(config);
    let mut sent = 0;
    for _ in 0..200 {
        while client
            .connection
            .send(&client.method, sent, &[sent as u8; 20])
            .is_ok()
        {
            sent += 1;
            if sent >= 100 {
                break;
            }
        }
        let some = client.connection.output().len().min(77);
        client
            .sent
            .extend_from_slice(&client.connection.output()[..some]);
        client.connection.consume(some);
    }
    let end = client.end();
    let messages: Vec<_> = end
        .sent_of(kind::DATA)
        .iter()
        .map(|frame| frame.payload[5])
        .collect();
    assert!(messages.iter().copied().eq(0..100));
}
