//! Fuzz tests of a connection: any frames, in any pieces. `soloist_fuzz` tells how inputs are made and replayed.
//!
//! A hundred million inputs, with the code optimised (this target takes one of ten, as its cost says):
//!
//! ```text
//! CARGO_PROFILE_DEV_OPT_LEVEL=3 SOLOIST_FUZZ_INPUTS=1000000000 SOLOIST_FUZZ_SEED=1 \
//!     cargo test -p soloist-http2 --lib fuzz_connection -- --nocapture
//! ```

mod fuzz_tests {
    use std::time::Duration;

    use soloist_fuzz::{Format, Shape, Target, pieces};

    use crate::connection::{Event, Then};
    use crate::error_code::ErrorCode;
    use crate::frame::{END_HEADERS, END_STREAM, PADDED, PRIORITY, kind, setting};
    use crate::limits::{Limits, Rate};
    use crate::tests::talk::{Seen, Talk, answer_head, ok, owned};
    use crate::tests::wire::{
        CALL, HEADERS_END, beginning, block, data, frame, frames, headers, open, ping, reset,
        settings, whole, window_update,
    };

    /// Small limits, so that inputs of a few frames reach them.
    fn limits() -> Limits {
        let rate = Rate {
            burst: 12,
            per_second: 0,
        };
        Limits {
            streams_max: 3,
            header_list_bytes_max: 600,
            header_bytes_decoded_max: 2_000,
            header_frames_max: 4,
            header_table_bytes: 400,
            stream_window: 300,
            connection_window: 65_535,
            output_bytes_max: 2_000,
            settings_max: 8,
            cancellations: Rate { burst: 4, ..rate },
            stream_errors: Rate { burst: 4, ..rate },
            idle_frames: rate,
            ..Limits::DEFAULT
        }
    }

    /// What a connection with these limits holds at most: see `attacks`. A frame in parts is the largest of it.
    const HELD_MAX: usize = 60_000;

    /// What a user does that follows from the events alone.
    fn act(talk: &mut Talk, seen: &Seen) {
        match seen {
            Seen::Request(id, Then::End) | Seen::Data(id, _, Then::End) | Seen::Trailers(id) => {
                let key = talk.keys[id];
                // Streams that tell apart: answered, refused, answered in parts.
                match id % 8 {
                    1 | 5 => {
                        let answer = vec![7; 40];
                        if talk.connection.respond(key, &answer_head(), &answer, &ok()) == Ok(40) {
                            talk.keys.remove(id);
                        }
                    }
                    3 => {
                        talk.connection.reset(key, ErrorCode::CANCEL);
                        talk.keys.remove(id);
                    }
                    _ => _ = talk.connection.send_data(key, &[7; 300]),
                }
            }
            Seen::Data(id, data, Then::More) => {
                talk.connection.consumed(talk.keys[id], data.len());
            }
            Seen::Writable(id) => {
                let key = talk.keys[id];
                if talk.connection.send_last_data(key, &[7; 90]) == Ok(90) {
                    talk.keys.remove(id);
                }
            }
            Seen::Request(..)
            | Seen::Reset(..)
            | Seen::Pong(_)
            | Seen::GoAway(_)
            | Seen::Failed(..) => {}
        }
    }

    /// All events and all output of a connection that got the bytes in these pieces.
    fn converse(pieces: &[&[u8]]) -> (Vec<Seen>, Vec<u8>) {
        let mut talk = Talk::new(limits());
        talk.receive(&beginning());
        for piece in pieces {
            let mut input = *piece;
            while let Some(event) = talk.connection.next(&mut input, Duration::ZERO) {
                let is_end = matches!(event, Event::Failed(_));
                let seen = owned(event, &mut talk.keys);
                act(&mut talk, &seen);
                talk.seen.push(seen);
                // The output is written behind each event, so that it does not depend on the pieces what has room.
                talk.write();
                let held = talk.connection.held();
                assert!(held < HELD_MAX, "{held} bytes");
                assert!(!is_end || talk.connection.open_streams() == 0);
            }
            assert!(input.is_empty(), "nothing is in the way of the input");
            talk.write();
            let open = talk.connection.open_streams();
            assert!(open <= 3 && (talk.connection.is_over() || open == talk.keys.len()));
        }
        assert!(frames(&talk.sent).len() < 400, "few frames make few frames");
        (talk.seen, talk.sent)
    }

