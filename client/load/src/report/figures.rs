//! Figures of a report that several of its forms show.

use serde_json::Value;

use crate::report::model::{Distribution, LatencyReport, Report};
use crate::report::numbers::{grouped, latency};
use crate::report::style::clean;

/// The columns of every table of latencies.
pub(crate) const PERCENTILES: [&str; 7] =
    ["p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"];

impl Distribution {
    /// What stands under [`PERCENTILES`].
    pub(crate) fn shown(&self) -> [Option<f64>; 7] {
        [
            self.p50_us,
            self.p90_us,
            self.p99_us,
            self.p99_9_us,
            self.p99_99_us,
            self.p99_999_us,
            self.max_us,
        ]
    }
}

impl Report {
    /// Operations that failed, whatever the code.
    #[must_use]
    pub(crate) fn failed_ops(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Why there is nothing to see, if no operation was completed.
    #[must_use]
    pub(crate) fn why_nothing(&self) -> Option<String> {
        if self.completed > 0 {
            return None;
        }
        let mut why = format!(
            "no operation was answered as it should be within the {:.3} s measured",
            self.elapsed_seconds
        );
        if self.late.ops > 0 {
            why += &format!("; answered after the end: {}", self.late.ops);
        }
        if self.failed_ops() > 0 {
            why += &format!("; failed: {}", self.failed_ops());
        }
        Some(why)
    }

    /// Every kind, and last all together.
    pub(crate) fn latency_by_kind(&self) -> impl Iterator<Item = (&str, &LatencyReport)> {
        let kinds = self.latency.iter().filter(|(kind, _)| *kind != "all");
        let all = self.latency.iter().filter(|(kind, _)| *kind == "all");
        kinds
            .chain(all)
            .map(|(kind, latency)| (kind.as_str(), latency))
    }

    /// Every setting that is set, with its value; flags that are switched on have none.
    pub(crate) fn settings_shown(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().filter_map(|(flag, value)| {
            let value = match value {
                Value::Null | Value::Bool(false) => return None,
                Value::Bool(true) => String::new(),
                Value::String(value) => value.clone(),
                value => value.to_string(),
            };
            Some((flag.as_str(), value))
        })
    }

    /// Each side with its seconds and its operations per second of them.
    pub(crate) fn cpu(&self) -> [(&'static str, Option<f64>, Option<f64>); 2] {
        let client = Some(self.client_cpu_seconds);
        [
            ("client", client, self.client_queries_per_cpu_sec),
            (
                "server",
                self.server_cpu_seconds,
                self.server_queries_per_cpu_sec,
            ),
        ]
    }

    /// Why operations were refused, to stand after their number.
    pub(crate) fn refusals(&self) -> String {
        let reasons = self.kinds.iter().flat_map(|(kind, report)| {
            let reasons = report.refused.iter();
            reasons.map(move |(reason, ops)| format!("{kind} {} {}", grouped(*ops), clean(reason)))
        });
        let reasons: Vec<_> = reasons.collect();
        match reasons.is_empty() {
            true => String::new(),
            false => format!(": {}", reasons.join(", ")),
        }
    }
}

pub(crate) fn summary(distribution: &Distribution) -> String {
    let [p50, _, p99, p99_9, .., max] = distribution.shown().map(latency);
    format!("p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}")
}

/// Without decimals where there are none.
pub(crate) fn short(seconds: f64) -> String {
    let text = format!("{seconds:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
