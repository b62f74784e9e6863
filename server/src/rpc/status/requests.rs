//! The request is wrong, whatever the state.

use http::HeaderValue;
use soloist::v1::error::Reason;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::refusal::Refusal;
use super::text::{METADATA_BYTES, Subject, cut};
use crate::rpc::arguments::BadArgument;

impl From<BadArgument> for Refusal {
    fn from(bad: BadArgument) -> Self {
        let BadArgument {
            field,
            reason,
            problem,
            limit,
            actual,
        } = bad;
        // Clients take 8 KiB of headers, in which this stands up to three times, in base64.
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
        actual
            .into_iter()
            .fold(refusal, |refusal, actual| refusal.with("actual", actual))
    }
}

pub(super) fn request_id_reused(request_id: &Subject) -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        Reason::RequestIdReused,
        format!(
            "request_id {} was used before, for a request with other content",
            request_id.quoted
        ),
    )
    .details(|details| {
        details.add_bad_request_violation("request_id", "was used for other content");
    })
    .with("field", "request_id")
}

/// There is no such method.
#[must_use]
pub(crate) fn unknown_method(path: &str) -> Refusal {
    let path = cut(path.into(), METADATA_BYTES);
    Refusal::new(
        Code::Unimplemented,
        Reason::UnknownMethod,
        format!("no method {path} here; grpcurl list shows what there is"),
    )
}

/// Messages are compressed, which is not done here. Source of the header: gRPC compression, "Test cases".
#[must_use]
pub(crate) fn unknown_encoding(encoding: &HeaderValue) -> Status {
    let encoding = cut(
        encoding.as_bytes().escape_ascii().to_string(),
        METADATA_BYTES,
    );
    let mut status = Refusal::new(
        Code::Unimplemented,
        Reason::UnknownEncoding,
        format!("grpc-encoding is {encoding}, and messages are not compressed here"),
    )
    .with("actual", encoding)
    .into_status();
    let accepted = MetadataValue::from_static("identity");
    status
        .metadata_mut()
        .insert("grpc-accept-encoding", accepted);
    status
}
