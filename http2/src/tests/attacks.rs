//! Attacks: whatever a client sends and however long, the connection holds bounded memory, and ends it when it has no purpose.

use super::talk::{Talk, answer_head};
use super::wire::{
    CALL, HEADERS_END, block, data, frame, open, ping, reset, settings, whole, window_update,
};
use crate::error_code::ErrorCode as Code;
use crate::frame::{END_HEADERS, PADDED, kind, setting};
use crate::hpack::put_string;
use crate::limits::{Limits, Rate};

/// What a connection with these limits holds at most: 256 streams, the table twice, a block and its fields, a frame, the output;
/// and vectors have up to twice as much room as they need.
const HELD_MAX: usize = 700_000;

/// How often everything may happen that is of no use.
const BURST: usize = 200;

fn limits() -> Limits {
    let rate = Rate {
        burst: BURST as u32,
        per_second: 0,
    };
    Limits {
        cancellations: rate,
        stream_errors: rate,
        idle_frames: rate,
        ..Limits::DEFAULT
    }
}

/// What came of an attack.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The connection was ended with this code, after so many repetitions at most.
    Within(usize, Code),
    /// It goes on, because the client pays for what it gets.
    Never,
    /// Nothing more was read, because the client reads nothing.
    Unread,
}

/// What is sent again and again, and its name.
type Unit<F> = (&'static str, F);

/// Something for a stream.
type OfStream = fn(u32) -> Vec<u8>;

const REPETITIONS: usize = 3_000;

/// Sends `unit` again and again, for streams with ever higher numbers.
fn attack(what: &str, talk: &mut Talk, unit: impl Fn(u32) -> Vec<u8>, expected: End) {
    let mut end = End::Never;
    for repetition in 0..REPETITIONS {
        let left = talk.receive(&unit(2 * repetition as u32 + 1));
        let held = talk.connection.held();
        assert!(held < HELD_MAX, "{what}: {held} bytes after {repetition}");
        talk.seen.drain(..talk.seen.len().saturating_sub(1));
        talk.sent.clear();
        if talk.connection.is_over() {
            let code = talk.failure().expect("the user was told");
            end = End::Within(repetition, code);
            break;
        }
        if left > 0 {
            end = End::Unread;
            break;
        }
    }
    match (&end, &expected) {
        (End::Within(after, code), End::Within(within, expected)) => {
            assert!(code == expected && after <= within, "{what}: {end:?}");
        }
        _ => assert_eq!(end, expected, "{what}"),
    }
    if talk.connection.is_over() {
        assert_eq!(talk.connection.open_streams(), 0, "{what}");
    }
}

fn calm(within: usize) -> End {
    End::Within(within, Code::ENHANCE_YOUR_CALM)
}

fn attacked(what: &str, unit: impl Fn(u32) -> Vec<u8>, expected: End) {
    let mut talk = Talk::begun(limits());
    attack(what, &mut talk, unit, expected);
}

/// CVE-2023-44487: requests that are given up at once. One whose requests are answered as often goes on.
#[test]
fn rapid_reset() {
    attacked(
        "rapid reset",
        |id| [open(id), reset(id, 8)].concat(),
        calm(BURST),
    );
    let mut talk = Talk::begun(limits());
    talk.answer = Some(Vec::new());
    let half = |id: u32| match id % 4 {
        1 => [open(id), reset(id, 8)].concat(),
        _ => whole(id),
    };
    attack(
        "every other request is given up",
        &mut talk,
        half,
        End::Never,
    );
}

/// CVE-2025-8671: the server is made to reset, and goes on working for streams that do not count any more.
#[test]
fn made_you_reset() {
    let faults: [Unit<OfStream>; 6] = [
        ("WINDOW_UPDATE by 0", |id| window_update(id, 0)),
        ("a window that is too large", |id| {
            window_update(id, 0x7fff_ffff)
        }),
        ("PRIORITY of another length", |id| {
            frame(kind::PRIORITY, 0, id, &[0; 4])
        }),
        ("a dependency on itself", |id| {
            frame(
                kind::PRIORITY,
                0,
                id,
                &[&id.to_be_bytes()[..], &[1]].concat(),
            )
        }),
        ("a second head", open),
        ("a body behind its end", |id| {
            [data(1, id, b"a"), data(0, id, b"a")].concat()
        }),
    ];
    for (what, fault) in faults {
        attacked(what, |id| [open(id), fault(id)].concat(), calm(BURST));
    }
    attacked(
        "malformed heads",
        |id| frame(kind::HEADERS, HEADERS_END, id, &[0x83]),
        calm(BURST),
    );
}

/// CVE-2025-8671 with faults that only the user sees.
#[test]
fn faults_that_the_user_sees() {
    let mut talk = Talk::begun(limits());
    let code = Code::PROTOCOL_ERROR;
    for number in 0..BURST as u32 {
        let id = 2 * number + 1;
        talk.receive(&open(id));
        let key = talk.keys[&id];
        talk.connection.reset_at_fault(key, code, talk.now);
        // The second time it is closed already, which costs nothing.
        talk.connection.reset_at_fault(key, code, talk.now);
        assert_eq!(talk.resets(id), [code]);
    }
    let last = 2 * BURST as u32 + 1;
    talk.receive(&open(last));
    let key = talk.keys[&last];
    talk.connection.reset_at_fault(key, code, talk.now);
    assert_eq!(talk.failure(), None);
    talk.receive(&[]);
    assert_eq!(talk.failure(), Some(Code::ENHANCE_YOUR_CALM));
    let kinds: Vec<_> = talk.frames().iter().map(|of| of.kind).collect();
    assert_eq!(kinds, [kind::GOAWAY]);
}

/// Streams beyond the limit are refused, and a client that does not stop is ended.
#[test]
fn more_streams_than_allowed() {
    attacked("streams that stay open", open, calm(256 + BURST));
}

/// CVE-2024-27316 and its kin: a block without an end.
#[test]
fn continuation_flood() {
    for (what, payload) in [("empty", 0), ("short", 1), ("long", 16_384)] {
        let begin = frame(kind::HEADERS, 0, 1, &[]);
        let mut talk = Talk::begun(limits());
        talk.receive(&begin);
        let more = frame(kind::CONTINUATION, 0, 1, &vec![0x83; payload]);
        attack(what, &mut talk, |_| more.clone(), calm(16));
    }
}

/// CVE-2019-9512, 9515, and frames of all kinds that carry nothing (9518).
#[test]
fn floods_of_frames_that_carry_nothing() {
    let floods: [(&str, Vec<u8>); 9] = [
        ("PING", ping()),
        ("SETTINGS", settings(&[])),
        (
            "SETTINGS with settings",
            settings(&[(setting::INITIAL_WINDOW_SIZE, 9); 30]),
        ),
        ("PRIORITY", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
        ("unknown types", frame(0xfe, 0, 0, &[])),
        ("GOAWAY", frame(kind::GOAWAY, 0, 0, &[0; 8])),
        ("ACK of PING", frame(kind::PING, 1, 0, &[0; 8])),
        ("ACK of SETTINGS", frame(kind::SETTINGS, 1, 0, &[])),
        ("WINDOW_UPDATE of the connection", window_update(0, 1)),
    ];
    for (what, flood) in floods {
        attacked(what, |_| flood.clone(), calm(BURST + 10));
    }
    let on_a_stream: [(&str, Vec<u8>); 3] = [
        ("empty DATA", data(0, 1, &[])),
        ("DATA of padding", data(PADDED, 1, &[3, 0, 0, 0])),
        ("WINDOW_UPDATE of a stream", window_update(1, 1)),
    ];
    for (what, flood) in on_a_stream {
        let mut talk = Talk::begun(limits());
        talk.receive(&open(1));
        attack(what, &mut talk, |_| flood.clone(), calm(BURST + 10));
    }
    // Closed streams.
    let closed: [(&str, Vec<u8>); 4] = [
        ("DATA", data(0, 1, &[7; 100])),
        ("RST_STREAM", reset(1, 8)),
        ("WINDOW_UPDATE", window_update(1, 1)),
        (
            "trailers",
            frame(kind::HEADERS, HEADERS_END, 1, &block(&[("a", "b")])),
        ),
    ];
    for (what, flood) in closed {
        let mut talk = Talk::begun(limits());
        talk.receive(&[open(1), window_update(1, 0)].concat());
        attack(what, &mut talk, |_| flood.clone(), calm(BURST + 10));
    }
}

/// A budget comes back with time: a client that keeps a modest rate goes on.
#[test]
fn a_modest_rate_goes_on() {
    let mut talk = Talk::begun(Limits {
        idle_frames: Rate {
            burst: 10,
            per_second: 10,
        },
        ..Limits::DEFAULT
    });
    for _ in 0..1_000 {
        talk.now += std::time::Duration::from_millis(100);
        talk.receive(&ping());
    }
    assert!(!talk.connection.is_over());
    talk.receive(&ping().repeat(11));
    assert_eq!(talk.failure(), Some(Code::ENHANCE_YOUR_CALM));
}

/// CVE-2019-9517 and slow readers: a client that asks and does not read. What it does not read is not made.
#[test]
fn a_client_that_does_not_read_is_not_read() {
    let rate = Rate {
        burst: 1_000_000,
        per_second: 0,
    };
    let generous = Limits {
        idle_frames: rate,
        stream_errors: rate,
        cancellations: rate,
        output_bytes_max: 16 * 1_024,
        ..Limits::DEFAULT
    };
    let malformed = |id: u32| frame(kind::HEADERS, HEADERS_END, id, &[0x83]);
    let floods: [Unit<&dyn Fn(u32) -> Vec<u8>>; 4] = [
        ("PING", &|_| ping()),
        ("SETTINGS", &|_| settings(&[])),
        ("calls", &whole),
        ("malformed heads", &malformed),
    ];
    for (what, flood) in floods {
        let mut talk = Talk::begun(generous);
        talk.reads = false;
        talk.answer = Some(vec![7; 100]);
        attack(what, &mut talk, flood, End::Unread);
        assert!(talk.connection.output().len() < 30_000, "{what}");
        // When it reads, everything goes on.
        talk.reads = true;
        talk.receive(&[]);
        assert_eq!(talk.receive(&ping()), 0);
        assert!(!talk.connection.is_over(), "{what}");
    }
}

/// CVE-2019-9511: large answers, for which a client opens its window by a byte at a time.
#[test]
fn a_window_of_one_byte_at_a_time() {
    let mut talk = Talk::begun(limits());
    talk.receive(&[settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]), whole(1)].concat());
    let key = talk.keys[&1];
    talk.connection.send_head(key, &answer_head()).unwrap();
    let body = [7; 100];
    let mut repetition = 0;
    while talk.failure().is_none() {
        repetition += 1;
        assert!(repetition < BURST + 10);
        _ = talk.connection.send_data(key, &body);
        talk.receive(&window_update(1, 1));
        assert!(talk.connection.held() < HELD_MAX);
    }
    assert_eq!(talk.failure(), Some(Code::ENHANCE_YOUR_CALM));
}

