//! The arrivals of an open loop, from the pacer to the threads in turn.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::pace::admission::Admission;
use crate::pace::pacer::{ArrivalSink, Handover};
use crate::pace::stop::Stop;

/// Hands each operation that is let through to the next thread.
pub(crate) struct RoundRobin {
    /// `None` if the thread has lost all of its workers.
    threads: Vec<Option<mpsc::Sender<Instant>>>,
    next: usize,
    admission: Arc<Admission>,
    frame_ops: u64,
    stop: Arc<Stop>,
}

impl RoundRobin {
    pub(crate) fn new(
        threads: Vec<mpsc::Sender<Instant>>,
        admission: Arc<Admission>,
        frame_ops: u64,
        stop: Arc<Stop>,
    ) -> Self {
        Self {
            threads: threads.into_iter().map(Some).collect(),
            next: 0,
            admission,
            frame_ops,
            stop,
        }
    }
}

impl ArrivalSink for RoundRobin {
    fn take(&mut self, intended: Instant) -> Handover {
        let Self {
            threads,
            next,
            admission,
            frame_ops,
            stop,
        } = self;
        admission.offer(intended, *frame_ops, stop, || {
            let thread = *next;
            *next = (thread + 1) % threads.len();
            hand_to(threads, thread, intended)
        })
    }
}

fn hand_to(
    threads: &mut [Option<mpsc::Sender<Instant>>],
    number: usize,
    intended: Instant,
) -> Handover {
    let Some(thread) = &threads[number] else {
        return Handover::Dropped;
    };
    match thread.try_send(intended) {
        Ok(()) => Handover::Accepted,
        Err(mpsc::error::TrySendError::Full(_)) => Handover::Dropped,
        Err(mpsc::error::TrySendError::Closed(_)) => {
            threads[number] = None;
            match threads.iter().all(Option::is_none) {
                true => Handover::Closed,
                false => Handover::Dropped,
            }
        }
    }
}
