//! Sessions: lifetimes that keys share with the client that holds them.

use std::time::{Duration, SystemTime};

use soloist::v1;

use crate::Error;
use crate::wire::{
    duration_from_wire, duration_to_wire, into_wire, non_empty, page_size_to_wire,
    timestamp_from_wire,
};

/// A session as the server described it in a reply.
///
/// It ends when it is closed, taken over, or not renewed within its ttl. The keys that were written with it are deleted
/// then: locks, leases, registrations. [`Client::keep_alive`](crate::Client::keep_alive) renews a session in the
/// background.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The id of the session: a name that its client chose, or one that the server made.
    pub id: String,
    /// The store revision at which the session began. It tells this session from earlier and later ones of the same id.
    pub create_revision: i64,
    /// How long the session lives without being renewed.
    pub ttl: Duration,
    /// When the session ends unless it is renewed, by the server's clock. It is meant for display:
    /// [`KeepAlive`](crate::KeepAlive) tells whether one's own session is still alive.
    pub expire_time: SystemTime,
    /// The number of keys that end with the session.
    pub key_count: i64,
    /// This is the reply to an earlier call with the same request id. The session may have ended since.
    pub replayed: bool,
}

impl TryFrom<v1::Session> for Session {
    type Error = Error;

    /// Fails with INTERNAL for a session without a ttl or an end, which no Soloist server sends.
    fn try_from(session: v1::Session) -> Result<Self, Error> {
        let ttl = session.ttl.map(duration_from_wire).transpose()?;
        let expire_time = timestamp_from_wire(session.expire_time)?;
        let (Some(ttl), Some(expire_time)) = (ttl, expire_time) else {
            return Err(Error::malformed("a session without an end"));
        };
        Ok(Self {
            id: session.id,
            create_revision: session.create_revision,
            ttl,
            expire_time,
            key_count: session.key_count,
            replayed: session.replayed,
        })
    }
}

#[cfg(test)]
impl Session {
    pub(crate) fn for_test(id: &str, create_revision: i64) -> Self {
        Self {
            id: id.to_owned(),
            create_revision,
            ttl: Duration::from_secs(10),
            expire_time: SystemTime::UNIX_EPOCH,
            key_count: 0,
            replayed: false,
        }
    }
}

/// Opens a session.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSession(v1::OpenSessionRequest);

impl OpenSession {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self(v1::OpenSessionRequest {
            ttl: Some(duration_to_wire(ttl)),
            ..v1::OpenSessionRequest::default()
        })
    }

    pub(crate) fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = id.into();
        self
    }

    pub(crate) fn take_over(mut self) -> Self {
        self.0.take_over = true;
        self
    }

    pub(crate) fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Renews a session.
#[derive(Clone, Debug, PartialEq)]
pub struct RenewSession(v1::RenewSessionRequest);

impl RenewSession {
    pub(crate) fn new(session: &Session) -> Self {
        Self(v1::RenewSessionRequest {
            id: session.id.clone(),
            create_revision: session.create_revision,
        })
    }
}

/// Ends a session and deletes its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct CloseSession(v1::CloseSessionRequest);

impl CloseSession {
    pub(crate) fn new(session: &Session) -> Self {
        Self(v1::CloseSessionRequest {
            id: session.id.clone(),
            create_revision: session.create_revision,
            ..v1::CloseSessionRequest::default()
        })
    }

    pub(crate) fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }
}

/// Lists the live sessions in the order of the bytes of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListSessions(v1::ListSessionsRequest);

impl ListSessions {
    pub(crate) fn page_size(mut self, page_size: u32) -> Self {
        self.0.page_size = page_size_to_wire(page_size);
        self
    }

    pub(crate) fn page_token(mut self, page_token: impl Into<String>) -> Self {
        self.0.page_token = page_token.into();
        self
    }
}

into_wire! {
    OpenSession: OpenSessionRequest;
    RenewSession: RenewSessionRequest;
    CloseSession: CloseSessionRequest;
    ListSessions: ListSessionsRequest;
}

/// The session has ended and its keys are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseSessionReply {
    /// The number of keys that ended with the session.
    pub deleted_count: i64,
    /// The store revision at which the session ended and its first keys, up to 1,024, were deleted.
    pub revision: i64,
    /// This is the reply to an earlier call with the same request id.
    pub replayed: bool,
}

impl TryFrom<v1::CloseSessionResponse> for CloseSessionReply {
    type Error = Error;

    fn try_from(response: v1::CloseSessionResponse) -> Result<Self, Error> {
        Ok(Self {
            deleted_count: response.deleted_count,
            revision: response.revision,
            replayed: response.replayed,
        })
    }
}

/// One page of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListSessionsReply {
    /// The sessions, in the order of the bytes of their ids.
    pub sessions: Vec<Session>,
    /// The `page_token` for the next page. `None` if this is the last page.
    pub next_page_token: Option<String>,
}

impl TryFrom<v1::ListSessionsResponse> for ListSessionsReply {
    type Error = Error;

    fn try_from(response: v1::ListSessionsResponse) -> Result<Self, Error> {
        Ok(Self {
            sessions: response
                .sessions
                .into_iter()
                .map(Session::try_from)
                .collect::<Result<_, _>>()?,
            next_page_token: non_empty(response.next_page_token),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_an_end_is_an_error() {
        let wire = v1::Session {
            id: "worker".into(),
            ttl: Some(duration_to_wire(Duration::from_secs(10))),
            expire_time: Some(prost_types::Timestamp::default()),
            create_revision: 12,
            ..v1::Session::default()
        };
        let session = Session::try_from(wire.clone()).unwrap();
        assert_eq!(session, Session::for_test("worker", 12));
        for broken in [
            v1::Session {
                ttl: None,
                ..wire.clone()
            },
            v1::Session {
                expire_time: None,
                ..wire
            },
        ] {
            let error = Session::try_from(broken).unwrap_err();
            assert_eq!(error.code(), tonic::Code::Internal);
        }
    }

    #[test]
    fn requests_name_a_session_by_id_and_create_revision() {
        let session = Session::for_test("worker", 12);
        let renew = RenewSession::new(&session).0;
        let close = CloseSession::new(&session).0;
        assert_eq!((renew.id.as_str(), renew.create_revision), ("worker", 12));
        assert_eq!((close.id.as_str(), close.create_revision), ("worker", 12));
    }
}