/// CVE-2019-9513 and streams that wait: resets of streams that wait for room leave nothing behind.
#[test]
fn streams_that_wait_are_forgotten_when_they_are_reset() {
    let rate = Rate {
        burst: 1_000_000,
        per_second: 0,
    };
    let mut talk = Talk::begun(Limits {
        cancellations: rate,
        ..limits()
    });
    // The connection's window is used up.
    talk.answer = Some(vec![7; 65_535]);
    talk.receive(&whole(1));
    talk.answer = Some(vec![7; 10]);
    let mut held = 0;
    for id in (3..6_003).step_by(2) {
        talk.receive(&[whole(id), reset(id, 8)].concat());
        talk.seen.clear();
        talk.sent.clear();
        held = held.max(talk.connection.held());
    }
    assert!(!talk.connection.is_over() && held < 20_000, "{held} bytes");
}

/// HPACK bombs: a block of few bytes that stands for a list of many, and a table that never stops changing.
#[test]
fn header_bombs() {
    let mut entry = vec![0x40];
    put_string(&mut entry, &[b'n'; 2_000]);
    put_string(&mut entry, &[b'v'; 2_000]);
    let bomb = |id| {
        let block = [&entry[..], &vec![0xbe; 12_000]].concat();
        frame(kind::HEADERS, END_HEADERS, id, &block)
    };
    attacked("a block of indices", bomb, calm(0));
    // Below the limit of what is decoded: each is refused with status 431.
    let large = |id| {
        let block = [&entry[..], &[0xbe; 10]].concat();
        frame(kind::HEADERS, END_HEADERS, id, &block)
    };
    attacked("lists that are too large", large, calm(BURST));
    let names = |id| {
        let block = [&entry[..], &[0x7e, 0].repeat(6_000)].concat();
        frame(kind::HEADERS, END_HEADERS, id, &block)
    };
    attacked("a block of names by index", names, calm(0));
    let sizes = |id| {
        frame(
            kind::HEADERS,
            END_HEADERS,
            id,
            &[0x20, 0x3f, 0xe1, 0x1f].repeat(4_000),
        )
    };
    attacked("sizes of the table", sizes, calm(BURST));
    // Sound calls, each with another entry.
    let mut talk = Talk::begun(limits());
    talk.answer = Some(Vec::new());
    let churn = |id: u32| {
        let mut block = block(CALL);
        block.push(0x40);
        put_string(&mut block, b"x-id");
        put_string(&mut block, format!("{id:0500}").as_bytes());
        frame(kind::HEADERS, HEADERS_END, id, &block)
    };
    attack("entries that change", &mut talk, churn, End::Never);
    let held = talk.connection.held();
    assert!(held < 40_000, "{held} bytes");
}

