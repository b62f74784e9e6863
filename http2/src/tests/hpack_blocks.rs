//! Header blocks by the sections of RFC 7541.

use crate::hpack::HpackError::{self, *};
use crate::hpack::{Decoder, Unclassified, put_integer, put_string};

type Pairs = Vec<(String, String)>;

/// A block, and its fields.
type Decoded<'a> = (&'a [u8], &'a [(&'a str, &'a str)]);

fn pairs(fields: &[(&str, &str)]) -> Pairs {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(own).collect()
}

pub(super) fn decode(decoder: &mut Decoder<()>, block: &[u8]) -> Result<Pairs, HpackError> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut fields = Vec::new();
    decoder.decode(block, &Unclassified, |(), name, value| {
        fields.push((text(name), text(value)));
    })?;
    Ok(fields)
}

fn decoder(table: usize) -> Decoder<()> {
    Decoder::new(table, 10_000)
}

#[test]
fn every_representation_is_decoded() {
    let cases: [Decoded<'_>; 10] = [
        (&[], &[]),
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
    ];
    for (block, fields) in cases {
        for table in [0, 4_096] {
            let decoded = decode(&mut decoder(table), block);
            assert_eq!(decoded, Ok(pairs(fields)), "{block:x?}");
        }
    }
}

#[test]
fn without_a_dynamic_table_there_are_no_further_entries() {
    let cases: [(&[u8], HpackError); 6] = [
        (&[0x80], Index { index: 0, last: 61 }),
        (
            &[0xbe],
            Index {
                index: 62,
                last: 61,
            },
        ),
        (
            &[0x7e, 0x00],
            Index {
                index: 62,
                last: 61,
            },
        ),
        (&[0x21], TableSize { size: 1, limit: 0 }),
        (
            &[0x3f, 0xe1, 0x1f],
            TableSize {
                size: 4_096,
                limit: 0,
            },
        ),
        (
            b"\x40\x01a\x01b\xbe",
            Index {
                index: 62,
                last: 61,
            },
        ),
    ];
    for (block, error) in cases {
        assert_eq!(decode(&mut decoder(0), block), Err(error), "{block:x?}");
    }
}

/// Sections 2.3.3 (index address space), 5.1 and 5.2 (integers and strings), 6.1 (indexed field).
#[test]
fn blocks_that_no_encoder_may_write_are_refused() {
    let cases: [(&str, &[u8], HpackError); 17] = [
        ("6.1: the index 0", &[0x80], Index { index: 0, last: 61 }),
        (
            "2.3.3: an index beyond both tables",
            &[0xbe],
            Index {
                index: 62,
                last: 61,
            },
        ),
        (
            "2.3.3: the index of a name beyond both tables",
            &[0x7f, 0x00, 0x00],
            Index {
                index: 63,
                last: 61,
            },
        ),
        (
            "2.3.3: an index beyond one entry",
            b"\x40\x01a\x01b\xbf",
            Index {
                index: 63,
                last: 62,
            },
        ),
        ("5.1: an integer without an end", &[0xff], Truncated),
        (
            "5.1: an integer that is too large",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
            IntegerTooLarge,
        ),
        ("5.2: a literal without a name", &[0x40], Truncated),
        ("5.2: a literal without a value", b"\x40\x01a", Truncated),
        (
            "5.2: a value that is cut off",
            &[0x48, 0x82, 0x64],
            Truncated,
        ),
        (
            "5.2: a length beyond the block",
            &[0x48, 0x7f, 0xff, 0xff, 0xff, 0x7f],
            Truncated,
        ),
        (
            "5.2: padding of more than 7 bits",
            &[0x48, 0x83, 0x64, 0x02, 0xff],
            Huffman,
        ),
        ("5.2: padding of zeros", &[0x48, 0x81, 0x00], Huffman),
        (
            "5.2: the symbol EOS",
            &[0x48, 0x84, 0xff, 0xff, 0xff, 0xff],
            Huffman,
        ),
        (
            "6.3: a size above SETTINGS",
            &[0x3f, 0xe2, 0x1f],
            TableSize {
                size: 4_097,
                limit: 4_096,
            },
        ),
        ("4.2: a size behind a field", &[0x88, 0x20], LateSizeUpdate),
        (
            "4.2: a size behind a literal",
            b"\x00\x01a\x01b\x20",
            LateSizeUpdate,
        ),
        ("6.3: an integer without an end", &[0x3f], Truncated),
    ];
    for (what, block, error) in cases {
        assert_eq!(decode(&mut decoder(4_096), block), Err(error), "{what}");
    }
}

