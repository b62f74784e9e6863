//! What a run is to do: the arguments with every default filled in, checked against each other.

use std::time::Duration;

use crate::plan::choices::{DurationStop, Engine, KeyDist, Part, ValueKind};
use crate::plan::mix::Mix;
use crate::plan::open_loop::OpenLoop;

/// How long an answer is waited for if nothing says so: what servers allow by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that shapes a run. The report prints it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) mix: Mix,
    /// Workers that are neither readers nor writers alone.
    pub(crate) concurrency: u64,
    pub(crate) watchers: u64,
    pub(crate) duration: Option<Duration>,
    pub(crate) requests: Option<u64>,
    pub(crate) warmup: Duration,
    pub(crate) duration_stop: DurationStop,
    pub(crate) keys: u64,
    pub(crate) key_dist: KeyDist,
    pub(crate) value: ValueKind,
    /// Of texts and bytes.
    pub(crate) value_size: u64,
    pub(crate) distinct: bool,
    pub(crate) engine: Engine,
    pub(crate) pipeline: u64,
    pub(crate) frame_ops: u64,
    pub(crate) connections: u64,
    pub(crate) threads: u64,
    /// What is sent with each operation, if anything.
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) open_loop: Option<OpenLoop>,
    pub(crate) interval: Duration,
    pub(crate) percentiles: Vec<f64>,
    pub(crate) verify: bool,
    /// Of several processes, which this is. Rates and counts are shared out; the rest each does whole.
    pub(crate) part: Part,
    pub(crate) seed: u64,
}

impl Settings {
    pub(crate) fn workers(&self) -> u64 {
        self.mix.workers(self.concurrency)
    }

    /// The number that a worker of this process has among those of all.
    pub(crate) fn number_of(&self, worker: u64) -> u64 {
        self.part.index * self.workers() + worker
    }

    /// How long an answer is waited for.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}
