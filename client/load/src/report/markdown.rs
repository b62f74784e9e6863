//! The report as Markdown, for issues and pull requests: GitHub's flavour, with tables.

use std::fmt::{self, Write};

use crate::report::figures::{PERCENTILES, short, summary};
use crate::report::model::{Distribution, LatencyReport, Report};
use crate::report::numbers::{counted, grouped, latency, percent, rate};
use crate::report::style::clean;

/// A heading, a line of what matters most, and tables.
pub(crate) fn render(report: &Report) -> String {
    let mut markdown = String::new();
    write(report, &mut markdown).expect("a String takes everything");
    markdown
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    let name = report.name.as_deref().unwrap_or("soloist-load");
    writeln!(out, "## {}\n", escaped(name))?;
    let failed = report.failed_ops();
    let all = report.latency.get("all").map(|all| &all.response);
    let p99 = all.and_then(|all| all.p99_us);
    writeln!(
        out,
        "**{}/s**, p99 **{}**, {} failed ({}), {} in {:.3} s\n",
        rate(report.ops_per_second),
        latency(p99),
        grouped(failed),
        percent(failed, report.completed + failed),
        counted(report.completed, "operation"),
        report.elapsed_seconds
    )?;
    for warning in &report.warnings {
        writeln!(out, "> [!WARNING]\n> {}\n", escaped(warning))?;
    }
    if let Some(signal) = report.interrupted {
        writeln!(out, "> [!WARNING]\n> interrupted by signal {signal}\n")?;
    }
    verdicts(report, out)?;
    latencies(report, out)?;
    counts(report, out)?;
    cpu(report, out)?;
    setup(report, out)
}

fn verdicts(report: &Report, out: &mut String) -> fmt::Result {
    if !report.slos.is_empty() {
        head(out, &["objective", "measured", "met"], 2)?;
        for slo in &report.slos {
            let met = match slo.met {
                true => "yes",
                false => "**no**",
            };
            row(
                out,
                [escaped(&slo.slo), escaped(&slo.actual), met.to_owned()],
            )?;
        }
        writeln!(out)?;
    }
    if let Some(verify) = &report.verify {
        writeln!(
            out,
            "Verified: **{}**, {}, {}, {} of unknown outcome. {}\n",
            escaped(&verify.verdict),
            counted(verify.operations, "operation"),
            counted(verify.keys, "key"),
            grouped(verify.unknown),
            escaped(&verify.text)
        )?;
    }
    Ok(())
}

fn latencies(report: &Report, out: &mut String) -> fmt::Result {
    let same = |latency: &LatencyReport| latency.response == latency.service;
    if report.latency.values().all(same) {
        return table(report, "response = service time", |one| &one.response, out);
    }
    table(report, "response time", |one| &one.response, out)?;
    table(report, "service time", |one| &one.service, out)
}

fn table(
    report: &Report,
    caption: &str,
    part: impl Fn(&LatencyReport) -> &Distribution,
    out: &mut String,
) -> fmt::Result {
    let columns: Vec<&str> = [caption, "operations"]
        .into_iter()
        .chain(PERCENTILES)
        .collect();
    head(out, &columns, 1)?;
    for (kind, one) in report.latency_by_kind() {
        let distribution = part(one);
        let cells = [escaped(kind), grouped(distribution.count)];
        row(
            out,
            cells.into_iter().chain(distribution.shown().map(latency)),
        )?;
    }
    writeln!(out)
}

fn counts(report: &Report, out: &mut String) -> fmt::Result {
    head(out, &["counts", "operations", ""], 1)?;
    let mut count =
        |name: &str, ops: u64, text: String| row(out, [name.to_owned(), grouped(ops), text]);
    count(
        "completed",
        report.completed,
        format!("{}/s", rate(report.ops_per_second)),
    )?;
    if report.refused > 0 {
        count(
            "refused",
            report.refused,
            escaped(report.refusals().trim_start_matches(": ")),
        )?;
    }
    if report.failed.is_empty() {
        count("failed", 0, String::new())?;
    }
    for (code, ops) in &report.failed {
        let message = report.failure_messages.get(code).map_or("", String::as_str);
        count(
            "failed",
            *ops,
            format!("{}: {}", escaped(code), escaped(message)),
        )?;
    }
    if let Some(offered) = &report.offered {
        let rates = format!(
            "{}/s of {}/s requested",
            rate(offered.per_second),
            rate(offered.requested_per_second)
        );
        count("offered", offered.ops, rates)?;
        count(
            "dropped",
            offered.dropped,
            percent(offered.dropped, offered.ops),
        )?;
    }
    if report.late.ops > 0 {
        let slowest = latency(Some(report.late.max_us));
        count(
            "late",
            report.late.ops,
            format!("the slowest after {slowest}"),
        )?;
    }
    if let Some(lateness) = &report.lateness {
        count(
            "lateness of the generator",
            lateness.count,
            summary(lateness),
        )?;
    }
    if report.workers_lost > 0 {
        count("workers lost", report.workers_lost, String::new())?;
    }
    writeln!(out)
}

