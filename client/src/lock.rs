//! Locks: one holder at a time, or a few, in the order in which they asked.

use std::future::{Future, IntoFuture};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::place::{Entrance, Place};
use crate::{Error, Read, Value};

/// How long a lock or an office outlives a client that is gone, unless told otherwise: 10 s. It is renewed after each third.
pub const LOCK_TTL: Duration = Duration::from_secs(10);

/// Takes a [`Lock`] when awaited.
///
/// Waits in line until every client that asked before has released the lock or is gone. If the future is dropped, the place in
/// line is given up; to wait for a limited time, use `tokio::time::timeout`. Retries by itself what is safe to retry.
///
/// # Errors
///
/// INVALID_ARGUMENT for a name that makes no key, or a ttl outside 1 s to 24 h. UNAVAILABLE or DEADLINE_EXCEEDED if the server
/// cannot be reached within the client's timeout to take a place in line. While waiting, a server that is away for a while is
/// no error, until the session is lost: then NOT_FOUND, ABORTED or DEADLINE_EXCEEDED, as [`KeepAlive::lost`](crate::KeepAlive::lost)
/// says. The lock is not held after an error, and it is safe to retry. PERMISSION_DENIED: the client needs the rights to read
/// and write `NAME/*`, and to the session's id.
#[derive(Clone, Debug)]
#[must_use = "a lock is taken when awaited"]
pub struct LockCall<'a> {
    connection: &'a Connection,
    entrance: Entrance,
    holders: NonZeroUsize,
}

impl<'a> LockCall<'a> {
    pub(crate) fn new(connection: &'a Connection, name: impl Into<String>) -> Self {
        Self {
            connection,
            entrance: Entrance {
                name: name.into(),
                value: Value::from(""),
                ttl: LOCK_TTL,
                session_prefix: String::new(),
            },
            holders: NonZeroUsize::MIN,
        }
    }

    /// How long the lock outlives a holder that is gone: 1 s to 24 h. Default: [`LOCK_TTL`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.entrance.ttl = ttl;
        self
    }

    /// How many clients may hold the lock at once: a semaphore. Each client goes by its own number, so all of them should give
    /// the same. Default: 1.
    ///
    /// With several holders a [`token`](Lock::token) orders them no longer, and a lower one is not refused for that;
    /// [`guard`](Lock::guard) holds as long as the lock does, also then.
    ///
    /// ```
    /// # use std::num::NonZeroUsize;
    /// # async fn example(client: soloist_client::Client) -> Result<(), soloist_client::Error> {
    /// const DOWNLOADS: NonZeroUsize = NonZeroUsize::new(3).unwrap();
    /// let permit = client.lock("semaphores/downloads").holders(DOWNLOADS).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn holders(mut self, holders: NonZeroUsize) -> Self {
        self.holders = holders;
        self
    }

    /// What others read under the holder's key, such as its name. Default: an empty text.
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.entrance.value = value.into();
        self
    }

    /// What the id of the holder's session begins with, without a slash; the rest is random. For clients that may not open every
    /// session. Default: nothing.
    pub fn session_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.entrance.session_prefix = prefix.into();
        self
    }
}

impl IntoFuture for LockCall<'_> {
    type Output = Result<Lock, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Lock, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let connection = self.connection.clone();
        Box::pin(async move {
            let place = Place::enter(&connection, self.entrance).await?;
            place.turn(self.holders).await?;
            Ok(Lock(place))
        })
    }
}

/// A lock that this client holds. Made by [`Client::lock`](crate::Client::lock).
///
/// It ends when it is [released](Self::release) or dropped, or when its session is [lost](Self::lost). Dropping releases it in the
/// background, if there is a tokio runtime; otherwise it ends with its ttl.
///
/// **A lock alone protects nothing.** A holder that was paused does not know that its lock has ended. So whatever the lock
/// protects must refuse a [`token`](Self::token) that is lower than one it has seen. If the protected data is in the same store,
/// put [`guard`](Self::guard) into each [`Batch`](crate::Batch) that changes it.
///
/// ```
/// use soloist_client::{Batch, Client, Write};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = soloist_server::Server::start(listener, &Default::default())?;
/// # let client = Client::connect(format!("http://{}", server.local_addr())).await?;
/// let lock = client.lock("locks/printer").await?;
/// client.batch(Batch::new().op(lock.guard()).op(Write::new("printer/page", 1))).await?;
/// lock.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a lock is released when it is dropped"]
pub struct Lock(Place);

impl Lock {
    /// The fencing token: the create_revision of the holder's key. Each client that asks for a lock gets a higher one than all
    /// before it.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.0.create_revision()
    }

    /// The holder's key: `NAME/` and the id of its session. It exists as long as the lock is held.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.key()
    }

    /// Whether the lock is certainly held now, by this side's clock.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.keep_alive().is_some_and(crate::KeepAlive::is_alive)
    }

    /// Until when the lock is certainly held, if no further renewal succeeds and nobody ends its session. `None` after it
    /// was released.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        self.0.keep_alive().map(crate::KeepAlive::alive_until)
    }

    /// Waits until the lock is lost, and returns why, as [`KeepAlive::lost`](crate::KeepAlive::lost) does. Work under the lock
    /// stops then. It can be awaited any number of times; dropping the future loses nothing.
    pub async fn lost(&self) -> Error {
        self.0.lost().await
    }

    /// An operation that holds as long as the lock does: a [`Batch`](crate::Batch) or an atomic frame with it is refused whole, with
    /// ABORTED (EXPECTATION_FAILED) or NOT_FOUND, once the lock has ended.
    pub fn guard(&self) -> Read {
        self.0.guard()
    }

    /// Releases the lock now, and the next client in line gets it.
    ///
    /// Waits for the reply, at most the client's timeout, and retries where that is safe. If the future is dropped, the lock ends
    /// with its ttl at the latest.
    ///
    /// # Errors
    ///
    /// NOT_FOUND and ABORTED mean that the lock was lost before. After any other error it ends with its ttl.
    pub async fn release(self) -> Result<(), Error> {
        self.0.leave().await
    }
}
