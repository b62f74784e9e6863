//! The top of the page: subtitle, notices, tiles, and the places for the plots.

use std::fmt::Write;

use crate::report::html::escaping::{escaped, latency};
use crate::report::model::Report;
use crate::report::numbers::{counted, percent, rate};
use crate::report::sweep::Sweep;

/// Says in a few words what the run was: its load, the server, and when. Of a sweep, how many runs there were.
pub(super) fn what(report: &Report, sweep: Option<&Sweep>) -> String {
    let setting = |flag: &str| report.settings.get(flag).map(plain);
    let method = report.call.as_ref();
    let method = method.map(|call| format!("{}/{}", call.service, call.method));
    let load = match (method, setting("workload"), setting("ratio")) {
        (Some(method), _, _) => method,
        (None, Some(workload), _) => format!("workload {workload}"),
        (None, None, Some(ratio)) => format!("reads to writes {ratio}"),
        (None, None, None) => match (setting("readers"), setting("writers")) {
            (Some(readers), Some(writers)) => format!("{readers} readers, {writers} writers"),
            _ => "load".to_owned(),
        },
    };
    let rate = match (sweep, &report.offered) {
        (Some(sweep), _) => format!(", {}", counted(sweep.points.len() as u64, "run")),
        (None, Some(offered)) => format!(", {}/s", rate(offered.requested_per_second)),
        (None, None) => String::new(),
    };
    let engine = setting("engine").map(|engine| format!(", {engine}"));
    let server = match report.server.embedded {
        true => "a server of its own",
        false => &report.server.address,
    };
    // The date alone: the subtitle has the time.
    let date = report.started_at.split('T').next().unwrap_or_default();
    format!(
        "{load}{}{rate} on {server}, {date}",
        engine.unwrap_or_default()
    )
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Says of which of its runs the page of a sweep has the figures and charts.
pub(super) fn which(report: &Report, sweep: Option<&Sweep>) -> String {
    match (sweep, &report.offered) {
        (Some(_), Some(offered)) => format!(
            "<p class=\"subtitle\">Figures and charts over time are those of the run at {}/s: the highest rate that held, or \
             the first run if none did.</p>",
            rate(offered.requested_per_second)
        ),
        _ => String::new(),
    }
}

/// The most outages that are noticed at the top. A table has all.
const OUTAGES_SHOWN: usize = 5;

pub(super) fn subtitle(report: &Report) -> String {
    let server = &report.server;
    let about = match (server.version.is_empty(), server.embedded) {
        // Only a Soloist is asked for its version.
        (true, true) => " (embedded)".to_owned(),
        (true, false) => String::new(),
        (false, true) => format!(" (version {}, embedded)", escaped(&server.version)),
        (false, false) => format!(" (version {})", escaped(&server.version)),
    };
    let mut text = format!(
        "{}{about} &middot; {} &middot; {:.3} s",
        escaped(&server.address),
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

/// A figure of the overview.
struct Tile {
    /// An additional class: "", "warn" or "bad".
    class: &'static str,
    label: &'static str,
    figure: String,
    /// The text below the figure.
    below: String,
}

/// Writes the figures that readers look for first.
pub(super) fn tiles(report: &Report) -> String {
    let mut tiles = measured_tiles(report);
    if let Some(offered) = &report.offered {
        tiles.push(Tile {
            class: match offered.dropped {
                0 => "",
                _ => "warn",
            },
            label: "Dropped",
            figure: percent(offered.dropped, offered.ops),
            below: format!("of {}/s requested", rate(offered.requested_per_second)),
        });
    }
    if let Some(per_second) = report.server_queries_per_cpu_sec {
        let us = 1e6 / per_second.max(f64::MIN_POSITIVE);
        tiles.push(Tile {
            class: "",
            label: "Server, per CPU-second",
            figure: rate(per_second),
            below: format!("{us:.2} \u{b5}s per operation"),
        });
    }
    let mut html = String::new();
    for tile in tiles {
        let _ = write!(
            html,
            "<div class=\"tile {}\"><div class=\"label\">{}</div><div class=\"figure\">{}</div>\
             <div class=\"below\">{}</div></div>",
            tile.class,
            tile.label,
            escaped(&tile.figure),
            escaped(&tile.below)
        );
    }
    html
}

/// The tiles that every run has.
fn measured_tiles(report: &Report) -> Vec<Tile> {
    let all = report.latency.get("all").map(|all| &all.response);
    let failed = report.failed_ops();
    vec![
        Tile {
            class: "",
            label: "Throughput",
            figure: format!("{}/s", rate(report.ops_per_second)),
            below: counted(report.completed, "operation"),
        },
        Tile {
            class: "",
            label: "Response p50",
            figure: latency(all.and_then(|all| all.p50_us)),
            below: "from when it was due".to_owned(),
        },
        Tile {
            class: "",
            label: "Response p99",
            figure: latency(all.and_then(|all| all.p99_us)),
            below: format!("p99.9 {}", latency(all.and_then(|all| all.p99_9_us))),
        },
        Tile {
            class: match failed {
                0 => "",
                _ => "bad",
            },
            label: "Failed",
            figure: percent(failed, report.completed + failed),
            below: counted(failed, "operation"),
        },
    ]
}

/// Writes what must not be overlooked: warnings, objectives, and the verdict of `--verify`.
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
    if let Some(fault) = report.account.fault() {
        notice("bad", "Fault", &fault);
    }
    if let Some(why) = &report.gave_up {
        notice("bad", "Given up", why);
    }
    for outage in report.outages.iter().take(OUTAGES_SHOWN) {
        notice("bad", "Outage", &outage.describe());
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
        notice(class, "Verified", &verify.text);
    }
    html
}

/// Writes the places for the plots that have data.
pub(super) fn plots(report: &Report, sweep: Option<&Sweep>) -> String {
    let mut plots = Vec::new();
    if sweep.is_some_and(|sweep| !sweep.points.is_empty()) {
        plots.push(("sweep", "Sweep", "response time against throughput"));
    }
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
