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
        .seeds(seeds::conversations())
        .words(seeds::words())
        .cost(4)
        .run(|frames| server.attack(&[PREFACE, frames].concat()));
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
        seeds::conversations()
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
