//! The settings of a run.

use std::sync::Arc;
use std::time::Duration;

use crate::plan::call::CallPlan;
use crate::plan::choices::{DurationStop, Engine, KeyDist, Part, ValueKind};
use crate::plan::key_names::KeyNames;
use crate::plan::mix::Mix;
use crate::plan::open_loop::OpenLoop;
use crate::plan::security::Security;

/// How long to wait for an answer if no `--timeout` is set: the longest that servers allow by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The name under which the metadata of a call carries the token of `--token`.
pub(crate) const TOKEN_METADATA: &str = "authorization";

/// Everything that shapes a run, with all defaults filled in. The report prints it.
///
/// The fields have the names of the flags that set them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) mix: Mix,
    /// `None` unless the mix is `Call`.
    pub(crate) call: Option<Arc<CallPlan>>,
    /// The number of workers, unless the mix has readers and writers.
    pub(crate) concurrency: u64,
    /// 0 unless the workload is `watch`.
    pub(crate) watchers: u64,
    /// How long to measure; `None` for as long as `requests` takes.
    pub(crate) duration: Option<Duration>,
    /// How many operations this process sends in the measured time; `None` for no limit.
    pub(crate) requests: Option<u64>,
    pub(crate) warmup: Duration,
    pub(crate) duration_stop: DurationStop,
    pub(crate) keys: u64,
    /// What the names of all keys begin with. May be empty.
    pub(crate) key_prefix: String,
    pub(crate) key_dist: KeyDist,
    pub(crate) value: ValueKind,
    /// Bytes of each written text or bytes value; 0 for ints.
    pub(crate) value_size: u64,
    /// Whether no value is written twice.
    pub(crate) distinct: bool,
    pub(crate) engine: Engine,
    /// Frames that each worker keeps in flight; calls with the engines `unary` and `raw`.
    pub(crate) pipeline: u64,
    /// Operations in each frame; 1 with the engines `unary` and `raw`.
    pub(crate) frame_ops: u64,
    pub(crate) connections: u64,
    pub(crate) threads: u64,
    /// The deadline that is sent with each operation, if any.
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    /// How long to go on without any connection that answers; `None` until the end of the run.
    pub(crate) reconnect_timeout: Option<Duration>,
    /// Names in lower case, and values, that go with every call.
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) security: Security,
    /// Whether the keys with the prefix are deleted afterwards.
    pub(crate) clean: bool,
    /// `None` in a closed loop.
    pub(crate) open_loop: Option<OpenLoop>,
    /// The length of the intervals that are reported one by one.
    pub(crate) interval: Duration,
    /// Percentiles to report besides the usual ones, from 0 to 100.
    pub(crate) percentiles: Vec<f64>,
    /// Whether to record a history and check it.
    pub(crate) verify: bool,
    /// Agents share out rates and counts. Everything else each agent does in full.
    pub(crate) part: Part,
    pub(crate) seed: u64,
}

impl Settings {
    /// Returns the number of workers of this process.
    pub(crate) fn workers(&self) -> u64 {
        self.mix.workers(self.concurrency)
    }

    /// Returns the names of the keys.
    pub(crate) fn key_names(&self) -> KeyNames {
        KeyNames::new(self.mix, &self.key_prefix)
    }

    /// Returns the number of a worker of this process among the workers of all agents.
    pub(crate) fn global_number(&self, worker: u64) -> u64 {
        self.part.index * self.workers() + worker
    }

    /// Returns how long the server may take to answer.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}
