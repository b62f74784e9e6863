//! Checks the arguments of `soloist.v1.Sessions`.

use soloist::v1;
use soloist::v1::error::Reason;

use super::duration::duration_in;
use super::names::name;
use super::page::name_page;
use super::path::{BadArgument, Path};
use super::request_id::optional_request_id;
use crate::config::{Limits, SESSION_TTL_RANGE};
use crate::machine::{Name, OnExisting, OpenSession, RequestId, SessionLife};

/// Checks the arguments of an OpenSession. `new_id` makes an id if the request has none.
pub(crate) fn open(
    mut request: v1::OpenSessionRequest,
    new_id: impl FnOnce() -> Name,
) -> Result<(OpenSession, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id = optional_request_id(&Path::ROOT, id, || request.clone())?;
    let v1::OpenSessionRequest {
        id, ttl, take_over, ..
    } = request;
    let ttl = duration_in(
        &Path::ROOT.field("ttl"),
        Reason::BadLifetime,
        ttl,
        &SESSION_TTL_RANGE,
    )?;
    let id = match id.is_empty() {
        true => new_id(),
        false => name(&Path::ROOT.field("id"), Reason::BadSession, id)?,
    };
    let on_existing = match take_over {
        true => OnExisting::TakeOver,
        false => OnExisting::Refuse,
    };
    let open = OpenSession {
        id,
        ttl,
        on_existing,
    };
    Ok((open, request_id))
}

/// Checks the arguments of a RenewSession.
pub(crate) fn renew(request: v1::RenewSessionRequest) -> Result<SessionLife, BadArgument> {
    life(request.id, request.create_revision)
}

/// Checks the arguments of a CloseSession.
pub(crate) fn close(
    mut request: v1::CloseSessionRequest,
) -> Result<(SessionLife, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id = optional_request_id(&Path::ROOT, id, || request.clone())?;
    Ok((life(request.id, request.create_revision)?, request_id))
}

/// Checks the arguments of a ListSessions. Returns the last id of the page before, and the size of this page.
pub(crate) fn list(
    request: &v1::ListSessionsRequest,
    limits: &Limits,
) -> Result<(Option<String>, usize), BadArgument> {
    name_page(&request.page_token, request.page_size, limits)
}

fn life(id: String, create_revision: i64) -> Result<SessionLife, BadArgument> {
    let id = name(&Path::ROOT.field("id"), Reason::BadSession, id)?;
    if create_revision < 1 {
        return Err(Path::ROOT.field("create_revision").out_of_range(
            Reason::BadSession,
            "1 or more: the create_revision that OpenSession returned",
            create_revision,
        ));
    }
    Ok(SessionLife {
        id,
        create_revision,
    })
}
