//! Fuzz tests of what reads the bytes of servers: frames, and the fields of responses. `soloist_fuzz` tells how inputs
//! are made and replayed.

use soloist_fuzz::{Format, Shape, Target, pieces};
use soloist_http2::hpack::Decoder;

use crate::http2::response_fields::{InitialHeaders, ResponseFields};
use crate::http2::tests::*;

const CALLS: u64 = 4;

fn config() -> Config {
    Config {
        buffered_bytes_max: 50_000,
        message_bytes_max: 60_000,
        output_bytes_max: 10_000,
        ..Config::default()
    }
}

/// What a client made of the bytes of a server, which came in these pieces.
fn converse(pieces: &[&[u8]]) -> Transcript {
    let mut client = Client::new(config()).calls(CALLS);
    for piece in pieces {
        client.receive(piece);
        let connection = &client.connection;
        let kept =
            connection.partial_frame.capacity() + connection.block.capacity() + connection.buffered;
        assert!(kept < 200_000, "{kept} bytes kept");
    }
    let open = client.connection.open_calls();
    assert_eq!(
        client.events.len() + open,
        CALLS as usize,
        "a call was lost"
    );
    let transcript = client.end();
    assert!(transcript.closed.is_none() || open == 0);
    transcript
}

fn check_connection(input: &[u8]) -> Shape {
    let whole = converse(&[input]);
    assert_eq!(
        converse(&pieces(input)),
        whole,
        "cut, the bytes mean something else"
    );
    let closed = whole.closed.as_deref().unwrap_or("open");
    let events = whole.events.iter().map(|event| match event {
        OwnedEvent::Response(..) => Shape::of("response"),
        OwnedEvent::Failed(_, _, code, message) => Shape::of(message).with(*code as usize),
    });
    events.fold(Shape::of(closed), Shape::and)
}

fn conversations() -> Vec<Vec<u8>> {
    let begin = server_preface();
    let padded = [&[2][..], &message(b"text"), &[0; 2]].concat();
    [
        vec![ok(1, b"text"), ok(3, b"more"), ok(5, b""), ok(7, &[7; 100])],
        vec![headers(1, OK_HEADERS), headers(3, OK_HEADERS)],
        vec![last_headers(
            1,
            &[
                OK_HEADERS,
                &[("grpc-status", "5"), ("grpc-message", "no%20key")],
            ]
            .concat(),
        )],
        vec![
            headers(1, OK_HEADERS),
            frame(kind::DATA, frame::PADDED, 1, &padded),
            last_headers(1, OK_TRAILERS),
        ],
        vec![settings(&[
            (frame::setting::MAX_CONCURRENT_STREAMS, 3),
            (frame::setting::INITIAL_WINDOW_SIZE, 100),
        ])],
        vec![
            reset(1, ErrorCode::REFUSED_STREAM),
            window_update(0, 5),
            window_update(3, 9),
        ],
        vec![goaway(3, ErrorCode::NO_ERROR, "bye"), ok(1, b"text")],
        vec![
            frame(kind::PING, 0, 0, &[1; 8]),
            frame(kind::HEADERS, 0, 1, &block(OK_HEADERS)),
            frame(kind::CONTINUATION, END_HEADERS, 1, &[]),
        ],
        vec![last_headers(
            1,
            &[
                OK_HEADERS,
                &[
                    ("grpc-status", "8"),
                    ("grpc-status-details-bin", "CAgSAm5v"),
                ],
            ]
            .concat(),
        )],
    ]
    .into_iter()
    .map(|frames| [begin.clone(), frames.concat()].concat())
    .collect()
}

#[test]
fn whatever_a_server_sends_ends_each_call_once() {
    Target::new("load_http2", Format::Http2)
        .seeds(conversations())
        .words(["grpc-status", "grpc-message", ":status", "application/grpc"])
        .cost(4)
        .run(check_connection);
}

fn check_block(input: &[u8]) -> Shape {
    let read = || ResponseFields::read(&mut Decoder::new(0, usize::MAX), input);
    let initial = match read() {
        Ok(initial) => initial,
        Err(error) => return Shape::of(&error.to_string()),
    };
    let initial = match initial.into_initial() {
        InitialHeaders::Informational => Shape::of("informational"),
        InitialHeaders::Response => Shape::of("response"),
        InitialHeaders::Failed(failure) => Shape::of(&failure.message),
    };
    let only = read().unwrap().into_trailers_only();
    let trailers = read().unwrap().into_trailers();
    let trailers = trailers.map_or("sound".to_owned(), |failure| failure.message);
    initial
        .and(Shape::of(&only.message))
        .and(Shape::of(&trailers))
}

#[test]
fn whatever_the_fields_of_a_response_are_they_mean_something() {
    Target::new("load_hpack", Format::Bytes)
        .seeds([
            block(OK_HEADERS),
            block(OK_TRAILERS),
            block(&[
                ("grpc-status", "5"),
                ("grpc-message", "a%20b"),
                ("grpc-status-details-bin", "CAU="),
            ]),
            vec![0x20, 0x88, 0x48, 0x82, 0x64, 0x02],
            vec![0x0f, 0x10, 0x01, b'x', 0x3f, 0x00],
            vec![0x40, 0x82, 0x64, 0x02, 0x01, b'a', 0x88],
        ])
        .words([
            &b"grpc-status"[..],
            b":status",
            &[0x7f, 0xff, 0xff, 0xff, 0x7f],
            &[0x82, 0x64, 0x02],
        ])
        .len_max(400)
        .run(check_block);
}
