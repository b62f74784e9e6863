//! Helpers of the tests.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub(crate) use crate::test_server::TestServer;

/// Returns the command of the load generator with these arguments.
pub(crate) fn load(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soloist-load"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A run of the load generator that has ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    pub(crate) fn of(arguments: &str) -> Self {
        load(arguments).output().unwrap().into()
    }

    /// Returns the JSON report, after checking that its numbers agree with each other.
    pub(crate) fn report(&self) -> Value {
        let report: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr));
        check_report(&report);
        report
    }
}

/// Checks that every field is there, and that the numbers agree with each other.
fn check_report(report: &Value) {
    let number = |value: &Value| {
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{value} in {report}"))
    };
    assert_eq!(report["schema"], "soloist-load/2");
    let is_call = report["call"].is_object();
    assert!(report["settings"]["keys"].is_u64() || is_call);
    assert!(report["seed"].is_u64());
    assert!(report["failed"].is_object());

    let completed = number(&report["completed"]);
    let read_ops = number(&report["read_ops"]);
    let write_ops = number(&report["write_ops"]);
    let kinds = report["kinds"].as_object().unwrap();
    let by_kind = kinds.values().map(|kind| number(&kind["completed"]));
    assert_eq!(completed, by_kind.sum::<f64>());
    let intervals = report["intervals"].as_array().unwrap();
    let by_interval = intervals.iter().map(|of| number(&of["completed"]));
    assert_eq!(completed, by_interval.sum::<f64>(), "{report}");
    // Everything that was due has exactly one end.
    assert_eq!(report["account"]["missing"], 0, "{report}");
    let elapsed = number(&report["elapsed_seconds"]);
    if elapsed > 0.0 {
        let rate = number(&report["ops_per_second"]);
        assert!((rate - completed / elapsed).abs() < 1.0, "{report}");
    }

    for (kind, ops) in [("all", completed), ("read", read_ops), ("write", write_ops)] {
        for time in ["response", "service"] {
            let Some(latency) = report["latency"].get(kind) else {
                assert_eq!(ops, 0.0, "no latencies of {kind}");
                continue;
            };
            let percentiles = &latency[time];
            let values = [
                "p50_us",
                "p90_us",
                "p99_us",
                "p99.9_us",
                "p99.99_us",
                "max_us",
            ]
            .map(|name| percentiles.get(name).unwrap_or_else(|| panic!("no {name}")));
            if ops > 0.0 {
                let values = values.map(number);
                assert!(values[0] > 0.0 && values.is_sorted(), "{percentiles}");
            }
        }
    }

    for side in ["client", "server"] {
        let seconds = report[format!("{side}_cpu_seconds")].as_f64();
        let rate = report[format!("{side}_queries_per_cpu_sec")].as_f64();
        if let (Some(seconds), Some(rate)) = (seconds, rate) {
            assert!(
                (rate * seconds - completed).abs() <= completed * 1e-6 + 1e-6,
                "{report}"
            );
        }
    }
}
