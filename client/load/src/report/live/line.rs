//! Progress as a line, where there is no terminal.

use crate::report::live::progress::Progress;
use crate::report::numbers::{grouped, latency, rate};

/// Writes progress on one line, of 80 columns unless something is wrong. The phase is left out while the run is
/// measured.
pub(crate) fn line(progress: &Progress) -> String {
    let (time, rate_now) = (progress.time(), rate(progress.ops_per_second));
    let mut line = match progress.phase.as_str() {
        "measured" => format!("{time}: {rate_now}/s"),
        phase => format!("{phase} {time}: {rate_now}/s"),
    };
    if let Some(requested) = progress.requested_per_second {
        line += &format!(" of {}/s", rate(requested));
    }
    if let Some(last) = progress.intervals.last() {
        let (p50, p99) = (latency(last.p50_us), latency(last.p99_us));
        line += &format!(", p50 {p50}, p99 {p99}");
    }
    line += &format!(", {} in flight", grouped(progress.in_flight));
    if progress.failed_ops() > 0 {
        line += &format!(", {} FAILED", grouped(progress.failed_ops()));
    }
    if progress.dropped > 0 {
        line += &format!(", {} dropped", grouped(progress.dropped));
    }
    if !progress.connections.is_empty() {
        line += &format!(", {}", progress.connections);
    }
    line
}
