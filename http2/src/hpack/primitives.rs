//! Integers and strings.
//!
//! Source: RFC 7541, section 5.

use crate::hpack::error::HpackError;
use crate::huffman;

/// Takes an integer whose prefix is the lowest `bits` of the first byte (section 5.1).
///
/// # Errors
/// If the integer is cut off, or has more than four bytes after the prefix: no block has a number that large.
#[inline]
pub(crate) fn integer(rest: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let (&first, after) = rest.split_first().ok_or(HpackError::Truncated)?;
    *rest = after;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
        *rest = after;
        value += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(HpackError::IntegerTooLarge)
}

/// Takes a string literal (section 5.2). `room` holds the text if it was Huffman-coded. A text that would be longer than
/// `bytes_max` is not decoded.
#[inline]
pub(crate) fn string<'a, 'b: 'a>(
    rest: &mut &'b [u8],
    room: &'a mut Vec<u8>,
    bytes_max: usize,
) -> Result<&'a [u8], HpackError> {
    let coded = *rest.first().ok_or(HpackError::Truncated)? >= 0x80;
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *rest = after;
    if !coded {
        return Ok(text);
    }
    // The longest code has 30 bits: the text has no fewer bytes than this.
    if text.len() * 8 / 30 > bytes_max {
        return Err(HpackError::ListTooLarge);
    }
    room.clear();
    huffman::decode(text, room).ok_or(HpackError::Huffman)?;
    Ok(room)
}

/// Appends an integer with a prefix of `bits` (section 5.1). The other bits of the first byte are those of `pattern`.
pub fn put_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let mask = (1 << bits) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a string literal without Huffman's code. With it the block would be shorter, but the peer would have to decode the
/// string in each call where it is not indexed.
pub fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, appendix C.1, and the ends of what is taken.
    #[test]
    fn an_integer_is_read_as_it_was_written() {
        for (bits, value, bytes) in [
            (5, 10, &[10_u8][..]),
            (5, 1_337, &[31, 154, 10]),
            (8, 42, &[42]),
            (5, 30, &[30]),
            (5, 31, &[31, 0]),
            (7, 127, &[127, 0]),
            (7, 127 + (1 << 28) - 1, &[127, 255, 255, 255, 127]),
        ] {
            let mut out = Vec::new();
            put_integer(&mut out, 0, bits, value);
            assert_eq!(out, bytes);
            let mut rest = bytes;
            assert_eq!(integer(&mut rest, bits), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn an_integer_has_an_end() {
        let cases: [(&[u8], _); 4] = [
            (&[], HpackError::Truncated),
            (&[127], HpackError::Truncated),
            (&[127, 128, 128], HpackError::Truncated),
            (&[127, 128, 128, 128, 128, 0], HpackError::IntegerTooLarge),
        ];
        for (bytes, error) in cases {
            let mut rest = bytes;
            assert_eq!(integer(&mut rest, 7), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_text_above_the_limit_is_not_decoded() {
        let bytes = [&[0xff, 0x80, 0x07][..], &[0; 1_023]].concat();
        let mut room = Vec::new();
        let taken = string(&mut &bytes[..], &mut room, 100).map(<[u8]>::len);
        assert_eq!(taken, Err(HpackError::ListTooLarge));
        assert_eq!(room.capacity(), 0);
    }
}
