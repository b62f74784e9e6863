//! The state of a run at a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::model::IntervalReport;
use crate::report::numbers::clock;

/// The most intervals that are kept to be drawn. No terminal has more columns. Of an hour the view shows the last ten
/// minutes, with intervals of a second.
pub(crate) const INTERVALS_MAX: usize = 600;

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The name that the user gave the run, or the address of the server.
    pub(crate) title: String,
    /// "warmup", "measured" or "drain".
    pub(crate) phase: String,
    /// The time since the phase began.
    pub(crate) elapsed: Duration,
    /// The length of the phase, if time ends it.
    pub(crate) total: Option<Duration>,
    /// The number of operations that ends the run, if a number does.
    pub(crate) requests: Option<u64>,
    /// Operations per second since the last time that progress was shown.
    pub(crate) ops_per_second: f64,
    /// Only of an open loop.
    pub(crate) requested_per_second: Option<f64>,
    pub(crate) completed: u64,
    /// Failed operations by the name of the gRPC code.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Only of an open loop.
    pub(crate) dropped: u64,
    pub(crate) in_flight: u64,
    /// What has happened to the connections. Empty if nothing has.
    pub(crate) connections: String,
    /// The last [`INTERVALS_MAX`] intervals that are over. Their histograms are not used.
    pub(crate) intervals: Vec<IntervalReport>,
}

impl Progress {
    /// Adds an interval, and removes the first if there are too many.
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

    /// Returns the share that is done, from 0 to 1, if it is known.
    pub(super) fn done(&self) -> Option<f64> {
        let time = self
            .total
            .filter(|total| !total.is_zero())
            .map(|total| self.elapsed.as_secs_f64() / total.as_secs_f64());
        let ops = self
            .requests
            .filter(|requests| *requests > 0 && self.phase == "measured")
            .map(|requests| (self.completed + self.failed_ops()) as f64 / requests as f64);
        // The run ends with whichever comes first.
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
