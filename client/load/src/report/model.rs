//! The report of a run. Its JSON form has these fields, and is stable within one `schema`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::faults::{AccountReport, ConnectionsReport, GapReport, OutageReport};

/// The name of the JSON form. It changes when a field changes its meaning, but not when a field is added.
pub(crate) const SCHEMA: &str = "soloist-load/2";

/// The report of a run.
///
/// All counts are of operations, not of frames. Counts and rates are of the measured window, from the end of the
/// warm-up to the end of the run. Latencies are of all operations that started in the window, whenever their response
/// came: otherwise the slowest operations would be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: String,
    /// The version of the load generator.
    pub(crate) version: String,
    /// The name that the user gave the run (`--name`).
    pub(crate) name: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// When the measured window began: RFC 3339, UTC.
    pub(crate) started_at: String,
    pub(crate) machine: MachineReport,
    pub(crate) server: ServerReport,
    /// The agents that shared the run. Empty if there were none.
    #[serde(default)]
    pub(crate) agents: Vec<AgentReport>,
    /// Every setting by the name of its flag, with defaults filled in. A run with the same settings and `seed` sends
    /// the same operations.
    pub(crate) settings: BTreeMap<String, serde_json::Value>,
    pub(crate) seed: u64,
    /// The command line that repeats the run.
    pub(crate) command: String,
    /// The signal that ended the run early, if one did.
    pub(crate) interrupted: Option<i32>,
    pub(crate) elapsed_seconds: f64,
    /// Operations that succeeded, or were refused where the workload expects refusals.
    pub(crate) completed: u64,
    /// The part of `completed` that the server refused, as the workload expects at times.
    pub(crate) refused: u64,
    /// Failed operations by the name of the gRPC code.
    pub(crate) failed: BTreeMap<String, u64>,
    /// The message of the first failure of each code.
    pub(crate) failure_messages: BTreeMap<String, String>,
    /// Only of an open loop.
    pub(crate) offered: Option<OfferedReport>,
    /// What became of every operation that was due. Reports of earlier versions have none of the next five fields.
    #[serde(default)]
    pub(crate) account: AccountReport,
    #[serde(default)]
    pub(crate) connections: ConnectionsReport,
    /// The times without a server, in their order.
    #[serde(default)]
    pub(crate) outages: Vec<OutageReport>,
    /// The longest time of the window in which nothing was completed. Null if several agents did the run, or if no gap
    /// was long enough to be kept.
    #[serde(default)]
    pub(crate) longest_gap: Option<GapReport>,
    /// Why the run was given up before its end, if it was.
    #[serde(default)]
    pub(crate) gave_up: Option<String>,
    /// Completed operations per second.
    pub(crate) ops_per_second: f64,
    /// Workers that lost their stream or connection before the end.
    pub(crate) workers_lost: u64,
    /// When the first of them did, in seconds from the end of the warm-up; negative during the warm-up. Null if none
    /// did.
    pub(crate) first_lost_seconds: Option<f64>,
    /// Operations that were sent before the end and answered after it. They are part of `latency`, but not of
    /// `completed`.
    pub(crate) late: LateReport,
    /// The method that was called, if the user named one. Null otherwise.
    #[serde(default)]
    pub(crate) call: Option<CallReport>,
    /// Completed Reads.
    pub(crate) read_ops: u64,
    /// The part of `read_ops` that found no key.
    pub(crate) read_misses: u64,
    /// Completed Writes.
    pub(crate) write_ops: u64,
    /// By the kind of operation: read, write, compare_and_set, add, delete, transition, list, batch, renew, call, event.
    pub(crate) kinds: BTreeMap<String, KindReport>,
    /// By the kind of operation, and for all operations together under "all".
    pub(crate) latency: BTreeMap<String, LatencyReport>,
    /// The phases in their order: "warmup" if there was one, "measured", "drain".
    pub(crate) phases: Vec<PhaseReport>,
    /// The length of an interval.
    pub(crate) interval_seconds: f64,
    /// The intervals of the measured window, in their order.
    pub(crate) intervals: Vec<IntervalReport>,
    /// How late the generator sent operations: from when they were due to the send. Only of an open loop.
    pub(crate) lateness: Option<Distribution>,
    pub(crate) client_cpu_seconds: f64,
    /// Null if the server did not report its CPU time.
    pub(crate) server_cpu_seconds: Option<f64>,
    pub(crate) client_queries_per_cpu_sec: Option<f64>,
    pub(crate) server_queries_per_cpu_sec: Option<f64>,
    /// Facts that a reader has to know before trusting the figures.
    pub(crate) warnings: Vec<String>,
    pub(crate) slos: Vec<SloReport>,
    pub(crate) verify: Option<VerifyReport>,
}

/// The method that was called, and its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallReport {
    /// With its package.
    pub(crate) service: String,
    pub(crate) method: String,
    /// "unary", "server streaming", "client streaming" or "bidirectional streaming".
    pub(crate) kind: String,
    /// How many calls ended with each gRPC code: those of `completed` and of `failed`.
    pub(crate) codes: BTreeMap<String, u64>,
    /// The messages that were made to be sent, also in the warm-up.
    pub(crate) requests: MessagesReport,
    /// The messages that were received, also in the warm-up.
    pub(crate) responses: MessagesReport,
    /// Only if the server streams.
    pub(crate) stream: Option<StreamReport>,
}

