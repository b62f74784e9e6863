//! The encoder of header blocks, which uses the server's dynamic table.
//!
//! A header field is sent as a literal once, and as an index from then on. So the block of a request shrinks from some
//! 120 bytes to 8, as with other gRPC clients, and the server spends less on it. A connection sends the headers of few
//! methods again and again, so the encoder never evicts an entry to make room for another: a field that does not fit is
//! sent as a literal each time. Evictions would make every block different from the one before.
//!
//! Source: RFC 7541; section numbers are those of the RFC.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hpack::primitives::{put_integer, put_string};
use crate::hpack::static_table::{STATIC_TABLE_LEN, static_index, static_name_index};
use crate::hpack::table::ENTRY_OVERHEAD;

/// The size of the dynamic table unless the server sets another (RFC 9113, section 6.5.2), and the most that is used of
/// a larger one. It has room for some 60 methods, at 30 to 60 bytes each, and the fields that they share.
const TABLE_SIZE_MAX: usize = 4096;

/// Parts of header names that suggest a secret. A false alarm costs a few bytes in each call.
const SENSITIVE: [&str; 7] = [
    "api-key",
    "authorization",
    "cookie",
    "credential",
    "password",
    "secret",
    "token",
];

/// A header field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderField {
    name: String,
    value: String,
}

impl HeaderField {
    /// A field. The name must be in lower case.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the size of the field as an entry (section 4.1).
    fn size(&self) -> usize {
        self.name.len() + self.value.len() + ENTRY_OVERHEAD
    }

    /// Whether no table may hold the field, not even that of a proxy (section 7.1.3). Binary values are always treated
    /// so, since they may be anything. A bearer token is not: it is random or signed, and whoever wants to learn it from the
    /// length of blocks has to guess all of it (section 7.1). The gRPC clients of Go and Java index it, too.
    fn is_sensitive(&self) -> bool {
        let suggests_secret = || SENSITIVE.iter().any(|part| self.name.contains(part));
        self.name.ends_with("-bin") || (suggests_secret() && !self.is_bearer_token())
    }

    fn is_bearer_token(&self) -> bool {
        self.name == "authorization" && self.value.starts_with("Bearer ")
    }

    /// Appends the field as a literal. `pattern` selects the representation; `bits` is the prefix for the index of the
    /// name.
    fn put_literal(&self, block: &mut Vec<u8>, pattern: u8, bits: u32) {
        match static_name_index(&self.name) {
            Some(index) => put_integer(block, pattern, bits, index),
            None => {
                block.push(pattern);
                put_string(block, self.name.as_bytes());
            }
        }
        put_string(block, self.value.as_bytes());
    }
}

/// How often an encoded block may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Any number of times, until the dynamic table changes: the block itself does not change the table.
    UntilTableChanges,
    /// Exactly once, and at once: the block changes the dynamic table.
    Once,
}