/// Sections 4.2 and 6.3: the size of the table follows SETTINGS.
#[test]
fn a_lower_limit_has_to_be_followed() {
    let smaller = || {
        let mut decoder = decoder(4_096);
        decode(&mut decoder, b"\x40\x01a\x01b\x40\x01c\x01d").unwrap();
        decoder.set_table_bytes_max(40);
        decoder
    };
    let a_field = [0x88];
    assert_eq!(decode(&mut smaller(), &a_field), Err(MissingSizeUpdate));
    assert_eq!(decode(&mut smaller(), &[]), Err(MissingSizeUpdate));
    let too_large = TableSize {
        size: 41,
        limit: 40,
    };
    assert_eq!(decode(&mut smaller(), &[0x3f, 10]), Err(too_large));
    // Of two entries of 34 bytes the newer one is left.
    let mut decoder = smaller();
    let c = pairs(&[("c", "d")]);
    assert_eq!(decode(&mut decoder, &[0x3f, 9, 0xbe]), Ok(c));
    let beyond = Index {
        index: 63,
        last: 62,
    };
    assert_eq!(decode(&mut decoder, &[0xbf]), Err(beyond));
    // The smallest size and the last: the table was empty in between.
    let mut decoder = smaller();
    let none = Index {
        index: 62,
        last: 61,
    };
    assert_eq!(decode(&mut decoder, &[0x20, 0x3f, 9, 0xbe]), Err(none));
    // A limit that is not below the present size asks for nothing.
    let mut decoder = self::decoder(4_096);
    decode(&mut decoder, &[0x3e, 0x88]).unwrap();
    decoder.set_table_bytes_max(30);
    assert!(decode(&mut decoder, &[0x88]).is_ok());
}

#[test]
fn a_list_has_a_limit_however_it_is_written() {
    let mut decoder = decoder(4_096);
    let value = "v".repeat(3_000);
    let mut block = vec![0x40, 1, b'n'];
    put_string(&mut block, value.as_bytes());
    assert!(decode(&mut decoder, &block).is_ok());
    // 3,033 bytes each.
    assert!(decode(&mut decoder, &[0xbe; 3]).is_ok());
    assert_eq!(decode(&mut decoder, &[0xbe; 4]), Err(ListTooLarge));
    // Names by index: the entry's name is long, and each literal makes another entry of it.
    let mut decoder = self::decoder(4_096);
    let mut block = vec![0x40];
    put_string(&mut block, value.as_bytes());
    block.push(0);
    block.extend([0x7e, 0, 0x7e, 0]);
    assert!(decode(&mut decoder, &block).is_ok());
    block.extend([0x7e, 0]);
    assert_eq!(decode(&mut self::decoder(4_096), &block), Err(ListTooLarge));
    assert!(decoder.held() < 20_000, "{}", decoder.held());
}

#[test]
fn lengths_of_all_kinds_are_decoded() {
    for length in [0, 1, 14, 15, 126, 127, 128, 255, 9_000] {
        let value = "v".repeat(length);
        let mut block = Vec::new();
        // 58 is user-agent.
        put_integer(&mut block, 0, 4, 58);
        put_string(&mut block, value.as_bytes());
        let decoded = decode(&mut decoder(0), &block);
        assert_eq!(decoded, Ok(pairs(&[("user-agent", &value)])), "{length}");
    }
}
