//! Every error code: sent by this side, and taken from a client.

use super::talk::{Seen, Talk};
use super::wire::{data, frame, open, reset, whole};
use crate::connection::Side;
use crate::error_code::ErrorCode;
use crate::frame::kind;
use crate::limits::Limits;

const ALL: std::ops::Range<u32> = 0..14;

#[test]
fn a_client_may_reset_with_any_code() {
    for code in ALL.chain([14, u32::MAX]) {
        let mut talk = Talk::begun(Limits::DEFAULT);
        talk.receive(&[open(1), reset(1, code)].concat());
        let seen = Seen::Reset(1, ErrorCode(code), Side::Client);
        assert_eq!(talk.seen.last(), Some(&seen));
        assert_eq!(talk.connection.open_streams(), 0);
    }
}

#[test]
fn a_client_may_say_goodbye_with_any_code() {
    for code in ALL.chain([14, u32::MAX]) {
        let mut talk = Talk::begun(Limits::DEFAULT);
        let payload = [[0; 4], code.to_be_bytes()].concat();
        talk.receive(&frame(kind::GOAWAY, 0, 0, &payload));
        assert_eq!(talk.seen, [Seen::GoAway(ErrorCode(code))]);
    }
}

#[test]
fn the_user_may_reset_with_any_code() {
    for code in ALL.map(ErrorCode) {
        let mut talk = Talk::begun(Limits::DEFAULT);
        talk.receive(&open(1));
        let key = talk.keys[&1];
        talk.connection.reset(key, code);
        talk.connection.reset(key, code);
        assert_eq!(talk.resets(1), [code]);
        // What was under way is ignored, and the user is told nothing.
        talk.seen.clear();
        talk.receive(&data(0, 1, b"late"));
        assert_eq!(talk.seen, []);
    }
}

#[test]
fn the_user_may_end_the_connection_with_any_code() {
    for code in ALL.map(ErrorCode) {
        let mut talk = Talk::begun(Limits::DEFAULT);
        talk.receive(&open(3));
        talk.seen.clear();
        talk.connection.close(code, "the reason");
        talk.connection.close(code, "the reason");
        let frames = talk.frames();
        let expected = [&[0, 0, 0, 3][..], &code.0.to_be_bytes(), b"the reason"].concat();
        assert_eq!((frames.len(), &frames[0].payload), (1, &expected));
        // The user knows, and the client gets nothing more.
        talk.receive(&whole(5));
        assert!(talk.seen.is_empty() && talk.frames().is_empty());
        assert!(talk.connection.is_over());
    }
}
