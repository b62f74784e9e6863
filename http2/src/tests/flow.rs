//! Answers and their windows, bodies and theirs, and how a connection says goodbye.

use std::collections::BTreeMap;

use super::talk::{Seen, Talk, answer_head, ok};
use super::wire::{
    Frame, HEADERS_END, beginning, data, frame, headers, open, ping, settings, whole, window_update,
};
use crate::connection::{Event, Gone, StreamKey, Then};
use crate::error_code::ErrorCode;
use crate::frame::{ACK, END_HEADERS, END_STREAM, kind, setting};
use crate::limits::Limits;

fn shape(frames: &[Frame]) -> Vec<(u8, u8, u32, usize)> {
    let shape = |frame: &Frame| (frame.kind, frame.flags, frame.stream, frame.payload.len());
    frames.iter().map(shape).collect()
}

#[test]
fn a_call_is_three_frames() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.answer = Some(b"answer".to_vec());
    talk.receive(&[open(1), data(END_STREAM, 1, b"question")].concat());
    let seen = [
        Seen::Request(1, Then::More),
        Seen::Data(1, b"question".to_vec(), Then::End),
    ];
    assert_eq!(talk.seen, seen);
    let frames = talk.frames();
    let expected = [
        (kind::HEADERS, END_HEADERS, 1, answer_head().len() - 9),
        (kind::DATA, 0, 1, 6),
        (kind::HEADERS, HEADERS_END, 1, ok().len() - 9),
    ];
    assert_eq!(shape(&frames), expected);
    assert_eq!(talk.connection.open_streams(), 0);
}

#[test]
fn an_answer_before_the_end_of_its_request_ends_the_stream() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.receive(&open(1));
    let key = talk.keys[&1];
    assert!(!talk.connection.has_head(key));
    talk.connection.send_trailers(key, &ok()).unwrap();
    assert_eq!(talk.resets(1), [ErrorCode::NO_ERROR]);
    assert_eq!(talk.connection.send_head(key, &ok()), Err(Gone));
    assert_eq!(talk.connection.send_data(key, b"a"), Err(Gone));
    assert_eq!(talk.connection.send_trailers(key, &ok()), Err(Gone));
    // The rest of the request is on its way, and gives its window back.
    let body = data(0, 1, &[7; 10_000]).repeat(200);
    talk.receive(&body);
    assert_eq!(talk.failure(), None);
    let updates = talk.frames();
    assert!(
        updates
            .iter()
            .all(|of| of.kind == kind::WINDOW_UPDATE && of.stream == 0)
    );
    assert_eq!(updates.len(), 3);
}

#[test]
fn an_answer_without_trailers_ends_with_its_data() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.receive(&[whole(1), whole(3)].concat());
    let (one, three) = (talk.keys[&1], talk.keys[&3]);
    talk.connection.send_head(one, &answer_head()).unwrap();
    assert_eq!(
        talk.connection.send_last_data(one, &[7; 20_000]),
        Ok(20_000)
    );
    assert_eq!(talk.connection.send_last_data(three, b""), Ok(0));
    let frames = talk.frames();
    let expected = [
        (kind::DATA, 0, 1, 16_384),
        (kind::DATA, END_STREAM, 1, 3_616),
        (kind::DATA, END_STREAM, 3, 0),
    ];
    assert_eq!(shape(&frames)[1..], expected);
    assert_eq!(talk.connection.open_streams(), 0);
}

#[test]
fn streams_that_wait_take_turns() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.receive(&[whole(1), whole(3), whole(5)].concat());
    let mut left = BTreeMap::new();
    for (id, length) in [(1, 65_535), (3, 40_000), (5, 40_000)] {
        let taken = talk
            .connection
            .send_last_data(talk.keys[&id], &vec![7; length]);
        left.insert(id, length - taken.unwrap());
    }
    // The connection's window was for the first alone.
    assert_eq!(left, BTreeMap::from([(1, 0), (3, 40_000), (5, 40_000)]));
    let mut order = Vec::new();
    for _ in 0..8 {
        talk.write();
        let update = window_update(0, 10_000);
        let mut input = &update[..];
        while let Some(event) = talk.connection.next(&mut input, talk.now) {
            let Event::Writable { stream } = event else {
                panic!("{event:?}");
            };
            let rest = vec![7; left[&stream.id()]];
            let taken = talk.connection.send_last_data(stream, &rest).unwrap();
            left.insert(stream.id(), rest.len() - taken);
            order.push(stream.id());
        }
    }
    assert_eq!(order, [3, 5, 3, 5, 3, 5, 3, 5]);
    assert_eq!(talk.connection.open_streams(), 0);
}

