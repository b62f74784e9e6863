//! How long to wait between attempts to connect again.
//!
//! The first attempt is made at once. The waits between the next ones grow exponentially up to a limit, with jitter, as
//! gRPC's clients do (its document "Connection Backoff"), and begin anew once an operation was answered. gRPC begins
//! with 1 s, multiplies by 1.6 and ends with 120 s. Here the waits are shorter, because the wait is the error with which
//! the length of an outage is measured.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The first wait. Servers take longer to start.
const FIRST: Duration = Duration::from_millis(10);
/// The sum of all waits so far, times (MULTIPLIER - 1), is about the next wait: an outage is measured to be longer than it
/// was by a twentieth at most.
const MULTIPLIER: f64 = 1.05;
/// The longest wait: reached after some 20 s. A server that starts must not be flooded by those that wait for it.
const LONGEST: Duration = Duration::from_secs(1);
/// By which share a wait is longer or shorter at random, so that connections that were lost together are not made again
/// together. It is gRPC's.
const JITTER: f64 = 0.2;
/// The first wait for each connection of the run: all connections together make at most a thousand attempts a second.
const FIRST_PER_CONNECTION: Duration = Duration::from_millis(1);

/// The waits of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    rng: SmallRng,
}

impl Backoff {
    /// `connections` is the number of connections of the run.
    pub(crate) fn new(seed: u64, connections: u64) -> Self {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let first = FIRST_PER_CONNECTION
            .saturating_mul(connections)
            .clamp(FIRST, LONGEST);
        Self {
            first,
            next: first,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Returns how long to wait after an attempt that failed.
    pub(crate) fn wait(&mut self) -> Duration {
        let jitter = self.rng.random_range(1.0 - JITTER..1.0 + JITTER);
        let wait = self.next.mul_f64(jitter);
        self.next = self.next.mul_f64(MULTIPLIER).min(LONGEST);
        wait
    }

    /// Begins anew, because an operation was answered.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_much_longer_than_a_twentieth_of_all_before_it() {
        let mut backoff = Backoff::new(7, 1);
        let mut waited = Duration::ZERO;
        for _ in 0..300 {
            let wait = backoff.wait();
            let limit = (waited / 20 + FIRST).mul_f64(1.5);
            assert!(
                wait <= limit.min(LONGEST.mul_f64(1.0 + JITTER)),
                "{wait:?} after {waited:?}"
            );
            assert!(wait >= FIRST.mul_f64(1.0 - JITTER));
            waited += wait;
        }
        assert!(backoff.next == LONGEST && waited > 100 * LONGEST);
        backoff.reset();
        assert_eq!(backoff.next, FIRST);
    }

    #[test]
    fn many_connections_make_no_more_attempts_together() {
        for (connections, first) in [(1, 10), (10, 10), (200, 200), (10_000, 1_000)] {
            let backoff = Backoff::new(7, connections);
            assert_eq!(backoff.first, Duration::from_millis(first), "{connections}");
        }
    }
}
