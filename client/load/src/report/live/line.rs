//! Progress as a line, where there is no terminal.

use crate::report::live::progress::Progress;
use crate::report::numbers::{grouped, latency, rate};
use crate::report::wrap::{WIDTH, wrapped};

/// What further lines begin with, so that each second stands out.
const INDENT: &str = "      ";

/// Writes progress on one line, or if something is wrong on more, of 80 columns at most. The phase is left out while the run
/// is measured.
pub(crate) fn line(progress: &Progress) -> String {
    let (time, rate_now) = (progress.time(), rate(progress.ops_per_second));
    let requested = progress.requested_per_second;
    let requested = requested.map(|requested| format!(" of {}/s", rate(requested)));
    let requested = requested.unwrap_or_default();
    let mut parts = vec![match progress.phase.as_str() {
        "measured" => format!("{time}: {rate_now}/s{requested}"),
        phase => format!("{phase} {time}: {rate_now}/s{requested}"),
    }];
    if let Some(last) = progress.intervals.last() {
        let (p50, p99) = (latency(last.p50_us), latency(last.p99_us));
        parts.extend([format!("p50 {p50}"), format!("p99 {p99}")]);
    }
    parts.push(format!("{} in flight", grouped(progress.in_flight)));
    if progress.failed_ops() > 0 {
        parts.push(format!("{} FAILED", grouped(progress.failed_ops())));
    }
    if progress.dropped > 0 {
        parts.push(format!("{} dropped", grouped(progress.dropped)));
    }
    if !progress.connections.is_empty() {
        parts.extend(progress.connections.split(", ").map(str::to_owned));
    }
    let lines = wrapped(parts.into_iter(), ", ", WIDTH - INDENT.len());
    lines.join(&format!("\n{INDENT}"))
}
