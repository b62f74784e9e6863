//! Which thread serves a connection: at first the one that has the fewest, later perhaps another, by load.
//!
//! A connection is busy while it is polled often. Busy connections spread over the threads. One that is alone, and whose client
//! waits for each answer, goes to the thread of the owner: no other thread is woken for its calls then.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tracing::debug;

use super::Worker;
use crate::config::{BUSY_POLLS, BUSY_WITHIN, WAITING_BYTES, WAITING_WRITTEN_BYTES};
use crate::metrics;

/// The place of the owner's thread among all.
const OWNER: usize = 0;

/// The threads that serve connections.
#[derive(Debug)]
pub(super) struct Threads {
    workers: Vec<Worker>,
    begun: Instant,
}

impl Threads {
    /// `workers` has at least one, and the owner's first.
    pub(super) fn new(workers: Vec<Worker>) -> Self {
        Self {
            workers,
            begun: Instant::now(),
        }
    }

    /// Gives a connection to the thread with the fewest.
    pub(super) fn place(self: &Arc<Self>) -> Seat {
        let connections = |at: &usize| self.workers[*at].connections.load(Ordering::Relaxed);
        let at = (0..self.workers.len())
            .min_by_key(connections)
            .expect("there is at least one thread");
        self.workers[at].connections.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::new(Taken {
            threads: Arc::clone(self),
            at: at.into(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }))
    }

    /// Counts a busy connection of thread `at`, and says which thread it is to go to. `waits` says that its client waits for each
    /// answer.
    fn busy(&self, at: usize, waits: bool, period: u64) -> Option<usize> {
        self.workers[at]
            .load
            .change(period, |counts| counts.now += 1);
        let before = |worker: &Worker| worker.load.change(period, |counts| counts.before);
        let busy: Vec<usize> = self.workers.iter().map(before).collect();
        let target = target(&busy, at, waits)?;
        // So that no other connection goes there for the same reason.
        self.workers[at].load.change(period, Counts::remove);
        self.workers[target].load.change(period, Counts::add);
        Some(target)
    }

