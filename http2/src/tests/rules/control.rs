//! SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE: sections 6.5 to 6.9.

use super::super::talk::Talk;
use super::super::wire::{
    CALL, HEADERS_END, block, data, frame, frames, open, ping, settings, whole, window_update,
};
use super::{Get, check, check_from, check_with};
use crate::connection::Event;
use crate::error_code::ErrorCode as Code;
use crate::frame::{ACK, PREFACE, kind, setting};
use crate::limits::Limits;

const PROTOCOL: Get = Get::GoAway(Code::PROTOCOL_ERROR);
const SIZE: Get = Get::GoAway(Code::FRAME_SIZE_ERROR);
const FLOW: Get = Get::GoAway(Code::FLOW_CONTROL_ERROR);

/// Sections 6.5 and 6.5.2.
#[test]
fn settings_frames() {
    let one = |name, value| settings(&[(name, value)]);
    check([
        (
            "ACK with a payload",
            frame(kind::SETTINGS, ACK, 0, &[0; 6]),
            SIZE,
        ),
        ("on a stream", frame(kind::SETTINGS, 0, 1, &[]), PROTOCOL),
        (
            "of a length that is no multiple of 6",
            frame(kind::SETTINGS, 0, 0, &[0; 3]),
            SIZE,
        ),
        ("ENABLE_PUSH of 2", one(setting::ENABLE_PUSH, 2), PROTOCOL),
        ("ENABLE_PUSH of 1", one(setting::ENABLE_PUSH, 1), Get::Sound),
        (
            "the largest INITIAL_WINDOW_SIZE",
            one(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
            Get::Sound,
        ),
        (
            "a larger one",
            one(setting::INITIAL_WINDOW_SIZE, 0x8000_0000),
            FLOW,
        ),
        (
            "a small MAX_FRAME_SIZE",
            one(setting::MAX_FRAME_SIZE, 16_383),
            PROTOCOL,
        ),
        (
            "a large MAX_FRAME_SIZE",
            one(setting::MAX_FRAME_SIZE, 16_777_216),
            PROTOCOL,
        ),
        (
            "the largest MAX_FRAME_SIZE",
            one(setting::MAX_FRAME_SIZE, 16_777_215),
            Get::Sound,
        ),
        ("one that is unknown", one(0xffff, u32::MAX), Get::Sound),
        (
            "an ACK that nobody waits for",
            frame(kind::SETTINGS, ACK, 0, &[]),
            Get::Sound,
        ),
    ]);
    let limits = Limits {
        settings_max: 3,
        ..Limits::DEFAULT
    };
    check_with(
        limits,
        [
            ("as many as allowed", settings(&[(9, 9); 3]), Get::Sound),
            (
                "too many",
                settings(&[(9, 9); 4]),
                Get::GoAway(Code::ENHANCE_YOUR_CALM),
            ),
        ],
    );
}

/// Section 6.5.3: SETTINGS are acknowledged in their order, and the last of several values holds.
#[test]
fn settings_are_acknowledged() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    let both = settings(&[
        (setting::INITIAL_WINDOW_SIZE, 100),
        (setting::INITIAL_WINDOW_SIZE, 1),
    ]);
    talk.answer = Some(b"ab".to_vec());
    talk.receive(&[both, whole(1)].concat());
    let sent = talk.frames();
    let kinds: Vec<_> = sent
        .iter()
        .map(|frame| (frame.kind, frame.flags & ACK))
        .collect();
    assert_eq!(
        kinds,
        [(kind::SETTINGS, ACK), (kind::HEADERS, 0), (kind::DATA, 0)]
    );
    assert_eq!(sent[2].payload, b"a");
}

