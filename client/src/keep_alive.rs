//! Keeps a session alive: renews it in the background and reports its loss.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Code;

use crate::connection::Connection;
use crate::session::{CloseSession, RenewSession};
use crate::{Call, CloseSessionReply, Error, Outcome, Reason, Retry, Session};

/// Renews a session in the background after each third of its ttl, and reports when the session is lost. Made by
/// [`Client::keep_alive`](crate::Client::keep_alive). When it is dropped, the renewals stop, and the session ends with
/// its ttl unless it is [closed](Self::close).
///
/// A session counts as alive only while it certainly is. The server counts the ttl from when it receives a renewal,
/// which is after this side has sent it. So this side counts the ttl from before it sends the renewal, by the monotonic
/// clock. If that time passes without another renewal, the session is lost, whether the server can be reached or not.
/// The last thousandth of the ttl is left out, because the two clocks run at different rates: Linux corrects the rate
/// of each by up to 500 parts per million (`adjtimex(2)`).
///
/// The client's side cannot be more certain than that. A process may be paused between a look at
/// [`is_alive`](Self::is_alive) and what it does then. The monotonic clock stands still while the computer is
/// suspended, and some daemons slew a wrong clock much faster. So everything done under a lock must also carry the
/// `create_revision` of the lock's key as a fencing token. This type makes it rare that the token is needed.
///
/// ```
/// use std::time::Duration;
/// use soloist_client::{Client, Condition};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = soloist_server::Server::start(listener, &Default::default())?;
/// # let client = Client::connect(format!("http://{}", server.local_addr())).await?;
/// # async fn work() {}
/// let session = client.open_session(Duration::from_secs(10)).await?;
/// let keep_alive = client.keep_alive(&session).await?;
/// client.write("locks/a", "me").session(&session).expect(Condition::Missing).await?;
/// tokio::select! {
///     () = work() => {}
///     lost = keep_alive.lost() => return Err(lost.into()),
/// }
/// keep_alive.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KeepAlive {
    connection: Connection,
    session: Session,
    liveness: watch::Receiver<Liveness>,
    renewal_task: JoinHandle<()>,
}

/// What this side knows about a session.
#[derive(Clone, Debug)]
struct Liveness {
    /// The session is certainly alive until then, unless `lost` is set.
    until: Instant,
    lost: Option<Error>,
}

impl KeepAlive {
    pub(crate) async fn start(connection: &Connection, session: &Session) -> Result<Self, Error> {
        // This side does not know when the session was opened, and so not when it ends. After the first renewal it
        // does.
        let sent = Instant::now();
        let session = Call::new(connection, RenewSession::new(session)).await?;
        let (liveness, watched) = watch::channel(Liveness {
            until: sent + without_drift(session.ttl),
            lost: None,
        });
        let renewal_task = tokio::spawn({
            let (connection, session) = (connection.clone(), session.clone());
            async move {
                let renew = || {
                    let renewal = Call::new(&connection, RenewSession::new(&session))
                        .timeout(session.ttl / 3)
                        .retry(Retry::default());
                    async { renewal.await.map(drop) }
                };
                let lost = renew_until_lost(&session, sent, &liveness, renew).await;
                liveness.send_modify(|liveness| liveness.lost = Some(lost));
            }
        });
        Ok(Self {
            connection: connection.clone(),
            session,
            liveness: watched,
            renewal_task,
        })
    }

    /// The session as of its first renewal.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the session is certainly alive now.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let liveness = self.liveness.borrow();
        liveness.lost.is_none() && Instant::now() < liveness.until
    }

    /// Until when the session is certainly alive, if no further renewal succeeds and nobody closes it or takes it over.
    #[must_use]
    pub fn alive_until(&self) -> std::time::Instant {
        self.liveness.borrow().until.into_std()
    }

    /// Waits until the session is lost and returns why: NOT_FOUND (SESSION_NOT_FOUND) if it has ended, ABORTED
    /// (SESSION_TAKEN_OVER) if another session of the same id has begun, DEADLINE_EXCEEDED if it could not be renewed
    /// in time. In the last case the session may still be alive.
    ///
    /// It can be awaited any number of times, also after the loss. Dropping the future loses nothing.
    pub async fn lost(&self) -> Error {
        let mut liveness = self.liveness.clone();
        let lost = match liveness.wait_for(|liveness| liveness.lost.is_some()).await {
            Ok(liveness) => liveness.lost.clone(),
            Err(_) => None,
        };
        lost.unwrap_or_else(|| {
            Error::new(
                Code::Cancelled,
                "the runtime that renewed the session has ended",
                Outcome::Unknown,
            )
        })
    }

    /// Ends the session now and deletes its keys, instead of letting its ttl run out.
    ///
    /// Waits for the reply, at most the client's timeout, and retries where that is safe. If the future is dropped, the
    /// session is not renewed any more.
    ///
    /// # Errors
    ///
    /// Those of [`Client::close_session`](crate::Client::close_session). NOT_FOUND and ABORTED mean that the session
    /// had ended before.
    pub async fn close(self) -> Result<CloseSessionReply, Error> {
        self.renewal_task.abort();
        Call::new(&self.connection, CloseSession::new(&self.session))
            .retry(Retry::default())
            .await
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.renewal_task.abort();
    }
}

