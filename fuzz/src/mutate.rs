//! Mutations of bytes.

use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::input::Context;

/// Numbers at which decoders err.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3fff,
    0x4000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

pub(crate) fn number(rng: &mut SmallRng) -> u64 {
    let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
    match rng.random_range(0..4) {
        0 => number.wrapping_add(rng.random_range(0..3)).wrapping_sub(1),
        1 => rng.random::<u64>() >> rng.random_range(0..64),
        _ => number,
    }
}

/// A part of `bytes`, mostly a short one.
pub(crate) fn part<'a>(rng: &mut SmallRng, bytes: &'a [u8]) -> &'a [u8] {
    let from = rng.random_range(0..=bytes.len());
    let rest = &bytes[from..];
    let most = match rng.random_bool(0.7) {
        true => rest.len().min(16),
        false => rest.len(),
    };
    &rest[..rng.random_range(0..=most)]
}

/// Changes `bytes` in one way.
pub(crate) fn mutate(rng: &mut SmallRng, bytes: &mut Vec<u8>, context: &Context<'_>) {
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..12) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        2 if at < bytes.len() => bytes[at] = rng.random(),
        3 if at < bytes.len() => {
            bytes[at] = bytes[at]
                .wrapping_add(rng.random_range(0..3))
                .wrapping_sub(1);
        }
        4 => {
            let end = (at + rng.random_range(1..9)).min(bytes.len());
            bytes.drain(at..end);
        }
        5 => bytes.truncate(at),
        6 => {
            let copy = part(rng, bytes).to_vec();
            bytes.splice(at..at, copy);
        }
        7 => {
            let from = part(rng, context.other).to_vec();
            bytes.splice(at..at, from);
        }
        8 if !context.words.is_empty() => {
            let word = &context.words[rng.random_range(0..context.words.len())];
            let end = match rng.random() {
                true => (at + word.len()).min(bytes.len()),
                false => at,
            };
            bytes.splice(at..end, word.iter().copied());
        }
        9 => {
            let number = number(rng);
            let width = 1 << rng.random_range(0..4);
            let all = match rng.random() {
                true => number.to_le_bytes(),
                false => (number << (64 - 8 * width)).to_be_bytes(),
            };
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, all[..width].iter().copied());
        }
        10 => {
            let mut varint = Vec::new();
            crate::protobuf::put_varint(&mut varint, number(rng));
            bytes.splice(at..at, varint);
        }
        _ => {
            let more = rng.random_range(1..9);
            let random: Vec<u8> = (0..more).map(|_| rng.random()).collect();
            bytes.splice(at..at, random);
        }
    }
}