/// The first frames of this side.
#[test]
fn the_servers_settings() {
    let talk = Talk::new(Limits::DEFAULT);
    let sent = frames(talk.connection.output());
    let value = |name: u16| {
        let (settings, _) = sent[0].payload.as_chunks::<6>();
        let found = settings.iter().find(|of| of[..2] == name.to_be_bytes());
        found.map(|of| u32::from_be_bytes(of[2..].try_into().unwrap()))
    };
    assert_eq!((sent[0].kind, sent[0].flags), (kind::SETTINGS, 0));
    assert_eq!(value(setting::MAX_CONCURRENT_STREAMS), Some(256));
    assert_eq!(value(setting::INITIAL_WINDOW_SIZE), Some(65_536));
    assert_eq!(value(setting::MAX_HEADER_LIST_SIZE), Some(16_384));
    assert_eq!(value(setting::HEADER_TABLE_SIZE), Some(4_096));
    assert_eq!(sent[1].kind, kind::WINDOW_UPDATE);
    assert_eq!(sent[1].payload, (1_048_576_u32 - 65_535).to_be_bytes());
}

/// Sections 6.6 and 8.4.
#[test]
fn push_promise_frames() {
    let promise = frame(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x83]);
    check([("from a client", [open(1), promise].concat(), PROTOCOL)]);
}

/// Section 6.7.
#[test]
fn ping_frames() {
    check([
        ("answered", ping(), Get::Sound),
        (
            "an ACK that nobody waits for",
            frame(kind::PING, ACK, 0, &[9; 8]),
            Get::Sound,
        ),
        ("on a stream", frame(kind::PING, 0, 1, &[0; 8]), PROTOCOL),
        ("too short", frame(kind::PING, 0, 0, &[0; 7]), SIZE),
        ("too long", frame(kind::PING, 0, 0, &[0; 9]), SIZE),
    ]);
}

