//! The top of the page: subtitle, tiles, notices, and where the plots go.

use std::fmt::Write;

use crate::report::html::texts::{escaped, latency};
use crate::report::model::Report;
use crate::report::numbers::{counted, grouped, percent, rate};
use crate::report::sweep::Sweep;

pub(super) fn subtitle(report: &Report) -> String {
    let server = &report.server;
    let embedded = match server.embedded {
        true => ", embedded",
        false => "",
    };
    let mut text = format!(
        "{} (version {}{embedded}) &middot; {} &middot; {:.3} s",
        escaped(&server.address),
        escaped(&server.version),
        escaped(&report.started_at),
        report.elapsed_seconds
    );
    for (key, value) in &report.tags {
        let _ = write!(
            text,
            " <span class=\"tag\">{}={}</span>",
            escaped(key),
            escaped(value)
        );
    }
    text
}

/// What most look for first.
pub(super) fn tiles(report: &Report) -> String {
    let all = report.latency.get("all").map(|all| &all.response);
    let failed = report.failed_ops();
    let share = percent(failed, report.completed + failed);
    let bad = match failed {
        0 => "",
        _ => " bad",
    };
    let p99 = latency(all.and_then(|all| all.p99_us));
    let p50 = latency(all.and_then(|all| all.p50_us));
    let p99_9 = latency(all.and_then(|all| all.p99_9_us));
    let mut tiles = vec![
        (
            "",
            "Throughput",
            format!("{}/s", rate(report.ops_per_second)),
            counted(report.completed, "operation"),
        ),
        (
            "",
            "Response p50",
            p50,
            "from the intended start".to_owned(),
        ),
        ("", "Response p99", p99, format!("p99.9 {p99_9}")),
        (bad, "Failed", share, counted(failed, "operation")),
    ];
    if let Some(offered) = &report.offered {
        let bad = match offered.dropped {
            0 => "",
            _ => " warn",
        };
        let share = percent(offered.dropped, offered.ops);
        let requested = format!("of {}/s requested", rate(offered.requested_per_second));
        tiles.push((bad, "Dropped", share, requested));
    }
    if let Some(per_second) = report.server_queries_per_cpu_sec {
        let per_operation = format!(
            "{:.2} \u{b5}s an operation",
            1e6 / per_second.max(f64::MIN_POSITIVE)
        );
        tiles.push((
            "",
            "Server, per CPU-second",
            rate(per_second),
            per_operation,
        ));
    }
    let mut html = String::new();
    for (class, label, figure, below) in tiles {
        let _ = write!(
            html,
            "<div class=\"tile{class}\"><div class=\"label\">{label}</div><div class=\"figure\">{}</div>\
             <div class=\"below\">{}</div></div>",
            escaped(&figure),
            escaped(&below)
        );
    }
    html
}

/// What must not be overlooked: warnings, objectives that were not met, and what was verified.
pub(super) fn notices(report: &Report) -> String {
    let mut html = String::new();
    let mut notice = |class: &str, label: &str, text: &str| {
        let _ = write!(
            html,
            "<p class=\"notice {class}\" role=\"note\"><strong>{label}</strong> {}</p>",
            escaped(text)
        );
    };
    if let Some(signal) = report.interrupted {
        notice("warn", "Interrupted", &format!("by signal {signal}"));
    }
    for warning in &report.warnings {
        notice("warn", "Warning", warning);
    }
    for slo in &report.slos {
        let text = format!("{} (measured: {})", slo.slo, slo.actual);
        match slo.met {
            true => notice("good", "Objective met", &text),
            false => notice("bad", "Objective not met", &text),
        }
    }
    if let Some(verify) = &report.verify {
        let class = match verify.verdict.as_str() {
            "linearizable" => "good",
            "violation" => "bad",
            _ => "warn",
        };
        let text = format!(
            "{}: {} on {}, {} of unknown outcome. {}",
            verify.verdict,
            counted(verify.operations, "operation"),
            counted(verify.keys, "key"),
            grouped(verify.unknown),
            verify.text
        );
        notice(class, "Verified", &text);
    }
    html
}

/// Where the plots go. What there is nothing to plot of is left out.
pub(super) fn plots(report: &Report, sweep: Option<&Sweep>) -> String {
    let mut plots = Vec::new();
    if !report.intervals.is_empty() {
        plots.push((
            "throughput",
            "Throughput",
            "operations per second, over time",
        ));
        plots.push((
            "latency",
            "Response time",
            "percentiles over time, on a log axis",
        ));
    }
    if report.latency.values().any(|one| one.response.count > 0) {
        plots.push((
            "spectrum",
            "Percentile spectrum",
            "latency at each percentile, per kind",
        ));
    }
    if sweep.is_some_and(|sweep| !sweep.points.is_empty()) {
        plots.push(("sweep", "Sweep", "response time against throughput"));
    }
    let mut html = String::new();
    for (id, heading, about) in plots {
        let _ = write!(
            html,
            "<section class=\"card\" aria-labelledby=\"{id}-heading\"><h2 id=\"{id}-heading\">{heading} \
             <small>{about}</small></h2><div class=\"plot\" id=\"plot-{id}\"></div></section>"
        );
    }
    html
}
