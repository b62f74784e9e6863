//! Retries: when a failed call is sent again, and how long to wait before.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::transport::Transport;
use crate::{Error, Outcome};

/// When a failed call is retried, and how long to wait before: exponential backoff with full jitter.
///
/// A call is retried only if that is safe and the cause is transient:
///
/// - [`Error::is_retryable`] says so: nothing was applied, and the server was overloaded, shutting down or unreachable.
/// - Or the outcome is unknown, because the connection broke or the deadline passed, and the call is idempotent. Calls
///   that change something are idempotent by their request id; a call without one gets a random one. With it the server
///   applies the call at most once, however often it is sent, for `Limits.request_id_window` after it succeeded. The
///   server keeps each request id that succeeded in memory for that time.
///
/// All other errors are returned at once: bad arguments, conditions that do not hold, a full store. So is an unknown
/// outcome of a call that is not idempotent: one that deletes a machine, or defines one with a condition.
///
/// The timeout of the call bounds all attempts together. If it would pass while waiting, the last error is returned at
/// once. Where the server says how long to wait (`RetryInfo`, or the trailer `grpc-retry-pushback-ms`), the backoff is
/// added to that time, so that clients that were refused together do not come back together.
///
/// The [`outcome`](Error::outcome) of the returned error is that of the whole call: it is unknown if that of any
/// attempt is.
///
/// Sources: full jitter needed the fewest calls of the variants in Brooker, "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015. Names and pushback are those of gRPC proposal A6, "gRPC Retry Design".
///
/// ```
/// # use soloist_client::{Client, Error, Retry};
/// # async fn example(client: Client) -> Result<(), Error> {
/// let hits = client.add("hits", 1).retry(Retry::default()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Retry {
    initial_backoff: Duration,
    max_backoff: Duration,
    max_attempts: u32,
}

impl Default for Retry {
    /// An initial backoff of 20 ms, which is a few round trips in a data centre. A maximum of 1 s, so that a restarted
    /// server is found soon. As many attempts as there is time for.
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_secs(1),
            max_attempts: u32::MAX,
        }
    }
}

impl Retry {
    /// The upper bound of the wait before the second attempt. It doubles with each further attempt. The wait itself is
    /// random, between 0 and this bound. Default: 20 ms.
    pub fn initial_backoff(mut self, backoff: Duration) -> Self {
        self.initial_backoff = backoff;
        self
    }

    /// The upper bound of every wait. Default: 1 s.
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// The maximum number of attempts, including the first. 0 and 1 mean no retry. Default: as many as there is time
    /// for.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Makes attempts until one succeeds, one fails for good, or the time runs out. Each attempt is told how much time
    /// is left.
    ///
    /// `idempotent`: whether an attempt may follow one whose outcome is unknown.
    pub(crate) async fn run<T, F>(
        self,
        timeout: Duration,
        idempotent: bool,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let start = Instant::now();
        let mut outcome = Outcome::NotApplied;
        let mut attempts = 0;
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let error = match attempt(left).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            attempts += 1;
            if error.outcome() == Outcome::Unknown {
                outcome = Outcome::Unknown;
            }
            let safe = idempotent || error.outcome() == Outcome::NotApplied;
            let delay = self.delay(attempts, &error);
            let left = timeout.saturating_sub(start.elapsed());
            if !(safe && error.is_transient() && attempts < self.max_attempts && delay < left) {
                return Err(error.after_attempts(attempts, outcome));
            }
            sleep(delay).await;
        }
    }

    /// How long to wait after this many failed attempts, of which the last failed with `error`.
    pub(crate) fn delay(self, attempts: u32, error: &Error) -> Duration {
        let pushback = error.retry_delay().unwrap_or_default();
        pushback.saturating_add(jitter(self.backoff(attempts), random_bits()))
    }

    /// The upper bound of the backoff after this many failed attempts.
    fn backoff(self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts - 1);
        self.initial_backoff
            .saturating_mul(doubled)
            .min(self.max_backoff)
    }
}

/// A random part of `most`, uniformly distributed. `random` is 64 random bits.
fn jitter(most: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(random)) >> u64::BITS;
    Duration::from_nanos(part as u64)
}

/// How often a call is made again at once that no server has looked at, and how often at all if a server has refused it for a
/// reason of its own.
const UNSEEN_RETRIES_AT_ONCE: u32 = 3;

