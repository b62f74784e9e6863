//! Hands out arrivals on time.
//!
//! [`Pace`] says which arrivals are due at a given time, and when the next one will be. A thread that waits for its sockets
//! anyway can ask it directly. [`Pacer`] is a thread of its own, for workers on an asynchronous runtime, whose timers are
//! late by 1 ms and more.
//!
//! The pacer sleeps and never spins. Spinning for the last 20 us makes it 5 to 13 us late instead of 27 to 36 us, at 10,000
//! arrivals a second. But at 50,000 a second it takes a whole core, which the server under load may need. The pacer sleeps
//! in `park_timeout`, which on Linux waits in a futex until an absolute time of `CLOCK_MONOTONIC`. That is as punctual as
//! `clock_nanosleep` (no difference in 18 runs), another thread can end it, and it takes the clock of `Instant`. How late a
//! sleep ends depends on the timer slack of the thread, 50 us by default. Source: prctl(2), `PR_SET_TIMERSLACK`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::prctl;

use crate::histogram::histogram;
use crate::pace::arrivals::Arrivals;
use crate::pace::cpu::thread_cpu_time;
use crate::pace::stop::Stop;

/// By how many nanoseconds the kernel may delay the end of a sleep, to end several sleeps at once. 1 is the least.
const TIMER_SLACK_NANOS: u64 = 1;

/// Makes the sleeps of the calling thread end as punctually as the kernel can.
pub(crate) fn wake_on_time() {
    // No kernel since 2.6.28 refuses. If one did, the measured lateness would show it.
    let _ = prctl::set_timerslack(TIMER_SLACK_NANOS);
}

/// How many arrivals are taken before the clock is read again. More may be due if the rate is higher than arrivals can be
/// handed out: sockets must not wait for all of them, nor must the end of the run.
pub(crate) const ARRIVALS_AT_ONCE: usize = 10_000;

/// How long after the end arrivals that were due before it are still handed out, as a share of the run: a pacer that was
/// held up for a moment hands out the rest within microseconds, and one that cannot keep up must not be late by more than
/// the rate may differ without a warning.
const CATCH_UP_SHARE: u32 = 100;

/// The arrivals of a run as points in time.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    end: Option<Instant>,
    /// Until when to catch up. `None` until the end is seen to be over.
    catch_up_end: Option<Instant>,
    arrivals: Arrivals,
    next_offset: Option<u64>,
}

impl Pace {
    /// Returns all `arrivals`, counted from `start`.
    pub(crate) fn new(start: Instant, mut arrivals: Arrivals) -> Self {
        Self {
            start,
            end: None,
            catch_up_end: None,
            next_offset: arrivals.next(),
            arrivals,
        }
    }

    /// Returns all `arrivals` between the start and the end of a run.
    pub(crate) fn of_run(arrivals: Arrivals, stop: &Stop) -> Self {
        let pace = Self::new(stop.instant_of(0), arrivals);
        match stop.end() {
            Some(end) => pace.until(end),
            None => pace,
        }
    }

    /// Leaves out the arrivals at `end` and after it.
    pub(crate) fn until(mut self, end: Instant) -> Self {
        self.end = Some(end);
        self
    }

    /// Returns when the next arrival is due, or `None` if there are no more.
    pub(crate) fn next(&self) -> Option<Instant> {
        let offset = Duration::from_nanos(self.next_offset?);
        let next = self.start.checked_add(offset)?;
        self.end.is_none_or(|end| next < end).then_some(next)
    }

    /// Returns when the arrivals end, if that is known.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Returns whether it is too late at `now` to hand out arrivals that were due before the end. Then they are not offered
    /// at all: the report says what was offered, and what was asked for.
    pub(crate) fn is_hopeless(&mut self, now: Instant) -> bool {
        let Some(end) = self.end.filter(|end| now > *end) else {
            return false;
        };
        let catch_up = (end - self.start) / CATCH_UP_SHARE;
        now > *self.catch_up_end.get_or_insert(now + catch_up)
    }