/// The encoded sizes of messages, without the five bytes that gRPC puts before each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MessagesReport {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) min_bytes: u64,
    pub(crate) max_bytes: u64,
}

/// The messages of streams that the server sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamReport {
    /// The messages of the completed calls.
    pub(crate) messages: u64,
    pub(crate) messages_per_second: f64,
    /// From when a call was due to its first message.
    pub(crate) first_message: Distribution,
    /// From when a call was due to its last message.
    pub(crate) last_message: Distribution,
}

/// The machine of the load generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MachineReport {
    pub(crate) os: String,
    pub(crate) arch: String,
    pub(crate) cores: u64,
}

/// The part of a run that one agent did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentReport {
    pub(crate) address: String,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) elapsed_seconds: f64,
    /// Why there is no report of this agent. Its operations are in no count then. Null if there is one.
    pub(crate) lost: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    pub(crate) address: String,
    pub(crate) embedded: bool,
    pub(crate) version: String,
}

/// The operations that an open loop was to send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OfferedReport {
    /// The requested rate in operations per second, on average over the measured window.
    pub(crate) requested_per_second: f64,
    /// Operations that were due in the window, whether they were sent or dropped.
    pub(crate) ops: u64,
    pub(crate) per_second: f64,
    /// Operations that were due and not sent.
    pub(crate) dropped: u64,
    /// The dropped operations by the reason: "no_capacity" (`--max-in-flight` operations were in flight), "no_connection" (an
    /// outage), "late_start" (they could not be sent before the end). Reports of earlier versions have none.
    #[serde(default)]
    pub(crate) dropped_by_reason: BTreeMap<String, u64>,
}

/// Operations that were answered after the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LateReport {
    pub(crate) ops: u64,
    /// The longest of their response times.
    pub(crate) max_us: f64,
}

/// One kind of operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KindReport {
    pub(crate) completed: u64,
    /// The refused part of `completed`, by the reason of the error.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Failed operations by the name of the gRPC code.
    pub(crate) failed: BTreeMap<String, u64>,
    /// The part of `completed` that found nothing.
    pub(crate) misses: u64,
    /// Response times by outcome: "OK", "REFUSED", or the name of the gRPC code.
    pub(crate) outcomes: BTreeMap<String, Distribution>,
}

/// The latencies of a kind of operation. In a closed loop both are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyReport {
    /// From when an operation was due to its response.
    pub(crate) response: Distribution,
    /// From the send to the response.
    pub(crate) service: Distribution,
}

/// The figures of a histogram. Times are in microseconds, and null without operations.
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
    /// The percentiles of `--percentiles`: pairs of percent and microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<(f64, f64)>,
    /// The histogram of nanoseconds: HdrHistogram V2, deflated, in base64. Empty without operations.
    pub(crate) histogram: String,
}

/// A phase of the run: "warmup", "measured", or "drain", in which the last responses arrived after the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseReport {
    pub(crate) phase: String,
    pub(crate) seconds: f64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) response: Distribution,
}

/// The operations that were answered in one interval of the measured window. Times are response times in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IntervalReport {
    /// The beginning of the interval, from the end of the warm-up.
    pub(crate) start_seconds: f64,
    /// The length. The last interval may be shorter than the others.
    pub(crate) seconds: f64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    /// Operations in flight at the end of the interval.
    pub(crate) in_flight: u64,
    pub(crate) ops_per_second: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    #[serde(rename = "p99.9_us")]
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    /// Encoded like [`Distribution::histogram`].
    pub(crate) histogram: String,
}

/// A service level objective, and whether the run met it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SloReport {
    /// The objective as it was given, such as `p99<5ms`.
    pub(crate) slo: String,
    /// The measured value with its unit; "nothing" if the run had no such operations.
    pub(crate) actual: String,
    pub(crate) met: bool,
}

/// The result of `--verify`: whether the responses are linearizable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VerifyReport {
    /// "linearizable", "violation" or "not decided".
    pub(crate) verdict: String,
    pub(crate) operations: u64,
    pub(crate) keys: u64,
    /// Operations of unknown outcome.
    pub(crate) unknown: u64,
    pub(crate) seconds: f64,
    /// The verdict for people: with the violation if there is one, and where its operations are kept.
    pub(crate) text: String,
}

/// A gap that is shown although there was no outage, in seconds: longer than a pause for garbage collection or a sync.
const GAP_SHOWN: f64 = 0.1;

impl Report {
    /// Returns how many operations of an open loop were not sent, because there was no connection.
    pub(crate) fn dropped_without_connection(&self) -> u64 {
        let offered = self.offered.as_ref();
        let reason = offered.and_then(|of| of.dropped_by_reason.get("no_connection"));
        reason.copied().unwrap_or(0)
    }

    /// Returns the longest gap, if it is worth a reader's time.
    pub(crate) fn gap_to_show(&self) -> Option<&GapReport> {
        let gap = self.longest_gap.as_ref()?;
        let is_lossy = gap.failed + gap.dropped > 0;
        (gap.seconds >= GAP_SHOWN || is_lossy).then_some(gap)
    }
}
