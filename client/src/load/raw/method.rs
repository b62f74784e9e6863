//! The head of a request, encoded once and sent many times.

use std::fmt;
use std::time::Duration;

use super::frame::{END_HEADERS, HEAD, Head, PAYLOAD_MAX, kind};
use super::hpack::{put_number, put_string, static_name};

/// Who sends: shown to the server in every call.
const USER_AGENT: &str = concat!("soloist-load/", env!("CARGO_PKG_VERSION"), " (raw)");

/// Largest header block of a request. Servers take 8 to 16 KiB; one far above is a mistake.
const BLOCK_MAX: usize = 64 * 1024;

/// Names that gRPC or HTTP/2 give a meaning, and that are not for the caller to set.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The head of every call of one method: HEADERS, and CONTINUATION if it is long, for stream 0.
///
/// It belongs to no connection, so that one is enough for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    frames: Vec<u8>,
}

/// Metadata that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidMetadata(String);

impl fmt::Display for InvalidMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidMetadata {}

impl Method {
    /// Calls of `path`, like `/soloist.v1.State/Read`, at `authority`, without TLS. The server is told of `timeout`;
    /// watching it is the caller's work.
    ///
    /// # Errors
    ///
    /// If a name or value of the metadata may not be in a header.
    pub(crate) fn new(
        authority: &str,
        path: &str,
        metadata: &[(String, String)],
        timeout: Option<Duration>,
    ) -> Result<Self, InvalidMetadata> {
        // Entries 3 and 6 of the static table: POST, http.
        let mut block = vec![0x83, 0x86];
        put_field(&mut block, ":path", path)?;
        put_field(&mut block, ":authority", authority)?;
        put_field(&mut block, "te", "trailers")?;
        put_field(&mut block, "content-type", "application/grpc")?;
        put_field(&mut block, "user-agent", USER_AGENT)?;
        if let Some(timeout) = timeout {
            put_field(&mut block, "grpc-timeout", &grpc_timeout(timeout))?;
        }
        for (name, value) in metadata {
            check_name(name)?;
            put_field(&mut block, name, value)?;
        }
        if block.len() > BLOCK_MAX {
            let length = block.len();
            return Err(InvalidMetadata(format!(
                "metadata of {length} bytes, the limit is {BLOCK_MAX}"
            )));
        }
        Ok(Self {
            frames: framed(&block),
        })
    }

    /// Appends the head of a call on `stream`.
    pub(crate) fn put(&self, out: &mut Vec<u8>, stream: u32) {
        let mut at = out.len();
        out.extend_from_slice(&self.frames);
        // Almost always one frame.
        while let Some(head) = out[at..].first_chunk_mut::<HEAD>() {
            let length = Head::parse(head).length;
            head[5..].copy_from_slice(&stream.to_be_bytes());
            at += HEAD + length;
        }
    }
}

/// A block as frames of stream 0.
fn framed(block: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(HEAD + block.len());
    let last = block.chunks(PAYLOAD_MAX).count() - 1;
    for (index, chunk) in block.chunks(PAYLOAD_MAX).enumerate() {
        let head = Head {
            length: chunk.len(),
            kind: match index {
                0 => kind::HEADERS,
                _ => kind::CONTINUATION,
            },
            flags: match index == last {
                true => END_HEADERS,
                false => 0,
            },
            stream: 0,
        };
        frames.extend_from_slice(&head.bytes());
        frames.extend_from_slice(chunk);
    }
    frames
}

fn put_field(block: &mut Vec<u8>, name: &str, value: &str) -> Result<(), InvalidMetadata> {
    // What HTTP lets a value be, less what only proxies pass on: visible ASCII, blanks and tabs inside.
    let legal = |byte: u8| (0x20..=0x7e).contains(&byte) || byte == b'\t';
    if !value.bytes().all(legal) || value.trim() != value {
        return Err(InvalidMetadata(format!(
            "value of metadata `{name}` must be printable ASCII without blanks around it: {value:?}"
        )));
    }
    // A literal that no table keeps: 4 bits of the first byte are for the name's index (RFC 7541, section 6.2.2).
    match static_name(name) {
        Some(index) => put_number(block, 0, 4, index),
        None => {
            block.push(0);
            put_string(block, name.as_bytes());
        }
    }
    put_string(block, value.as_bytes());
    Ok(())
}

