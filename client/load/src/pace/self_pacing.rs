//! The arrivals of an open loop in a thread that needs no pacer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::pace::admission::Admission;
use crate::pace::arrivals::Arrivals;
use crate::pace::pacer::{Handover, Pace};
use crate::pace::stop::Stop;

/// One thread's share of an open loop. The thread waits for its sockets anyway, and can wait for the next arrival with
/// them.
#[derive(Debug)]
pub(crate) struct SelfPacing {
    /// Until the run starts.
    arrivals: Option<Arrivals>,
    /// From then on, until no operation is due any more.
    pace: Option<Pace>,
    admission: Arc<Admission>,
}

impl SelfPacing {
    pub(crate) fn new(arrivals: Arrivals, admission: Arc<Admission>) -> Self {
        Self {
            arrivals: Some(arrivals),
            pace: None,
            admission,
        }
    }

    /// Begins, at the start of the run.
    pub(crate) fn start(&mut self, stop: &Stop) {
        let arrivals = self.arrivals.take();
        self.pace = arrivals.map(|arrivals| Pace::of_run(arrivals, stop));
    }

    /// Returns when the next operation is due. If none is due any more, returns the end of the run, and `None` once that
    /// is over.
    pub(crate) fn next(&self) -> Option<Instant> {
        let pace = self.pace.as_ref()?;
        pace.next().or(pace.end())
    }

    /// Ends: no operation is due any more.
    pub(crate) fn end(&mut self) {
        self.pace = None;
    }

    /// Appends the operations that are due at `now` to the queue, as long as there is room for them. Each is there with
    /// its intended start.
    pub(crate) fn take_due(&mut self, now: Instant, stop: &Stop, queue: &mut VecDeque<Instant>) {
        let Some(mut pace) = self.pace.take() else {
            return;
        };
        if pace.is_hopeless(now) {
            return;
        }
        for intended in pace.due(now) {
            let handover = self.admission.offer(intended, 1, stop, || {
                queue.push_back(intended);
                Handover::Accepted
            });
            if handover == Handover::Closed {
                return;
            }
        }
        let is_over = pace.next().is_none() && pace.end().is_none_or(|end| now >= end);
        self.pace = (!is_over).then_some(pace);
    }
}
