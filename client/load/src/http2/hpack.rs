//! HPACK: the decoder of header blocks, and the static table, integers and strings that `encoder` needs too.
//!
//! This side announces SETTINGS_HEADER_TABLE_SIZE = 0, so the decoder has no dynamic table and no block depends on an
//! earlier one. What remains of HPACK is little: the static table, integers, string literals. So there is no crate for
//! it. Those that only do HPACK have had no release since 2024 at the latest, and they panic on a truncated block
//! (`httlib-hpack`) or build their Huffman table again for each string (`loona-hpack`).
//!
//! For requests the server has a dynamic table: see `encoder`.
//!
//! Source: RFC 7541.

use crate::http2::huffman;

/// Why a header block cannot be decoded. That is a connection error: COMPRESSION_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HpackError {
    Truncated,
    IntegerTooLarge,
    Huffman,
    /// An index beyond the static table; the dynamic table is empty.
    Index(u32),
    TableSize(u32),
    LateSizeUpdate,
}

impl std::fmt::Display for HpackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => write!(f, "the header block is truncated"),
            Self::IntegerTooLarge => write!(f, "an integer in the header block is too large"),
            Self::Huffman => write!(f, "a Huffman-coded string in the header block is invalid"),
            Self::Index(index) => {
                write!(f, "the header block has the index {index}, the last is 61")
            }
            Self::TableSize(size) => {
                write!(
                    f,
                    "the header block sets the table size to {size}, the limit is 0"
                )
            }
            Self::LateSizeUpdate => {
                write!(
                    f,
                    "the header block sets the table size after its first field"
                )
            }
        }
    }
}

/// Decodes header blocks. It has buffers, but no state between blocks.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// Calls `field` with the name and value of each header field.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let mut rest = block;
        let mut first = true;
        while let Some(&byte) = rest.first() {
            // The first bits tell the representation, the others of the byte begin an integer (section 6).
            let bits = match byte {
                0x80.. => {
                    let index = integer(&mut rest, 7)?;
                    let (name, value) = static_entry(index)?;
                    field(name.as_bytes(), value.as_bytes());
                    first = false;
                    continue;
                }
                // With indexing: the dynamic table has no room for the field, which is not an error (section 4.4).
                0x40.. => 6,
                0x20.. => {
                    let size = integer(&mut rest, 5)?;
                    if !first {
                        return Err(HpackError::LateSizeUpdate);
                    }
                    if size > 0 {
                        return Err(HpackError::TableSize(size));
                    }
                    continue;
                }
                _ => 4,
            };
            first = false;
            let name = match integer(&mut rest, bits)? {
                0 => string(&mut rest, &mut self.name)?,
                index => static_entry(index)?.0.as_bytes(),
            };
            let value = string(&mut rest, &mut self.value)?;
            field(name, value);
        }
        Ok(())
    }
}

/// Takes an integer whose prefix is the lowest `bits` of the first byte (section 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<u32, HpackError> {
    let (&first, after) = rest.split_first().ok_or(HpackError::Truncated)?;
    *rest = after;
    let mask = (1_u32 << bits) - 1;
    let mut value = u32::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    // Four more bytes suffice for 2^28, and every block is shorter.
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
        *rest = after;
        value += u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(HpackError::IntegerTooLarge)
}

/// Takes a string literal (section 5.2). `room` holds the text if it was Huffman-coded.
fn string<'a, 'b: 'a>(rest: &mut &'b [u8], room: &'a mut Vec<u8>) -> Result<&'a [u8], HpackError> {
    let coded = *rest.first().ok_or(HpackError::Truncated)? >= 0x80;
    let length = integer(rest, 7)? as usize;
    let (text, after) = rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *rest = after;
    if !coded {
        return Ok(text);
    }
    room.clear();
    huffman::decode(text, room).ok_or(HpackError::Huffman)?;
    Ok(room)
}

/// Returns the entry of the static table with an index, which counts from 1.
fn static_entry(index: u32) -> Result<(&'static str, &'static str), HpackError> {
    let at = (index as usize).wrapping_sub(1);
    STATIC_TABLE
        .get(at)
        .copied()
        .ok_or(HpackError::Index(index))
}

/// Appends an integer with a prefix of `bits` (section 5.1). The other bits of the first byte are those of `pattern`.
pub(crate) fn put_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
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

/// Appends a string literal without Huffman code. With it the block would be shorter, but the server would have to
/// decode the string in each call where it is not indexed.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Returns the index of the first entry of the static table with this name.
pub(crate) fn static_name_index(name: &str) -> Option<usize> {
    STATIC_TABLE
        .iter()
        .position(|(known, _)| *known == name)
        .map(|at| at + 1)
}

/// Returns the index of the entry of the static table with this name and value.
pub(crate) fn static_index(name: &str, value: &str) -> Option<usize> {
    STATIC_TABLE
        .iter()
        .position(|known| *known == (name, value))
        .map(|at| at + 1)
}

/// The length of the static table, and its last index. The indices of the dynamic table follow (section 2.3.3).
pub(crate) const STATIC_TABLE_LEN: usize = STATIC_TABLE.len();