    /// The number of a period.
    fn period(&self, now: Instant) -> u64 {
        let time = now.saturating_duration_since(self.begun);
        u64::try_from(time.as_nanos() / BUSY_WITHIN.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Which thread a busy connection of thread `at` is to go to, if threads have so many busy ones.
fn target(busy: &[usize], at: usize, waits: bool) -> Option<usize> {
    if waits && at != OWNER && busy[at] <= 1 && busy[OWNER] == 0 {
        return Some(OWNER);
    }
    let (target, least) = busy.iter().enumerate().min_by_key(|(_, busy)| **busy)?;
    // Not for a difference of one: it would be the same after the move.
    (least + 1 < busy[at]).then_some(target)
}

/// How many connections of a thread are busy, counted anew in each period of [`BUSY_WITHIN`].
#[derive(Debug, Default)]
pub(super) struct Load(Mutex<Counts>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    period: u64,
    /// In this period, up to now.
    now: usize,
    /// In the period before.
    before: usize,
}

impl Load {
    /// Changes, or looks at, the counts of a period.
    fn change<T>(&self, period: u64, change: impl FnOnce(&mut Counts) -> T) -> T {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have read its clock before, and come here later.
        if period > counts.period {
            let is_next = period == counts.period + 1;
            *counts = Counts {
                period,
                now: 0,
                before: if is_next { counts.now } else { 0 },
            };
        }
        change(&mut counts)
    }
}

impl Counts {
    /// Adds a connection that came here.
    fn add(&mut self) {
        self.now += 1;
        self.before += 1;
    }

    /// Takes out a connection that leaves.
    fn remove(&mut self) {
        self.now = self.now.saturating_sub(1);
        self.before = self.before.saturating_sub(1);
    }
}

/// The place of a connection on a thread.
#[derive(Clone, Debug)]
pub(super) struct Seat(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    threads: Arc<Threads>,
    at: AtomicUsize,
    /// How many bytes the connection has read, and written.
    read: AtomicU64,
    written: AtomicU64,
}

impl Seat {
    /// The thread that serves the connection, or is about to.
    pub(super) fn worker(&self) -> &Worker {
        &self.0.threads.workers[self.at()]
    }

    /// The place of that thread among all.
    pub(super) fn at(&self) -> usize {
        self.0.at.load(Ordering::Relaxed)
    }

    /// Notes that the connection has read.
    pub(super) fn read(&self, bytes: usize) {
        add(&self.0.read, bytes);
    }

    /// Notes that the connection has written.
    pub(super) fn wrote(&self, bytes: usize) {
        add(&self.0.written, bytes);
    }

    fn go(&self, target: usize) {
        let workers = &self.0.threads.workers;
        let before = self.0.at.swap(target, Ordering::Relaxed);
        workers[before].connections.fetch_sub(1, Ordering::Relaxed);
        workers[target].connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds to a count of a connection's own.
fn add(count: &AtomicU64, bytes: usize) {
    // One thread at a time serves a connection, so this needs no addition in one step.
    let before = count.load(Ordering::Relaxed);
    count.store(before.wrapping_add(bytes as u64), Ordering::Relaxed);
}

impl Drop for Taken {
    fn drop(&mut self) {
        let worker = &self.threads.workers[*self.at.get_mut()];
        worker.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection on the thread of its seat, and moves it when another thread suits its load better.
pub(super) struct Placed<F> {
    /// None after it went to another thread.
    serving: Option<Pin<Box<F>>>,
    seat: Seat,
    activity: Activity,
}

impl<F: Future<Output = ()> + Send + 'static> Placed<F> {
    pub(super) fn spawn(seat: Seat, serving: F) {
        Self {
            serving: Some(Box::pin(serving)),
            activity: Activity::default(),
            seat,
        }
        .go_on();
    }

    fn go_on(self) {
        let runtime = self.seat.worker().runtime.clone();
        runtime.spawn(self);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Future for Placed<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(serving) = &mut this.serving else {
            return Poll::Ready(());
        };
        if serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(target) = this.activity.polled(&this.seat, Instant::now) else {
            return Poll::Pending;
        };
        debug!(
            from = this.seat.at(),
            to = target,
            "a connection moves to another thread"
        );
        metrics::here(|cells| cells.server.connection_moves.add_shared(1));
        this.seat.go(target);
        // Its wakers lead to this task, which ends. On the other thread it is polled at once, and hands out others.
        Self {
            serving: this.serving.take(),
            seat: this.seat.clone(),
            activity: this.activity,
        }
        .go_on();
        Poll::Ready(())
    }
}

/// How often a connection is polled.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    polls: u32,
    /// When it was polled [`BUSY_POLLS`] times the last time, and what it had read and written by then.
    last: Option<(Instant, u64, u64)>,
    /// The period in which it was counted as busy last.
    counted: Option<u64>,
}

impl Activity {
    /// Notes that the connection was polled. Returns the thread that it is to go to.
    fn polled(&mut self, seat: &Seat, now: impl FnOnce() -> Instant) -> Option<usize> {
        self.polls += 1;
        if self.polls < BUSY_POLLS {
            return None;
        }
        self.polls = 0;
        let taken = &*seat.0;
        let threads = &taken.threads;
        let now = now();
        let read = taken.read.load(Ordering::Relaxed);
        let written = taken.written.load(Ordering::Relaxed);
        let (since, read_before, written_before) = self.last.replace((now, read, written))?;
        let period = threads.period(now);
        if now.saturating_duration_since(since) > BUSY_WITHIN
            || self.counted.replace(period) == Some(period)
        {
            return None;
        }
        let most = |bytes| u64::from(BUSY_POLLS) * bytes;
        let waits = read.wrapping_sub(read_before) <= most(WAITING_BYTES)
            && written.wrapping_sub(written_before) <= most(WAITING_WRITTEN_BYTES);
        threads.busy(seat.at(), waits, period)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn busy_connections_spread_and_a_lone_one_that_waits_goes_to_the_owner() {
        let cases: &[(&[usize], usize, bool, Option<usize>)] = &[
            // Alone: on the owner's thread, if its client waits for answers.
            (&[0, 1], 1, true, Some(0)),
            (&[0, 0], 1, true, Some(0)),
            (&[0, 1], 1, false, None),
            (&[1, 0], 0, true, None),
            (&[1, 0], 0, false, None),
            // One each.
            (&[1, 1], 0, true, None),
            (&[1, 1], 1, true, None),
            // Not where it would be the same again.
            (&[2, 1], 0, true, None),
            (&[1, 2], 1, true, None),
            (&[2, 0], 0, true, Some(1)),
            (&[2, 0], 0, false, Some(1)),
            (&[0, 2], 1, true, Some(0)),
            (&[55, 53], 0, true, Some(1)),
            (&[3, 2, 1, 3], 3, true, Some(2)),
            // A server of one thread.
            (&[9], 0, true, None),
        ];
        for &(busy, at, waits, expected) in cases {
            assert_eq!(target(busy, at, waits), expected, "{busy:?} {at} {waits}");
        }
    }

    #[test]
    fn counts_are_those_of_the_period_before() {
        let load = Load::default();
        let busy = |period| load.change(period, |counts| counts.before);
        for _ in 0..3 {
            load.change(7, |counts| counts.now += 1);
        }
        assert_eq!(busy(7), 0);
        // Also for a thread whose clock was read a little earlier.
        assert_eq!((busy(8), busy(7)), (3, 3));
        load.change(8, Counts::add);
        assert_eq!(busy(8), 4);
        assert_eq!((busy(9), busy(10)), (1, 0));
        load.change(10, |counts| counts.now += 1);
        assert_eq!(busy(12), 0);
        load.change(12, Counts::remove);
        assert_eq!(busy(12), 0);
    }

    fn threads(count: usize) -> Arc<Threads> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let worker = || Worker::new(runtime.handle().clone());
        Arc::new(Threads::new((0..count).map(|_| worker()).collect()))
    }

    fn connections(threads: &Threads) -> Vec<usize> {
        let count = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        threads.workers.iter().map(count).collect()
    }

    #[test]
    fn a_connection_counts_on_the_thread_where_it_is() {
        let threads = threads(2);
        let seats: Vec<_> = (0..3).map(|_| threads.place()).collect();
        assert_eq!(connections(&threads), [2, 1]);
        assert_eq!(seats.iter().map(Seat::at).collect::<Vec<_>>(), [0, 1, 0]);
        seats[0].go(1);
        let clone = seats[0].clone();
        assert_eq!((clone.at(), connections(&threads)), (1, vec![1, 2]));
        drop(seats);
        assert_eq!(connections(&threads), [0, 1]);
        drop(clone);
        assert_eq!(connections(&threads), [0, 0]);
    }

    /// Polls a connection `count` times, each so long after the one before. Returns where it was told to go, each time it was.
    fn poll(
        seat: &Seat,
        activity: &mut Activity,
        now: &mut Instant,
        (count, every): (u32, Duration),
        read: usize,
    ) -> Vec<usize> {
        let mut told = Vec::new();
        for _ in 0..count {
            *now += every;
            seat.read(read);
            told.extend(activity.polled(seat, || *now));
        }
        told
    }

    #[test]
    fn a_connection_is_busy_when_it_is_polled_often_and_moves_once() {
        let threads = threads(2);
        let (_idle, seat) = (threads.place(), threads.place());
        assert_eq!(seat.at(), 1);
        let mut now = threads.begun;
        let often = Duration::from_micros(50);
        let seldom = BUSY_WITHIN / (BUSY_POLLS - 1);
        let activity = Activity::default();

        // Polled seldom, or with much to read: it stays.
        let told = poll(
            &seat,
            &mut activity.clone(),
            &mut now,
            (10 * BUSY_POLLS, seldom),
            40,
        );
        assert!(told.is_empty());
        let much = WAITING_BYTES as usize + 1;
        let told = poll(
            &seat,
            &mut activity.clone(),
            &mut now,
            (10 * BUSY_POLLS, often),
            much,
        );
        assert!(told.is_empty());

        // The client waits for nothing, and is sent much.
        let mut downloading = activity;
        for _ in 0..10 * BUSY_POLLS {
            now += often;
            seat.read(40);
            seat.wrote(WAITING_WRITTEN_BYTES as usize + 1);
            assert_eq!(downloading.polled(&seat, || now), None);
        }

        // Polled often, with little to read: it goes to the owner's thread, and is told so once.
        let mut activity = Activity::default();
        now += 2 * BUSY_WITHIN;
        let told = poll(&seat, &mut activity, &mut now, (2 * BUSY_POLLS, often), 40);
        assert_eq!(told, [OWNER]);
        seat.go(OWNER);
        let told = poll(
            &seat,
            &mut activity,
            &mut now,
            (100 * BUSY_POLLS, often),
            40,
        );
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn of_two_busy_connections_on_a_thread_one_moves() {
        let threads = threads(2);
        let seats: Vec<_> = (0..4).map(|_| threads.place()).collect();
        let mut busy = [seats[0].clone(), seats[2].clone()].map(|seat| (seat, Activity::default()));
        assert!(busy.iter().all(|(seat, _)| seat.at() == OWNER));
        let mut now = threads.begun;
        let mut moves = 0;
        for _ in 0..1_000 {
            for (seat, activity) in &mut busy {
                let often = (BUSY_POLLS, Duration::from_micros(20));
                for target in poll(seat, activity, &mut now, often, 1_000) {
                    seat.go(target);
                    moves += 1;
                }
            }
        }
        assert_eq!(moves, 1);
        assert_ne!(busy[0].0.at(), busy[1].0.at());
    }
}
