//! The data of the plots.

use serde_json::{Value, json};

use crate::histogram::histogram;
use crate::report::distribution::spectrum;
use crate::report::model::{Distribution, Report};
use crate::report::sweep::Sweep;

/// Points of a spectrum in each half of the distance to 1: enough for a smooth line, and few enough for a small file.
const TICKS: u32 = 10;

/// Returns the data as JSON without `<`, so that it cannot end the script element in which it stands.
pub(super) fn json(report: &Report, sweep: Option<&Sweep>) -> String {
    let intervals: Vec<Value> = report
        .intervals
        .iter()
        .map(|one| {
            json!([
                tenth(one.start_seconds),
                tenth(one.seconds),
                one.ops_per_second.round(),
                one.failed,
                one.dropped,
                one.in_flight,
                one.p50_us.map(tenth),
                one.p90_us.map(tenth),
                one.p99_us.map(tenth),
                one.p99_9_us.map(tenth),
                one.max_us.map(tenth),
            ])
        })
        .collect();
    let same = report
        .latency
        .values()
        .all(|latency| latency.response == latency.service);
    let kinds: Vec<Value> = report
        .latency_by_kind()
        .filter(|(_, latency)| latency.response.count > 0)
        .map(|(kind, latency)| {
            json!({
                "kind": kind,
                "count": latency.response.count,
                "response": line(&latency.response),
                "service": match same {
                    true => Value::Null,
                    false => line(&latency.service),
                },
            })
        })
        .collect();
    let data = json!({
        "intervals": intervals,
        "requested": report.offered.as_ref().map(|offered| offered.requested_per_second),
        "kinds": kinds,
        "sweep": sweep.map(|sweep| &sweep.points),
    });
    data.to_string().replace('<', "\\u003c")
}

/// Returns the spectrum as pairs of quantile and microseconds. Empty if the histogram cannot be decoded: the tables
/// still have figures then.
fn line(distribution: &Distribution) -> Value {
    let recorded = distribution.histogram().unwrap_or_else(|_| histogram());
    let points = spectrum(&recorded, TICKS);
    points
        .iter()
        .map(|point| json!([point.quantile, tenth(point.us)]))
        .collect()
}

/// Rounds to a tenth: no screen shows more.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
