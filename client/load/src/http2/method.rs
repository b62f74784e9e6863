//! The head of a request, checked once and sent many times.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::http2::encoder::{Encoder, HeaderField};

/// Who sends: shown to the server in every call.
const USER_AGENT: &str = concat!("soloist-load/", env!("CARGO_PKG_VERSION"), " (raw)");

/// Largest header block of a request. Servers take 8 to 16 KiB; one far above is a mistake.
const HEADER_BLOCK_BYTES_MAX: usize = 64 * 1024;

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

/// The head of every call of one method: its fields.
///
/// It belongs to no connection, so that one is enough for all of them. How a connection writes it depends on what was sent
/// there before: see `header_cache`. A copy is the same method, and costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    fields: Arc<[Arc<HeaderField>]>,
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
        let mut fields = vec![
            HeaderField::new(":method", "POST"),
            HeaderField::new(":scheme", "http"),
        ];
        let mut put = |name: &str, value: &str| {
            check_value(name, value)?;
            fields.push(HeaderField::new(name, value));
            Ok(())
        };
        put(":path", path)?;
        put(":authority", authority)?;
        put("te", "trailers")?;
        put("content-type", "application/grpc")?;
        put("user-agent", USER_AGENT)?;
        if let Some(timeout) = timeout {
            put("grpc-timeout", &grpc_timeout(timeout))?;
        }
        for (name, value) in metadata {
            check_name(name)?;
            put(name, value)?;
        }
        let fields: Arc<[_]> = fields.into_iter().map(Arc::new).collect();
        // Without a table, as the first requests go out, and as long as it gets.
        let mut block = Vec::new();
        Encoder::new().encode(&fields, &mut block);
        if block.len() > HEADER_BLOCK_BYTES_MAX {
            let length = block.len();
            return Err(InvalidMetadata(format!(
                "metadata of {length} bytes, the limit is {HEADER_BLOCK_BYTES_MAX}"
            )));
        }
        Ok(Self { fields })
    }

    /// In the order in which they are sent.
    pub(super) fn fields(&self) -> &[Arc<HeaderField>] {
        &self.fields
    }

    /// Whether this is the same method, or a copy of it.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fields, &other.fields)
    }
}

fn check_value(name: &str, value: &str) -> Result<(), InvalidMetadata> {
    // What HTTP lets a value be, less what only proxies pass on: visible ASCII, blanks and tabs inside.
    let legal = |byte: u8| (0x20..=0x7e).contains(&byte) || byte == b'\t';
    match value.bytes().all(legal) && value.trim() == value {
        true => Ok(()),
        false => Err(InvalidMetadata(format!(
            "value of metadata `{name}` must be printable ASCII without blanks around it: {value:?}"
        ))),
    }
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
    use super::*;

    fn fields(method: &Method) -> Vec<(String, String)> {
        method.fields().iter().map(|field| field.pair()).collect()
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
        assert_eq!(fields(&method), expected);
    }

    #[test]
    fn metadata_has_a_limit() {
        let with = |length: usize| {
            let metadata = [("x".to_owned(), "v".repeat(length))];
            Method::new("host", "/m", &metadata, None)
        };
        assert!(with(HEADER_BLOCK_BYTES_MAX - 200).is_ok());
        let error = with(HEADER_BLOCK_BYTES_MAX).unwrap_err().to_string();
        assert!(error.contains("the limit is 65536"), "{error}");
    }

    #[test]
    fn a_copy_is_the_same_method_and_an_equal_one_is_not() {
        let method = || Method::new("host", "/m", &[], None).unwrap();
        let one = method();
        assert!(one.is(&one.clone()));
        assert!(!one.is(&method()));
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
