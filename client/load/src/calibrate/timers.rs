//! Timers that are exact to some microseconds: a thread sleeps until the next one is due. The timers of tokio are late
//! by 1 ms and more.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::pace::pacer::wake_on_time;

/// The most timers at once: more than the tool has calls in flight.
const WAITING_MAX: usize = 1 << 17;

/// The thread that fires the timers.
#[derive(Debug)]
pub(super) struct TimerThread {
    timers: Timers,
    thread: JoinHandle<()>,
}

/// Sets timers of a [`TimerThread`], as its clones do.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    queue: Arc<Mutex<Queue>>,
    thread: Thread,
}

/// The timers that have not fired.
#[derive(Debug, Default)]
struct Queue {
    /// By due time, and then by the order in which they were set.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
    next_number: u64,
    stopped: bool,
}

/// There are [`WAITING_MAX`] timers already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl TimerThread {
    pub(super) fn start() -> io::Result<Self> {
        let queue = Arc::<Mutex<Queue>>::default();
        let thread = thread::Builder::new()
            .name("null-server-timers".to_owned())
            .spawn({
                let queue = Arc::clone(&queue);
                move || {
                    wake_on_time();
                    run(&queue);
                }
            })?;
        let timers = Timers {
            queue,
            thread: thread.thread().clone(),
        };
        Ok(Self { timers, thread })
    }

    pub(super) fn timers(&self) -> Timers {
        self.timers.clone()
    }

    /// Ends the thread. Timers that have not fired end with an error.
    pub(super) fn stop(self) {
        lock(&self.timers.queue).stopped = true;
        self.timers.thread.unpark();
        self.thread
            .join()
            .expect("the thread of the timers does not panic");
    }
}

impl Timers {
    /// Sets a timer: the receiver gets a message at `due`, or as soon as possible afterwards.
    ///
    /// # Errors
    ///
    /// [`Full`] if there are too many timers.
    pub(super) fn at(&self, due: Instant) -> Result<oneshot::Receiver<()>, Full> {
        let (wake, woken) = oneshot::channel();
        let is_first = {
            let mut queue = lock(&self.queue);
            if queue.waiting.len() >= WAITING_MAX {
                return Err(Full);
            }
            let number = queue.next_number;
            queue.next_number += 1;
            queue.waiting.insert((due, number), wake);
            let first = queue.waiting.first_key_value();
            first.is_some_and(|(key, _)| *key == (due, number))
        };
        if is_first {
            self.thread.unpark();
        }
        Ok(woken)
    }
}

fn run(queue: &Mutex<Queue>) {
    let mut due = Vec::new();
    loop {
        let next = {
            let mut queue = lock(queue);
            if queue.stopped {
                queue.waiting.clear();
                return;
            }
            let now = Instant::now();
            while let Some(first) = queue.waiting.first_entry()
                && first.key().0 <= now
            {
                due.push(first.remove());
            }
            queue.waiting.first_key_value().map(|((due, _), _)| *due)
        };
        for wake in due.drain(..) {
            // The receiver is gone if the call was cancelled.
            let _ = wake.send(());
        }
        // If a timer was set or the thread was stopped meanwhile, `unpark` makes this return at once.
        match next {
            Some(next) => {
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
            None => thread::park(),
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue
        .lock()
        .expect("no thread panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn timers_fire_in_the_order_of_their_times_and_never_early() {
        let thread = TimerThread::start().unwrap();
        let start = Instant::now();
        // Each timer is due before those that were set earlier.
        let set: Vec<_> = [9, 7, 5, 3, 3, 0]
            .map(|ms| {
                (
                    start + ms * MS,
                    thread.timers().at(start + ms * MS).unwrap(),
                )
            })
            .into();
        for (due, woken) in set.into_iter().rev() {
            woken.blocking_recv().unwrap();
            assert!(Instant::now() >= due);
        }
        thread.stop();
    }

    #[test]
    fn a_later_timer_does_not_delay_an_earlier_one() {
        let thread = TimerThread::start().unwrap();
        let hour = Instant::now() + Duration::from_secs(3_600);
        let mut far = thread.timers().at(hour).unwrap();
        let near = thread.timers().at(Instant::now() + MS).unwrap();
        near.blocking_recv().unwrap();
        assert!(far.try_recv().is_err(), "fired an hour early");
        thread.stop();
        assert!(far.blocking_recv().is_err(), "a stop fires no timer");
    }

    #[test]
    fn the_number_of_timers_has_a_limit() {
        let thread = TimerThread::start().unwrap();
        let hour = Instant::now() + Duration::from_secs(3_600);
        let timers = thread.timers();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| timers.at(hour).unwrap()).collect();
        assert_eq!(timers.at(hour).err(), Some(Full));
        thread.stop();
        drop(waiting);
    }
}
