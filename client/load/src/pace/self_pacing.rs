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

    /// Returns when the next operation is due, or `None` if none is due any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.pace.as_ref().and_then(Pace::next)
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
        for intended in pace.due(now) {
            let handover = self.admission.offer(intended, 1, stop, || {
                queue.push_back(intended);
                Handover::Accepted
            });
            if handover == Handover::Closed {
                return;
            }
        }
        self.pace = Some(pace);
    }
}