/// Makes an attempt, and further ones while no server has looked at it, because it met the end of a connection. A proxy that ends
/// connections after so many calls, or that is replaced by a new one, fails no call, and neither does a server that asks its
/// clients to come back with other certificates. Source: "transparent retries" of gRPC proposal A6.
///
/// The first few attempts follow at once. Many calls that wait for one connection may meet the ends of more connections than
/// that; a peer that accepts connections and never a call does, too. So the further ones wait as [`Retry`] does.
///
/// Where there are several addresses, a call also looks for the owner of the store, at each address and where a node says that it is.
pub(crate) async fn until_seen<T, F>(
    transport: &Transport,
    timeout: Duration,
    attempt: impl FnMut(Duration) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    attempts_until_seen(transport.hops(), timeout, attempt).await
}

async fn attempts_until_seen<T, F>(
    mut hops: usize,
    timeout: Duration,
    mut attempt: impl FnMut(Duration) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let start = Instant::now();
    let mut unseen = 0;
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        let error = match attempt(left).await {
            Err(error) if error.is_elsewhere() && hops > 0 => {
                hops -= 1;
                continue;
            }
            Err(error) if error.is_unseen() => error,
            outcome => return outcome,
        };
        unseen += 1;
        if unseen <= UNSEEN_RETRIES_AT_ONCE {
            continue;
        }
        let delay = Retry::default().delay(unseen - UNSEEN_RETRIES_AT_ONCE, &error);
        // A server has told what must be done first.
        let is_refused = error.reason().is_some();
        if is_refused || delay >= timeout.saturating_sub(start.elapsed()) {
            return Err(error);
        }
        sleep(delay).await;
    }
}

fn random_bits() -> u64 {
    getrandom::u64().expect("the system has a source of random numbers")
}