    fn check(input: &[u8]) -> Shape {
        let (seen, sent) = converse(&[input]);
        let (cut_seen, cut_sent) = converse(&pieces(input));
        assert_eq!(cut_seen, seen, "cut, the bytes mean something else");
        assert_eq!(cut_sent, sent, "cut, the bytes are answered differently");
        // Which events there were, whatever their number and order: of conversations that are longer there is no end.
        let mut shapes: Vec<Shape> = seen.iter().map(shape).collect();
        shapes.sort();
        shapes.dedup();
        shapes.into_iter().fold(Shape::of("events"), Shape::and)
    }

    fn shape(seen: &Seen) -> Shape {
        match seen {
            Seen::Request(_, then) => Shape::of("request").with(*then as usize),
            Seen::Data(_, data, then) => Shape::of("data")
                .with(*then as usize)
                .with(data.len().min(1)),
            Seen::Trailers(_) => Shape::of("trailers"),
            Seen::Reset(_, code, by) => Shape::of("reset")
                .with(code.0.min(14) as usize)
                .with(*by as usize),
            Seen::Writable(_) => Shape::of("writable"),
            Seen::Pong(_) => Shape::of("pong"),
            Seen::GoAway(_) => Shape::of("goaway"),
            Seen::Failed(code, text) => Shape::of(text).with(code.0 as usize),
        }
    }

    fn conversations() -> Vec<Vec<u8>> {
        let indexed = {
            let mut fields = vec![0x83, 0x86, 0x44, 4];
            fields.extend(b"/s/M\x40\x02te\x08trailers");
            fields
        };
        let entry = [b"\x83\x86\x84\x40\x01n\x64".to_vec(), vec![b'v'; 100]].concat();
        vec![
            [whole(1), whole(3), ping(), whole(5)].concat(),
            [open(1), data(0, 1, b"part"), data(END_STREAM, 1, b"rest")].concat(),
            [
                open(1),
                data(PADDED, 1, b"\x02data\0\0"),
                headers(HEADERS_END, 1, &[("a", "b")]),
            ]
            .concat(),
            [
                frame(kind::HEADERS, HEADERS_END, 1, &indexed),
                frame(kind::HEADERS, HEADERS_END, 3, &[0x83, 0x86, 0xbf, 0xbe]),
            ]
            .concat(),
            [
                frame(kind::HEADERS, END_STREAM, 1, &block(&CALL[..3])),
                frame(kind::CONTINUATION, 0, 1, &block(&CALL[3..])),
                frame(kind::CONTINUATION, END_HEADERS, 1, &[]),
            ]
            .concat(),
            [open(1), open(3), open(5), open(7), reset(3, 8), whole(9)].concat(),
            [
                settings(&[
                    (setting::INITIAL_WINDOW_SIZE, 9),
                    (setting::HEADER_TABLE_SIZE, 0),
                ]),
                whole(1),
                whole(7),
                window_update(7, 100),
                settings(&[(setting::INITIAL_WINDOW_SIZE, 400)]),
                window_update(0, 4),
            ]
            .concat(),
            [
                window_update(0, 0x7fff_0000),
                whole(7),
                window_update(7, 0x7fff_ffff),
            ]
            .concat(),
            [
                frame(kind::HEADERS, HEADERS_END, 1, &entry),
                frame(
                    kind::HEADERS,
                    HEADERS_END,
                    3,
                    &[0x3f, 0x05, 0x83, 0x86, 0x84, 0xbe, 0xbe, 0xbe],
                ),
            ]
            .concat(),
            [
                frame(kind::GOAWAY, 0, 0, &[0; 8]),
                frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 9]),
                frame(
                    kind::HEADERS,
                    HEADERS_END | PRIORITY,
                    1,
                    &[&[0, 0, 0, 3, 9][..], &block(CALL)].concat(),
                ),
                frame(kind::PING, 1, 0, b"goodbye!"),
            ]
            .concat(),
            [open(1), data(0, 1, &[7; 200]), data(0, 1, &[7; 200])].concat(),
        ]
    }

    #[test]
    fn whatever_a_client_sends_is_bounded_and_means_the_same_in_pieces() {
        Target::new("http2_connection", Format::Http2)
            .seeds(conversations())
            .words([
                &b"/s/M"[..],
                b"trailers",
                &[0x83, 0x86, 0x84],
                &[0xbe],
                b"goodbye!",
            ])
            .cost(10)
            .run(check);
    }
}
