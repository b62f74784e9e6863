//! The classes of header fields: what gRPC and HTTP/2 look at in a request.
//!
//! Sources: RFC 9113, sections 8.2 and 8.3; gRPC over HTTP/2, "Requests".

/// What a server calls one of its paths: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route(pub u16);

/// What a field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `:method`.
    Method(Method),
    /// `:scheme` http.
    SchemeHttp,
    /// `:scheme` https.
    SchemeHttps,
    /// Another `:scheme`.
    Scheme,
    /// A `:path` that the server knows.
    Route(Route),
    /// Another `:path`.
    Path,
    /// `:authority`.
    Authority,
    /// `te: trailers`.
    Te,
    /// `content-type`.
    ContentType(ContentType),
    /// `grpc-timeout`.
    Timeout(Timeout),
    /// `grpc-encoding` other than identity.
    Encoding,
    /// `content-length`.
    ContentLength(u64),
    /// `authorization`.
    Authorization,
    /// Any other: metadata, or a field that only other users of HTTP look at.
    Other,
    /// A field that makes its message malformed.
    Malformed(Malformed),
}

/// `:method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// POST, which gRPC demands.
    Post,
    /// CONNECT, which has no scheme and no path.
    Connect,
    /// Another.
    Other,
}

/// `content-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/grpc`.
    Grpc,
    /// `application/grpc+proto`.
    GrpcProto,
    /// Another of gRPC: `application/grpc` with something behind it.
    GrpcOther,
    /// Another.
    Other,
}

/// `grpc-timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// In nanoseconds. One of more than 584 years is as good as that.
    Nanoseconds(u64),
    /// Not what gRPC demands: 1 to 8 digits and a unit.
    Invalid,
}

/// Why a message is malformed (RFC 9113, section 8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A name is empty, or has a character that no name may have, such as a capital letter.
    Name,
    /// A value has a character that no value may have, or a blank at an end.
    Value,
    /// A field of HTTP/1.1 that concerns the connection.
    ConnectionField,
    /// A pseudo-header that a request does not have.
    UnknownPseudo,
    /// A pseudo-header behind another field, or in trailers.
    LatePseudo,
    /// A pseudo-header twice.
    DuplicatePseudo,
    /// A request without its `:method`, `:scheme` or `:path`, or a CONNECT with the latter two.
    MissingPseudo,
    /// `:path` is empty.
    EmptyPath,
    /// `content-length` is no number, or there are two.
    ContentLength,
}

impl Field {
    /// Whether the class says everything, so that nobody needs the bytes.
    #[inline]
    pub(crate) fn is_told_by_class(self) -> bool {
        matches!(
            self,
            Self::Method(Method::Post)
                | Self::SchemeHttp
                | Self::SchemeHttps
                | Self::Route(_)
                | Self::Te
                | Self::ContentType(ContentType::Grpc | ContentType::GrpcProto)
                | Self::Malformed(_)
        )
    }
}

/// The class of a field, but for known paths.
pub(crate) fn classify(name: &[u8], value: &[u8]) -> Field {
    if !is_value(value) {
        return Field::Malformed(Malformed::Value);
    }
    match name {
        b":method" => Field::Method(match value {
            b"POST" => Method::Post,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }),
        b":scheme" => match value {
            b"http" => Field::SchemeHttp,
            b"https" => Field::SchemeHttps,
            _ => Field::Scheme,
        },
        b":path" if value.is_empty() => Field::Malformed(Malformed::EmptyPath),
        b":path" => Field::Path,
        b":authority" => Field::Authority,
        b"te" if value == b"trailers" => Field::Te,
        b"te" | b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding"
        | b"upgrade" => Field::Malformed(Malformed::ConnectionField),
        b"content-type" => Field::ContentType(content_type(value)),
        b"grpc-timeout" => Field::Timeout(timeout(value)),
        b"grpc-encoding" if value != b"identity" => Field::Encoding,
        b"content-length" => match digits(value) {
            Some(length) => Field::ContentLength(length),
            None => Field::Malformed(Malformed::ContentLength),
        },
        b"authorization" => Field::Authorization,
        [b':', ..] => Field::Malformed(Malformed::UnknownPseudo),
        _ if !is_name(name) => Field::Malformed(Malformed::Name),
        _ => Field::Other,
    }
}

/// Section 8.2.1: no capital letters, no blanks or control characters, nothing above ASCII, and no colon.
fn is_name(name: &[u8]) -> bool {
    let legal = |byte: &u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'A'..=b'Z' | b':');
    !name.is_empty() && name.iter().all(legal)
}

/// Section 8.2.1: no NUL, no end of line, and no blanks at either end.
fn is_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let legal = |byte: &u8| !matches!(byte, 0 | b'\n' | b'\r');
    !is_blank(value.first()) && !is_blank(value.last()) && value.iter().all(legal)
}

