//! Random tests: conversations of many calls cut anywhere, and random bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use soloist_http2::frame::{PADDED, setting};

use crate::http2::tests::*;

/// The response to one call.
#[derive(Clone, Debug)]
enum ResponsePlan {
    Ok {
        length: usize,
        pieces: usize,
        padding: u8,
        date: u8,
    },
    Status {
        code: i32,
        after_message: bool,
    },
    Reset(u32),
}

fn response_plan() -> impl Strategy<Value = ResponsePlan> {
    let length = prop_oneof![0..200_usize, 0..200_usize, 0..40_000_usize];
    prop_oneof![
        4 => (length, 1..6_usize, 0..4_u8, 0..3_u8)
            .prop_map(|(length, pieces, padding, date)| ResponsePlan::Ok { length, pieces, padding, date }),
        1 => (1..17_i32, any::<bool>())
            .prop_map(|(code, after_message)| ResponsePlan::Status { code, after_message }),
        1 => (0..14_u32).prop_map(ResponsePlan::Reset),
    ]
}

fn text(stream: u32, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u32).wrapping_mul(stream) as u8)
        .collect()
}

/// The frames of a response, and the event that they must lead to.
fn play(stream: u32, tag: u64, plan: &ResponsePlan) -> (Vec<Vec<u8>>, OwnedEvent) {
    match plan {
        ResponsePlan::Ok {
            length,
            pieces,
            padding,
            date,
        } => {
            let body = text(stream, *length);
            let whole = message(&body);
            let mut frames = vec![match date {
                0 => headers(stream, OK_HEADERS),
                _ => headers(
                    stream,
                    &[OK_HEADERS, &[("date", &date.to_string())]].concat(),
                ),
            }];
            let size = whole.len().div_ceil(*pieces).min(frame::PAYLOAD_MAX - 10);
            frames.extend(whole.chunks(size).map(|chunk| match padding {
                0 => data(stream, chunk),
                _ => {
                    let padded = [&[*padding][..], chunk, &vec![0; usize::from(*padding)]].concat();
                    frame(kind::DATA, PADDED, stream, &padded)
                }
            }));
            frames.push(last_headers(stream, OK_TRAILERS));
            (frames, response(tag, &body))
        }
        ResponsePlan::Status {
            code,
            after_message,
        } => {
            let number = code.to_string();
            let status = [("grpc-status", number.as_str()), ("grpc-message", "why")];
            let frames = match after_message {
                true => vec![
                    headers(stream, OK_HEADERS),
                    data(stream, &message(b"x")),
                    last_headers(stream, &status),
                ],
                false => vec![last_headers(stream, &[OK_HEADERS, &status].concat())],
            };
            (
                frames,
                failed(tag, Processed::Answered, Code::from_i32(*code), "why"),
            )
        }
        ResponsePlan::Reset(reason) => {
            let reason = ErrorCode(*reason);
            let failure = crate::http2::failure::CallFailure::reset(reason);
            let frames = vec![headers(stream, OK_HEADERS), reset(stream, reason)];
            (
                frames,
                failed(tag, failure.processed, failure.code, &failure.message),
            )
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The frames of all responses are interleaved at random and cut anywhere. Every call must end once, as its own
    /// frames say, in the order in which the responses were complete.
    #[test]
    fn every_call_ends_as_its_frames_say(
        plans in vec(response_plan(), 1..60),
        seed in any::<u64>(),
        piece_max in 1..30_000_usize,
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut waiting: Vec<_> = plans
            .iter()
            .enumerate()
            .map(|(index, plan)| {
                let (frames, event) = play(2 * index as u32 + 1, index as u64 + 1, plan);
                (frames.into_iter(), Some(event))
            })
            .collect();
        let mut bytes = server_preface();
        let mut expected = Vec::new();
        while !waiting.is_empty() {
            let at = rng.random_range(0..waiting.len());
            let (frames, event) = &mut waiting[at];
            match frames.next() {
                Some(frame) => bytes.extend(frame),
                None => {
                    waiting.swap_remove(at);
                    continue;
                }
            }
            if frames.len() == 0 {
                expected.extend(event.take());
            }
        }
        let mut client = Client::new(Config::default()).calls(plans.len() as u64);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.random_range(1..=piece_max).min(rest.len()));
            client.receive(piece);
            rest = after;
        }
        prop_assert_eq!(client.connection.closed(), None);
        prop_assert_eq!(&client.events, &expected);
        prop_assert_eq!(client.connection.open_calls(), 0);
        prop_assert_eq!(client.connection.buffered, 0);
    }

    /// Messages of any length arrive whole, through windows that grow and shrink at random.
    #[test]
    fn every_message_is_sent_whole(
        lengths in vec(0..120_000_usize, 1..20),
        updates in vec((0..40_u32, 1..50_000_u32), 0..40),
        initial in vec(0..100_000_u32, 0..5),
    ) {
        let mut client = Client::new(Config::default());
        client.receive(&server_preface());
        for (index, length) in lengths.iter().enumerate() {
            let body = text(index as u32 * 2 + 1, *length);
            client.connection.send(&client.method, index as u64, &body).unwrap();
        }
        let mut initial = initial.into_iter();
        for (stream, increment) in updates {
            client.take_output();
            let stream = stream % (lengths.len() as u32 + 1);
            client.receive(&window_update((2 * stream).saturating_sub(1), increment));
            if let Some(size) = initial.next() {
                client.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, size)]));
            }
        }
        // Room for the rest of all messages.
        client.receive(&window_update(0, 100_000_000));
        client.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 10_000_000)]));
        while !client.connection.output().is_empty() {
            client.take_output();
        }
        prop_assert_eq!(client.connection.closed(), None);
        let mut bodies = vec![(Vec::new(), false); lengths.len()];
        for frame in client.frames().into_iter().filter(|frame| frame.kind == kind::DATA) {
            let (body, ended) = &mut bodies[frame.stream as usize / 2];
            prop_assert!(!*ended);
            body.extend(frame.payload);
            *ended = frame.flags == END_STREAM;
        }
        for (index, (body, ended)) in bodies.into_iter().enumerate() {
            prop_assert!(ended);
            prop_assert!(body == message(&text(index as u32 * 2 + 1, lengths[index])));
        }
    }
}

