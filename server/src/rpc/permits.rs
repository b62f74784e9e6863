//! How many frames of one Pipeline stream may be under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The permits for the frames of a stream that are under way. Only the reader takes them.
pub(super) struct Permits {
    pub(super) max: usize,
    taken: AtomicUsize,
    /// Whether the reader waits for one.
    wanted: AtomicBool,
    freed: Notify,
}

impl Permits {
    pub(super) fn of(max: usize) -> Self {
        Self {
            max,
            taken: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            freed: Notify::new(),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.max - self.taken.load(Ordering::SeqCst)
    }

    pub(super) fn take(&self, count: usize) {
        self.taken.fetch_add(count, Ordering::SeqCst);
    }

    /// Gives one back: its answer is on its way to the client.
    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }

    /// Waits until one is free.
    pub(super) async fn one_free(&self) {
        while self.free() == 0 {
            self.wanted.store(true, Ordering::SeqCst);
            // One that was given back before this was stored has told nobody.
            if self.free() == 0 {
                self.freed.notified().await;
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
    fn who_waits_for_a_place_goes_on_when_one_is_given_back() {
        let mut cx = Context::from_waker(Waker::noop());
        let permits = Permits::of(2);
        assert!(pin!(permits.one_free()).poll(&mut cx).is_ready());
        permits.take(2);
        assert_eq!(permits.free(), 0);
        {
            let mut waiting = pin!(permits.one_free());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            permits.give_back();
            assert!(waiting.poll(&mut cx).is_ready());
        }
        permits.take(1);
        // One who has left takes nothing from the next.
        assert!(pin!(permits.one_free()).poll(&mut cx).is_pending());
        let mut waiting = pin!(permits.one_free());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        permits.give_back();
        assert!(waiting.poll(&mut cx).is_ready());
    }
}
