//! Retries: when a call is sent again, and how long to wait before.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Error, Outcome};

/// When a failed call is sent again, and how long to wait before: exponential backoff with full jitter.
///
/// A call is sent again only if that is safe, and only if what stood in the way passes by itself:
///
/// - [`Error::is_retryable`] says so: nothing was applied, and the server was overloaded, going away, or not to be
///   reached;
/// - or the outcome is unknown, because the connection broke, and the call is one that can be told from its first try
///   by a request id. A call that is to be retried and has none gets a random one. With it the server applies the call
///   once however often it is sent, for `Limits.request_id_window` from the first time on; each id that succeeded takes
///   of the server's memory for that long.
///
/// Everything else is answered at once: bad arguments, conditions that are not met, a full store. So is a call that
/// has no request id and cannot be repeated without one: deleting a machine, defining one with a condition.
///
/// All tries together are bounded by the timeout of the call; if it would pass while waiting, the last error is the
/// answer. Where the server says how long to wait (`RetryInfo`, or the trailer `grpc-retry-pushback-ms`), the wait is
/// that, and the backoff comes on top, so that those who were refused together do not come back together.
///
/// The [`outcome`](Error::outcome) of the last error is that of the whole call: if any try's is unknown, it is unknown.
///
/// Sources: full jitter is the variant that needed the fewest calls in Brooker, "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015; names and pushback are those of gRPC's own proposal A6, "gRPC Retry Design".
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
    /// At first 20 ms, a few round trips in a data centre; at most 1 s, which finds a restarted server soon; and as
    /// many attempts as there is time for.
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_secs(1),
            max_attempts: u32::MAX,
        }
    }
}

impl Retry {
    /// The most to wait before the second attempt; it doubles for each one after. The wait is random, from 0 to this.
    /// Default: 20 ms.
    pub fn initial_backoff(mut self, backoff: Duration) -> Self {
        self.initial_backoff = backoff;
        self
    }

    /// What the backoff does not grow beyond. Default: 1 s.
    pub fn max_backoff(mut self, backoff: Duration) -> Self {
        self.max_backoff = backoff;
        self
    }

    /// The most attempts, with the first; 0 and 1 mean no retry. Default: as many as there is time for.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Makes attempts until one succeeds, one fails for good, or time runs out. Each is told how much is left.
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

    /// How long to wait after as many failed attempts.
    pub(crate) fn delay(self, attempts: u32, error: &Error) -> Duration {
        let pushback = error.retry_delay().unwrap_or_default();
        pushback.saturating_add(jitter(self.backoff(attempts), random_bits()))
    }

    /// The most to wait after as many failed attempts, the server's own wish aside.
    fn backoff(self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts - 1);
        self.initial_backoff
            .saturating_mul(doubled)
            .min(self.max_backoff)
    }
}

/// A part of `most`, evenly distributed from nothing to nearly all of it.
fn jitter(most: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(random)) >> u64::BITS;
    Duration::from_nanos(part as u64)
}

fn random_bits() -> u64 {
    getrandom::u64().expect("the system has a source of random numbers")
}

/// An id that nobody else has: 128 random bits.
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

    /// Runs attempts that fail in this order and then succeed; returns how many were made.
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
    async fn what_is_sent_again_and_what_not() {
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
    async fn attempts_end_with_their_number_or_with_the_time() {
        let start = Instant::now();
        let endless = [REFUSED; 1_000];
        let thrice = Retry::default().max_attempts(3);
        assert_eq!(run(thrice, MINUTE, false, &endless).await.1, 3);

        let (result, made) = run(Retry::default(), MINUTE, false, &endless).await;
        assert!(result.unwrap_err().is_retryable());
        // With waits of half a second on average.
        assert!((60..1_000).contains(&made), "{made}");
        assert!(start.elapsed() < 2 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_is_told_what_is_left() {
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

    /// Runs attempts of which the first is refused with this trailer; returns how many were made.
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
    async fn the_server_says_how_long_to_wait_at_least() {
        let start = Instant::now();
        assert_eq!(run_with_pushback("5000").await, 2);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(5), "{waited:?}");
        assert!(waited < Duration::from_millis(5_030), "{waited:?}");
        // Longer than there is time for, or never.
        assert_eq!(run_with_pushback("60000").await, 1);
        assert_eq!(run_with_pushback("-1").await, 1);
        assert_eq!(start.elapsed(), waited);
    }

    #[test]
    fn the_backoff_doubles_up_to_its_end() {
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
    fn jitter_is_a_part_of_the_whole() {
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
