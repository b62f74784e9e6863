//! A line for where there is no terminal.

use crate::report::live::progress::Live;
use crate::report::numbers::{grouped, latency, rate};

/// What is said once a second where there is no terminal.
pub(crate) fn line(live: &Live) -> String {
    let mut line = format!(
        "{} {}: {} operations, {}/s",
        live.phase,
        live.time(),
        grouped(live.completed),
        rate(live.ops_per_second)
    );
    if let Some(requested) = live.requested_per_second {
        line += &format!(" of {}/s", rate(requested));
    }
    if let Some(last) = live.intervals.last() {
        let (p50, p99) = (latency(last.p50_us), latency(last.p99_us));
        line += &format!(", p50 {p50}, p99 {p99}, max {}", latency(last.max_us));
    }
    line += &format!(", {} in flight", grouped(live.in_flight));
    if live.failed_ops() > 0 {
        line += &format!(", {} FAILED", grouped(live.failed_ops()));
    }
    if live.dropped > 0 {
        line += &format!(", {} dropped", grouped(live.dropped));
    }
    line
}
