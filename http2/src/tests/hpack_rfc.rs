//! The examples of RFC 7541, appendix C.3 to C.6: several messages on one connection, with the table after each.

use super::hpack_blocks::decode;
use crate::hpack::Decoder;

/// A block in hexadecimal, its fields, and the entries of the table after it.
type Message<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

fn check(table: usize, messages: &[Message<'_>]) {
    let mut decoder = Decoder::new(table, 10_000);
    for (hex, fields, entries) in messages {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let block: Vec<u8> = digits
            .chunks(2)
            .map(|two| (two[0] << 4 | two[1]) as u8)
            .collect();
        let decoded = decode(&mut decoder, &block).unwrap();
        let decoded: Vec<(&str, &str)> = decoded.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(decoded, *fields, "{hex}");
        // The first index that the table does not have.
        let beyond = 62 + entries;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        crate::hpack::put_integer(&mut inside, 0x80, 7, beyond - 1);
        crate::hpack::put_integer(&mut outside, 0x80, 7, beyond);
        assert!(decode(&mut decoder, &inside).is_ok(), "{hex}");
        assert!(decode(&mut decoder, &outside).is_err(), "{hex}");
    }
}

const REQUEST_1: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
];
const REQUEST_2: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const REQUEST_3: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

#[test]
fn requests_without_huffman() {
    check(
        4_096,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", REQUEST_1, 1),
            ("828684be58086e6f2d6361636865", REQUEST_2, 2),
            (
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
                REQUEST_3,
                3,
            ),
        ],
    );
}

#[test]
fn requests_with_huffman() {
    check(
        4_096,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", REQUEST_1, 1),
            ("828684be5886a8eb10649cbf", REQUEST_2, 2),
            (
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
                REQUEST_3,
                3,
            ),
        ],
    );
}

const RESPONSE_1: &[(&str, &str)] = &[
    (":status", "302"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
];
const RESPONSE_2: &[(&str, &str)] = &[
    (":status", "307"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
];
const RESPONSE_3: &[(&str, &str)] = &[
    (":status", "200"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
    ("location", "https://www.example.com"),
    ("content-encoding", "gzip"),
    (
        "set-cookie",
        "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ),
];

/// A table of 256 bytes, from which entries leave.
#[test]
fn responses_without_huffman() {
    check(
        256,
        &[
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                RESPONSE_1,
                4,
            ),
            ("4803333037c1c0bf", RESPONSE_2, 4),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
                RESPONSE_3,
                3,
            ),
        ],
    );
}

#[test]
fn responses_with_huffman() {
    check(
        256,
        &[
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
                RESPONSE_1,
                4,
            ),
            ("4883640effc1c0bf", RESPONSE_2, 4),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                RESPONSE_3,
                3,
            ),
        ],
    );
}
