//! The header fields of a call that the server reads.

use http::HeaderMap;
use soloist_http2 as http2;
use soloist_http2::{ContentType, Field};

use super::status::{Refusal, credentials_unknown};

/// The header of a client that wants to be told who the owner is: its call is not sent on.
pub(super) const DIRECT: &str = "soloist-direct";

/// The header of a call that a node has sent on. It is not sent on again, and the certificate of its connection, which is the
/// node's, says nothing about its caller.
pub(crate) const HOP: &str = "soloist-hop";

/// The fields that are read of every call. Where a call has several of a name, the first counts.
#[derive(Default)]
pub(super) struct HeaderFields<'a> {
    pub(super) content_type: Option<&'a [u8]>,
    /// The compression that the messages are said to have.
    pub(super) encoding: Option<&'a [u8]>,
    pub(super) timeout: Option<&'a [u8]>,
    pub(super) is_direct: bool,
    pub(super) is_hop: bool,
    authorization: Option<&'a [u8]>,
    has_further_authorization: bool,
}

impl<'a> HeaderFields<'a> {
    /// Finds all fields in one pass: a call has few, and each look-up would hash a name.
    #[inline]
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let value = value.as_bytes();
            match name.as_str() {
                "content-type" => first(&mut fields.content_type, value),
                "grpc-encoding" => first(&mut fields.encoding, value),
                "grpc-timeout" => first(&mut fields.timeout, value),
                "authorization" => fields.add_authorization(value),
                DIRECT => fields.is_direct = true,
                HOP => fields.is_hop = true,
                _ => {}
            }
        }
        fields
    }

    /// Finds them among the fields of a head that the own transport has read. Those that it has told apart need no comparison. None if
    /// a field has bytes that it must not have.
    #[inline]
    pub(super) fn of_head(head: &http2::Head<'a>) -> Option<Self> {
        let mut fields = Self::default();
        for (class, name, value) in head.fields() {
            match class {
                Field::Timeout(_) => first(&mut fields.timeout, value),
                Field::Encoding => first(&mut fields.encoding, value),
                Field::ContentType(_) => first(&mut fields.content_type, value),
                Field::Authorization => fields.add_authorization(value),
                Field::Other => match name {
                    b"grpc-encoding" => first(&mut fields.encoding, value),
                    _ if name == DIRECT.as_bytes() => fields.is_direct = true,
                    _ if name == HOP.as_bytes() => fields.is_hop = true,
                    _ => {}
                },
                _ => {}
            }
            if !is_value(value) || (class == Field::Other && !is_name(name)) {
                return None;
            }
        }
        // Those that need no bytes.
        match head.content_type() {
            Some(ContentType::Grpc) => fields.content_type = Some(b"application/grpc"),
            Some(ContentType::GrpcProto) => fields.content_type = Some(b"application/grpc+proto"),
            Some(ContentType::GrpcOther | ContentType::Other) | None => {}
        }
        Some(fields)
    }

    fn add_authorization(&mut self, value: &'a [u8]) {
        self.has_further_authorization = self.authorization.is_some();
        self.authorization.get_or_insert(value);
    }

    /// The field `authorization`, if the call has one.
    ///
    /// # Errors
    /// CREDENTIALS_UNKNOWN if it has several: which of them counts must not be a matter of taste.
    pub(super) fn authorization(&self) -> Result<Option<&'a [u8]>, Refusal> {
        match self.has_further_authorization {
            false => Ok(self.authorization),
            true => Err(credentials_unknown()),
        }
    }
}

fn first<'a>(field: &mut Option<&'a [u8]>, value: &'a [u8]) {
    field.get_or_insert(value);
}

/// Whether the crate http takes these bytes as a value, which is stricter than HTTP/2.
fn is_value(value: &[u8]) -> bool {
    let is_legal = |byte: u8| byte >= b' ' && byte != 127 || byte == b'\t';
    // To the end in any case, because the processor then looks at many bytes at once.
    value
        .iter()
        .fold(true, |are_legal, byte| are_legal & is_legal(*byte))
}

/// Whether the crate http takes these bytes as a name: those of tokens. Source: RFC 9110, section 5.6.2.
fn is_name(name: &[u8]) -> bool {
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    name.iter().all(is_legal)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_is_a_field_is_what_the_crate_http_says() {
        for byte in 0..=255 {
            let text = [b'a', byte, b'a'];
            assert_eq!(
                is_value(&text),
                HeaderValue::from_bytes(&text).is_ok(),
                "{byte}"
            );
            // HTTP/2 has refused capitals by then.
            assert_eq!(
                is_name(&text),
                HeaderName::from_bytes(&text).is_ok(),
                "{byte}"
            );
        }
    }
}