/// Random bytes, random frames, and valid conversations with wrong bytes in them: the connection must not panic, exceed
/// its limits or lose a call.
#[test]
fn garbage_does_no_more_than_end_the_connection() {
    let mut rng = SmallRng::seed_from_u64(7);
    let config = Config {
        buffered_bytes_max: 50_000,
        message_bytes_max: 60_000,
        output_bytes_max: 10_000,
        ..Config::default()
    };
    let mut ended = 0;
    for round in 0..30_000 {
        let mut bytes = match round % 3 {
            0 => Vec::new(),
            _ => [server_preface(), ok(1, b"text"), headers(3, OK_HEADERS)].concat(),
        };
        match round % 3 {
            0 | 1 => {
                for _ in 0..rng.random_range(1..20) {
                    let length = rng.random_range(0..60);
                    let payload: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                    if rng.random_bool(0.2) {
                        bytes.extend(payload);
                        continue;
                    }
                    let (kind, flags, stream) = (
                        rng.random_range(0..11),
                        rng.random(),
                        rng.random_range(0..12),
                    );
                    bytes.extend(frame(kind, flags, stream, &payload));
                }
            }
            _ => {
                bytes.extend(
                    [
                        data(3, &message(b"more")),
                        ok(5, &[9; 300]),
                        last_headers(3, OK_TRAILERS),
                    ]
                    .concat(),
                );
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = rng.random();
                }
            }
        }
        let mut client = Client::new(config.clone()).calls(5);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.random_range(1..=rest.len()));
            client.receive(piece);
            rest = after;
        }
        let connection = &client.connection;
        let kept =
            connection.partial_frame.capacity() + connection.block.capacity() + connection.buffered;
        assert!(kept < 200_000, "{kept} bytes kept");
        assert_eq!(client.events.len() + connection.open_calls(), 5);
        if connection.closed().is_some() {
            ended += 1;
            assert_eq!(connection.open_calls(), 0);
        }
    }
    assert!((5_000..30_000).contains(&ended), "{ended} of 30,000 ended");
}
