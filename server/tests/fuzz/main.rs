//! Fuzz tests of a running server: bytes on its sockets. `soloist_fuzz` tells how inputs are made and replayed.
//!
//! A test binary of its own, because any panic in it is a fault, on whichever thread.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod attacked;
mod seeds;

use soloist_fuzz::{Format, Target};

use attacked::{Attacked, PREFACE};

/// A valid preface, and then frames that are mutated.
#[test]
fn frames_do_no_harm() {
    let server = Attacked::start();
    Target::new("server_frames", Format::Http2)
        .seeds(seeds::conversations(None))
        .words(seeds::words())
        .cost(4)
        .run(|frames| server.attack_patiently(frames));
    server.end();
}

/// The same, with the token of somebody who may read everything and change nothing: so whatever is sent, nothing changes.
#[test]
fn frames_do_no_harm_and_change_nothing_without_a_right() {
    let server = Attacked::of_readers();
    let mut seeds = seeds::conversations(server.authorization());
    seeds.extend(seeds::conversations(Some("Bearer slst_")));
    let before = server.revision();
    Target::new("server_rights", Format::Http2)
        .seeds(seeds)
        .words(seeds::words())
        .cost(8)
        .run(|frames| server.attack_patiently(frames));
    assert_eq!(server.revision(), before, "something was changed");
    server.end();
}

/// Anything from the first byte on.
#[test]
fn bytes_do_no_harm() {
    let server = Attacked::start();
    let mut inputs = vec![
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x00\x05hello".to_vec(),
        PREFACE.to_vec(),
    ];
    inputs.extend(
        seeds::conversations(None)
            .into_iter()
            .map(|frames| [PREFACE, &frames].concat()),
    );
    Target::new("server_bytes", Format::Bytes)
        .seeds(inputs)
        .words([PREFACE, &PREFACE[..10], b"\r\n\r\n"])
        .cost(8)
        .run(|bytes| server.attack(bytes));
    server.end();
}
