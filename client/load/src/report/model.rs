//! What a report says. Its JSON form is this, field by field, and stable within one `schema`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The name of this form of the report. A field that changes its meaning changes the name; fields may be added.
pub(crate) const SCHEMA: &str = "soloist-load/2";

/// What a run has measured.
///
/// All counts are operations, not frames. Counts and rates are of the measured window: after the warm-up, until the
/// end. Latencies are of what started in it, whenever it was answered: what is slow would be left out otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: String,
    /// Of the load generator.
    pub(crate) version: String,
    /// What the user calls this run.
    pub(crate) name: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// When measuring began: RFC 3339, UTC.
    pub(crate) started_at: String,
    pub(crate) machine: MachineReport,
    pub(crate) server: ServerReport,
    /// Every setting with its defaults filled in, by the name of its flag: running with these and `seed` again sends the
    /// same operations.
    pub(crate) settings: BTreeMap<String, serde_json::Value>,
    pub(crate) seed: u64,
    /// The command line that repeats this run.
    pub(crate) command: String,
    /// The signal that ended the run before its time, if one did.
    pub(crate) interrupted: Option<i32>,
    pub(crate) elapsed_seconds: f64,
    /// Answered as they should be, refusals among them.
    pub(crate) completed: u64,
    /// Of `completed`: the server refused what the workload expects to be refused at times.
    pub(crate) refused: u64,
    /// By the name of the gRPC code.
    pub(crate) failed: BTreeMap<String, u64>,
    /// What the first failure of each code said.
    pub(crate) failure_messages: BTreeMap<String, String>,
    /// Of an open loop.
    pub(crate) offered: Option<OfferedReport>,
    pub(crate) ops_per_second: f64,
    /// Workers whose stream or connection was gone before the end.
    pub(crate) workers_lost: u64,
    /// When the first of them was lost, after the warm-up; negative if during it. Absent (null) if none was.
    pub(crate) first_lost_seconds: Option<f64>,
    /// Sent before the end and answered after it; part of `latency`, but not of `completed`.
    pub(crate) late: LateReport,
    pub(crate) read_ops: u64,
    /// Reads that found no key. Part of `read_ops`.
    pub(crate) read_misses: u64,
    pub(crate) write_ops: u64,
    /// By the name of the kind: read, write, compare_and_set, add, delete, transition, list, batch, renew, event.
    pub(crate) kinds: BTreeMap<String, KindReport>,
    /// By the name of the kind, and of all together under "all".
    pub(crate) latency: BTreeMap<String, LatencyReport>,
    /// From the end of the warm-up, one after the other.
    pub(crate) phases: Vec<PhaseReport>,
    pub(crate) interval_seconds: f64,
    pub(crate) intervals: Vec<IntervalReport>,
    /// How late the generator itself was: from the intended start to the send. Of an open loop.
    pub(crate) lateness: Option<Distribution>,
    pub(crate) client_cpu_seconds: f64,
    /// Absent (null) if the server did not tell.
    pub(crate) server_cpu_seconds: Option<f64>,
    pub(crate) client_queries_per_cpu_sec: Option<f64>,
    pub(crate) server_queries_per_cpu_sec: Option<f64>,
    /// What a reader should know before trusting the figures.
    pub(crate) warnings: Vec<String>,
    pub(crate) slos: Vec<SloReport>,
    pub(crate) verify: Option<VerifyReport>,
}

/// Where the generator ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MachineReport {
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) cores: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    pub(crate) address: String,
    pub(crate) embedded: bool,
    pub(crate) version: String,
}

/// What was to be sent, and what was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OfferedReport {
    /// Operations per second that were asked for, on average over the window.
    pub(crate) requested_per_second: f64,
    /// Operations that were due in the window: sent and dropped.
    pub(crate) ops: u64,
    pub(crate) per_second: f64,
    /// Not sent, because as many as allowed were under way.
    pub(crate) dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LateReport {
    pub(crate) ops: u64,
    pub(crate) max_us: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KindReport {
    pub(crate) completed: u64,
    /// Part of `completed`, by the reason that the server gave.
    pub(crate) refused: BTreeMap<String, u64>,
    /// By the name of the gRPC code.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Part of `completed`: nothing was found.
    pub(crate) misses: u64,
    /// Response times by outcome: "OK", "REFUSED", or the name of the gRPC code.
    pub(crate) outcomes: BTreeMap<String, Distribution>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyReport {
    /// From the intended start to the answer.
    pub(crate) response: Distribution,
    /// From the actual start to the answer.
    pub(crate) service: Distribution,
}

/// Times in microseconds; absent (null) without operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) min_us: Option<f64>,
    pub(crate) mean_us: Option<f64>,
    pub(crate) stddev_us: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    #[serde(rename = "p99.9_us")]
    pub(crate) p99_9_us: Option<f64>,
    #[serde(rename = "p99.99_us")]
    pub(crate) p99_99_us: Option<f64>,
    #[serde(rename = "p99.999_us")]
    pub(crate) p99_999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    /// Those that `--percentiles` names, in percent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<(f64, f64)>,
    /// All of it, in nanoseconds: an HdrHistogram, V2, deflated, in base64. Empty without operations.
    pub(crate) histogram: String,
}

/// A part of the run: "warmup", "measured" or "drain", which is what was answered after the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseReport {
    pub(crate) phase: String,
    pub(crate) seconds: f64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) response: Distribution,
}

/// What was answered within one interval of the window; times are response times in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IntervalReport {
    /// From the end of the warm-up to the beginning of the interval.
    pub(crate) start_seconds: f64,
    /// The last one may be shorter than the others.
    pub(crate) seconds: f64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    /// Operations under way at its end.
    pub(crate) in_flight: u64,
    pub(crate) ops_per_second: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    #[serde(rename = "p99.9_us")]
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    /// As in [`Distribution::histogram`].
    pub(crate) histogram: String,
}

/// A service level objective, and whether it was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SloReport {
    /// As it was given, such as `p99<5ms`.
    pub(crate) slo: String,
    /// What was measured, with its unit; "nothing" if there is nothing to measure it by.
    pub(crate) actual: String,
    pub(crate) met: bool,
}

/// Whether the answers can all be true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VerifyReport {
    /// "linearizable", "violation" or "not decided".
    pub(crate) verdict: String,
    pub(crate) operations: u64,
    pub(crate) keys: u64,
    /// Operations of which it is not known whether they were done.
    pub(crate) unknown: u64,
    pub(crate) seconds: f64,
    /// What is wrong, for people; and where the history is kept.
    pub(crate) text: String,
}
