//! The header fields of requests, checked once and sent many times.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use soloist_http2::hpack::{Encoder, HeaderField};

/// The user agent that is sent with every call.
const USER_AGENT: &str = concat!("soloist-load/", env!("CARGO_PKG_VERSION"), " (raw)");

/// The largest header block of a request. Servers accept 8 to 16 KiB, so a larger one is a mistake.
const HEADER_BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Header names that have a meaning in gRPC or HTTP/2, so that metadata cannot use them.
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

/// The header fields of every call of one gRPC method.
///
/// All connections share one `Method`. How a connection encodes it depends on earlier requests: see `header_cache`. A
/// clone is cheap, and stands for the same method.
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
    /// Makes the headers for calls of `path`, such as `/soloist.v1.State/Read`, on the host `authority`. `scheme` is https with
    /// TLS. `timeout` is sent to the server; the caller has to enforce it.
    ///
    /// # Errors
    ///
    /// If the metadata has an invalid or reserved name or an invalid value, or is too long.
    pub(crate) fn new(
        scheme: &str,
        authority: &str,
        path: &str,
        metadata: &[(String, String)],
        timeout: Option<Duration>,
    ) -> Result<Self, InvalidMetadata> {
        let mut fields = vec![
            HeaderField::new(":method", "POST"),
            HeaderField::new(":scheme", scheme),
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
        // Encoded without the dynamic table, as in the first requests: no block gets longer than that.
        let mut block = Vec::new();
        Encoder::new().encode(&fields, &mut block);
        if block.len() > HEADER_BLOCK_BYTES_MAX {
            let length = block.len();
            return Err(InvalidMetadata(format!(
                "headers of {length} bytes with the metadata, the limit is {HEADER_BLOCK_BYTES_MAX}"
            )));
        }
        Ok(Self { fields })
    }

    /// Returns the fields in the order in which they are sent.
    pub(super) fn fields(&self) -> &[Arc<HeaderField>] {
        &self.fields
    }

    /// Whether both are clones of the same method.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fields, &other.fields)
    }
}

fn check_value(name: &str, value: &str) -> Result<(), InvalidMetadata> {
    // What HTTP allows, except for bytes above ASCII: visible characters, with blanks and tabs between them.
    let legal = |byte: u8| (0x20..=0x7e).contains(&byte) || byte == b'\t';
    match value.bytes().all(legal) && value.trim() == value {
        true => Ok(()),
        false => Err(InvalidMetadata(format!(
            "metadata `{name}` must be printable ASCII without blanks around it, not {value:?}"
        ))),
    }
}

fn check_name(name: &str) -> Result<(), InvalidMetadata> {
    // gRPC over HTTP/2, "Header-Name".
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(InvalidMetadata(format!(
            "a name of metadata must have characters of a-z 0-9 - _ . only, not {name:?}"
        )));
    }
    match RESERVED.contains(&name) {
        true => Err(InvalidMetadata(format!(
            "metadata `{name}` cannot be set: gRPC and HTTP/2 use this header"
        ))),
        false => Ok(()),
    }
}

/// Writes a timeout as gRPC does ("Timeout"): at most 8 digits, rounded up in the finest unit that fits.
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
        let pair = |field: &Arc<HeaderField>| (field.name().to_owned(), field.value().to_owned());
        method.fields().iter().map(pair).collect()
    }

    #[test]
    fn has_the_fields_that_grpc_demands() {
        let metadata = [("x-tenant".to_owned(), "a b".to_owned())];
        let timeout = Some(Duration::from_millis(1500));
        let method = Method::new("http", "host:1", "/s.S/M", &metadata, timeout).unwrap();
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
            Method::new("http", "host", "/m", &metadata, None)
        };
        assert!(with(HEADER_BLOCK_BYTES_MAX - 200).is_ok());
        let error = with(HEADER_BLOCK_BYTES_MAX).unwrap_err().to_string();
        assert!(error.contains("the limit is 65536"), "{error}");
    }

    #[test]
    fn a_copy_is_the_same_method_and_an_equal_one_is_not() {
        let method = || Method::new("http", "host", "/m", &[], None).unwrap();
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
                Method::new("http", "host", "/m", &metadata, None).is_err(),
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
