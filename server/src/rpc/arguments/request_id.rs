//! Checks request ids.

use soloist::v1::error::Reason;

use super::names::checked_name;
use super::path::{BadArgument, Path};
use crate::config::NAME_BYTES_MAX;
use crate::machine::RequestId;
use crate::rpc::fingerprint::fingerprint;

/// Checks the request id of a request, if it has one, and takes the fingerprint of the request's content.
pub(super) fn optional_request_id<M: prost::Message>(
    path: &Path<'_>,
    id: String,
    content: impl FnOnce() -> M,
) -> Result<Option<Box<RequestId>>, BadArgument> {
    if id.is_empty() {
        return Ok(None);
    }
    request_id(path, id, &content()).map(Some)
}

/// Checks a request id, and takes the fingerprint of the request's content.
pub(super) fn request_id(
    path: &Path<'_>,
    id: String,
    content: &impl prost::Message,
) -> Result<Box<RequestId>, BadArgument> {
    let id = checked_name(
        &path.field("request_id"),
        Reason::BadRequestId,
        id,
        NAME_BYTES_MAX,
    )?;
    Ok(Box::new(RequestId {
        id,
        fingerprint: fingerprint(content),
    }))
}