/// The server's dynamic table as it will be once the server has read all encoded blocks.
#[derive(Debug)]
pub struct Encoder {
    /// The newest entry first: its index is the next after the static table.
    table: VecDeque<Arc<HeaderField>>,
    /// The sizes of all entries together.
    size: usize,
    /// The maximum size of the table.
    table_size_max: usize,
    /// The smallest maximum size since the last block, if it was changed. The next block has to announce it.
    pending_size_min: Option<usize>,
    /// The size up to which the encoder adds entries: 0 before the server's SETTINGS.
    indexed_bytes_max: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that adds no entries yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            table_size_max: TABLE_SIZE_MAX,
            pending_size_min: None,
            indexed_bytes_max: 0,
        }
    }

    /// Allows new entries from now on: the server's SETTINGS have come, so the size of the table is known.
    pub fn begin_indexing(&mut self) {
        self.indexed_bytes_max = TABLE_SIZE_MAX;
    }

    /// Takes the server's HEADER_TABLE_SIZE. It applies after the ACK of the SETTINGS, so from the next block on.
    pub fn set_table_size_max(&mut self, size: u32) {
        let table_size_max = TABLE_SIZE_MAX.min(size as usize);
        if table_size_max == self.table_size_max {
            return;
        }
        self.table_size_max = table_size_max;
        let least = self.pending_size_min.unwrap_or(table_size_max);
        self.pending_size_min = Some(least.min(table_size_max));
        while self.size > table_size_max
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.size();
        }
    }

    /// Appends the header block of `fields`.
    pub fn encode(&mut self, fields: &[Arc<HeaderField>], block: &mut Vec<u8>) -> Validity {
        let mut validity = Validity::UntilTableChanges;
        if let Some(least) = self.pending_size_min.take() {
            // Of several changes the smallest size and the last must be announced (section 4.2).
            if least < self.table_size_max {
                put_integer(block, 0x20, 5, least);
            }
            put_integer(block, 0x20, 5, self.table_size_max);
            validity = Validity::Once;
        }
        for field in fields {
            // The patterns and prefixes of the representations: section 6.
            if field.is_sensitive() {
                field.put_literal(block, 0x10, 4);
            } else if let Some(index) = self.index(field) {
                put_integer(block, 0x80, 7, index);
            } else if self.size + field.size() <= self.table_size_max.min(self.indexed_bytes_max) {
                field.put_literal(block, 0x40, 6);
                self.size += field.size();
                self.table.push_front(Arc::clone(field));
                validity = Validity::Once;
            } else {
                field.put_literal(block, 0, 4);
            }
        }
        validity
    }

    /// Returns the index of this field in the static or the dynamic table.
    fn index(&self, field: &HeaderField) -> Option<usize> {
        static_index(&field.name, &field.value).or_else(|| {
            let at = self.table.iter().position(|entry| **entry == *field)?;
            Some(STATIC_TABLE_LEN + 1 + at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn fields(pairs: Pairs<'_>) -> Vec<Arc<HeaderField>> {
        let field = |(name, value): &(&str, &str)| Arc::new(HeaderField::new(*name, *value));
        pairs.iter().map(field).collect()
    }

    fn indexing() -> Encoder {
        let mut encoder = Encoder::new();
        encoder.begin_indexing();
        encoder
    }

    /// The block of a request, and how often it may be sent.
    fn encoded(encoder: &mut Encoder, pairs: Pairs<'_>) -> (Vec<u8>, Validity) {
        let mut block = Vec::new();
        let validity = encoder.encode(&fields(pairs), &mut block);
        (block, validity)
    }

    fn block(encoder: &mut Encoder, pairs: Pairs<'_>) -> Vec<u8> {
        encoded(encoder, pairs).0
    }

    fn entries(encoder: &Encoder) -> Vec<(String, String)> {
        let pair = |entry: &Arc<HeaderField>| self::pair(entry.name(), entry.value());
        encoder.table.iter().map(pair).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// Three requests on one connection, without Huffman code: appendix C.3.
    #[test]
    fn encodes_the_examples_of_the_rfc() {
        let mut encoder = indexing();
        let first = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ];
        let second = [&first[..], &[("cache-control", "no-cache")]].concat();
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        let cases: [(Pairs<'_>, &[u8], usize); 3] = [
            (&first, b"\x82\x86\x84\x41\x0fwww.example.com", 57),
            (&second, b"\x82\x86\x84\xbe\x58\x08no-cache", 110),
            (
                &third,
                b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
                164,
            ),
        ];
        for (pairs, bytes, size) in cases {
            let (block, validity) = encoded(&mut encoder, pairs);
            assert_eq!((&block[..], validity), (bytes, Validity::Once), "{pairs:?}");
            assert_eq!(encoder.size, size, "{pairs:?}");
        }
        let table = [
            pair("custom-key", "custom-value"),
            pair("cache-control", "no-cache"),
            pair(":authority", "www.example.com"),
        ];
        assert_eq!(entries(&encoder), table);
        // From now on every field has an index.
        let again = (
            vec![0x82, 0x87, 0x85, 0xc0, 0xbe],
            Validity::UntilTableChanges,
        );
        assert_eq!(encoded(&mut encoder, &third), again);
        assert_eq!(encoded(&mut encoder, &third), again);
    }

    #[test]
    fn indexes_nothing_before_the_settings_of_the_server() {
        let mut encoder = Encoder::new();
        let pairs = [(":path", "/a"), ("te", "trailers")];
        let literals = (
            b"\x04\x02/a\x00\x02te\x08trailers".to_vec(),
            Validity::UntilTableChanges,
        );
        assert_eq!(encoded(&mut encoder, &pairs), literals);
        assert_eq!(encoded(&mut encoder, &pairs), literals);
        encoder.begin_indexing();
        assert_eq!(
            block(&mut encoder, &pairs),
            b"\x44\x02/a\x40\x02te\x08trailers"
        );
        assert_eq!(block(&mut encoder, &pairs), [0xbf, 0xbe]);
    }

    #[test]
    fn a_field_twice_in_a_block_is_an_index_the_second_time() {
        let mut encoder = indexing();
        let pairs = [("x", "1"), ("y", "2"), ("x", "1"), ("x", "2")];
        assert_eq!(
            block(&mut encoder, &pairs),
            b"\x40\x01x\x011\x40\x01y\x012\xbf\x40\x01x\x012"
        );
        assert_eq!(block(&mut encoder, &pairs), [0xc0, 0xbf, 0xc0, 0xbe]);
    }

    #[test]
    fn sensitive_fields_are_never_indexed() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-auth-token",
            "x-api-key",
            "my-token",
            "client-secret",
            "trace-bin",
        ] {
            let mut encoder = indexing();
            let pairs = [(name, "value")];
            let first = encoded(&mut encoder, &pairs);
            assert_eq!(first.1, Validity::UntilTableChanges, "{name}");
            // The representation "never indexed" begins with the bits 0001.
            assert_eq!(first.0[0] >> 4, 1, "{name}");
            assert!(first.0.ends_with(b"\x05value"), "{name}");
            assert_eq!(encoded(&mut encoder, &pairs), first, "{name}");
            assert_eq!(entries(&encoder), [], "{name}");
        }
        // But for bearer tokens, which nobody can guess.
        let mut encoder = indexing();
        let pairs = [("authorization", "Bearer slst_abc")];
        assert_eq!(block(&mut encoder, &pairs)[0] >> 6, 1);
        assert_eq!(block(&mut encoder, &pairs), [0xbe]);
        // An entry of the static table with an equal value is not used either.
        let mut encoder = indexing();
        assert_eq!(block(&mut encoder, &[("cookie", "")]), [0x1f, 17, 0]);
        assert_eq!(block(&mut encoder, &[("keyless", "")])[0], 0x40);
    }

    #[test]
    fn a_field_that_does_not_fit_is_a_literal_and_evicts_nothing() {
        let mut encoder = indexing();
        // With their names and 32 bytes each: 4,000 and 96 bytes, which fill the table.
        let large = "l".repeat(4_000 - 33);
        let small = "s".repeat(96 - 33);
        let pairs = [("a", large.as_str()), ("b", small.as_str()), ("c", "")];
        let first = block(&mut encoder, &pairs);
        assert_eq!(encoder.size, 4_096);
        assert_eq!(first[first.len() - 4..], *b"\x00\x01c\x00");
        let again = (
            b"\xbf\xbe\x00\x01c\x00".to_vec(),
            Validity::UntilTableChanges,
        );
        assert_eq!(encoded(&mut encoder, &pairs), again);
        assert_eq!(
            entries(&encoder),
            [pair("b", &small), pair("a", &large)],
            "nothing was evicted"
        );
        // One byte more than the table has.
        let mut encoder = indexing();
        let larger = "l".repeat(4_096 - 32);
        assert_eq!(block(&mut encoder, &[("a", &larger)])[0], 0x00);
    }

    #[test]
    fn announces_the_sizes_that_the_server_sets() {
        let settings: [(&[u32], &[u8]); 8] = [
            (&[], &[]),
            // Only 4,096 bytes of a larger table are used, so nothing changes.
            (&[4_096], &[]),
            (&[65_536, u32::MAX], &[]),
            (&[0], &[0x20]),
            (&[30], &[0x3e]),
            (&[4_095], &[0x3f, 0xe0, 0x1f]),
            // The smallest size, and the last.
            (&[100, 20, 50, 4_096], &[0x34, 0x3f, 0xe1, 0x1f]),
            (&[100, 20], &[0x34]),
        ];
        for (sizes, bytes) in settings {
            let mut encoder = indexing();
            for size in sizes {
                encoder.set_table_size_max(*size);
            }
            let expected = match bytes {
                [] => Validity::UntilTableChanges,
                _ => Validity::Once,
            };
            let expected = ([bytes, &[0x83]].concat(), expected);
            let post = [(":method", "POST")];
            assert_eq!(encoded(&mut encoder, &post), expected, "{sizes:?}");
            let then = (vec![0x83], Validity::UntilTableChanges);
            assert_eq!(encoded(&mut encoder, &post), then, "{sizes:?}");
        }
    }

    #[test]
    fn a_table_that_shrinks_loses_its_oldest_entries() {
        let mut encoder = indexing();
        let pairs = [("a", "1"), ("b", "2"), ("c", "3")];
        block(&mut encoder, &pairs);
        assert_eq!(encoder.size, 3 * 34);
        encoder.set_table_size_max(3 * 34);
        assert_eq!(block(&mut encoder, &pairs)[..3], [0x3f, 71, 0xc0]);
        // One byte too few for three.
        encoder.set_table_size_max(3 * 34 - 1);
        assert_eq!(
            block(&mut encoder, &pairs),
            b"\x3f\x46\x00\x01a\x011\xbf\xbe"
        );
        assert_eq!(block(&mut encoder, &pairs), b"\x00\x01a\x011\xbf\xbe");
        encoder.set_table_size_max(0);
        assert_eq!(entries(&encoder), []);
        // It grows again before the next block: that it was empty in between has to be announced.
        encoder.set_table_size_max(34);
        assert_eq!(
            block(&mut encoder, &pairs),
            b"\x20\x3f\x03\x40\x01a\x011\x00\x01b\x012\x00\x01c\x013"
        );
        assert_eq!(block(&mut encoder, &[("a", "1")]), [0xbe]);
    }
}
