//! The tables of the page: the figures of the plots, and others.

use crate::report::figures::{PERCENTILES, summary};
use crate::report::html::escaping::{Escaped, escaped, latency, with_micro_sign};
use crate::report::model::{AgentReport, Distribution, LatencyReport, Report};
use crate::report::numbers::{counted, grouped, percent, rate};
use crate::report::sweep::Sweep;

pub(super) fn render(report: &Report, sweep: Option<&Sweep>) -> String {
    [
        latencies(report),
        call(report),
        counts(report),
        outages(report),
        outcomes(report),
        agents(report),
        phases(report),
        points(sweep),
        cpu(report),
        settings(report),
    ]
    .concat()
}

/// The most columns that fit a small screen.
const NARROW_COLUMNS: usize = 4;

/// The number of columns, from the left, that have texts. The others have numbers.
struct TextColumns(usize);

/// Writes a table in a card of its own. The cells must be escaped.
fn table(caption: &str, columns: &[&str], escaping: TextColumns, rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let class = |index: usize| match index < escaping.0 {
        true => "",
        false => " class=\"number\"",
    };
    let head: String = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            format!("<th scope=\"col\"{}>{}</th>", class(index), Escaped(column))
        })
        .collect();
    let cell = |(index, cell): (usize, &String)| match index {
        0 => format!("<th scope=\"row\">{cell}</th>"),
        _ => format!("<td{}>{cell}</td>", class(index)),
    };
    let row = |cells: &Vec<String>| {
        format!(
            "<tr>{}</tr>",
            cells.iter().enumerate().map(cell).collect::<String>()
        )
    };
    let body: String = rows.iter().map(row).collect();
    // Tables with more columns scroll on a small screen. Screens of touch show no scroll bar, so a text says it.
    let (hint, class) = match columns.len() > NARROW_COLUMNS {
        true => (
            "<p class=\"hint\">scroll sideways for more columns &rarr;</p>",
            " class=\"wide\"",
        ),
        false => ("", ""),
    };
    let caption = Escaped(caption);
    format!(
        "<section class=\"card\">{hint}<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\
         <table{class}><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\
         </section>\n"
    )
}

fn latencies(report: &Report) -> String {
    let same = |latency: &LatencyReport| latency.response == latency.service;
    if report.latency.values().all(same) {
        return percentiles("Response time, which equals service time", report, |one| {
            &one.response
        });
    }
    percentiles(
        "Response time, from when the operation was due",
        report,
        |one| &one.response,
    ) + &percentiles("Service time, from the send", report, |one| &one.service)
}

fn percentiles(
    caption: &str,
    report: &Report,
    part: impl Fn(&LatencyReport) -> &Distribution,
) -> String {
    let columns: Vec<&str> = ["kind", "operations"]
        .into_iter()
        .chain(PERCENTILES)
        .collect();
    let row = |(kind, one): (&str, &LatencyReport)| {
        let cells = [escaped(kind), grouped(part(one).count)];
        cells
            .into_iter()
            .chain(part(one).percentile_values().map(latency))
            .collect()
    };
    let rows: Vec<Vec<String>> = report.latency_by_kind().map(row).collect();
    table(caption, &columns, TextColumns(1), &rows)
}

/// Writes the method that the user named, and its messages.
fn call(report: &Report) -> String {
    let Some(call) = &report.call else {
        return String::new();
    };
    let mut rows: Vec<(&str, String)> = vec![
        ("method", call.name_shown()),
        ("codes", call.codes_shown()),
        ("messages sent", call.requests.shown()),
        ("messages received", call.responses.shown()),
    ];
    rows.extend(call.stream.iter().flat_map(|stream| stream.shown()));
    let rows = rows
        .into_iter()
        .map(|(name, text)| vec![name.to_owned(), with_micro_sign(&escaped(&text))]);
    table(
        "Method",
        &["", ""],
        TextColumns(2),
        &rows.collect::<Vec<_>>(),
    )
}

fn counts(report: &Report) -> String {
    let mut counts = Counts::default();
    counts.add(
        "completed",
        report.completed,
        &format!("{}/s", rate(report.ops_per_second)),
    );
    if report.refused > 0 {
        let reasons = report.refusals();
        counts.add("refused", report.refused, reasons.trim_start_matches(": "));
    }
    if report.failed.is_empty() {
        counts.add("failed", 0, "");
    }
    for (code, ops) in &report.failed {
        let message = report.failure_messages.get(code).map_or("", String::as_str);
        counts.add("failed", *ops, &format!("{code}: {message}"));
    }
    if let Some(offered) = &report.offered {
        let rates = [offered.per_second, offered.requested_per_second].map(rate);
        let rates = format!("{}/s of {}/s requested", rates[0], rates[1]);
        counts.add("offered", offered.ops, &rates);
        let share = percent(offered.dropped, offered.ops);
        counts.add("dropped", offered.dropped, &share);
    }
    if let Some(lateness) = &report.lateness {
        let summary = with_micro_sign(&summary(lateness));
        counts.add("lateness of the generator", lateness.count, &summary);
    }
    if report.late.ops > 0 {
        let slowest = format!("the slowest in {}", latency(Some(report.late.max_us)));
        counts.add("answered after the end", report.late.ops, &slowest);
    }
    if report.read_misses > 0 {
        counts.add("reads that found no key", report.read_misses, "");
    }
    if report.workers_lost > 0 {
        let first = report.first_lost_seconds.unwrap_or_default();
        let first = format!("the first after {first:.1} s");
        counts.add("workers lost", report.workers_lost, &first);
    }
    table(
        "Counts",
        &["count", "", "operations"],
        TextColumns(2),
        &counts.rows,
    )
}

