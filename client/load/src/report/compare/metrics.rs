//! The metrics that are compared.

use crate::report::compare::model::{Better, Unit};
use crate::report::model::{IntervalReport, Report};

/// A metric, and how to get it from a run.
pub(super) struct MetricDefinition {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) better: Better,
    pub(super) of: fn(&Report) -> Option<f64>,
    /// How to get it from an interval, if intervals have it.
    pub(super) of_interval: Option<fn(&IntervalReport) -> Option<f64>>,
}

pub(super) const METRICS: [MetricDefinition; 7] = [
    MetricDefinition {
        name: "ops_per_second",
        unit: Unit::PerSecond,
        better: Better::Higher,
        of: |report| Some(report.ops_per_second),
        of_interval: Some(|interval| Some(interval.ops_per_second)),
    },
    MetricDefinition {
        name: "response p50",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| report.latency.get("all")?.response.p50_us,
        of_interval: Some(|interval| interval.p50_us),
    },
    MetricDefinition {
        name: "response p99",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| report.latency.get("all")?.response.p99_us,
        of_interval: Some(|interval| interval.p99_us),
    },
    MetricDefinition {
        name: "response p99.9",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| report.latency.get("all")?.response.p99_9_us,
        of_interval: Some(|interval| interval.p99_9_us),
    },
    MetricDefinition {
        name: "server CPU per operation",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| per_operation(report.server_cpu_seconds?, report),
        of_interval: None,
    },
    MetricDefinition {
        name: "client CPU per operation",
        unit: Unit::Microseconds,
        better: Better::Lower,
        of: |report| per_operation(report.client_cpu_seconds, report),
        of_interval: None,
    },
    MetricDefinition {
        name: "failed",
        unit: Unit::Share,
        better: Better::Lower,
        of: |report| {
            let tried = report.completed + report.failed_ops();
            (tried > 0).then(|| report.failed_ops() as f64 / tried as f64)
        },
        of_interval: None,
    },
];

fn per_operation(seconds: f64, report: &Report) -> Option<f64> {
    (report.completed > 0).then(|| seconds * 1e6 / report.completed as f64)
}
