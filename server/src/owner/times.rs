//! Where the time of a call goes, for the log of slow calls. Only calls that are to be logged if they are slow have one of
//! these: without it no clock is read.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a call passed which point, in nanoseconds since it began; 0 if it has not. Of a call with several messages, the last.
#[derive(Debug)]
pub struct CallTimes {
    begun: Instant,
    sent: AtomicU64,
    taken: AtomicU64,
    applied: AtomicU64,
    committed: AtomicU64,
}

/// How long a call spent where. What is left of its time is that of its handler, and of its way there and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimesSpent {
    /// Waiting in the mailbox.
    pub mailbox: Duration,
    /// Being handled by the owner.
    pub owner: Duration,
    /// Waiting until what the answer shows was on disk.
    pub disk: Duration,
}

thread_local! {
    /// The call that is being polled.
    static CURRENT: RefCell<Option<Arc<CallTimes>>> = const { RefCell::new(None) };
}

/// Ends the poll of a call, also if that panics.
struct Polled;

impl Drop for Polled {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl CallTimes {
    /// The times of a call that began at this moment.
    #[must_use]
    pub fn since(begun: Instant) -> Arc<Self> {
        Arc::new(Self {
            begun,
            sent: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            committed: AtomicU64::new(0),
        })
    }

    /// Returns how long the call has lasted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Polls the call: messages that are sent to the owner meanwhile are those of this call.
    pub fn during<T>(self: &Arc<Self>, poll: impl FnOnce() -> T) -> T {
        CURRENT.set(Some(Arc::clone(self)));
        let _polled = Polled;
        poll()
    }

    /// Notes that a message is put into the mailbox. Returns the times of the call that sends it, if it has any.
    #[inline]
    pub(super) fn of_message() -> Option<Arc<Self>> {
        let times = CURRENT.with_borrow(Option::clone)?;
        times.note(&times.sent);
        Some(times)
    }

    pub(super) fn note_taken(&self) {
        self.note(&self.taken);
    }

    pub(super) fn note_applied(&self) {
        self.note(&self.applied);
    }

    pub(super) fn note_committed(&self) {
        self.note(&self.committed);
    }

    fn note(&self, point: &AtomicU64) {
        let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        point.store(nanos.max(1), Ordering::Relaxed);
    }

    /// Returns how long it took until the owner had its answer and, if it waited for the disk, until it was there. That is the
    /// time so far if the owner has not handled it.
    #[must_use]
    pub fn until_answer(&self) -> Duration {
        let applied = self.applied.load(Ordering::Relaxed);
        match applied.max(self.committed.load(Ordering::Relaxed)) {
            0 => self.elapsed(),
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// Returns how long the call spent where, as far as it has come.
    #[must_use]
    pub fn spent(&self) -> TimesSpent {
        let between = |from: &AtomicU64, to: &AtomicU64| {
            let (from, to) = (from.load(Ordering::Relaxed), to.load(Ordering::Relaxed));
            Duration::from_nanos(if from == 0 {
                0
            } else {
                to.saturating_sub(from)
            })
        };
        TimesSpent {
            mailbox: between(&self.sent, &self.taken),
            owner: between(&self.taken, &self.applied),
            disk: between(&self.applied, &self.committed),
        }
    }
}
