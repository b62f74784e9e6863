//! Elections: one leader at a time, which says who it is.

use std::future::{Future, IntoFuture};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::lock::LOCK_TTL;
use crate::place::{Entrance, Place, places};
use crate::{Error, Read, Value};

/// Waits to be elected when awaited, and returns a [`Leadership`].
///
/// Candidates are elected in the order in which they stand. If the future is dropped, the candidate withdraws. Errors and rights
/// are those of [`LockCall`](crate::LockCall).
#[derive(Clone, Debug)]
#[must_use = "a candidate stands when this is awaited"]
pub struct ElectCall<'a> {
    connection: &'a Connection,
    entrance: Entrance,
}

impl<'a> ElectCall<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        name: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        Self {
            connection,
            entrance: Entrance {
                name: name.into(),
                value: value.into(),
                ttl: LOCK_TTL,
                session_prefix: String::new(),
            },
        }
    }

    /// How long the office outlives a leader that is gone: 1 s to 24 h. Default: [`LOCK_TTL`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.entrance.ttl = ttl;
        self
    }

    /// What the id of the candidate's session begins with, as [`LockCall::session_prefix`](crate::LockCall::session_prefix) says.
    pub fn session_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.entrance.session_prefix = prefix.into();
        self
    }
}

impl IntoFuture for ElectCall<'_> {
    type Output = Result<Leadership, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Leadership, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let connection = self.connection.clone();
        Box::pin(async move {
            let place = Place::enter(&connection, self.entrance).await?;
            place.turn(NonZeroUsize::MIN).await?;
            Ok(Leadership(place))
        })
    }
}

/// This client leads. Made by [`Client::elect`](crate::Client::elect).
///
/// It ends when the leader [resigns](Self::resign), when this is dropped, or when its session is [lost](Self::lost), as a
/// [`Lock`](crate::Lock) does. A leader that was paused does not know that its term is over: so it guards what it writes by
/// its [`term`](Self::term) or with [`guard`](Self::guard).
#[derive(Debug)]
#[must_use = "the leader resigns when this is dropped"]
pub struct Leadership(Place);

impl Leadership {
    /// The term: the create_revision of the leader's key. Each leader has a higher one than all before it.
    #[must_use]
    pub fn term(&self) -> i64 {
        self.0.create_revision()
    }

    /// The leader's key: `NAME/` and the id of its session. It exists as long as the leader leads.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.key()
    }

    /// Whether this client certainly leads now, by this side's clock.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.0.keep_alive().is_some_and(crate::KeepAlive::is_alive)
    }

    /// Until when this client certainly leads, if no further renewal succeeds and nobody ends its session. `None` after it
    /// has resigned.
    #[must_use]
    pub fn leading_until(&self) -> Option<Instant> {
        self.0.keep_alive().map(crate::KeepAlive::alive_until)
    }

    /// Waits until the office is lost, and returns why, as [`Lock::lost`](crate::Lock::lost) does.
    pub async fn lost(&self) -> Error {
        self.0.lost().await
    }

    /// An operation that holds as long as the term lasts, for a [`Batch`](crate::Batch), as [`Lock::guard`](crate::Lock::guard) is.
    pub fn guard(&self) -> Read {
        self.0.guard()
    }

    /// Replaces the value that others see. Returns its revision. Waits and retries as a [`Call`](crate::Call) with a
    /// [`Retry`](crate::Retry).
    ///
    /// # Errors
    ///
    /// ABORTED (EXPECTATION_FAILED) or NOT_FOUND if the term is over, and those of a [`Call`](crate::Call).
    pub async fn proclaim(&self, value: impl Into<Value>) -> Result<i64, Error> {
        self.0.write(value.into()).await
    }

    /// Ends the term now, and the next candidate is elected. Waits, retries and fails as [`Lock::release`](crate::Lock::release).
    ///
    /// # Errors
    ///
    /// Those of [`Lock::release`](crate::Lock::release).
    pub async fn resign(self) -> Result<(), Error> {
        self.0.leave().await
    }
}

/// Who leads.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Leader {
    /// The leader's key.
    pub key: String,
    /// What the leader says of itself.
    pub value: Value,
    /// The term.
    pub term: i64,
}

/// Finds out who leads.
pub(crate) async fn leader(connection: &Connection, name: &str) -> Result<Option<Leader>, Error> {
    let finding = places(connection, name, false);
    let timeout = connection.timeout;
    let places = tokio::time::timeout(timeout, finding).await.map_err(|_| {
        Error::new(
            tonic::Code::DeadlineExceeded,
            format!("no answer within {timeout:?}"),
            crate::Outcome::NotApplied,
        )
    })??;
    let first = places
        .into_iter()
        .map(|(listed, _)| listed)
        .min_by_key(|listed| listed.entry.create_revision);
    let Some(listed) = first else {
        return Ok(None);
    };
    let value = listed.entry.value;
    Ok(Some(Leader {
        term: listed.entry.create_revision,
        value: value.ok_or_else(|| Error::malformed("an entry without a value"))?,
        key: listed.key,
    }))
}
