//! Huffman's code bit by bit, for comparison.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::huffman::{EOS, LENGTHS, SYMBOLS};

/// The code of each symbol, which is a length and bits: codes of one length are counted up in the order of symbols.
fn codes() -> Vec<(u8, u64)> {
    let mut order: Vec<usize> = (0..SYMBOLS).collect();
    order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
    let mut codes = vec![(0, 0); SYMBOLS];
    let mut next = 0_u64;
    let mut before = 0;
    for symbol in order {
        let length = LENGTHS[symbol];
        next <<= length - before;
        codes[symbol] = (length, next);
        next += 1;
        before = length;
    }
    assert_eq!(
        next,
        1 << before,
        "every sequence of bits is a code or the beginning of one"
    );
    codes
}

static CODES: LazyLock<Vec<(u8, u64)>> = LazyLock::new(codes);

static SYMBOL_OF: LazyLock<HashMap<(u8, u64), u16>> = LazyLock::new(|| {
    let codes = CODES.iter().enumerate();
    codes.map(|(symbol, code)| (*code, symbol as u16)).collect()
});

pub(crate) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut length, mut code) = (0, 0);
    for bit in coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        length += 1;
        code = code << 1 | u64::from(bit);
        match SYMBOL_OF.get(&(length, code)) {
            Some(&EOS) => return None,
            Some(symbol) => {
                out.push(*symbol as u8);
                (length, code) = (0, 0);
            }
            None => {}
        }
    }
    // What is left is padding: less than a byte, and all ones.
    (length < 8 && code == (1 << length) - 1).then_some(out)
}

pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
    let mut bits = String::new();
    for byte in text {
        let (length, code) = CODES[usize::from(*byte)];
        bits.push_str(&format!("{code:0width$b}", width = usize::from(length)));
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    bits.as_bytes()
        .chunks(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}
