//! The header fields of responses, and what they mean to the call.
//!
//! Sources: gRPC over HTTP/2 ("Responses") and gRPC's HTTP to status mapping.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode;
use soloist_http2::hpack::{Decoder, HpackError, Unclassified};
use tonic::Code;

use crate::http2::failure::{CallFailure, Processed};

/// The largest header list of a response, counted as in RFC 9113, section 6.5.2. gRPC's implementations accept 8 to 16
/// KiB.
pub(super) const HEADER_LIST_BYTES_MAX: usize = 16 * 1024;

/// What RFC 9113 adds to the size of a list for each field.
const FIELD_OVERHEAD: usize = 32;

/// The base64 of binary metadata: gRPC demands that padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The fields of one header block.
#[derive(Debug, Default)]
pub(super) struct ResponseFields {
    status: Option<u16>,
    grpc_status: Option<Code>,
    grpc_message: Vec<u8>,
    details: Vec<u8>,
    is_grpc: bool,
    /// What the block has that HTTP/2 forbids, for the message "the response has ...".
    malformed: Option<&'static str>,
    list_size: usize,
    /// Whether a field that is not a pseudo-header has come: no pseudo-header may follow it.
    regular_seen: bool,
}

/// What the first header block of a response means, if more follows.
#[derive(Debug)]
pub(super) enum InitialHeaders {
    /// Status 1xx: another block with the final headers follows.
    Informational,
    /// The headers of a gRPC response.
    Response,
    /// The call has failed.
    Failed(CallFailure),
}

impl ResponseFields {
    pub(super) fn read(decoder: &mut Decoder<()>, block: &[u8]) -> Result<Self, HpackError> {
        let mut fields = Self::default();
        decoder.decode(block, &Unclassified, |(), name, value| {
            fields.take(name, value);
        })?;
        Ok(fields)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        self.list_size += name.len() + value.len() + FIELD_OVERHEAD;
        if name.starts_with(b":") {
            if name != b":status" || self.status.is_some() || self.regular_seen {
                self.malformed = Some("pseudo-headers that a response may not have");
            }
            let status = std::str::from_utf8(value).ok();
            self.status = status.and_then(|status| status.parse().ok()).or(Some(0));
            return;
        }
        self.regular_seen = true;
        if name.is_empty() || name.iter().any(u8::is_ascii_uppercase) {
            self.malformed = Some("a header name that HTTP/2 forbids");
        }
        match name {
            b"content-type" => self.is_grpc = value.starts_with(b"application/grpc"),
            b"grpc-status" => {
                let number = std::str::from_utf8(value).ok();
                let number = number.and_then(|number| number.parse().ok());
                self.grpc_status = Some(number.map_or(Code::Unknown, Code::from_i32));
            }
            b"grpc-message" => self.grpc_message = value.to_vec(),
            b"grpc-status-details-bin" => self.details = value.to_vec(),
            b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" => {
                self.malformed = Some("a header of HTTP/1.1");
            }
            _ => {}
        }
    }

    fn malformed(&self) -> Option<CallFailure> {
        if self.list_size > HEADER_LIST_BYTES_MAX {
            return Some(CallFailure::new(
                Processed::Unknown,
                Code::ResourceExhausted,
                format!(
                    "headers of {} bytes, the limit is {HEADER_LIST_BYTES_MAX}",
                    self.list_size
                ),
            ));
        }
        let what = self.malformed?;
        Some(CallFailure::malformed(format!("the response has {what}")))
    }

    /// Reads the block as headers that a message follows.
    pub(super) fn into_initial(self) -> InitialHeaders {
        if let Some(failure) = self.malformed() {
            return InitialHeaders::Failed(failure);
        }
        match self.status {
            None | Some(0) => {
                InitialHeaders::Failed(CallFailure::malformed("the response has no :status"))
            }
            Some(100..=199) => InitialHeaders::Informational,
            Some(200) if self.is_grpc => InitialHeaders::Response,
            Some(status) => InitialHeaders::Failed(Self::http_failure(status)),
        }
    }

    /// Reads the block as headers and trailers in one, which gRPC calls Trailers-Only. The call has failed in any case,
    /// since a unary response needs a message.
    pub(super) fn into_trailers_only(self) -> CallFailure {
        match (self.malformed(), self.status, self.grpc_status) {
            (Some(failure), ..) => failure,
            (None, None | Some(0), _) => CallFailure::malformed("the response has no :status"),
            (None, _, Some(Code::Ok)) => {
                CallFailure::malformed("the response has status OK and no message")
            }
            (None, _, Some(code)) => self.status_failure(code),
            (None, Some(200), None) if self.is_grpc => {
                CallFailure::malformed("the response has no grpc-status")
            }
            (None, Some(status), None) => Self::http_failure(status),
        }
    }

    /// Reads the block as the trailers after the message. `None` for status OK.
    pub(super) fn into_trailers(self) -> Option<CallFailure> {
        if let Some(failure) = self.malformed() {
            return Some(failure);
        }
        if self.status.is_some() {
            return Some(CallFailure::malformed("the trailers have a :status"));
        }
        match self.grpc_status {
            None => Some(CallFailure::malformed("the trailers have no grpc-status")),
            Some(Code::Ok) => None,
            Some(code) => Some(self.status_failure(code)),
        }
    }

    fn status_failure(&self, code: Code) -> CallFailure {
        CallFailure {
            processed: Processed::Answered,
            code,
            message: percent_decode(&self.grpc_message)
                .decode_utf8_lossy()
                .into_owned(),
            // Details that cannot be decoded are left out. The code and the message are still right.
            details: BASE64.decode(&self.details).unwrap_or_default(),
        }
    }

    fn http_failure(status: u16) -> CallFailure {
        let code = match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502..=504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        CallFailure::new(
            Processed::Unknown,
            code,
            format!("the response is HTTP {status}, not gRPC"),
        )
    }
}
