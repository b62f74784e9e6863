//! The encoder, the decoder and a model of the decoder, by random messages.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::naive_hpack::Naive;
use super::naive_huffman;
use crate::hpack::{Decoder, Encoder, HeaderField, Unclassified, put_integer, put_string};

const TABLE: usize = 4_096;
const LIST_MAX: usize = 60_000;

fn decoded(decoder: &mut Decoder<()>, block: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields = Vec::new();
    let decoded = decoder.decode(block, &Unclassified, |(), name, value| {
        fields.push((name.to_vec(), value.to_vec()));
    });
    decoded.ok().map(|()| fields)
}

#[test]
fn what_was_encoded_is_decoded() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..60 {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(TABLE, LIST_MAX);
        encoder.begin_indexing();
        let names = [":path", "te", "x-tenant", "authorization", "x", "accept"];
        for _ in 0..30 {
            if rng.random_bool(0.1) {
                let size = [0, 100, 1_000, 4_096][rng.random_range(0..4)];
                decoder.set_table_bytes_max(size as usize);
                encoder.set_table_size_max(size);
            }
            let fields: Vec<_> = (0..rng.random_range(0..8))
                .map(|_| {
                    let name = names[rng.random_range(0..names.len())];
                    let value = "v".repeat([0, 1, 3, 150, 2_000][rng.random_range(0..5)]);
                    Arc::new(HeaderField::new(name, value))
                })
                .collect();
            let mut block = Vec::new();
            encoder.encode(&fields, &mut block);
            let expected: Vec<_> = fields
                .iter()
                .map(|field| (field.name().into(), field.value().into()))
                .collect();
            assert_eq!(decoded(&mut decoder, &block), Some(expected));
        }
    }
}

/// Blocks with every representation, where each fourth is broken somewhere.
#[test]
fn the_decoder_does_as_its_model() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut refused = 0;
    for _ in 0..50 {
        let mut decoder = Decoder::new(300, 2_000);
        let mut model = Naive::new(300, 2_000);
        for _ in 0..20 {
            let mut block = random_block(&mut rng);
            if rng.random_bool(0.02) && !block.is_empty() {
                let at = rng.random_range(0..block.len());
                block[at] ^= 1 << rng.random_range(0..8);
            }
            let expected = model.decode(&block);
            assert_eq!(decoded(&mut decoder, &block), expected, "{block:x?}");
            if expected.is_none() {
                refused += 1;
                break;
            }
        }
    }
    assert!((3..48).contains(&refused), "{refused} of 50");
}

fn random_block(rng: &mut SmallRng) -> Vec<u8> {
    let mut block = Vec::new();
    if rng.random_bool(0.1) {
        put_integer(&mut block, 0x20, 5, rng.random_range(0..=300));
    }
    for _ in 0..rng.random_range(0..6) {
        let index = match rng.random_bool(0.95) {
            true => rng.random_range(1..=63),
            false => rng.random_range(0..=70),
        };
        match rng.random_range(0..4) {
            0 => put_integer(&mut block, 0x80, 7, index),
            kind => {
                let (pattern, bits) = [(0x40, 6), (0, 4), (0x10, 4)][kind - 1];
                let is_named = rng.random_bool(0.5);
                put_integer(&mut block, pattern, bits, if is_named { index } else { 0 });
                if !is_named {
                    put_random(rng, &mut block);
                }
                put_random(rng, &mut block);
            }
        }
    }
    block
}

fn put_random(rng: &mut SmallRng, block: &mut Vec<u8>) {
    let length = [0, 1, 5, 60, 280][rng.random_range(0..5)];
    let text: Vec<u8> = (0..length).map(|_| rng.random()).collect();
    if rng.random_bool(0.5) {
        return put_string(block, &text);
    }
    let code = naive_huffman::encode(&text);
    put_integer(block, 0x80, 7, code.len());
    block.extend(code);
}
