//! Wakes calls at their time: a thread that sleeps until the next one. A runtime's own timers are 1 ms late and more.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::pace::pacer::wake_on_time;

/// Calls that can wait at once: more than the tool has workers.
const WAITING_MAX: usize = 1 << 17;

/// The thread.
#[derive(Debug)]
pub(super) struct Timers {
    alarm: Alarm,
    thread: JoinHandle<()>,
}

/// Sets timers. Clones set those of the same thread.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    queue: Arc<Mutex<Queue>>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Queue {
    /// By when they are due, and in the order in which they came.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
    next_number: u64,
    stopped: bool,
}

/// As many as can wait already do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Timers {
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
        let alarm = Alarm {
            queue,
            thread: thread.thread().clone(),
        };
        Ok(Self { alarm, thread })
    }

    pub(super) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// Ends the thread. Who waits still is woken with an error.
    pub(super) fn stop(self) {
        lock(&self.alarm.queue).stopped = true;
        self.alarm.thread.unpark();
        self.thread.join().expect("it does not panic");
    }
}

impl Alarm {
    /// What it returns is sent to at `due`, or as soon as possible after.
    ///
    /// # Errors
    /// [`Full`] if too many wait.
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
            // Nobody waits any more if the call was given up.
            let _ = wake.send(());
        }
        // A timer set in between, or a stop, has left its token.
        match next {
            Some(next) => {
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
            None => thread::park(),
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().expect("nobody panics with it")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn calls_are_woken_in_the_order_of_their_times_and_never_early() {
        let timers = Timers::start().unwrap();
        let start = Instant::now();
        // The first to be set is the last that is due, and the others are each due before what was set last.
        let set: Vec<_> = [9, 7, 5, 3, 3, 0]
            .map(|ms| (start + ms * MS, timers.alarm().at(start + ms * MS).unwrap()))
            .into();
        for (due, woken) in set.into_iter().rev() {
            woken.blocking_recv().unwrap();
            assert!(Instant::now() >= due);
        }
        timers.stop();
    }

    #[test]
    fn a_later_timer_does_not_hold_up_an_earlier_one() {
        let timers = Timers::start().unwrap();
        let hour = Instant::now() + Duration::from_secs(3_600);
        let mut far = timers.alarm().at(hour).unwrap();
        let near = timers.alarm().at(Instant::now() + MS).unwrap();
        near.blocking_recv().unwrap();
        assert!(far.try_recv().is_err(), "woken an hour early");
        timers.stop();
        assert!(far.blocking_recv().is_err(), "a stop is no alarm");
    }

    #[test]
    fn there_is_a_limit_to_what_can_wait() {
        let timers = Timers::start().unwrap();
        let hour = Instant::now() + Duration::from_secs(3_600);
        let alarm = timers.alarm();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| alarm.at(hour).unwrap()).collect();
        assert_eq!(alarm.at(hour).err(), Some(Full));
        timers.stop();
        drop(waiting);
    }
}
