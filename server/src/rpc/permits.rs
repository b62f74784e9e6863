//! Bounds how many frames of one Pipeline stream are in flight.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The permits of a stream. A frame holds one from when it is read until its answer is handed out. Only the reader of the
/// stream acquires them, so what it finds free stays free.
pub(super) struct Permits {
    pub(super) max: usize,
    acquired: AtomicUsize,
    /// Whether the reader waits for a permit.
    wanted: AtomicBool,
    released: Notify,
}

impl Permits {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            acquired: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            released: Notify::new(),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.max - self.acquired.load(Ordering::SeqCst)
    }

    /// Acquires permits, which must be free.
    pub(super) fn acquire(&self, count: usize) {
        self.acquired.fetch_add(count, Ordering::SeqCst);
    }

    /// Gives permits back.
    pub(super) fn release(&self, count: usize) {
        self.acquired.fetch_sub(count, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) {
            self.released.notify_one();
        }
    }

    /// Waits until a permit is free, without acquiring it.
    pub(super) async fn wait_for_one(&self) {
        while self.free() == 0 {
            self.wanted.store(true, Ordering::SeqCst);
            // Look again: a permit that was released before `wanted` was set has notified nobody.
            if self.free() == 0 {
                self.released.notified().await;
            }
            self.wanted.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_released_permit_wakes_the_reader_that_waits_for_one() {
        let mut cx = Context::from_waker(Waker::noop());
        let permits = Permits::new(2);
        assert!(pin!(permits.wait_for_one()).poll(&mut cx).is_ready());
        permits.acquire(2);
        assert_eq!(permits.free(), 0);
        {
            let mut waiting = pin!(permits.wait_for_one());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            permits.release(1);
            assert!(waiting.poll(&mut cx).is_ready());
        }
        permits.acquire(1);
        // A wait that is cancelled does not take the notification of the next one.
        assert!(pin!(permits.wait_for_one()).poll(&mut cx).is_pending());
        let mut waiting = pin!(permits.wait_for_one());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        permits.release(1);
        assert!(waiting.poll(&mut cx).is_ready());
    }
}
