//! The header fields of a call that the server reads.

use http::{HeaderMap, HeaderValue};

use super::status::{Refusal, credentials_unknown};

/// The header of a client that wants to be told who the owner is: its call is not sent on.
pub(super) const DIRECT: &str = "soloist-direct";

/// The header of a call that a node has sent on. It is not sent on again, and the certificate of its connection, which is the
/// node's, says nothing about its caller.
pub(crate) const HOP: &str = "soloist-hop";

/// The fields that are read of every call. Where a call has several of a name, the first counts.
#[derive(Default)]
pub(super) struct HeaderFields<'a> {
    pub(super) content_type: Option<&'a HeaderValue>,
    /// The compression that the messages are said to have.
    pub(super) encoding: Option<&'a HeaderValue>,
    pub(super) timeout: Option<&'a HeaderValue>,
    pub(super) is_direct: bool,
    pub(super) is_hop: bool,
    authorization: Option<&'a HeaderValue>,
    has_further_authorization: bool,
}

impl<'a> HeaderFields<'a> {
    /// Finds all fields in one pass: a call has few, and each look-up would hash a name.
    #[inline]
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "content-type" => first(&mut fields.content_type, value),
                "grpc-encoding" => first(&mut fields.encoding, value),
                "grpc-timeout" => first(&mut fields.timeout, value),
                "authorization" if fields.authorization.is_some() => {
                    fields.has_further_authorization = true;
                }
                "authorization" => fields.authorization = Some(value),
                DIRECT => fields.is_direct = true,
                HOP => fields.is_hop = true,
                _ => {}
            }
        }
        fields
    }

    /// The field `authorization`, if the call has one.
    ///
    /// # Errors
    /// CREDENTIALS_UNKNOWN if it has several: which of them counts must not be a matter of taste.
    pub(super) fn authorization(&self) -> Result<Option<&'a HeaderValue>, Refusal> {
        match self.has_further_authorization {
            false => Ok(self.authorization),
            true => Err(credentials_unknown()),
        }
    }
}

fn first<'a>(field: &mut Option<&'a HeaderValue>, value: &'a HeaderValue) {
    field.get_or_insert(value);
}
