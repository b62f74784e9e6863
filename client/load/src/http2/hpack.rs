//! Header blocks: read without a table of one's own, and the parts that they are written of.
//!
//! We announce HEADER_TABLE_SIZE = 0. So nothing that a server adds is kept, no block depends on the one before, and what
//! is left of HPACK is a static table, numbers and strings. That is why there is no crate here: those that decode only
//! HPACK are left alone since 2024 at the latest, and either panic on a block that is cut short (`httlib-hpack`) or build
//! their Huffman table anew for each string (`loona-hpack`).
//!
//! What we write uses the server's table, and there `encoder` keeps account of it.
//!
//! Source: RFC 7541.

use crate::http2::huffman;

/// What a block is that cannot be decoded. The connection ends then: nothing tells what the server meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HpackError {
    Truncated,
    IntegerTooLarge,
    Huffman,
    /// An entry that is neither in the static table nor could be in ours, which is empty.
    Index(u32),
    TableSize(u32),
    LateSizeUpdate,
}

impl std::fmt::Display for HpackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => write!(f, "the header block is cut short"),
            Self::IntegerTooLarge => write!(f, "a number in the header block is too large"),
            Self::Huffman => write!(f, "a Huffman code in the header block is wrong"),
            Self::Index(index) => write!(f, "the header block names entry {index}, the last is 61"),
            Self::TableSize(size) => {
                write!(
                    f,
                    "the header block sets the table's size to {size}, the limit is 0"
                )
            }
            Self::LateSizeUpdate => {
                write!(
                    f,
                    "the header block sets the table's size after its first field"
                )
            }
        }
    }
}

/// Decodes blocks; keeps nothing but the room for it.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// Calls `field` with each name and value.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let mut rest = block;
        let mut first = true;
        while let Some(&byte) = rest.first() {
            // How a field is written, and how many bits of the first byte belong to a number: section 6.
            let bits = match byte {
                0x80.. => {
                    let index = integer(&mut rest, 7)?;
                    let (name, value) = static_entry(index)?;
                    field(name.as_bytes(), value.as_bytes());
                    first = false;
                    continue;
                }
                // To be kept in the table: but in ours there is no room, which is no error (section 4.4).
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

/// Takes a number whose first bits are the lowest `bits` of the first byte (section 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Result<u32, HpackError> {
    let (&first, after) = rest.split_first().ok_or(HpackError::Truncated)?;
    *rest = after;
    let mask = (1_u32 << bits) - 1;
    let mut value = u32::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    // Four more bytes make 2^28: more than any block is long.
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

/// Takes a string (section 5.2); `room` holds it if it was Huffman-coded.
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

/// An entry of the static table; entries count from 1.
fn static_entry(index: u32) -> Result<(&'static str, &'static str), HpackError> {
    let at = (index as usize).wrapping_sub(1);
    STATIC_TABLE
        .get(at)
        .copied()
        .ok_or(HpackError::Index(index))
}

/// Appends a number of which the first byte has the highest bits `pattern`.
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

/// Appends a string as it is. Huffman's code would be shorter, and the server would have to undo it for every call that
/// names no entry of its table.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Where the static table has `name`, counted from 1.
pub(crate) fn static_name_index(name: &str) -> Option<usize> {
    STATIC_TABLE
        .iter()
        .position(|(known, _)| *known == name)
        .map(|at| at + 1)
}

/// Where the static table has this name with this value, counted from 1.
pub(crate) fn static_index(name: &str, value: &str) -> Option<usize> {
    STATIC_TABLE
        .iter()
        .position(|known| *known == (name, value))
        .map(|at| at + 1)
}

/// The last index of the static table: those of the other follow (section 2.3.3).
pub(crate) const STATIC_TABLE_LEN: usize = STATIC_TABLE.len();

/// Appendix A.
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
    fn decodes_every_kind_of_field() {
        for (block, fields) in [
            (&[][..], &[][..]),
            (&[0x88], &[(":status", "200")]),
            (&[0x20, 0x88], &[(":status", "200")]),
            (&[0x20, 0x20, 0xbd], &[("www-authenticate", "")]),
            // RFC 7541, C.2: with indexing, without, never; then C.6.1's first field, Huffman-coded.
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
            // An index of two bytes: 31 and 30 in four bits.
            (&[0x0f, 0x10, 0x01, b'x'], &[("content-type", "x")]),
        ] {
            assert_eq!(decoded(block), Ok(pairs(fields)), "{block:x?}");
        }
    }

    #[test]
    fn refuses_what_no_encoder_may_write() {
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
    fn what_is_written_is_read_again() {
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
