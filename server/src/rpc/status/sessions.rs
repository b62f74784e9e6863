//! The machine rejects a call of `soloist.v1.Sessions`, or an operation that names a session.

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::{Subject, quoted};
use crate::machine::{Name, Revision};

/// `ResourceInfo.resource_type` of a session.
const SESSION_TYPE: &str = "soloist.v1.Session";

pub(super) fn not_found(id: &Name) -> Refusal {
    Refusal::new(
        Code::NotFound,
        Reason::SessionNotFound,
        format!("session {} does not exist or has ended", quoted(id)),
    )
    .resource(SESSION_TYPE, id.as_str(), "the session does not exist")
}

pub(super) fn exists(session: &Subject, create_revision: Revision) -> Refusal {
    Refusal::new(
        Code::AlreadyExists,
        Reason::SessionExists,
        format!(
            "session {} exists, with create_revision {create_revision}",
            session.quoted
        ),
    )
    .with("create_revision", create_revision)
    .resource(SESSION_TYPE, &session.name, "the session exists")
}

pub(super) fn taken_over(id: &Name, expected: Revision, actual: Revision) -> Refusal {
    Refusal::new(
        Code::Aborted,
        Reason::SessionTakenOver,
        format!(
            "session {} was taken over: its create_revision is {actual}, and {expected} was expected",
            quoted(id)
        ),
    )
    .violation("SESSION", id.as_str(), "create_revision")
    .with("expected", expected)
    .with("actual", actual)
}
