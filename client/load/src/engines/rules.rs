//! The rules that all engines follow, whether the loop is one of many tasks or has a thread to itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pace::admission::{Admission, DropReason};
use crate::pace::stop::Stop;
use crate::plan::choices::DurationStop;
use crate::plan::settings::Settings;
use crate::record::recorder::Recorder;
use crate::record::settle::{Completion, Settling};
use crate::record::worker_history::WorkerHistory;
use crate::workload::generator::Workload;
use crate::workload::operation::InFlight;
use crate::workload::outcome::Failure;

/// How often a loop looks for operations that have been in flight for too long.
const TICK: Duration = Duration::from_millis(100);

/// Says when an operation may start, when an operation in flight is given up, and how it is recorded then.
///
/// The rules never read the clock: a loop passes the instant that it has read for its own use.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    stop: Arc<Stop>,
    /// How long the server may take to answer.
    answer_timeout: Duration,
    duration_stop: DurationStop,
    frame_ops: u64,
    /// `None` in a closed loop.
    admission: Option<Arc<Admission>>,
}

impl Rules {
    pub(crate) fn new(
        settings: &Settings,
        stop: &Arc<Stop>,
        admission: Option<Arc<Admission>>,
    ) -> Self {
        Self {
            stop: Arc::clone(stop),
            answer_timeout: settings.answer_timeout(),
            duration_stop: settings.duration_stop,
            frame_ops: settings.frame_ops,
            admission,
        }
    }

    #[inline]
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Returns whether it is too late at `now` to send an operation of an open loop that has waited for a worker.
    pub(crate) fn is_too_late(&self, now: Instant) -> bool {
        self.stop
            .is_too_late(now, self.duration_stop, self.answer_timeout)
    }

    /// Records how late an operation of an open loop starts, if a worker was free when it was due. Then the lateness is
    /// that of this tool; otherwise the server let the worker wait.
    pub(crate) fn record_late_start(
        &self,
        intended: Instant,
        free_since: Instant,
        now: Instant,
        recorder: &mut Recorder,
    ) {
        if free_since <= intended {
            let lateness = now.saturating_duration_since(intended);
            recorder.late_start(lateness, now, &self.stop);
        }
    }

    /// Says that an operation of an open loop, which was due at `intended` and let through, will never be sent.
    pub(crate) fn give_back(
        &self,
        intended: Instant,
        reason: DropReason,
        now: Instant,
        recorder: &mut Recorder,
    ) {
        if let Some(admission) = &self.admission {
            admission.give_back(intended, reason, &self.stop);
            recorder.dropped(self.frame_ops, reason, now);
        }
    }

    /// Returns when to look for operations to give up.
    pub(crate) fn next_look(&self, now: Instant) -> Instant {
        let tick = now + TICK;
        match self.stop.end() {
            Some(end) if self.duration_stop != DurationStop::Wait && end > now => {
                // An answer exactly at the end still counts.
                tick.min(end + Duration::from_nanos(1))
            }
            _ => tick,
        }
    }

    /// Returns the latest start of operations that must have been answered by `now`.
    pub(crate) fn latest_start(&self, now: Instant) -> Option<Instant> {
        self.stop.latest_start(now, self.answer_timeout)
    }

    /// Returns whether everything in flight is given up at `now`, because the measured time is over and nobody is to wait.
    pub(crate) fn gives_up_all(&self, now: Instant) -> bool {
        self.duration_stop != DurationStop::Wait && self.stop.is_over(now)
    }

    /// Returns the failure of an operation that is given up at the end; `None` if the operation does not count.
    pub(crate) fn failure_at_end(&self) -> Option<Failure> {
        match self.duration_stop {
            DurationStop::Ignore => None,
            DurationStop::Close | DurationStop::Wait => Some(Failure::given_up()),
        }
    }

    /// Settles operations that were answered, or have failed, at `now`.
    #[inline]
    pub(crate) fn settle(
        &self,
        sent: &InFlight,
        completion: Completion<'_>,
        now: Instant,
        workload: &mut Workload,
        history: Option<&mut WorkerHistory>,
        recorder: &mut Recorder,
    ) {
        if let Some(admission) = &self.admission {
            admission.answered();
        }
        let mut settling = Settling {
            workload,
            recorder,
            history,
            stop: &self.stop,
        };
        settling.settle(sent, completion, now);
    }

    /// Forgets operations that are given up at the end and do not count. Only the history knows of them: they may still
    /// take effect.
    pub(crate) fn forget(
        &self,
        sent: &InFlight,
        now: Instant,
        history: Option<&mut WorkerHistory>,
        recorder: &mut Recorder,
    ) {
        if let Some(admission) = &self.admission {
            admission.answered();
        }
        recorder.forget(sent.count(), sent.intended, &self.stop);
        if let Some(history) = history {
            history.lose(sent, now);
        }
    }
}