fn cpu(report: &Report, out: &mut String) -> fmt::Result {
    head(out, &["CPU", "seconds", "operations per CPU-second"], 1)?;
    for (side, seconds, per_second) in report.cpu() {
        let seconds = seconds.map_or("unknown".to_owned(), |seconds| format!("{seconds:.3}"));
        row(
            out,
            [
                side.to_owned(),
                seconds,
                per_second.map_or("-".to_owned(), rate),
            ],
        )?;
    }
    writeln!(out)
}

fn setup(report: &Report, out: &mut String) -> fmt::Result {
    let server = &report.server;
    let machine = &report.machine;
    let embedded = match server.embedded {
        true => ", embedded",
        false => "",
    };
    writeln!(out, "<details><summary>Settings</summary>\n")?;
    head(out, &["setting", "value"], 2)?;
    let fixed = [
        (
            "server",
            format!("{} (version {}{embedded})", server.address, server.version),
        ),
        (
            "client",
            format!(
                "version {}, {} {}, {}",
                report.version,
                machine.os,
                machine.arch,
                counted(machine.cores, "core")
            ),
        ),
        ("started", report.started_at.clone()),
        ("measured", format!("{} s", short(report.elapsed_seconds))),
        ("seed", report.seed.to_string()),
    ];
    for (name, value) in fixed {
        row(out, [name.to_owned(), escaped(&value)])?;
    }
    for (key, value) in &report.tags {
        row(out, [format!("tag {}", escaped(key)), escaped(value)])?;
    }
    for (flag, value) in report.settings_shown() {
        row(out, [format!("--{}", escaped(flag)), escaped(&value)])?;
    }
    writeln!(out, "\n    {}\n\n</details>", clean(&report.command))
}

/// The first `left` columns are texts; the others are numbers, and end on the right.
pub(crate) fn head(out: &mut String, columns: &[&str], left: usize) -> fmt::Result {
    row(out, columns.iter().map(|column| (*column).to_owned()))?;
    let rule = |index| match index < left {
        true => "---",
        false => "---:",
    };
    row(out, (0..columns.len()).map(|index| rule(index).to_owned()))
}

pub(crate) fn row(out: &mut String, cells: impl IntoIterator<Item = String>) -> fmt::Result {
    for cell in cells {
        write!(out, "| {cell} ")?;
    }
    writeln!(out, "|")
}

/// On one line, and with nothing that Markdown or HTML would take for its own.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in clean(text).chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(char);
            }
            // GitHub tells people whose name follows it.
            '@' => escaped.push_str("@\u{200b}"),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_head() {
        let mut report = sample::report();
        report.tags.insert("a|b".to_owned(), "c\n| d".to_owned());
        let markdown = render(&report);
        let mut columns = None;
        let mut tables = 0;
        for line in markdown.lines() {
            let cells = line.replace("\\|", "").matches('|').count();
            match (cells, columns) {
                (0, _) => columns = None,
                (cells, None) => {
                    columns = Some(cells);
                    tables += 1;
                }
                (cells, Some(head)) => assert_eq!(cells, head, "{line}"),
            }
        }
        assert_eq!(tables, 6, "{markdown}");
    }

    #[test]
    fn what_others_wrote_is_text() {
        let markdown = render(&sample::report());
        assert!(markdown.starts_with("## nightly &lt;b&gt;mixed&lt;/b&gt; &amp; \"quoted\"\n"));
        assert!(!markdown.contains("<script>"));
        assert_eq!(
            escaped("`a` [x](y) @me\n# no"),
            "\\`a\\` \\[x\\](y) @\u{200b}me \\# no"
        );
    }

    #[test]
    fn nothing_measured_is_said_so() {
        let markdown = render(&sample::nothing());
        assert!(
            markdown.contains("**0.00/s**, p99 **-**, 0 failed (0%)"),
            "{markdown}"
        );
    }
}
