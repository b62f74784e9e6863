//! The Huffman code of HPACK, read only.
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols, and every code comes before
//! all longer ones. So the lengths say all. Source: RFC 7541, section 5.2 and appendix B.

/// Length in bits of the code of each byte, and of the end of a string.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
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

const SYMBOLS: usize = 257;

/// The symbol that ends a string; it may never be in one.
const END: u16 = 256;

/// The longest code, in bits.
const LENGTH_MAX: usize = 30;

/// The shortest code, in bits.
const LENGTH_MIN: usize = 5;

/// The longest code that is looked up at once. The end of a string has a longer one.
const SHORT_MAX: usize = 8;

static TABLE: Table = Table::new();

struct Table {
    /// For each length: the first value past its codes, with the code in the highest bits of 32.
    end: [u64; LENGTH_MAX + 1],
    /// For each length: its first code, and where its symbols begin.
    first: [(u32, usize); LENGTH_MAX + 1],
    /// In the order of their codes.
    symbols: [u16; SYMBOLS],
    /// For each value of the next eight bits: the symbol they begin with and its code's length; 0 if that is over eight.
    /// All that texts are mostly made of is here, and found several times as fast.
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

/// Appends what `code` says to `out`. `None`: it is no such code.
pub(crate) fn decode(code: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // The shortest codes make 8 symbols of 5 bytes: with room for all, no push has to make any.
    out.reserve(code.len() * 8 / LENGTH_MIN);
    let mut bytes = code.iter();
    // The lowest `count` bits are what is next; above them is what was.
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
        // The next 32 bits; past the end there are ones, as in the padding that ends a string.
        let window = match count >= 32 {
            true => (bits >> (count - 32)) as u32,
            false => ((bits << (32 - count)) as u32) | (u32::MAX >> count),
        };
        let length = (LENGTH_MIN..=LENGTH_MAX)
            .find(|length| u64::from(window) < TABLE.end[*length])
            // Of 32 ones no code is left: they are the end of a string and two bits of padding.
            .unwrap_or(LENGTH_MAX);
        if length > count {
            // Padding: fewer bits than a byte has, all ones.
            return (count < 8 && window == u32::MAX).then_some(());
        }
        let (first, at) = TABLE.first[length];
        let symbol = TABLE.symbols[at + ((window >> (32 - length)) - first) as usize];
        if symbol == END {
            return None;
        }
        out.push(symbol as u8);
        count -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of `text`, worked out from the lengths alone and bit by bit: another way than decoding takes.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut order: Vec<usize> = (0..SYMBOLS).collect();
        order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let mut codes = vec![String::new(); SYMBOLS];
        let mut next = 0_u64;
        let mut before = 0;
        for symbol in order {
            let length = LENGTHS[symbol];
            next <<= length - before;
            codes[symbol] = format!("{next:0width$b}", width = usize::from(length));
            next += 1;
            before = length;
        }
        assert_eq!(
            next,
            1 << LENGTH_MAX,
            "every string of bits is a code or its beginning"
        );
        let mut bits: String = text
            .iter()
            .map(|byte| codes[usize::from(*byte)].as_str())
            .collect();
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect()
    }

    fn decoded(code: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(code, &mut out).map(|()| out)
    }

    /// The examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn decodes_what_the_rfc_gives() {
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
    fn every_byte_comes_back_in_every_position() {
        let all: Vec<u8> = (0..=255).collect();
        for start in 0..all.len() {
            let text = &all[start..];
            assert_eq!(decoded(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn refuses_what_is_no_string() {
        for code in [
            // Padding of a whole byte, of zeros, and the end of a string.
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