fn check_name(name: &str) -> Result<(), InvalidMetadata> {
    // As gRPC has it: "Header-Name".
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(InvalidMetadata(format!(
            "name of metadata must be of a-z 0-9 - _ . and not empty: {name:?}"
        )));
    }
    match RESERVED.contains(&name) {
        true => Err(InvalidMetadata(format!(
            "metadata `{name}` cannot be set: it has a meaning of its own"
        ))),
        false => Ok(()),
    }
}

/// At most 8 digits and a unit (gRPC over HTTP/2, "Timeout"): the finest unit that holds it, rounded up.
fn grpc_timeout(timeout: Duration) -> String {
    const DIGITS_END: u128 = 100_000_000;
    let nanoseconds = timeout.as_nanos();
    let units = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
    ];
    units
        .into_iter()
        .map(|(length, unit)| (nanoseconds.div_ceil(length), unit))
        .find(|(count, _)| *count < DIGITS_END)
        .map_or_else(
            || "99999999H".to_owned(),
            |(count, unit)| format!("{count}{unit}"),
        )
}

#[cfg(test)]
mod tests {
    use super::super::hpack::Decoder;
    use super::*;

    fn fields(method: &Method, stream: u32) -> Vec<(String, String)> {
        let mut out = b"before".to_vec();
        method.put(&mut out, stream);
        let mut block = Vec::new();
        let mut rest = &out[6..];
        let mut kinds = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
            let head = Head::parse(head);
            assert_eq!(head.stream, stream);
            assert!(head.length <= PAYLOAD_MAX);
            kinds.push((head.kind, head.flags));
            block.extend_from_slice(&after[..head.length]);
            rest = &after[head.length..];
        }
        assert_eq!(kinds[0].0, kind::HEADERS);
        assert!(
            kinds[1..]
                .iter()
                .all(|(kind, _)| *kind == kind::CONTINUATION)
        );
        let ends: Vec<_> = kinds.iter().map(|(_, flags)| *flags).collect();
        assert!(
            ends.ends_with(&[END_HEADERS])
                && ends[..ends.len() - 1].iter().all(|flags| *flags == 0)
        );
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = Vec::new();
        Decoder::default()
            .decode(&block, |name, value| fields.push((text(name), text(value))))
            .unwrap();
        fields
    }

    #[test]
    fn says_what_grpc_wants() {
        let metadata = [("x-tenant".to_owned(), "a b".to_owned())];
        let timeout = Some(Duration::from_millis(1500));
        let method = Method::new("host:1", "/s.S/M", &metadata, timeout).unwrap();
        let expected = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/s.S/M"),
            (":authority", "host:1"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("grpc-timeout", "1500000u"),
            ("x-tenant", "a b"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(&method, 0x0102_0305), expected);
    }

    #[test]
    fn long_metadata_is_continued() {
        let metadata: Vec<_> = (0..50)
            .map(|n| (format!("x-{n}"), "v".repeat(1_000)))
            .collect();
        let method = Method::new("host", "/m", &metadata, None).unwrap();
        assert_eq!(fields(&method, 7)[7..], metadata);
        let too_long = [("x".to_owned(), "v".repeat(BLOCK_MAX))];
        assert!(Method::new("host", "/m", &too_long, None).is_err());
    }

    #[test]
    fn refuses_metadata_that_would_break_the_request() {
        for (name, value) in [
            ("", "v"),
            ("Upper", "v"),
            (":path", "v"),
            ("a b", "v"),
            ("te", "v"),
            ("grpc-timeout", "1S"),
            ("ok", "line\r\nbreak"),
            ("ok", "ü"),
            ("ok", " v"),
        ] {
            let metadata = [(name.to_owned(), value.to_owned())];
            assert!(
                Method::new("host", "/m", &metadata, None).is_err(),
                "{name:?}: {value:?}"
            );
        }
    }

    #[test]
    fn timeouts_have_eight_digits_at_most() {
        for (timeout, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000_000), "1666667M"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(grpc_timeout(timeout), text);
        }
    }
}
