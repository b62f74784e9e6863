//! Hands out arrivals on time.
//!
//! [`Pace`] is what is due at a given time and when the next will be: a thread that waits for its sockets anyway can ask
//! it itself. A [`Pacer`] is a thread that does nothing else, for workers on an asynchronous runtime, whose timers are
//! 1 ms late and more.
//!
//! The thread sleeps and never spins: to spin for the last 20 us makes it 5 to 13 us late instead of 27 to 36 at 10,000
//! arrivals a second, but at 50,000 takes a whole core, which the server under load may need. It sleeps in
//! `park_timeout`, which on Linux waits in a futex until an absolute time of `CLOCK_MONOTONIC`. That is as punctual as
//! `clock_nanosleep` (no difference in 18 runs), can be ended by an event, and takes the same clock as `Instant`, whose
//! value std does not show. What counts is the timer slack of the thread, 50 us by default. Source: prctl(2),
//! `PR_SET_TIMERSLACK`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::prctl;

use crate::histogram::histogram;
use crate::pace::arrivals::Arrivals;

/// Nanoseconds by which the kernel may put off a wake-up of the calling thread to join it with others: the least there is.
const TIMER_SLACK_NANOS: u64 = 1;

/// Makes the sleeps of this thread end when they should.
pub(crate) fn wake_on_time() {
    // It fails on no kernel since 2.6.28; and if it did, the lateness that is measured would tell.
    let _ = prctl::set_timerslack(TIMER_SLACK_NANOS);
}

/// Arrivals as times, from a start on.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    end: Option<Instant>,
    arrivals: Arrivals,
    next_offset: Option<u64>,
}

impl Pace {
    /// All `arrivals`, counted from `start`.
    pub(crate) fn new(start: Instant, mut arrivals: Arrivals) -> Self {
        Self {
            start,
            end: None,
            next_offset: arrivals.next(),
            arrivals,
        }
    }

    /// Only those before `end`.
    pub(crate) fn until(mut self, end: Instant) -> Self {
        self.end = Some(end);
        self
    }

    /// When the next one is due; `None` if there is none any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        let offset = Duration::from_nanos(self.next_offset?);
        let next = self.start.checked_add(offset)?;
        self.end.is_none_or(|end| next < end).then_some(next)
    }

    /// Takes those that are due at `now`, each at its own time, the oldest first.
    pub(crate) fn due(&mut self, now: Instant) -> impl Iterator<Item = Instant> {
        std::iter::from_fn(move || {
            let next = self.next().filter(|next| *next <= now)?;
            self.next_offset = self.arrivals.next();
            Some(next)
        })
    }
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// It will be done.
    Accepted,
    /// There is no room for it.
    Dropped,
    /// Nobody takes any more.
    Closed,
}

/// Takes arrivals. It must not wait: the ones after would be late.
pub(crate) trait ArrivalSink: Send {
    /// Takes an operation that is meant to start at `intended`.
    fn take(&mut self, intended: Instant) -> Handover;
}

impl<F: FnMut(Instant) -> Handover + Send> ArrivalSink for F {
    fn take(&mut self, intended: Instant) -> Handover {
        self(intended)
    }
}

/// A thread that hands out arrivals. Dropping it tells it to stop.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
    /// `None` once it is joined.
    thread: Option<JoinHandle<PacerTotals>>,
}

/// What a pacer did: all that was due until it ended was offered, and was either handed out or dropped.
#[derive(Clone, Debug)]
pub(crate) struct PacerTotals {
    /// Taken by the sink.
    pub(crate) accepted: u64,
    /// Not taken: the sink had no room, or takes no more.
    pub(crate) dropped: u64,
    /// How long after its intended start each was offered, in nanoseconds.
    pub(crate) lateness: Histogram<u64>,
    /// Why it ended.
    pub(crate) ended: Ended,
}

/// Why a pacer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There are no more arrivals.
    Complete,
    /// It was told to.
    Stopped,
    /// The sink takes no more.
    Closed,
}

impl Pacer {
    /// Starts to hand out.
    ///
    /// # Errors
    /// What the system says if it has no thread to give.
    pub(crate) fn spawn(pace: Pace, sink: impl ArrivalSink + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("load-pacer".to_owned())
            .spawn(move || {
                wake_on_time();
                run(pace, sink, &stopped)
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Tells it to end now, however far away the next arrival is.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Waits until it has ended.
    pub(crate) fn join(mut self) -> PacerTotals {
        let thread = self.thread.take().expect("joined only here");
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
            ended: Ended::Complete,
        }
    }

    /// Hands out what is due, and keeps account of it.
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
        for intended in pace.due(Instant::now()) {
            if totals.offer(intended, &mut sink) == Handover::Closed {
                totals.ended = Ended::Closed;
                return totals;
            }
            // However much there is to catch up with.
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if stop.load(Ordering::Relaxed) {
            totals.ended = Ended::Stopped;
            return totals;
        }
        let Some(next) = pace.next() else {
            return totals;
        };
        // Ends early if it is told to stop, or for no reason. A stop before it is not missed: it left its token.
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests;
