//! The report for people.

use std::fmt::{self, Write};

use super::args::Engine;
use super::report::{KindReport, Percentiles, Report};

/// The seed's two lines, then everything else.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    write(report, &mut text).expect("a String takes everything");
    text
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(out, "readOps: {}", report.read_ops)?;
    writeln!(out, "writeOps: {}", report.write_ops)?;
    writeln!(out)?;
    write_settings(report, out)?;
    writeln!(out)?;
    write_counts(report, out)?;
    writeln!(out)?;
    write_latencies(report, out)?;
    writeln!(out)?;
    write_cpu(report, out)
}

fn write_settings(report: &Report, out: &mut String) -> fmt::Result {
    let settings = &report.settings;
    let server = &report.server;
    let embedded = match server.embedded {
        true => "embedded, ",
        false => "",
    };
    writeln!(
        out,
        "server       {} ({embedded}version {})",
        server.address, server.version
    )?;
    let engine = match settings.engine {
        Engine::Unary => format!(
            "unary, {} in flight each",
            counted(settings.pipeline, "call")
        ),
        Engine::Pipeline => format!(
            "pipeline, {} of {} in flight each",
            counted(settings.pipeline, "frame"),
            counted(settings.frame_ops, "operation")
        ),
    };
    writeln!(
        out,
        "workers      {} and {}, {engine}",
        counted(settings.readers, "reader"),
        counted(settings.writers, "writer")
    )?;
    writeln!(
        out,
        "client       {}, {}, closed loop",
        counted(settings.threads, "thread"),
        counted(settings.connections, "connection")
    )?;
    let values = match settings.value_size {
        None => "ints from 0 to 99".to_owned(),
        Some(size) => format!("texts of {}", counted(size, "byte")),
    };
    writeln!(
        out,
        "data         {} ({}), {values}, seed {}",
        counted(settings.keys, "key"),
        settings.key_dist,
        report.seed
    )?;
    write!(out, "measured     {:.3} s", report.elapsed_seconds)?;
    if !settings.warmup.is_zero() {
        write!(out, " after {:?} of warm-up", settings.warmup)?;
    }
    if report.is_interrupted() {
        write!(out, ", interrupted")?;
    }
    writeln!(out)
}

fn write_counts(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "completed    {} operations, {}/s",
        grouped(report.completed),
        grouped(report.ops_per_second.round() as u64)
    )?;
    if report.late.ops > 0 {
        writeln!(
            out,
            "late         {} answered after the end: in the latencies, but not in the counts; the slowest after {}",
            grouped(report.late.ops),
            latency(Some(report.late.max_us)).trim_start()
        )?;
    }
    if report.read_misses > 0 {
        writeln!(
            out,
            "missing      {} reads found no key (write first, or see --writers)",
            grouped(report.read_misses)
        )?;
    }
    write_lost(report, out)?;
    if report.failed.is_empty() {
        return writeln!(out, "failed       0");
    }
    for (code, ops) in &report.failed {
        let message = report.failure_messages.get(code).map_or("", String::as_str);
        writeln!(out, "failed       {} {code}: {message}", grouped(*ops))?;
    }
    Ok(())
}

fn write_lost(report: &Report, out: &mut String) -> fmt::Result {
    let Some(first) = report.first_lost_seconds else {
        return Ok(());
    };
    let workers = report.settings.workers();
    let what = match report.settings.engine {
        Engine::Unary => "connection",
        Engine::Pipeline => "stream",
    };
    write!(
        out,
        "lost         {} of {} workers lost their {what}; the first ",
        grouped(report.workers_lost),
        grouped(workers)
    )?;
    match first < 0.0 {
        true => write!(out, "during the warm-up")?,
        false => write!(out, "after {first:.1} s")?,
    }
    if report.workers_lost == workers {
        write!(out, "; with the last the run ended early")?;
    }
    writeln!(out)
}

fn write_latencies(report: &Report, out: &mut String) -> fmt::Result {
    let kinds = [
        ("read", &report.latency.read),
        ("write", &report.latency.write),
        ("all", &report.latency.all),
    ];
    // In a closed loop operations start when they are meant to, and the two are the same.
    let same = |kind: &KindReport| kind.response == kind.service;
    let same = kinds.iter().all(|(_, kind)| same(kind));
    let caption = match same {
        true => "latency (response = service time)",
        false => "latency",
    };
    writeln!(
        out,
        "{caption:<35}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    for (name, kind) in kinds {
        if same {
            write_percentiles(name, &kind.response, out)?;
        } else {
            write_percentiles(&format!("{name}, response"), &kind.response, out)?;
            write_percentiles(&format!("{name}, service"), &kind.service, out)?;
        }
    }
    Ok(())
}

fn write_percentiles(name: &str, percentiles: &Percentiles, out: &mut String) -> fmt::Result {
    let Percentiles {
        p50,
        p90,
        p99,
        p99_9,
        p99_99,
        max,
    } = *percentiles;
    write!(out, "  {name:<32}")?;
    for value in [p50, p90, p99, p99_9, p99_99, max] {
        write!(out, "{}", latency(value))?;
    }
    writeln!(out)
}

fn write_cpu(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "{:<35}{:>9}{:>20}{:>23}",
        "CPU", "seconds", "per operation", "operations per second"
    )?;
    let sides = [
        (
            "client",
            Some(report.client_cpu_seconds),
            report.client_queries_per_cpu_sec,
        ),
        (
            "server",
            report.server_cpu_seconds,
            report.server_queries_per_cpu_sec,
        ),
    ];
    for (name, seconds, rate) in sides {
        let Some(seconds) = seconds else {
            writeln!(out, "  {name:<32} unknown: the server did not tell")?;
            continue;
        };
        let per_operation = match report.completed {
            0 => "-".to_owned(),
            completed => format!("{:.3} us", seconds * 1e6 / completed as f64),
        };
        let rate = rate.map_or("-".to_owned(), |rate| grouped(rate.round() as u64));
        writeln!(
            out,
            "  {name:<32}{seconds:>10.3}{per_operation:>20}{rate:>23}"
        )?;
    }
    Ok(())
}

/// Ten columns, with the unit that leaves it short.
fn latency(us: Option<f64>) -> String {
    let Some(us) = us else {
        return format!("{:>10}", "-");
    };
    let text = match us {
        ..1_000.0 => format!("{us:.1} us"),
        ..1_000_000.0 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    };
    format!("{text:>10}")
}

/// Thousands apart: 1234567 is 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn counted(number: u64, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ => "s",
    };
    format!("{} {noun}{plural}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn latencies_choose_their_unit() {
        let cases = [
            (None, "-"),
            (Some(0.0), "0.0 us"),
            (Some(999.94), "999.9 us"),
            (Some(1_000.0), "1.00 ms"),
            (Some(123_456.0), "123.46 ms"),
            (Some(2_500_000.0), "2.50 s"),
        ];
        for (us, text) in cases {
            assert_eq!(latency(us).trim_start(), text);
            assert_eq!(latency(us).len(), 10);
        }
    }
}
