//! The request itself is wrong, whatever is in the store.

use soloist::codec;
use soloist::v1::error::Reason;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::refusal::{Refusal, count};
use super::text::{METADATA_BYTES, Subject, cut};
use crate::rpc::arguments::BadArgument;

/// The request is not a message of this contract. Counted, unlike the codec's own error of the same text.
#[must_use]
pub(crate) fn bad_message(message: impl Into<String>) -> Status {
    count(Reason::BadMessage);
    codec::bad_message(message)
}

/// Protobuf cannot decode the request.
#[must_use]
pub(crate) fn not_a_message(error: &prost::DecodeError) -> Status {
    count(Reason::BadMessage);
    codec::not_a_message(error)
}

impl From<BadArgument> for Refusal {
    fn from(bad: BadArgument) -> Self {
        let BadArgument {
            field,
            reason,
            problem,
            limit,
            actual,
            op,
        } = bad;
        // Clients take 8 KiB of headers, and these texts are in them up to three times, in base64.
        let field = cut(field, METADATA_BYTES);
        let problem = cut(problem, 2 * METADATA_BYTES);
        let actual = actual.map(|actual| cut(actual, METADATA_BYTES));
        let refusal = Refusal::new(Code::InvalidArgument, reason, format!("{field} {problem}"))
            .details(|details| {
                details.add_bad_request_violation(field.as_str(), problem);
            })
            .with("field", &field);
        let refusal = limit
            .into_iter()
            .fold(refusal, |refusal, limit| refusal.with("limit", limit));
        let refusal = actual
            .into_iter()
            .fold(refusal, |refusal, actual| refusal.with("actual", actual));
        op.into_iter()
            .fold(refusal, |refusal, op| refusal.with("op", op))
    }
}

pub(super) fn request_id_reused(request_id: &Subject) -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        Reason::RequestIdReused,
        format!(
            "request_id {} was used before for a request with other content",
            request_id.quoted
        ),
    )
    .details(|details| {
        details
            .add_bad_request_violation("request_id", "was used for a request with other content");
    })
    .with("field", "request_id")
}

/// The path names no method of this server.
#[must_use]
pub(crate) fn unknown_method(path: &str) -> Refusal {
    let path = cut(path.into(), METADATA_BYTES);
    Refusal::new(
        Code::Unimplemented,
        Reason::UnknownMethod,
        format!("there is no method {path}: grpcurl list shows the services"),
    )
}

/// The messages of a request are compressed, which this server does not support. Source of the header
/// grpc-accept-encoding: gRPC compression, "Test cases".
#[must_use]
pub(crate) fn unknown_encoding(encoding: &[u8]) -> Status {
    let encoding = cut(encoding.escape_ascii().to_string(), METADATA_BYTES);
    let mut status = Refusal::new(
        Code::Unimplemented,
        Reason::UnknownEncoding,
        format!("grpc-encoding is {encoding}, but must be identity: compression is not supported"),
    )
    .with("actual", encoding)
    .into_status();
    let accepted = MetadataValue::from_static("identity");
    status
        .metadata_mut()
        .insert("grpc-accept-encoding", accepted);
    status
}