/// Section 6.8.
#[test]
fn goaway_frames() {
    check([
        ("on a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("too short", frame(kind::GOAWAY, 0, 0, &[0; 7]), SIZE),
        (
            "with a text",
            frame(kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0text"),
            Get::Sound,
        ),
    ]);
}

/// Sections 6.9 and 6.9.1.
#[test]
fn window_update_frames() {
    let most = 0x7fff_ffff;
    check([
        ("of the connection by 0", window_update(0, 0), PROTOCOL),
        (
            "of a stream by 0",
            [open(1), window_update(1, 0)].concat(),
            Get::Reset(1, Code::PROTOCOL_ERROR),
        ),
        ("too short", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
        ("too long", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 5]), SIZE),
        (
            "of the connection as far as it goes",
            window_update(0, most - 65_535),
            Get::Sound,
        ),
        (
            "of the connection beyond",
            window_update(0, most - 65_534),
            FLOW,
        ),
        (
            "of a stream as far as it goes",
            [open(1), window_update(1, most - 65_535)].concat(),
            Get::Sound,
        ),
        (
            "of a stream beyond",
            [open(1), window_update(1, most), window_update(1, most)].concat(),
            Get::Reset(1, Code::FLOW_CONTROL_ERROR),
        ),
        (
            "the reserved bit",
            [open(1), window_update(1, 0x8000_0001)].concat(),
            Get::Sound,
        ),
    ]);
}

/// Section 6.9.2: a change of INITIAL_WINDOW_SIZE may make no window too large.
#[test]
fn initial_windows() {
    let initial = |size| settings(&[(setting::INITIAL_WINDOW_SIZE, size)]);
    check([
        (
            "beyond the largest window",
            [open(1), window_update(1, 0x7fff_0000), initial(70_000)].concat(),
            FLOW,
        ),
        (
            "up, with a window that has been used",
            [
                initial(0x7fff_ffff),
                whole(1),
                initial(0),
                initial(0x7fff_ffff),
            ]
            .concat(),
            Get::Sound,
        ),
    ]);
}

/// Sections 5.2 and 6.9: windows of this side that a client exceeds.
#[test]
fn windows_are_kept() {
    let limits = Limits {
        stream_window: 70_000,
        connection_window: 100_000,
        ..Limits::DEFAULT
    };
    let body = |stream: u32, count: usize| data(0, stream, &[7; 10_000]).repeat(count);
    // The harness consumes at once, so nothing is ever exceeded.
    check_with(
        limits,
        [("consumed", [open(1), body(1, 30)].concat(), Get::Sound)],
    );
    let exceeds = |bytes: Vec<u8>| {
        let mut talk = Talk::begun(limits);
        let mut rest = &bytes[..];
        let mut seen = None;
        while let Some(event) = talk.connection.next(&mut rest, talk.now) {
            match event {
                Event::Reset { code, .. } => seen = Some(code),
                Event::Failed(error) => seen = Some(error.code),
                _ => {}
            }
        }
        seen
    };
    assert_eq!(exceeds([open(1), body(1, 7)].concat()), None);
    let flow = Some(Code::FLOW_CONTROL_ERROR);
    assert_eq!(exceeds([open(1), body(1, 8)].concat()), flow);
    assert_eq!(
        exceeds([open(1), open(3), body(1, 6), body(3, 5)].concat()),
        flow
    );
}

/// Section 6.9.3: until a client has acknowledged SETTINGS it may not know of a smaller window.
#[test]
fn a_smaller_window_holds_from_its_acknowledgement_on() {
    let limits = Limits {
        stream_window: 100,
        ..Limits::DEFAULT
    };
    let ack = frame(kind::SETTINGS, ACK, 0, &[]);
    let bodies = |before: usize, after: usize| {
        let before = data(0, 1, &vec![7; before]);
        let after = data(0, 1, &vec![7; after]);
        [PREFACE, &settings(&[]), &open(1), &before, &ack, &after].concat()
    };
    for (before, after, expected) in [
        (16_000, 0, None),
        (50, 50, None),
        (50, 51, Some(Code::FLOW_CONTROL_ERROR)),
        (16_000, 1, Some(Code::FLOW_CONTROL_ERROR)),
    ] {
        let bytes = bodies(before, after);
        let mut talk = Talk::new(limits);
        let mut rest = &bytes[..];
        let mut seen = None;
        // Nothing is consumed.
        while let Some(event) = talk.connection.next(&mut rest, talk.now) {
            if let Event::Reset { code, .. } = event {
                seen = Some(code);
            }
        }
        assert_eq!(seen, expected, "{before} and {after}");
    }
}

/// Section 4.3.1: once a client has acknowledged a smaller table, its next block begins with the new size.
#[test]
fn a_smaller_table_holds_from_its_acknowledgement_on() {
    let limits = Limits {
        header_table_bytes: 100,
        ..Limits::DEFAULT
    };
    let call = |stream: u32, size: &[u8]| {
        let block = [size, &block(CALL)].concat();
        frame(kind::HEADERS, HEADERS_END, stream, &block)
    };
    let ack = frame(kind::SETTINGS, ACK, 0, &[]);
    let with = |before: &[u8], after: &[u8]| {
        [
            PREFACE,
            &settings(&[]),
            &call(1, before),
            &ack,
            &call(3, after),
        ]
        .concat()
    };
    let compression = Get::GoAway(Code::COMPRESSION_ERROR);
    for (what, bytes, get) in [
        ("100, then nothing", with(&[0x3f, 69], &[]), Get::Sound),
        ("the default, then 100", with(&[], &[0x3f, 69]), Get::Sound),
        ("the default, then 0", with(&[], &[0x20]), Get::Sound),
        ("the default, then nothing", with(&[], &[]), compression),
        ("the default, then 101", with(&[], &[0x3f, 70]), compression),
        (
            "4,096, then 100",
            with(&[0x3f, 0xe1, 0x1f], &[0x3f, 69]),
            Get::Sound,
        ),
    ] {
        check_from(limits, what, &bytes, get);
    }
}
