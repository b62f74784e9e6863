//! How far a run is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::model::IntervalReport;
use crate::report::numbers::clock;

/// Intervals that are kept to be drawn: more columns has no terminal. A view of an hour shows its last ten minutes.
pub(crate) const INTERVALS_MAX: usize = 600;

/// What goes on at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// What the user calls this run, or the address of the server.
    pub(crate) title: String,
    /// "warmup", "measured" or "drain".
    pub(crate) phase: String,
    /// Since the phase began.
    pub(crate) elapsed: Duration,
    /// How long the phase is to last, if time ends it.
    pub(crate) total: Option<Duration>,
    /// Operations that are to be done, if their number ends the run.
    pub(crate) requests: Option<u64>,
    /// Operations per second since the last of these.
    pub(crate) ops_per_second: f64,
    /// Of an open loop.
    pub(crate) requested_per_second: Option<f64>,
    pub(crate) completed: u64,
    /// By the name of the gRPC code.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Of an open loop.
    pub(crate) dropped: u64,
    pub(crate) in_flight: u64,
    /// Those that are over, the last [`INTERVALS_MAX`] of them. Their histograms are not looked at.
    pub(crate) intervals: Vec<IntervalReport>,
}

impl Live {
    /// Adds an interval, and forgets the first if there are too many.
    #[cfg(test)]
    pub(crate) fn push(&mut self, interval: IntervalReport) {
        if self.intervals.len() == INTERVALS_MAX {
            self.intervals.remove(0);
        }
        self.intervals.push(IntervalReport {
            histogram: String::new(),
            ..interval
        });
    }

    pub(crate) fn failed_ops(&self) -> u64 {
        self.failed.values().sum()
    }

    /// How much is done, from 0 to 1, if that is known.
    pub(super) fn done(&self) -> Option<f64> {
        let time = self
            .total
            .filter(|total| !total.is_zero())
            .map(|total| self.elapsed.as_secs_f64() / total.as_secs_f64());
        let ops = self
            .requests
            .filter(|requests| *requests > 0 && self.phase == "measured")
            .map(|requests| (self.completed + self.failed_ops()) as f64 / requests as f64);
        // Whichever comes first ends it.
        let done = time.into_iter().chain(ops).reduce(f64::max)?;
        Some(done.clamp(0.0, 1.0))
    }

    pub(super) fn time(&self) -> String {
        let elapsed = clock(self.elapsed.as_secs_f64());
        match self.total {
            Some(total) => format!("{elapsed} of {}", clock(total.as_secs_f64())),
            None => elapsed,
        }
    }
}
