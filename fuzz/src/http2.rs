//! Mutations of frames of HTTP/2: of whole frames, and of the content of one.

use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::input::Context;
use crate::{mutate, protobuf};

/// Bytes in front of a frame's payload.
const HEADER_BYTES: usize = 9;

/// Bytes in front of a message of gRPC.
const PREFIX_BYTES: usize = 5;

/// The payload is cut off here: a frame's length has three bytes.
const PAYLOAD_MAX: usize = (1 << 24) - 1;

#[derive(Clone)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: [u8; 4],
    payload: Vec<u8>,
}

/// The whole frames at the front of `bytes`, and the rest.
fn frames(mut bytes: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, kind, flags, stream @ ..] = *header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((payload, after)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push(Frame {
            kind,
            flags,
            stream,
            payload: payload.to_vec(),
        });
        bytes = after;
    }
    (frames, bytes)
}

fn encode(frames: &[Frame], rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        let payload = &frame.payload[..frame.payload.len().min(PAYLOAD_MAX)];
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[frame.kind, frame.flags]);
        out.extend_from_slice(&frame.stream);
        out.extend_from_slice(payload);
    }
    out.extend_from_slice(rest);
    out
}

/// Changes a sequence of frames in one way.
pub(crate) fn mutate(rng: &mut SmallRng, input: &[u8], context: &Context<'_>) -> Vec<u8> {
    let (mut list, rest) = frames(input);
    if list.is_empty() || rng.random_bool(0.08) {
        let mut bytes = input.to_vec();
        mutate::mutate(rng, &mut bytes, context);
        return bytes;
    }
    let at = rng.random_range(0..list.len());
    match rng.random_range(0..14) {
        0 => drop(list.remove(at)),
        1 => {
            let copies = [1, 1, 1, 2, 20][rng.random_range(0..5)];
            let copy = vec![list[at].clone(); copies];
            list.splice(at..at, copy);
        }
        2 => {
            let to = rng.random_range(0..list.len());
            list.swap(at, to);
        }
        3 => list[at].kind = rng.random_range(0..12),
        4 => list[at].flags ^= 1 << rng.random_range(0..8),
        5 => {
            let stream = match rng.random_bool(0.8) {
                true => rng.random_range(0..12_u32),
                false => mutate::number(rng) as u32,
            };
            list[at].stream = stream.to_be_bytes();
        }
        6 => {
            let (others, _) = frames(context.other);
            if !others.is_empty() {
                let from = rng.random_range(0..others.len());
                let to = rng.random_range(from..=others.len());
                list.splice(at..at, others[from..to].iter().cloned());
            }
        }
        7 => split(rng, &mut list, at),
        _ => mutate_payload(rng, &mut list[at], context),
    }
    encode(&list, rest)
}

/// Cuts a frame into two of the same kind; a header block goes on in a CONTINUATION.
fn split(rng: &mut SmallRng, list: &mut Vec<Frame>, at: usize) {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    let cut = rng.random_range(0..=list[at].payload.len());
    let mut second = list[at].clone();
    second.payload.drain(..cut);
    list[at].payload.truncate(cut);
    if second.kind == HEADERS {
        second.kind = CONTINUATION;
        second.flags &= END_HEADERS;
        list[at].flags &= !END_HEADERS;
    } else {
        list[at].flags &= !END_STREAM;
    }
    list.insert(at + 1, second);
}

fn mutate_payload(rng: &mut SmallRng, frame: &mut Frame, context: &Context<'_>) {
    const DATA: u8 = 0;
    let message = frame.payload.split_at_checked(PREFIX_BYTES);
    match message {
        Some((_, message)) if frame.kind == DATA && rng.random_bool(0.7) => {
            let message = protobuf::mutate(rng, message, context);
            let mut payload = vec![0];
            payload.extend_from_slice(&(message.len() as u32).to_be_bytes());
            payload.extend(message);
            frame.payload = payload;
        }
        _ => mutate::mutate(rng, &mut frame.payload, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_encoded_as_they_were_parsed() {
        let bytes = [&[0, 0, 2, 0, 1, 0, 0, 0, 3, 7, 8][..], &[0, 0, 9, 1]].concat();
        let (list, rest) = frames(&bytes);
        assert_eq!((list.len(), rest.len()), (1, 4));
        assert_eq!(encode(&list, rest), bytes);
    }
}