fn content_type(value: &[u8]) -> ContentType {
    match value.strip_prefix(b"application/grpc") {
        Some(b"") => ContentType::Grpc,
        Some(b"+proto") => ContentType::GrpcProto,
        Some([b'+' | b';', ..]) => ContentType::GrpcOther,
        _ => ContentType::Other,
    }
}

fn timeout(value: &[u8]) -> Timeout {
    const DIGITS_MAX: usize = 8;
    let Some((unit, number)) = value.split_last() else {
        return Timeout::Invalid;
    };
    let nanoseconds: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return Timeout::Invalid,
    };
    match digits(number) {
        Some(count) if number.len() <= DIGITS_MAX => {
            Timeout::Nanoseconds(count.saturating_mul(nanoseconds))
        }
        _ => Timeout::Invalid,
    }
}

/// The number that decimal digits make: none if there is anything else, or nothing, or too much.
fn digits(text: &[u8]) -> Option<u64> {
    let number = text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    });
    number.filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_classes() {
        let timeout = |nanoseconds| Field::Timeout(Timeout::Nanoseconds(nanoseconds));
        let malformed = Field::Malformed;
        for (name, value, field) in [
            (":method", "POST", Field::Method(Method::Post)),
            (":method", "CONNECT", Field::Method(Method::Connect)),
            (":method", "GET", Field::Method(Method::Other)),
            (":scheme", "http", Field::SchemeHttp),
            (":scheme", "https", Field::SchemeHttps),
            (":scheme", "ftp", Field::Scheme),
            (":path", "/a", Field::Path),
            (":path", "", malformed(Malformed::EmptyPath)),
            (":authority", "", Field::Authority),
            (":status", "200", malformed(Malformed::UnknownPseudo)),
            (":", "", malformed(Malformed::UnknownPseudo)),
            ("te", "trailers", Field::Te),
            ("te", "gzip", malformed(Malformed::ConnectionField)),
            ("connection", "close", malformed(Malformed::ConnectionField)),
            ("upgrade", "h2c", malformed(Malformed::ConnectionField)),
            (
                "content-type",
                "application/grpc",
                Field::ContentType(ContentType::Grpc),
            ),
            (
                "content-type",
                "application/grpc+proto",
                Field::ContentType(ContentType::GrpcProto),
            ),
            (
                "content-type",
                "application/grpc;a=b",
                Field::ContentType(ContentType::GrpcOther),
            ),
            (
                "content-type",
                "application/grpcweb",
                Field::ContentType(ContentType::Other),
            ),
            (
                "content-type",
                "text/html",
                Field::ContentType(ContentType::Other),
            ),
            ("grpc-timeout", "5S", timeout(5_000_000_000)),
            ("grpc-timeout", "99999999n", timeout(99_999_999)),
            ("grpc-timeout", "99999999H", timeout(u64::MAX)),
            (
                "grpc-timeout",
                "100000000n",
                Field::Timeout(Timeout::Invalid),
            ),
            ("grpc-timeout", "S", Field::Timeout(Timeout::Invalid)),
            ("grpc-timeout", "", Field::Timeout(Timeout::Invalid)),
            ("grpc-timeout", "5s", Field::Timeout(Timeout::Invalid)),
            ("grpc-timeout", "-5S", Field::Timeout(Timeout::Invalid)),
            ("grpc-encoding", "identity", Field::Other),
            ("grpc-encoding", "gzip", Field::Encoding),
            ("content-length", "12", Field::ContentLength(12)),
            ("content-length", "", malformed(Malformed::ContentLength)),
            ("content-length", "+1", malformed(Malformed::ContentLength)),
            (
                "content-length",
                "18446744073709551616",
                malformed(Malformed::ContentLength),
            ),
            ("authorization", "Bearer a", Field::Authorization),
            ("x-tenant", "a b", Field::Other),
            ("X-Tenant", "a", malformed(Malformed::Name)),
            ("x tenant", "a", malformed(Malformed::Name)),
            ("x:tenant", "a", malformed(Malformed::Name)),
            ("", "a", malformed(Malformed::Name)),
            ("ü", "a", malformed(Malformed::Name)),
            ("x-tenant", " a", malformed(Malformed::Value)),
            ("x-tenant", "a\t", malformed(Malformed::Value)),
            ("x-tenant", "a\r\nb", malformed(Malformed::Value)),
            ("x-tenant", "a\0", malformed(Malformed::Value)),
            ("x-tenant", "ü", Field::Other),
        ] {
            let found = classify(name.as_bytes(), value.as_bytes());
            assert_eq!(found, field, "{name}: {value:?}");
        }
    }
}