/// A unique id: 128 random bits.
pub(crate) fn request_id() -> String {
    format!("{:016x}{:016x}", random_bits(), random_bits())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tonic::Code;

    use super::*;

    fn failure(code: Code, outcome: Outcome) -> Error {
        Error::new(code, "why", outcome)
    }

    /// Runs attempts that fail in this order and then succeed. Returns how many were made.
    async fn run(
        retry: Retry,
        timeout: Duration,
        idempotent: bool,
        failures: &[(Code, Outcome)],
    ) -> (Result<(), Error>, usize) {
        let made = Cell::new(0);
        let result = retry
            .run(timeout, idempotent, |_| {
                let failure = failures.get(made.get()).map(|&(code, o)| failure(code, o));
                made.set(made.get() + 1);
                async move { failure.map_or(Ok(()), Err) }
            })
            .await;
        (result, made.get())
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const REFUSED: (Code, Outcome) = (Code::Unavailable, Outcome::NotApplied);
    const BROKEN: (Code, Outcome) = (Code::Unavailable, Outcome::Unknown);
    const ABORTED: (Code, Outcome) = (Code::Aborted, Outcome::NotApplied);

    #[tokio::test(start_paused = true)]
    async fn only_safe_and_transient_failures_are_retried() {
        let cases = [
            (false, vec![], 1, true),
            (false, vec![REFUSED, REFUSED], 3, true),
            (false, vec![REFUSED, BROKEN], 2, false),
            (true, vec![REFUSED, BROKEN], 3, true),
            (true, vec![ABORTED], 1, false),
            (true, vec![BROKEN, ABORTED], 2, false),
        ];
        for (idempotent, failures, made, succeeds) in cases {
            let outcome = run(Retry::default(), MINUTE, idempotent, &failures).await;
            let described = format!("{idempotent} {failures:?}: {outcome:?}");
            assert_eq!(
                (outcome.0.is_ok(), outcome.1),
                (succeeds, made),
                "{described}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_stays_unknown() {
        let (result, _) = run(Retry::default(), MINUTE, true, &[BROKEN, ABORTED]).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), Code::Aborted);
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(error.message(), "why (after 2 attempts)");
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_by_number_and_time() {
        let start = Instant::now();
        let endless = [REFUSED; 1_000];
        let thrice = Retry::default().max_attempts(3);
        assert_eq!(run(thrice, MINUTE, false, &endless).await.1, 3);

        let (result, made) = run(Retry::default(), MINUTE, false, &endless).await;
        assert!(result.unwrap_err().is_retryable());
        // The waits are half a second on average.
        assert!((60..1_000).contains(&made), "{made}");
        assert!(start.elapsed() < 2 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_gets_the_time_left() {
        let told = Cell::new(MINUTE);
        let retry = Retry::default();
        let error = retry
            .run(MINUTE, false, |left| {
                assert!(left <= told.get());
                told.set(left.saturating_sub(Duration::from_secs(5)));
                async {
                    sleep(Duration::from_secs(5)).await;
                    Err::<(), _>(failure(REFUSED.0, REFUSED.1))
                }
            })
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(told.get() < Duration::from_secs(10), "{:?}", told.get());
    }

    /// Runs attempts of which the first is refused with this trailer. Returns how many were made.
    async fn run_with_pushback(pushback: &str) -> u32 {
        let mut made = 0;
        let retry = Retry::default();
        let result = retry.run(MINUTE, false, |_| {
            made += 1;
            let mut status = tonic::Status::unavailable("busy");
            let trailers = status.metadata_mut();
            trailers.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
            let refused = Error::from_status(&status, Outcome::NotApplied);
            std::future::ready(if made == 1 { Err(refused) } else { Ok(()) })
        });
        assert_eq!(result.await.is_ok(), made == 2);
        made
    }

    #[tokio::test(start_paused = true)]
    async fn pushback_is_the_least_wait() {
        let start = Instant::now();
        assert_eq!(run_with_pushback("5000").await, 2);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(5), "{waited:?}");
        assert!(waited < Duration::from_millis(5_030), "{waited:?}");
        // A pushback that is longer than the time left, and one that forbids a retry.
        assert_eq!(run_with_pushback("60000").await, 1);
        assert_eq!(run_with_pushback("-1").await, 1);
        assert_eq!(start.elapsed(), waited);
    }

    fn refused_stream() -> Error {
        let refused = h2::Error::from(h2::Reason::REFUSED_STREAM);
        let status = tonic::Status::from_error(Box::new(refused));
        Error::from_status(&status, Outcome::Unknown)
    }

    /// A server that refuses the certificate of the connection.
    fn refused_certificate() -> Error {
        use tonic_types::StatusExt as _;
        let metadata = [("connection".to_owned(), "ended".to_owned())];
        let details = tonic_types::ErrorDetails::with_error_info(
            "CREDENTIALS_UNKNOWN",
            soloist::ERROR_DOMAIN,
            metadata,
        );
        let status =
            tonic::Status::with_error_details(Code::Unauthenticated, "the certificate", details);
        Error::from_status(&status, Outcome::Unknown)
    }

    /// Makes attempts of which the first so many fail. Returns whether the call succeeded, and how many were made.
    async fn until_seen(failures: usize, failure: fn() -> Error) -> (bool, usize) {
        let mut made = 0;
        let result = attempts_until_seen(0, MINUTE, |_| {
            made += 1;
            std::future::ready(if made > failures {
                Ok(())
            } else {
                Err(failure())
            })
        });
        (result.await.is_ok(), made)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_no_server_has_seen_is_made_again() {
        let start = Instant::now();
        for failures in [0, 2, 3] {
            assert_eq!(
                until_seen(failures, refused_stream).await,
                (true, failures + 1)
            );
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        // A peer that goes on so is not asked without a pause, and not for ever.
        assert_eq!(until_seen(9, refused_stream).await, (true, 10));
        let (succeeds, made) = until_seen(usize::MAX, refused_stream).await;
        assert!(!succeeds && (60..1_000).contains(&made), "{made}");
        // What somebody must mend first is not tried for as long.
        assert_eq!(until_seen(3, refused_certificate).await, (true, 4));
        assert_eq!(until_seen(9, refused_certificate).await, (false, 4));
        // Nobody knows what came of this one.
        let broken = || failure(BROKEN.0, BROKEN.1);
        assert_eq!(until_seen(9, broken).await, (false, 1));
    }

    #[test]
    fn the_backoff_doubles_up_to_its_maximum() {
        let retry = Retry::default();
        let millis = |attempts| retry.backoff(attempts).as_millis();
        let waits: Vec<_> = (1..=8).map(millis).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        assert_eq!(millis(u32::MAX), 1_000);
        let long = retry
            .initial_backoff(Duration::MAX)
            .max_backoff(Duration::MAX);
        assert_eq!(long.backoff(2), Duration::MAX);
    }

    #[test]
    fn jitter_is_below_its_bound() {
        let second = Duration::from_secs(1);
        assert_eq!(jitter(second, 0), Duration::ZERO);
        assert_eq!(jitter(second, 1 << 63), second / 2);
        assert_eq!(jitter(second, u64::MAX), Duration::from_nanos(999_999_999));
        assert_eq!(jitter(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert!(jitter(Duration::MAX, u64::MAX) > second);
    }

    #[test]
    fn request_ids_differ_and_fit() {
        let id = request_id();
        assert_eq!(id.len(), 32);
        assert_ne!(id, request_id());
    }
}
