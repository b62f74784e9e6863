//! When a connection has stayed for too long: without any call, or without reading what waits for it while memory is scarce.
//!
//! A peer that answers PINGs is alive, but that alone does not entitle it to a place among the connections, nor to the memory
//! of answers that it does not read.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::{CROWDED_IDLE_TIMEOUT, TransportLimits, UNREAD_PART, UNSHARED_BYTES};
use crate::rpc::services::ConnectionQuota;

/// Why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outstayed {
    /// It had no call in progress for some time, and its client has read nothing.
    Idle,
    /// It holds memory that others need, and its client hardly reads what waits for it.
    Unread,
}

/// Waits until the connection has to go. `crowded` is true while no further connection can be accepted.
pub(super) async fn outstayed(
    quota: &ConnectionQuota,
    limits: &TransportLimits,
    mut crowded: watch::Receiver<bool>,
) -> Outstayed {
    let mut given_back = quota.given_back();
    let mut held = quota.held_bytes();
    let mut idle_since = Instant::now();
    // While it is idle it is looked at when it may have to go, otherwise whenever it may have stopped reading.
    loop {
        let is_crowded = *crowded.borrow_and_update();
        // The end of an answer whose call has ended may wait for the client. A slow one takes nothing for seconds at a time: the
        // kernel says that there is room again when it has taken a third of what waits there.
        let idle_timeout = match is_crowded && held == 0 {
            true => limits.idle_timeout.min(CROWDED_IDLE_TIMEOUT),
            false => limits.idle_timeout,
        };
        let next_look = limits.unread_timeout.min(idle_timeout / 4).max(LOOK_MIN);
        let looked = tokio::select! {
            () = sleep(next_look) => true,
            // Its sender is gone when nothing is accepted any more.
            Ok(()) = crowded.changed() => false,
        };
        if !looked {
            continue;
        }
        let before = std::mem::replace(&mut given_back, quota.given_back());
        let read = given_back.wrapping_sub(before);
        if !quota.is_idle() || read > 0 {
            idle_since = Instant::now();
        } else if idle_since.elapsed() >= idle_timeout {
            return Outstayed::Idle;
        }
        // What is there now and was there at the last look.
        let held_before = std::mem::replace(&mut held, quota.held_bytes());
        let unread = held.min(held_before);
        if quota.is_memory_scarce() && unread > UNSHARED_BYTES && read < unread / UNREAD_PART {
            return Outstayed::Unread;
        }
    }
}

/// Looking at a connection takes about a microsecond, and there may be ten thousand.
const LOOK_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a connection stays that holds so many bytes and whose client does nothing, while no other can be accepted.
    async fn stays_with(bytes: usize) -> (Outstayed, Duration) {
        let quota = ConnectionQuota::new(1 << 20);
        let _unwritten = quota.clone().charge(bytes);
        let (_crowded, is_crowded) = watch::channel(true);
        let begun = Instant::now();
        let outstayed = outstayed(&quota, &TransportLimits::DEFAULT, is_crowded).await;
        (outstayed, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_still_to_read_an_answer_has_more_time_but_not_for_ever() {
        let idle_timeout = TransportLimits::DEFAULT.idle_timeout;
        assert!(idle_timeout > 2 * CROWDED_IDLE_TIMEOUT);
        let (outstayed, stays) = stays_with(0).await;
        assert_eq!(outstayed, Outstayed::Idle);
        assert!(
            (CROWDED_IDLE_TIMEOUT..idle_timeout).contains(&stays),
            "{stays:?}"
        );
        let (outstayed, stays) = stays_with(1_000).await;
        assert_eq!(outstayed, Outstayed::Idle);
        assert!(
            (idle_timeout..2 * idle_timeout).contains(&stays),
            "{stays:?}"
        );
    }
}
