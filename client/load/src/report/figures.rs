//! Figures of a report that several forms show.

use serde_json::Value;

use crate::report::model::{Distribution, LatencyReport, Report};
use crate::report::numbers::{grouped, latency};
use crate::report::printable::printable;

/// The columns of every table of latencies.
pub(crate) const PERCENTILES: [&str; 7] =
    ["p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"];

impl Distribution {
    /// Returns the values for the columns [`PERCENTILES`].
    pub(crate) fn percentile_values(&self) -> [Option<f64>; 7] {
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
    /// Returns the number of operations that failed, with any code.
    #[must_use]
    pub(crate) fn failed_ops(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Says why there is no result, if no operation was completed.
    #[must_use]
    pub(crate) fn why_no_result(&self) -> Option<String> {
        if self.completed > 0 {
            return None;
        }
        let mut why = format!(
            "no operation was completed within the {:.3} s measured",
            self.elapsed_seconds
        );
        if self.late.ops > 0 {
            why += &format!("; answered after the end: {}", self.late.ops);
        }
        if self.failed_ops() > 0 {
            why += &format!("; failed: {}", self.failed_ops());
        }
        let dropped = self.offered.as_ref().map_or(0, |offered| offered.dropped);
        if dropped > 0 {
            why += &format!("; never sent: {dropped}");
        }
        if let Some(gave_up) = &self.gave_up {
            why += &format!("; {gave_up}");
        }
        Some(why)
    }

    /// Iterates over the latencies of every kind of operation, and last those of all.
    pub(crate) fn latency_by_kind(&self) -> impl Iterator<Item = (&str, &LatencyReport)> {
        let kinds = self.latency.iter().filter(|(kind, _)| *kind != "all");
        let all = self.latency.iter().filter(|(kind, _)| *kind == "all");
        kinds
            .chain(all)
            .map(|(kind, latency)| (kind.as_str(), latency))
    }

    /// Iterates over every flag that is in effect, with its value. A switch has an empty value.
    pub(crate) fn settings_in_effect(&self) -> impl Iterator<Item = (&str, String)> {
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

    /// Returns each side with its CPU seconds, and its operations per CPU-second.
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

    /// Lists the reasons of refusals, as in ": add 5 OUT_OF_RANGE". Empty without reasons.
    pub(crate) fn refusals(&self) -> String {
        let reasons = self.kinds.iter().flat_map(|(kind, report)| {
            let reasons = report.refused.iter();
            reasons
                .map(move |(reason, ops)| format!("{kind} {} {}", grouped(*ops), printable(reason)))
        });
        let reasons: Vec<_> = reasons.collect();
        match reasons.is_empty() {
            true => String::new(),
            false => format!(": {}", reasons.join(", ")),
        }
    }
}

/// Lists the main percentiles in a line.
pub(crate) fn summary(distribution: &Distribution) -> String {
    let [p50, _, p99, p99_9, .., max] = distribution.percentile_values().map(latency);
    format!("p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}")
}
