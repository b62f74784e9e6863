//! The result of a sweep: runs at several rates, to see how latency grows with throughput.

use serde::{Deserialize, Serialize};

/// The points of a sweep, in the order of their runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    pub(crate) points: Vec<SweepPoint>,
}

/// One run of a sweep. Times are response times in microseconds, and null without operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepPoint {
    /// The requested rate in operations per second; null for a closed loop.
    pub(crate) requested: Option<f64>,
    /// Completed operations per second.
    pub(crate) achieved: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    #[serde(rename = "p99.9_us")]
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
}

impl SweepPoint {
    /// Makes the point of a run from its report.
    pub(crate) fn of(report: &crate::report::model::Report) -> Self {
        let all = report.latency.get("all").map(|all| &all.response);
        let offered = report.offered.as_ref();
        Self {
            requested: offered.map(|offered| offered.requested_per_second),
            achieved: report.ops_per_second,
            p50_us: all.and_then(|all| all.p50_us),
            p99_us: all.and_then(|all| all.p99_us),
            p99_9_us: all.and_then(|all| all.p99_9_us),
            dropped: offered.map_or(0, |offered| offered.dropped),
            failed: report.failed_ops(),
        }
    }
}
