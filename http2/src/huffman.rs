//! The decoder of HPACK's Huffman code.
//!
//! The code is canonical: codes of the same length are consecutive in the order of their symbols, and shorter codes
//! come before longer ones. So the lengths determine the codes. Source: RFC 7541, section 5.2 and appendix B.

/// The length in bits of the code of each byte, and last that of EOS.
#[rustfmt::skip]
pub(crate) const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

pub(crate) const SYMBOLS: usize = 257;

/// The symbol for the end of a string. It must not occur in one; its code only pads.
pub(crate) const EOS: u16 = 256;

/// The longest code, in bits.
const LENGTH_MAX: usize = 30;

/// The shortest code, in bits.
const LENGTH_MIN: usize = 5;

/// The longest code, in bits, that one look-up decodes.
const SHORT_MAX: usize = 8;

static TABLE: Table = Table::new();

struct Table {
    /// For each length: the first value after its codes, with the code in the highest of 32 bits.
    end: [u64; LENGTH_MAX + 1],
    /// For each length: its first code, and the index of that code's symbol.
    first: [(u32, usize); LENGTH_MAX + 1],
    /// The symbols in the order of their codes.
    symbols: [u16; SYMBOLS],
    /// For each value of eight bits: the symbol whose code they begin with, and the length of the code. The length is 0
    /// if the code is longer than eight bits. Most of a text is in this table, which is several times as fast as the
    /// others.
    short: [(u8, u8); 256],
}

impl Table {
    const fn new() -> Self {
        let mut table = Self {
            end: [0; LENGTH_MAX + 1],
            first: [(0, 0); LENGTH_MAX + 1],
            symbols: [0; SYMBOLS],
            short: [(0, 0); 256],
        };
        let mut code = 0_u32;
        let mut placed = 0;
        let mut length = LENGTH_MIN;
        while length <= LENGTH_MAX {
            table.first[length] = (code, placed);
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == length {
                    table.symbols[placed] = symbol as u16;
                    placed += 1;
                    let mut free = 0;
                    while length <= SHORT_MAX && free < 1 << (SHORT_MAX - length) {
                        let bits = (code as usize) << (SHORT_MAX - length) | free;
                        table.short[bits] = (symbol as u8, length as u8);
                        free += 1;
                    }
                    code += 1;
                }
                symbol += 1;
            }
            table.end[length] = (code as u64) << (32 - length);
            code <<= 1;
            length += 1;
        }
        table
    }
}

/// Appends the decoded text to `out`. `None` if the code is invalid; `out` may have a part of the text then.
#[must_use]
pub fn decode(code: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // At most 8 symbols from 5 bytes. With room for them no push has to grow the vector.
    out.reserve(code.len() * 8 / LENGTH_MIN);
    let mut bytes = code.iter();
    // The lowest `count` bits are not decoded yet. The bits above them are.
    let mut bits = 0_u64;
    let mut count = 0;
    loop {
        while count <= 32 {
            let Some(byte) = bytes.next() else { break };
            bits = bits << 8 | u64::from(*byte);
            count += 8;
        }
        while count >= SHORT_MAX {
            let (symbol, length) = TABLE.short[usize::from((bits >> (count - SHORT_MAX)) as u8)];
            if length == 0 {
                break;
            }
            out.push(symbol);
            count -= usize::from(length);
        }
        if count <= 32 && !bytes.as_slice().is_empty() {
            continue;
        }
        if count == 0 {
            return Some(());
        }
        // The next 32 bits, filled with ones after the end, as the padding of a string is.
        let window = match count >= 32 {
            true => (bits >> (count - 32)) as u32,
            false => ((bits << (32 - count)) as u32) | (u32::MAX >> count),
        };
        let length = (LENGTH_MIN..=LENGTH_MAX)
            .find(|length| u64::from(window) < TABLE.end[*length])
            // 32 ones are EOS and two bits of padding.
            .unwrap_or(LENGTH_MAX);
        if length > count {
            // Padding is shorter than a byte, and all ones.
            return (count < 8 && window == u32::MAX).then_some(());
        }
        let (first, at) = TABLE.first[length];
        let symbol = TABLE.symbols[at + ((window >> (32 - length)) - first) as usize];
        if symbol == EOS {
            return None;
        }
        out.push(symbol as u8);
        count -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::naive_huffman::encode;

    fn decoded(code: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(code, &mut out).map(|()| out)
    }

    /// The examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn decodes_the_examples_of_the_rfc() {
        for (code, text) in [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (
                &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f],
                "custom-key",
            ),
            (&[0x64, 0x02], "302"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04,
                    0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ] {
            assert_eq!(decoded(code).as_deref(), Some(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn every_byte_is_decoded_at_every_bit_position() {
        let all: Vec<u8> = (0..=255).collect();
        for start in 0..all.len() {
            let text = &all[start..];
            assert_eq!(decoded(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn refuses_invalid_codes() {
        for code in [
            // Padding of a whole byte, padding of zeros, EOS in several places, and a truncated code.
            &[0x64, 0x02, 0xff][..],
            &[0x64, 0x00, 0x00],
            &[0xff],
            &[0xff, 0xff, 0xff, 0xff],
            &[0xff, 0xff, 0xff, 0xfc],
            &[0xf1, 0xe3, 0xc0],
        ] {
            assert_eq!(decoded(code), None, "{code:x?}");
        }
    }
}