/// What happened to the connections, and what was lost.
fn outages(report: &Report) -> String {
    let mut rows = Vec::new();
    let mut row = |what: &str, text: &str| rows.push(vec![what.to_owned(), escaped(text)]);
    if let Some(fault) = report.account.fault() {
        row("FAULT", &fault);
    }
    if let Some(text) = report.connections.describe() {
        row("connections", &text);
    }
    for outage in &report.outages {
        row("outage", &outage.describe());
    }
    if let Some(why) = &report.gave_up {
        row("given up", why);
    }
    if let Some(gap) = report.gap_to_show() {
        row("longest gap", &with_micro_sign(&gap.describe()));
    }
    table("Outages", &["what", ""], TextColumns(2), &rows)
}

/// The rows of the table of counts: name, text, number.
#[derive(Default)]
struct Counts {
    rows: Vec<Vec<String>>,
}

impl Counts {
    fn add(&mut self, name: &str, ops: u64, text: &str) {
        self.rows
            .push(vec![name.to_owned(), escaped(text), grouped(ops)]);
    }
}

fn outcomes(report: &Report) -> String {
    let mut rows = Vec::new();
    for (kind, one) in &report.kinds {
        for (outcome, distribution) in &one.outcomes {
            let mut row = vec![escaped(kind), escaped(outcome), grouped(distribution.count)];
            row.extend(distribution.percentile_values().map(latency));
            rows.push(row);
        }
    }
    let columns: Vec<&str> = ["kind", "outcome", "operations"]
        .into_iter()
        .chain(PERCENTILES)
        .collect();
    table("Response time by outcome", &columns, TextColumns(2), &rows)
}

fn agents(report: &Report) -> String {
    let row = |agent: &AgentReport| {
        vec![
            escaped(&agent.address),
            agent.lost.as_deref().map_or("done".to_owned(), escaped),
            format!("{:.3}", agent.elapsed_seconds),
            grouped(agent.completed),
            grouped(agent.failed),
        ]
    };
    let rows: Vec<_> = report.agents.iter().map(row).collect();
    let columns = ["agent", "", "seconds", "completed", "failed"];
    table("Agents", &columns, TextColumns(2), &rows)
}

fn phases(report: &Report) -> String {
    let row = |phase: &crate::report::model::PhaseReport| {
        vec![
            escaped(&phase.phase),
            format!("{:.3}", phase.seconds),
            grouped(phase.completed),
            grouped(phase.failed),
            latency(phase.response.p50_us),
            latency(phase.response.p99_us),
            latency(phase.response.max_us),
        ]
    };
    let rows: Vec<_> = report.phases.iter().map(row).collect();
    let columns = [
        "phase",
        "seconds",
        "completed",
        "failed",
        "p50",
        "p99",
        "max",
    ];
    table("Phases", &columns, TextColumns(1), &rows)
}

fn points(sweep: Option<&Sweep>) -> String {
    let points = sweep.map_or(&[][..], |sweep| &sweep.points);
    let row = |point: &crate::report::sweep::SweepPoint| {
        vec![
            point.requested.map_or("-".to_owned(), rate),
            rate(point.achieved),
            latency(point.p50_us),
            latency(point.p99_us),
            latency(point.p99_9_us),
            grouped(point.dropped),
            grouped(point.failed),
        ]
    };
    let rows: Vec<_> = points.iter().map(row).collect();
    let columns = [
        "requested/s",
        "achieved/s",
        "p50",
        "p99",
        "p99.9",
        "dropped",
        "failed",
    ];
    table("Sweep", &columns, TextColumns(1), &rows)
}

fn cpu(report: &Report) -> String {
    let row = |(side, seconds, per_second): (&str, Option<f64>, Option<f64>)| {
        let per_operation = match (seconds, report.completed) {
            (Some(seconds), completed @ 1..) => {
                format!("{:.3} \u{b5}s", seconds * 1e6 / completed as f64)
            }
            _ => "-".to_owned(),
        };
        vec![
            side.to_owned(),
            seconds.map_or("unknown".to_owned(), |seconds| format!("{seconds:.3}")),
            per_operation,
            per_second.map_or("-".to_owned(), rate),
        ]
    };
    let rows: Vec<_> = report.cpu().into_iter().map(row).collect();
    let columns = [
        "side",
        "seconds",
        "per operation",
        "operations per CPU-second",
    ];
    table("CPU", &columns, TextColumns(1), &rows)
}

fn settings(report: &Report) -> String {
    let machine = &report.machine;
    let (os, arch) = (&machine.os, &machine.arch);
    let client = format!(
        "version {}, {os} {arch}, {}",
        report.version,
        counted(machine.cores, "core")
    );
    let mut rows = vec![
        vec!["client".to_owned(), escaped(&client)],
        vec!["seed".to_owned(), report.seed.to_string()],
    ];
    for (flag, value) in report.settings_in_effect() {
        rows.push(vec![format!("--{}", Escaped(flag)), escaped(&value)]);
    }
    table("Settings", &["setting", "value"], TextColumns(2), &rows)
        + &format!(
            "<section class=\"card\"><h2>Repeat</h2><pre tabindex=\"0\"><code>{}</code></pre></section>",
            Escaped(&report.command)
        )
}
