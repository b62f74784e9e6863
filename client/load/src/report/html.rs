//! The report as one HTML file with plots: nothing is fetched, by whoever opens it, from anywhere.
//!
//! What can be read stands in tables, written here. The plots are drawn in the browser by `report.js`, from figures that
//! are written into the page.

mod data;
mod tables;

use std::fmt::{self, Write};

use crate::report::model::Report;
use crate::report::numbers::{self, counted, grouped, percent, rate};
use crate::report::sweep::Sweep;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");

/// The whole page. With a `sweep` it also has its curve; `report` is then the run that it is about.
pub(crate) fn render(report: &Report, sweep: Option<&Sweep>) -> String {
    let title = match &report.name {
        Some(name) => format!("{name} - soloist-load"),
        None => "soloist-load".to_owned(),
    };
    let heading = report.name.as_deref().unwrap_or("soloist-load");
    let parts = [
        ("{{title}}", escaped(&title)),
        ("{{style}}", STYLE.to_owned()),
        ("{{heading}}", escaped(heading)),
        ("{{subtitle}}", subtitle(report)),
        ("{{tiles}}", tiles(report)),
        ("{{notices}}", notices(report)),
        ("{{plots}}", plots(report, sweep)),
        ("{{tables}}", tables::render(report, sweep)),
        ("{{data}}", data::json(report, sweep)),
        ("{{script}}", SCRIPT.to_owned()),
    ];
    fill(PAGE, &parts)
}

/// Puts each part where its name stands, in one go: what a part says is never taken for a name.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut filled =
        String::with_capacity(page.len() + parts.iter().map(|(_, part)| part.len()).sum::<usize>());
    let mut rest = page;
    while let Some(start) = rest.find("{{") {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let (name, part) = parts
            .iter()
            .find(|(name, _)| rest.starts_with(name))
            .expect("the page names only parts that there are");
        filled.push_str(part);
        rest = &rest[name.len()..];
    }
    filled + rest
}

fn subtitle(report: &Report) -> String {
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
fn tiles(report: &Report) -> String {
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
fn notices(report: &Report) -> String {
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
fn plots(report: &Report, sweep: Option<&Sweep>) -> String {
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

/// As elsewhere, but a page can have the sign that a terminal may not.
fn latency(us: Option<f64>) -> String {
    with_sign(&numbers::latency(us))
}

fn with_sign(text: &str) -> String {
    text.replace(" us", " \u{b5}s")
}

/// As text between tags, and within quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Shown as it is, escaped.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(self.0))
    }
}

#[cfg(test)]
mod tests;