#[test]
fn a_small_answer_does_not_wait_for_large_ones() {
    const LARGE: usize = 2 << 20;
    const SMALL: usize = 100;
    let mut talk = Talk::begun(Limits::DEFAULT);
    let windows = [
        settings(&[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]),
        window_update(0, 0x7fff_0000),
    ];
    talk.receive(&[&windows.concat()[..], &[1, 3, 5, 7].map(whole).concat()].concat());
    talk.write();
    let mut left = BTreeMap::from([(1, LARGE), (3, LARGE), (5, LARGE), (7, SMALL)]);
    let (mut order, mut taken, mut writes) = (Vec::new(), 0, 0);
    let mut send = |talk: &mut Talk, key: StreamKey| {
        let rest = left[&key.id()];
        let count = talk.connection.send_last_data(key, &vec![7; rest]).unwrap();
        left.insert(key.id(), rest - count);
        taken += count;
        if count == rest {
            order.push((key.id(), taken));
        }
    };
    for id in [1, 3, 5, 7] {
        let key = talk.keys[&id];
        send(&mut talk, key);
    }
    while talk.connection.open_streams() > 0 {
        // As much as fits, whoever it is of.
        assert!(talk.connection.output().len() >= Limits::DEFAULT.output_bytes_max);
        writes += 1;
        talk.write();
        while let Some(event) = talk.connection.next(&mut &[][..], talk.now) {
            let Event::Writable { stream } = event else {
                panic!("{event:?}");
            };
            send(&mut talk, stream);
        }
    }
    let small = order[0];
    assert!(small.0 == 7 && small.1 < 128 << 10, "{order:?}");
    assert_eq!(order.len(), 4);
    assert!(writes <= 3 * LARGE / (64 << 10) + 1, "{writes} writes");
}

#[test]
fn a_stream_waits_for_its_own_window() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.receive(&[settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]), whole(1)].concat());
    let key = talk.keys[&1];
    assert_eq!(talk.connection.send_data(key, &[7; 25]), Ok(10));
    talk.seen.clear();
    talk.receive(&window_update(0, 100));
    assert_eq!(talk.seen, []);
    talk.receive(&window_update(1, 5));
    assert_eq!(talk.seen, [Seen::Writable(1)]);
    assert_eq!(talk.connection.send_data(key, &[7; 15]), Ok(5));
    // A larger window for all streams is one for this stream, as far as it is positive.
    talk.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 3)]));
    talk.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]));
    assert_eq!(talk.seen.len(), 1);
    talk.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 14)]));
    assert_eq!(talk.seen.len(), 2);
    assert_eq!(talk.connection.send_last_data(key, &[7; 10]), Ok(4));
}

#[test]
fn the_output_has_a_limit() {
    let limits = Limits {
        output_bytes_max: 1_000,
        ..Limits::DEFAULT
    };
    let mut talk = Talk::begun(limits);
    talk.receive(&whole(1));
    let key = talk.keys[&1];
    talk.seen.clear();
    assert_eq!(talk.connection.send_data(key, &[7; 5_000]), Ok(1_000));
    assert_eq!(talk.connection.send_data(key, &[7; 4_000]), Ok(0));
    talk.reads = false;
    assert_eq!(talk.receive(&ping()), 17);
    assert_eq!(talk.seen, []);
    talk.write();
    talk.receive(&ping());
    assert_eq!(talk.seen, [Seen::Writable(1)]);
}

#[test]
fn consumed_bytes_are_given_back_in_halves() {
    let limits = Limits {
        stream_window: 100_000,
        connection_window: 200_000,
        ..Limits::DEFAULT
    };
    let mut talk = Talk::begun(limits);
    let body = data(0, 1, &[7; 10_000]);
    talk.receive(&open(1));
    for frame in 1..=10 {
        talk.receive(&body);
        let updates = shape(&talk.frames());
        match frame {
            5 => assert_eq!(updates, [(kind::WINDOW_UPDATE, 0, 1, 4)]),
            10 => assert_eq!(
                updates,
                [
                    (kind::WINDOW_UPDATE, 0, 1, 4),
                    (kind::WINDOW_UPDATE, 0, 0, 4)
                ]
            ),
            _ => assert_eq!(updates, []),
        }
    }
}

