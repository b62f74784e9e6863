//! The rules of RFC 9113, a table for each section: what a client sends, and what it gets for it. The cases are those that
//! h2spec has, as far as they concern a server; its numbers are those of RFC 7540, which are given where they differ.

mod connection;
mod control;
mod frames;
mod messages;
mod streams;

use super::talk::Talk;
use super::wire::{beginning, ping};
use crate::error_code::ErrorCode;
use crate::frame::{ACK, kind};
use crate::limits::Limits;

/// What a client gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Get {
    /// No error.
    Sound,
    /// RST_STREAM with this code on this stream, and nothing worse.
    Reset(u32, ErrorCode),
    /// GOAWAY with this code.
    GoAway(ErrorCode),
}

/// What is sent, as a text and as frames behind the beginning.
pub(super) type Case = (&'static str, Vec<u8>, Get);

pub(super) fn check<const N: usize>(cases: [Case; N]) {
    check_with(Limits::DEFAULT, cases);
}

pub(super) fn check_with<const N: usize>(limits: Limits, cases: [Case; N]) {
    for (what, bytes, get) in cases {
        check_from(limits, what, &[beginning(), bytes].concat(), get);
    }
}

/// Checks what a client gets for all that it sends. Whole requests are answered.
pub(super) fn check_from(limits: Limits, what: &str, bytes: &[u8], get: Get) {
    let mut talk = Talk::new(limits);
    talk.answer = Some(b"answer".to_vec());
    talk.receive(bytes);
    talk.receive(&ping());
    let failure = talk.failure();
    let frames = talk.frames();
    let code = |at: usize, payload: &[u8]| {
        let bytes = payload[at..at + 4].try_into().unwrap();
        ErrorCode(u32::from_be_bytes(bytes))
    };
    let resets: Vec<_> = frames
        .iter()
        .filter(|frame| frame.kind == kind::RST_STREAM)
        .map(|frame| (frame.stream, code(0, &frame.payload)))
        .collect();
    let goaways: Vec<_> = frames
        .iter()
        .filter(|frame| frame.kind == kind::GOAWAY)
        .map(|frame| code(4, &frame.payload))
        .collect();
    let is_alive = frames.iter().any(|frame| {
        frame.kind == kind::PING && frame.flags == ACK && frame.payload == b"question"
    });
    match get {
        Get::Sound => {
            assert_eq!(
                (failure, &resets[..], &goaways[..]),
                (None, &[][..], &[][..]),
                "{what}"
            );
            assert!(is_alive, "{what}");
        }
        Get::Reset(stream, expected) => {
            assert_eq!(
                (failure, resets),
                (None, vec![(stream, expected)]),
                "{what}"
            );
            assert!(is_alive, "{what}");
        }
        Get::GoAway(expected) => {
            assert_eq!(
                (failure, goaways),
                (Some(expected), vec![expected]),
                "{what}"
            );
            assert!(!is_alive, "{what}");
        }
    }
}
