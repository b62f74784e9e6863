//! How latency grows with throughput: one run after the other, each with a higher rate.

use serde::{Deserialize, Serialize};

/// In the order in which they were run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    pub(crate) points: Vec<SweepPoint>,
}

/// One run of a sweep. Times are response times in microseconds; absent (null) without operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepPoint {
    /// Operations per second that were asked for; absent (null) of a closed loop.
    pub(crate) requested: Option<f64>,
    /// Operations per second that were completed.
    pub(crate) achieved: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    #[serde(rename = "p99.9_us")]
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
}

impl SweepPoint {
    /// What `report` says about its rate.
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
