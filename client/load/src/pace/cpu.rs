//! The CPU time of a thread.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the CPU time that the calling thread has used so far.
pub(crate) fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("every thread has a CPU clock")
}
