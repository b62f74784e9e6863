//! The objectives of a run, and whether its report meets them.

use crate::plan::kind::Kind;
use crate::plan::labels::Labels;
use crate::plan::slo::{Metric, Point};
use crate::report::model::{Report, SloReport};

/// Returns each objective, with the figure that the report has for it.
pub(crate) fn objectives(report: &Report, labels: &Labels) -> Vec<SloReport> {
    let objectives = labels.slos.iter().map(|slo| {
        let actual = figure(report, slo.metric());
        SloReport {
            slo: slo.to_string(),
            actual: slo.metric().show(actual),
            met: slo.is_met_by(actual),
        }
    });
    objectives.collect()
}

/// Returns a figure of the report in the unit of the metric. `None` if there is none.
fn figure(report: &Report, metric: Metric) -> Option<f64> {
    match metric {
        Metric::Latency(kind, point) => {
            let kind = kind.map_or("all", Kind::name);
            let response = report.latency.get(kind)?.response.histogram().ok()?;
            if response.is_empty() {
                return None;
            }
            let nanos = match point {
                Point::Quantile(quantile) => response.value_at_quantile(quantile) as f64,
                Point::Mean => response.mean(),
                Point::Max => response.max() as f64,
            };
            Some(nanos / 1e3)
        }
        Metric::ErrorRate => {
            let dropped = report.offered.as_ref().map_or(0, |offered| offered.dropped);
            let wrong = report.failed_ops() + dropped;
            let all = wrong + report.completed + report.late.ops;
            (all > 0).then(|| wrong as f64 / all as f64)
        }
        Metric::Rate => Some(report.ops_per_second),
    }
}
