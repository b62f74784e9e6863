//! Texts and numbers of their own: timeouts, credentials, durations, page tokens, request ids, varints.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use soloist::v1::ListMachinesRequest;
use soloist_fuzz::{Format, Shape, Target};

use crate::access::{Access, Credential, TokenHash};
use crate::config::Limits;
use crate::rpc::callers;
use crate::rpc::deadline::Deadline;
use crate::rpc::header_fields::HeaderFields;
use crate::rpc::status::Refusal;
use crate::rpc::{arguments, page_token};
use crate::varint;

fn check(input: &[u8]) -> Shape {
    let Some((selector, rest)) = input.split_first() else {
        return Shape::of("empty");
    };
    let selector = selector % 5;
    let shape = match selector {
        0 => timeout_header(rest),
        1 => duration(rest),
        2 => token(rest),
        3 => varints(rest),
        _ => authorization(rest),
    };
    shape.with(selector.into())
}

fn timeout_header(text: &[u8]) -> Shape {
    let Ok(value) = HeaderValue::from_bytes(text) else {
        return Shape::of("no header");
    };
    let deadline = Deadline::from_header(Some(value.as_bytes()));
    // By hand: digits, then a unit.
    let sound = matches!(text, [digits @ .., b'H' | b'M' | b'S' | b'm' | b'u' | b'n']
        if (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit));
    match deadline {
        Ok(deadline) => {
            assert!(sound, "{text:?} was taken");
            deadline.or_max(&Limits::DEFAULT);
            Shape::of("a timeout").with(text.len())
        }
        Err(status) => {
            assert!(!sound, "{text:?} was refused");
            Shape::of(status.message())
        }
    }
}

/// The token of somebody whom the access file knows.
const TOKEN: &[u8] = b"slst_known";

/// Headers `authorization`, with a line for each.
fn authorization(text: &[u8]) -> Shape {
    let values = text
        .split(|byte| *byte == b'\n')
        .map(HeaderValue::from_bytes);
    let Ok(values) = values.collect::<Result<Vec<_>, _>>() else {
        return Shape::of("no header");
    };
    let mut headers = HeaderMap::new();
    for value in &values {
        headers.append(AUTHORIZATION, value.clone());
    }
    let shown = HeaderFields::of(&headers).authorization();
    let [only] = &*values else {
        let refused = shown.expect_err("several headers were taken");
        return Shape::of(refused.message());
    };
    let header = shown
        .expect("one header was refused")
        .expect("there is one");
    assert_eq!(header, only.as_bytes());
    // By hand: the scheme in any capitals, one space, and something between any other spaces.
    let bearer = only.as_bytes().split_first_chunk::<7>();
    let token = bearer
        .filter(|(scheme, _)| scheme.to_ascii_lowercase() == *b"bearer ")
        .map(|(_, token)| token.trim_ascii())
        .filter(|token| !token.is_empty());
    let hash = token.map(|token| Credential::Token(TokenHash::of(token)));
    let credential = callers::token(header);
    assert_eq!(credential, hash, "{text:?}");
    let Some(credential) = credential else {
        return Shape::of("no token");
    };
    let file = format!("[identities.known]\ntokens = ['{}']", TokenHash::of(TOKEN));
    let access = Access::parse(&file).unwrap();
    let known = access.identify(&credential).is_some();
    assert_eq!(known, token == Some(TOKEN), "{text:?}");
    Shape::of("a token").with(usize::from(known))
}

fn duration(bytes: &[u8]) -> Shape {
    let mut parts = [0; 12];
    let len = bytes.len().min(12);
    parts[..len].copy_from_slice(&bytes[..len]);
    let seconds = i64::from_le_bytes(parts[..8].try_into().unwrap());
    let nanos = i32::from_le_bytes(parts[8..].try_into().unwrap());
    match arguments::duration::timeout(Some(prost_types::Duration { seconds, nanos })) {
        Ok(timeout) => {
            let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
            // 0 is none.
            let timeout = timeout.map_or(0, |timeout| timeout.as_nanos().cast_signed());
            assert_eq!(timeout, nanos);
            Shape::of("a duration")
        }
        Err(bad) => Shape::of(Refusal::from(bad).into_status().message()),
    }
}

fn token(text: &[u8]) -> Shape {
    let Ok(text) = std::str::from_utf8(text) else {
        return Shape::of("no text");
    };
    let request = ListMachinesRequest {
        page_size: 0,
        page_token: text.into(),
    };
    let listed = arguments::machines::list(&request, &Limits::DEFAULT);
    match page_token::decode(text) {
        Some(key) => {
            assert_eq!(page_token::encode(&key), text, "a token has one form");
            Shape::of("a token").with(usize::from(listed.is_ok()))
        }
        None => {
            let bad = listed.expect_err("the token was refused");
            Shape::of(Refusal::from(bad).into_status().message())
        }
    }
}

fn varints(bytes: &[u8]) -> Shape {
    let mut by_hand = bytes;
    let mut by_prost = bytes;
    let mut count = 0;
    loop {
        let taken = varint::take(&mut by_hand);
        let decoded = prost::encoding::decode_varint(&mut by_prost);
        assert_eq!(taken, decoded.ok());
        let Some(value) = taken else {
            return Shape::of("varints").with(count).with(by_hand.len().min(11));
        };
        assert_eq!(by_hand, by_prost);
        let mut put = Vec::new();
        varint::put(&mut put, value);
        assert_eq!(varint::take(&mut &put[..]), Some(value));
        count = (count + 1).min(4);
    }
}

#[test]
fn timeouts_credentials_durations_tokens_and_varints_are_read_or_refused() {
    let max = i64::MAX.to_le_bytes();
    let min = i64::MIN.to_le_bytes();
    Target::new("headers", Format::Bytes)
        .seeds([
            b"\x001S".to_vec(),
            b"\x0099999999H".to_vec(),
            [&[1][..], &max, &999_999_999_i32.to_le_bytes()].concat(),
            [&[1][..], &min, &0_i32.to_le_bytes()].concat(),
            [&[1][..], &5_i64.to_le_bytes(), &5_i32.to_le_bytes()].concat(),
            b"\x02YWI".to_vec(),
            b"\x02YQ".to_vec(),
            [b"\x04Bearer ", TOKEN].concat(),
            b"\x04basic bm9ib2R5".to_vec(),
            b"\x04bearer a\nbearer b".to_vec(),
            vec![
                3, 1, 0x80, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1,
            ],
        ])
        .words([
            &b"H"[..],
            b"n",
            b"0",
            b"\xc3\xa9",
            b"=",
            b"-",
            b"_",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"Bearer ",
            TOKEN,
            b" ",
            b"\t",
            b"\n",
        ])
        .len_max(64)
        .run(check);
}