/// The static table: appendix A.
#[rustfmt::skip]
const STATIC_TABLE: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
pub(super) mod naive {
    //! RFC 7541 once more, for comparison: numbers without a limit, and Huffman's code bit by bit.

    use super::STATIC_TABLE;
    use crate::http2::huffman;

    type Field = (Vec<u8>, Vec<u8>);

    /// The fields of a block; none if it breaks a rule.
    pub(in crate::http2) fn decode(block: &[u8]) -> Option<Vec<Field>> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(first) = rest.first() {
            let leading_zeros = first.leading_zeros();
            match leading_zeros {
                0 => {
                    let (name, value) = known(number(&mut rest, 7)?)?;
                    fields.push((name.into(), value.into()));
                    continue;
                }
                2 => {
                    // A table of size 0, and only in front of the first field.
                    let size = number(&mut rest, 5)?;
                    if size > 0 || !fields.is_empty() {
                        return None;
                    }
                    continue;
                }
                _ => {}
            }
            let bits = if leading_zeros == 1 { 6 } else { 4 };
            let name = match number(&mut rest, bits)? {
                0 => text(&mut rest)?,
                index => known(index)?.0.into(),
            };
            fields.push((name, text(&mut rest)?));
        }
        Some(fields)
    }

    fn known(index: u128) -> Option<(&'static str, &'static str)> {
        let at = usize::try_from(index).ok()?.checked_sub(1)?;
        STATIC_TABLE.get(at).copied()
    }

    fn number(rest: &mut &[u8], bits: u32) -> Option<u128> {
        let most = (1 << bits) - 1;
        let first = take(rest)? & most;
        if first < most {
            return Some(first.into());
        }
        let mut value = u128::from(most);
        // The decoder takes four bytes more at most, which is 256 MiB.
        for shift in [0, 7, 14, 21] {
            let byte = take(rest)?;
            value += u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
        let is_coded = rest.first()? & 0x80 != 0;
        let length = usize::try_from(number(rest, 7)?).ok()?;
        let (text, after) = rest.split_at_checked(length)?;
        *rest = after;
        match is_coded {
            true => huffman::naive::decode(text),
            false => Some(text.to_vec()),
        }
    }

    fn take(rest: &mut &[u8]) -> Option<u8> {
        let (first, after) = rest.split_first()?;
        *rest = after;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = Vec::new();
        Decoder::default().decode(block, |name, value| {
            fields.push((text(name), text(value)));
        })?;
        Ok(fields)
    }

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fields.iter().map(own).collect()
    }

    #[test]
    fn decodes_every_representation() {
        for (block, fields) in [
            (&[][..], &[][..]),
            (&[0x88], &[(":status", "200")]),
            (&[0x20, 0x88], &[(":status", "200")]),
            (&[0x20, 0x20, 0xbd], &[("www-authenticate", "")]),
            // RFC 7541, C.2: with indexing, without, never indexed. Then the first field of C.6.1, Huffman-coded.
            (
                b"\x40\x0acustom-key\x0dcustom-header",
                &[("custom-key", "custom-header")],
            ),
            (b"\x04\x0c/sample/path", &[(":path", "/sample/path")]),
            (b"\x10\x08password\x06secret", &[("password", "secret")]),
            (&[0x48, 0x82, 0x64, 0x02], &[(":status", "302")]),
            (
                &[0x40, 0x82, 0x64, 0x02, 0x01, b'a', 0x88],
                &[("302", "a"), (":status", "200")],
            ),
            // An index of two bytes: 31 in a prefix of four bits.
            (&[0x0f, 0x10, 0x01, b'x'], &[("content-type", "x")]),
        ] {
            assert_eq!(decoded(block), Ok(pairs(fields)), "{block:x?}");
        }
    }

    #[test]
    fn refuses_blocks_that_no_encoder_may_write() {
        for (block, error) in [
            (&[0x80][..], HpackError::Index(0)),
            (&[0xbe], HpackError::Index(62)),
            (&[0x7e, 0x00], HpackError::Index(62)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
                HpackError::IntegerTooLarge,
            ),
            (&[0xff], HpackError::Truncated),
            (&[0x40], HpackError::Truncated),
            (&[0x48, 0x82, 0x64], HpackError::Truncated),
            (&[0x48, 0x7f, 0xff, 0xff, 0xff, 0x7f], HpackError::Truncated),
            (&[0x48, 0x81, 0x00], HpackError::Huffman),
            (&[0x21], HpackError::TableSize(1)),
            (&[0x3f, 0xe1, 0x1f], HpackError::TableSize(4096)),
            (&[0x88, 0x20], HpackError::LateSizeUpdate),
        ] {
            assert_eq!(decoded(block), Err(error), "{block:x?}");
        }
    }

    #[test]
    fn decodes_what_was_encoded() {
        for length in [0, 1, 14, 15, 126, 127, 128, 255, 16_000] {
            let value = "v".repeat(length);
            let mut block = Vec::new();
            put_integer(&mut block, 0, 4, static_name_index("user-agent").unwrap());
            put_string(&mut block, value.as_bytes());
            assert_eq!(
                decoded(&block),
                Ok(pairs(&[("user-agent", &value)])),
                "{length}"
            );
        }
    }
}
