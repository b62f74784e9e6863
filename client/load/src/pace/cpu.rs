//! What a thread costs.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time of this thread.
pub(crate) fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("every thread has a CPU clock")
}
