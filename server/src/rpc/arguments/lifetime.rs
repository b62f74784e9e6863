//! Checks lifetimes of entries.

use soloist::v1::error::Reason;

use super::duration::duration_in;
use super::names::name;
use super::path::{BadArgument, Path};
use crate::config::TTL_RANGE;
use crate::machine::SetLifetime;

/// A lifetime as it is in a request. The messages of Write and Add have a oneof each, and this is both.
pub(super) enum WireLifetime {
    Ttl(prost_types::Duration),
    Session(String),
    Keep,
}

/// Checks a lifetime, and the session_create_revision that may go with it.
pub(super) fn set_lifetime(
    path: &Path<'_>,
    lifetime: Option<WireLifetime>,
    session_create_revision: i64,
) -> Result<SetLifetime, BadArgument> {
    if session_create_revision != 0 {
        let path = path.field("session_create_revision");
        if session_create_revision < 0 {
            return Err(path.out_of_range(
                Reason::BadLifetime,
                "1 or more, or unset",
                session_create_revision,
            ));
        }
        if !matches!(lifetime, Some(WireLifetime::Session(_))) {
            return Err(path.bad(Reason::BadLifetime, "is set, but session is not"));
        }
    }
    Ok(match lifetime {
        None => SetLifetime::Unlimited,
        Some(WireLifetime::Keep) => SetLifetime::Keep,
        Some(WireLifetime::Ttl(ttl)) => {
            let path = path.field("ttl");
            SetLifetime::Ttl(duration_in(
                &path,
                Reason::BadLifetime,
                Some(ttl),
                &TTL_RANGE,
            )?)
        }
        Some(WireLifetime::Session(id)) => SetLifetime::Session {
            id: name(&path.field("session"), Reason::BadLifetime, id)?,
            create_revision: Some(session_create_revision).filter(|revision| *revision != 0),
        },
    })
}
