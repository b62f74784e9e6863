//! The report: what was asked for, and what came of it. Its JSON form is stable within one `schema`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};
use tokio::signal::unix::SignalKind;

use super::recorder::Latency;
use super::run::Measured;
use super::settings::Settings;
use super::target::Target;
use super::text;

/// The name of this form of the report. A field that changes its meaning changes the name.
const SCHEMA: &str = "soloist-load/1";

/// What a run has measured.
///
/// All counts are operations, not frames. Counts and rates are of the measured window: after the warm-up, until the
/// end. Latencies are of what started in it, whenever it was answered: what is slow would be left out otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub(crate) schema: &'static str,
    pub(crate) version: &'static str,
    pub(crate) server: ServerReport,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    /// The signal that ended the run before its time; in JSON, whether one did.
    #[serde(serialize_with = "is_some")]
    pub(crate) interrupted: Option<SignalKind>,
    pub(crate) elapsed_seconds: f64,
    pub(crate) completed: u64,
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// What the first failure of each code said.
    pub(crate) failure_messages: BTreeMap<&'static str, String>,
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
    pub(crate) ops_per_second: f64,
    pub(crate) latency: LatencyReport,
    pub(crate) client_cpu_seconds: f64,
    /// Absent (null) if the server did not tell.
    pub(crate) server_cpu_seconds: Option<f64>,
    pub(crate) client_queries_per_cpu_sec: Option<f64>,
    pub(crate) server_queries_per_cpu_sec: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerReport {
    pub(crate) address: String,
    pub(crate) embedded: bool,
    pub(crate) version: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LateReport {
    pub(crate) ops: u64,
    pub(crate) max_us: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LatencyReport {
    pub(crate) all: KindReport,
    pub(crate) read: KindReport,
    pub(crate) write: KindReport,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KindReport {
    pub(crate) response: Percentiles,
    pub(crate) service: Percentiles,
}

/// In microseconds; absent (null) without operations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    #[serde(rename = "p50_us")]
    pub(crate) p50: Option<f64>,
    #[serde(rename = "p90_us")]
    pub(crate) p90: Option<f64>,
    #[serde(rename = "p99_us")]
    pub(crate) p99: Option<f64>,
    #[serde(rename = "p99.9_us")]
    pub(crate) p99_9: Option<f64>,
    #[serde(rename = "p99.99_us")]
    pub(crate) p99_99: Option<f64>,
    #[serde(rename = "max_us")]
    pub(crate) max: Option<f64>,
}

impl Report {
    pub(crate) fn new(settings: &Settings, target: &Target, measured: &Measured) -> Self {
        let recorder = &measured.recorder;
        let (read_ops, write_ops) = (recorder.read.completed(), recorder.write.completed());
        let completed = read_ops + write_ops;
        let mut all = recorder.read.clone();
        all.add(&recorder.write);
        let (late_ops, late_max) = recorder.late();
        let (workers_lost, first_lost_seconds) = measured.lost;
        let per_cpu_second =
            |cpu: Duration| (!cpu.is_zero()).then(|| completed as f64 / cpu.as_secs_f64());
        let elapsed = measured.elapsed.as_secs_f64();
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            server: ServerReport {
                address: target.address.to_string(),
                embedded: target.is_embedded(),
                version: target.version.clone(),
            },
            settings: settings.clone(),
            seed: settings.seed,
            interrupted: measured.interrupted,
            elapsed_seconds: elapsed,
            completed,
            failed: recorder
                .failed()
                .iter()
                .map(|(code, failed)| (*code, failed.ops))
                .collect(),
            failure_messages: recorder
                .failed()
                .iter()
                .map(|(code, failed)| (*code, failed.message.clone()))
                .collect(),
            workers_lost,
            first_lost_seconds,
            late: LateReport {
                ops: late_ops,
                max_us: late_max.as_secs_f64() * 1e6,
            },
            read_ops,
            read_misses: recorder.read_misses(),
            write_ops,
            ops_per_second: match elapsed > 0.0 {
                true => completed as f64 / elapsed,
                false => 0.0,
            },
            latency: LatencyReport {
                all: KindReport::new(&all),
                read: KindReport::new(&recorder.read),
                write: KindReport::new(&recorder.write),
            },
            client_cpu_seconds: measured.client_cpu.as_secs_f64(),
            server_cpu_seconds: measured.server_cpu.map(|cpu| cpu.as_secs_f64()),
            client_queries_per_cpu_sec: per_cpu_second(measured.client_cpu),
            server_queries_per_cpu_sec: measured.server_cpu.and_then(per_cpu_second),
        }
    }

    /// Operations that failed, whatever the code.
    #[must_use]
    pub fn failed_ops(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Operations that were answered as they should be within the measured window.
    #[must_use]
    pub fn completed_ops(&self) -> u64 {
        self.completed
    }

    /// Whether Ctrl-C or SIGTERM ended the run before its time.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.is_some()
    }

    /// Why there is nothing to see, if no operation was completed.
    #[must_use]
    pub fn why_nothing(&self) -> Option<String> {
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

    /// The report for people. Ends with a line feed.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The report for programs: one JSON object, and a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).expect("the keys are strings, the numbers finite");
        json.push('\n');
        json
    }
}

fn is_some<T, S: Serializer>(option: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(option.is_some())
}

impl KindReport {
    fn new(latency: &Latency) -> Self {
        Self {
            response: Percentiles::new(&latency.response),
            service: Percentiles::new(&latency.service),
        }
    }
}

impl Percentiles {
    fn new(nanos: &Histogram<u64>) -> Self {
        let at = |quantile: f64| {
            (!nanos.is_empty()).then(|| nanos.value_at_quantile(quantile) as f64 / 1e3)
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: at(1.0),
        }
    }
}