    /// Takes the arrivals that are due at `now`, the oldest first, and at most [`ARRIVALS_AT_ONCE`]. Returns the intended start
    /// of each.
    pub(crate) fn due(&mut self, now: Instant) -> impl Iterator<Item = Instant> {
        let due = std::iter::from_fn(move || {
            let next = self.next().filter(|next| *next <= now)?;
            self.next_offset = self.arrivals.next();
            Some(next)
        });
        due.take(ARRIVALS_AT_ONCE)
    }
}

/// What an [`ArrivalSink`] did with an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// It took the arrival.
    Accepted,
    /// It has no room.
    Dropped,
    /// It takes no more arrivals.
    Closed,
}

/// Takes arrivals from a pacer. It must not block: the next arrivals would be late.
pub(crate) trait ArrivalSink: Send {
    /// Takes an operation that is meant to start at `intended`.
    fn take(&mut self, intended: Instant) -> Handover;
}

impl<F: FnMut(Instant) -> Handover + Send> ArrivalSink for F {
    fn take(&mut self, intended: Instant) -> Handover {
        self(intended)
    }
}

/// A thread that hands out arrivals. Dropping this stops it.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
    /// `None` once the thread is joined.
    thread: Option<JoinHandle<PacerTotals>>,
}

/// What a pacer has done. It offered every arrival that was due until it ended.
#[derive(Clone, Debug)]
pub(crate) struct PacerTotals {
    /// Arrivals that the sink took.
    pub(crate) accepted: u64,
    /// Arrivals that the sink did not take.
    pub(crate) dropped: u64,
    /// How long after its intended start each arrival was offered, in nanoseconds.
    pub(crate) lateness: Histogram<u64>,
    /// CPU time of the thread.
    pub(crate) cpu: Duration,
    /// Why it ended.
    pub(crate) ended: Ended,
}

/// Why a pacer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There were no more arrivals.
    Complete,
    /// It was stopped.
    Stopped,
    /// The sink took no more arrivals.
    Closed,
}

impl Pacer {
    /// Starts to hand out arrivals.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(crate) fn spawn(pace: Pace, sink: impl ArrivalSink + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("load-pacer".to_owned())
            .spawn(move || {
                wake_on_time();
                let mut totals = run(pace, sink, &stopped);
                totals.cpu = thread_cpu_time();
                totals
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Makes the thread end now, however far away the next arrival is. Does not wait for it.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Waits until the thread has ended.
    pub(crate) fn join(mut self) -> PacerTotals {
        let thread = self.thread.take().expect("nothing else joins the thread");
        thread.join().expect("a pacer panics only if its sink does")
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl PacerTotals {
    fn new() -> Self {
        Self {
            accepted: 0,
            dropped: 0,
            lateness: histogram(),
            cpu: Duration::ZERO,
            ended: Ended::Complete,
        }
    }

    /// Offers an arrival that is due to the sink, and counts it.
    fn offer(&mut self, intended: Instant, sink: &mut impl ArrivalSink) -> Handover {
        let late = Instant::now().saturating_duration_since(intended);
        let late = u64::try_from(late.as_nanos()).expect("late by less than 584 years");
        self.lateness
            .record(late)
            .expect("a histogram that grows takes any value");
        let handover = sink.take(intended);
        match handover {
            Handover::Accepted => self.accepted += 1,
            Handover::Dropped | Handover::Closed => self.dropped += 1,
        }
        handover
    }
}

fn run(mut pace: Pace, mut sink: impl ArrivalSink, stop: &AtomicBool) -> PacerTotals {
    let mut totals = PacerTotals::new();
    loop {
        let now = Instant::now();
        if pace.is_hopeless(now) {
            return totals;
        }
        for intended in pace.due(now) {
            if totals.offer(intended, &mut sink) == Handover::Closed {
                totals.ended = Ended::Closed;
                return totals;
            }
            // Many arrivals may be late: do not wait for the last of them.
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if stop.load(Ordering::Relaxed) {
            totals.ended = Ended::Stopped;
            return totals;
        }
        // The run lasts until its end, even if nothing is due any more.
        let is_before_end = |end: &Instant| Instant::now() < *end;
        let Some(next) = pace.next().or(pace.end().filter(is_before_end)) else {
            return totals;
        };
        // A stop ends the sleep early. A stop just before is not missed: it has left its token. The sleep may also end
        // for no reason.
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests;