/// A request that comes a byte at a time, or not at all, ends by time.
#[test]
fn slow_clients_are_ended_by_time() {
    use std::time::Duration;
    let second = Duration::from_secs(1);
    let limits = Limits::DEFAULT;
    let end = |bytes: &[u8], due: Duration, code: Code| {
        let mut talk = Talk::new(limits);
        talk.receive(bytes);
        assert_eq!(talk.connection.due(), Some(due));
        talk.connection.tick(due - second);
        talk.receive(&[]);
        assert_eq!(talk.failure(), None);
        talk.connection.tick(due);
        talk.receive(&[]);
        assert_eq!(talk.failure(), Some(code));
        assert_eq!(talk.connection.due(), None);
    };
    let preface = crate::frame::PREFACE;
    end(&[], limits.preface_timeout, Code::PROTOCOL_ERROR);
    end(preface, limits.preface_timeout, Code::PROTOCOL_ERROR);
    let begun = [preface, &settings(&[])].concat();
    end(&begun, limits.settings_timeout, Code::SETTINGS_TIMEOUT);
    let open_block = [
        super::wire::beginning(),
        frame(kind::HEADERS, 0, 1, &[0x83]),
    ]
    .concat();
    end(&open_block, limits.header_timeout, Code::ENHANCE_YOUR_CALM);
    let mut talk = Talk::begun(limits);
    talk.receive(&whole(1));
    assert_eq!(talk.connection.due(), None);
}

/// A quiet connection holds little, even after it held much.
#[test]
fn a_quiet_connection_holds_little() {
    let mut talk = Talk::begun(Limits::DEFAULT);
    assert!(talk.connection.held() < 1_000, "{}", talk.connection.held());
    talk.answer = Some(vec![7; 1_000]);
    let calls: Vec<u8> = (0..100).flat_map(|call| whole(2 * call + 1)).collect();
    talk.receive(&calls);
    let large = [open(201), data(0, 201, &[7; 16_384])].concat();
    for byte in large.chunks(1_000) {
        talk.receive(byte);
    }
    talk.receive(&reset(201, 8));
    assert!(
        talk.connection.held() < 40_000,
        "{}",
        talk.connection.held()
    );
}
