//! The caller is not known, or may not do what it asks for.

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::{SHOWN_BYTES, cut};
use crate::access::{Identity, Needs};

/// The caller shows neither a token nor a certificate.
#[must_use]
pub(crate) fn credentials_missing() -> Refusal {
    Refusal::new(
        Code::Unauthenticated,
        Reason::CredentialsMissing,
        "this server wants to know who calls: send `authorization: Bearer TOKEN`, or connect with a certificate",
    )
}

/// The access file does not have what the caller shows.
#[must_use]
pub(crate) fn credentials_unknown() -> Refusal {
    Refusal::new(
        Code::Unauthenticated,
        Reason::CredentialsUnknown,
        "the token or certificate of this call is not in the access file of this server",
    )
}

/// The server accepted the certificate of the connection once, and would not any more.
#[must_use]
pub(crate) fn certificate_refused() -> Refusal {
    Refusal::new(
        Code::Unauthenticated,
        Reason::CredentialsUnknown,
        "the certificate of this connection is not accepted any more: it is revoked, or its authority is gone",
    )
    .with("connection", "ended")
}

/// The caller does not have the right that the call needs.
#[must_use]
pub(crate) fn not_permitted(identity: &Identity, needs: Needs<'_>) -> Refusal {
    let name = identity.name();
    let shown = |name: &str| cut(name.into(), SHOWN_BYTES);
    let what = match needs.target() {
        Some((kind, target)) => format!(" on {kind} {:?}", shown(target)),
        None => String::new(),
    };
    let right = needs.verb();
    let refusal = Refusal::new(
        Code::PermissionDenied,
        Reason::NotPermitted,
        format!("identity {name:?} does not have the right {right:?}{what}"),
    )
    .with("identity", name)
    .with("verb", right);
    match needs.target() {
        Some((kind, target)) => refusal.with(kind, shown(target)),
        None => refusal,
    }
}