/// RFC 9113, section 4.3.1: a client that lowers the size of its table is told that it is lower, in the next block.
#[test]
fn a_smaller_table_is_announced_once() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.answer = Some(Vec::new());
    talk.receive(&settings(&[(setting::HEADER_TABLE_SIZE, 100)]));
    talk.receive(&settings(&[(setting::HEADER_TABLE_SIZE, 9_000)]));
    talk.receive(&[whole(1), whole(3)].concat());
    let blocks: Vec<_> = talk
        .frames()
        .into_iter()
        .filter(|of| of.kind == kind::HEADERS)
        .collect();
    assert_eq!(blocks[0].payload[..3], [0x3f, 69, 0x88]);
    assert_eq!(blocks[2].payload[0], 0x88);
}

#[test]
fn a_goodbye_loses_no_request() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.answer = Some(Vec::new());
    talk.receive(&open(1));
    talk.connection.drain();
    let frames = talk.frames();
    assert_eq!(frames[0].payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let question = frames[1].payload.clone();
    // The client did not know yet.
    talk.receive(&whole(3));
    assert!(!talk.connection.is_drained());
    talk.receive(&frame(kind::PING, ACK, 0, &question));
    let goaway = talk.frames().pop().unwrap();
    assert_eq!(goaway.payload, [0, 0, 0, 3, 0, 0, 0, 0]);
    talk.seen.clear();
    talk.receive(&[whole(5), open(7), data(0, 7, b"a"), ping()].concat());
    assert_eq!(talk.seen, []);
    assert!(!talk.connection.is_drained());
    talk.receive(&data(END_STREAM, 1, b""));
    assert!(talk.connection.is_drained() && !talk.connection.is_over());
    // Without the answer to the ping.
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.connection.drain();
    talk.connection.drain();
    talk.connection.drain();
    assert!(talk.connection.is_drained());
    let kinds: Vec<_> = talk.frames().iter().map(|of| of.kind).collect();
    assert_eq!(kinds, [kind::GOAWAY, kind::PING, kind::GOAWAY]);
}

#[test]
fn a_ping_of_the_user_is_answered() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    talk.connection.ping(*b"question");
    let frames = talk.frames();
    assert_eq!((frames[0].kind, frames[0].flags), (kind::PING, 0));
    talk.receive(&frame(kind::PING, ACK, 0, &frames[0].payload));
    assert_eq!(talk.seen, [Seen::Pong(*b"question")]);
}

/// The same events, wherever the bytes are cut.
#[test]
fn cuts_change_nothing() {
    let whole_talk = [
        beginning(),
        open(1),
        data(0, 1, b"part"),
        whole(3),
        frame(
            kind::HEADERS,
            0,
            5,
            &super::wire::block(&super::wire::CALL[..3]),
        ),
        frame(
            kind::CONTINUATION,
            END_HEADERS,
            5,
            &super::wire::block(&super::wire::CALL[3..]),
        ),
        data(0x8, 5, b"\x02data\0\0"),
        window_update(0, 7),
        ping(),
        headers(HEADERS_END, 1, &[("a", "b")]),
        frame(kind::PING, 0, 0, &[0; 7]),
    ]
    .concat();
    let converse = |pieces: &[&[u8]]| {
        let mut talk = Talk::new(Limits::DEFAULT);
        talk.answer = Some(b"answer".to_vec());
        for piece in pieces {
            talk.receive(piece);
        }
        (talk.frames(), talk.seen)
    };
    let expected = converse(&[&whole_talk]);
    assert_eq!(expected.1.len(), 7);
    for cut in 0..whole_talk.len() {
        let (front, back) = whole_talk.split_at(cut);
        assert_eq!(converse(&[front, back]), expected, "{cut}");
    }
    let bytes: Vec<_> = whole_talk.chunks(1).collect();
    assert_eq!(converse(&bytes), expected);
}