/// The part of a ttl that passes on this side's clock before the whole ttl has passed on the server's.
fn without_drift(ttl: Duration) -> Duration {
    ttl - ttl / 1_000
}

/// Renews a session until it is lost, and returns why. `sent` is when the last renewal was sent.
async fn renew_until_lost<F>(
    session: &Session,
    mut sent: Instant,
    liveness: &watch::Sender<Liveness>,
    mut renew: impl FnMut() -> F,
) -> Error
where
    F: Future<Output = Result<(), Error>>,
{
    let ttl = session.ttl;
    let mut until = sent + without_drift(ttl);
    let mut failure = None;
    let mut next = sent + ttl / 3;
    loop {
        let renewal = async {
            sleep_until(next).await;
            sent = Instant::now();
            renew().await
        };
        match timeout_at(until, renewal).await {
            Ok(Ok(())) => {
                until = sent + without_drift(ttl);
                liveness.send_modify(|liveness| liveness.until = until);
                failure = None;
                next = sent + ttl / 3;
            }
            Ok(Err(error)) if has_ended(&error) => return error,
            Ok(Err(error)) => {
                failure = Some(error);
                // A renewal takes up to a third of the ttl, including its retries. One that fails sooner was either
                // retried already or fails for a reason that a retry does not change, so there is no hurry.
                next = sent + ttl / 6;
            }
            Err(_) => {
                let why = match failure {
                    Some(error) => error.to_string(),
                    None => "no answer".to_owned(),
                };
                return Error::new(
                    Code::DeadlineExceeded,
                    format!(
                        "session {:?} was not renewed within its ttl of {ttl:?}: {why}",
                        session.id
                    ),
                    Outcome::Unknown,
                );
            }
        }
    }
}

/// Whether the session has ended for good.
fn has_ended(error: &Error) -> bool {
    matches!(
        error.reason(),
        Some(Reason::SessionNotFound | Reason::SessionTakenOver)
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    /// Runs renewals whose results the test gives by their number. Returns why the session was lost, when, and after
    /// how many renewals.
    async fn run<F>(answer: impl Fn(u32) -> F) -> (Error, Duration, u32)
    where
        F: Future<Output = Result<(), Error>>,
    {
        let session = Session::for_test("worker", 12);
        assert_eq!(session.ttl, TTL);
        let start = Instant::now();
        let until = start + without_drift(TTL);
        let (liveness, _watched) = watch::channel(Liveness { until, lost: None });
        let count = Cell::new(0);
        let renew = || {
            count.set(count.get() + 1);
            answer(count.get())
        };
        let lost = renew_until_lost(&session, start, &liveness, renew).await;
        (lost, start.elapsed(), count.get())
    }

    fn failure(code: Code) -> Error {
        Error::new(code, "why", Outcome::Unknown)
    }

    /// Timers have a resolution of milliseconds and are never early.
    fn assert_at(elapsed: Duration, expected: Duration) {
        assert!(
            (expected..expected + Duration::from_millis(5)).contains(&elapsed),
            "{elapsed:?}, not {expected:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_without_replies_is_lost_before_its_ttl_ends() {
        let (lost, elapsed, renewals) = run(|_| pending()).await;
        assert_eq!(lost.code(), Code::DeadlineExceeded);
        assert_eq!(
            lost.message(),
            "session \"worker\" was not renewed within its ttl of 10s: no answer"
        );
        assert_at(elapsed, without_drift(TTL));
        assert!(elapsed < TTL);
        assert_eq!(renewals, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_renewals_are_repeated_until_the_ttl_ends() {
        let answer = async |_| Err(failure(Code::Unavailable));
        let (lost, elapsed, renewals) = run(answer).await;
        assert!(lost.message().ends_with("UNAVAILABLE: why"), "{lost}");
        assert_at(elapsed, without_drift(TTL));
        // After 2/6, 3/6, 4/6 and 5/6 of the ttl.
        assert_eq!(renewals, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_ttl_counts_from_before_the_renewal_was_sent() {
        let slow = TTL / 5;
        let answer = async |number| match number {
            1 => {
                tokio::time::sleep(slow).await;
                Ok(())
            }
            _ => pending().await,
        };
        let (_, elapsed, renewals) = run(answer).await;
        assert_at(elapsed, TTL / 3 + without_drift(TTL));
        assert_eq!(renewals, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_session_is_reported_at_once() {
        let answer = async |number| match number {
            1 | 2 => Ok(()),
            _ => Err(crate::error::refused(Reason::SessionTakenOver)),
        };
        let (lost, elapsed, _) = run(answer).await;
        assert_eq!(lost.reason(), Some(Reason::SessionTakenOver));
        assert_at(elapsed, TTL);
    }
}
