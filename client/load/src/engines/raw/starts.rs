//! When the calls of a thread start.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engines::rules::Rules;
use crate::pace::admission::DropReason;
use crate::pace::open_loop::ArrivalSource;
use crate::pace::self_pacing::SelfPacing;
use crate::pace::stop::Stop;
use crate::record::recorder::Recorder;

/// The starts of the calls of one thread: in a closed loop as soon as a call slot is free, in an open loop when they are due.
pub(crate) struct Starts {
    /// `None` in a closed loop.
    pacing: Option<Box<SelfPacing>>,
    /// The intended starts of calls that are due and not sent.
    due: VecDeque<Instant>,
    /// Whether no further call will be due or, in a closed loop, start.
    is_stopped: bool,
}

impl Starts {
    pub(crate) fn new(source: Option<ArrivalSource>) -> Self {
        Self {
            pacing: match source {
                Some(ArrivalSource::Own(pacing)) => Some(pacing),
                None | Some(ArrivalSource::Pacer(_)) => None,
            },
            due: VecDeque::new(),
            is_stopped: false,
        }
    }

    /// Begins, at the start of the run.
    pub(crate) fn begin(&mut self, stop: &Stop) {
        if let Some(pacing) = &mut self.pacing {
            pacing.start(stop);
        }
    }

    pub(crate) fn is_open_loop(&self) -> bool {
        self.pacing.is_some()
    }

    /// Collects the calls of an open loop that are due at `now`.
    pub(crate) fn collect_due(&mut self, now: Instant, stop: &Stop) {
        if let Some(pacing) = &mut self.pacing {
            if stop.interrupted().is_some() {
                pacing.end();
            }
            pacing.take_due(now, stop, &mut self.due);
            self.is_stopped = pacing.next().is_none();
        }
    }

    /// Returns when the next call of an open loop will be due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.pacing.as_ref().and_then(|pacing| pacing.next())
    }

    /// Takes the next call that may start at `now`, in a slot that is free since `free_since`. Returns its intended start.
    #[inline]
    pub(crate) fn take(
        &mut self,
        now: Instant,
        free_since: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) -> Option<Instant> {
        if self.is_open_loop() {
            let intended = self.due.pop_front()?;
            rules.record_late_start(intended, free_since, now, recorder);
            return Some(intended);
        }
        if !self.is_stopped && rules.stop().admit(now, 1) > 0 {
            recorder.take(1, now, rules.stop());
            return Some(now);
        }
        self.is_stopped = true;
        None
    }

    /// Ends a closed loop. An open loop ends with its arrivals.
    pub(crate) fn stop_closed_loop(&mut self) {
        if !self.is_open_loop() {
            self.is_stopped = true;
        }
    }

    /// Returns whether no call is left to start.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stopped && self.due.is_empty()
    }

    /// Gives back every call that is due and not sent.
    pub(crate) fn give_back(
        &mut self,
        reason: DropReason,
        now: Instant,
        rules: &Rules,
        recorder: &mut Recorder,
    ) {
        for intended in self.due.drain(..) {
            rules.give_back(intended, reason, now, recorder);
        }
    }
}
