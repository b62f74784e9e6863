//! From what was measured to what is reported.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::histogram::{add, histogram};
use crate::plan::kind::Kind;
use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::plan::slo::{Metric, Point};
use crate::record::recorder::KindStats;
use crate::report::model::{
    Distribution, IntervalReport, KindReport, LateReport, LatencyReport, MachineReport,
    OfferedReport, PhaseReport, Report, SCHEMA, ServerReport, SloReport,
};
use crate::report::numbers::latency;
use crate::run::measure::Measured;
use crate::run::target::Target;

/// By how much the offered rate may differ from the requested one before it is said.
const RATE_TOLERANCE: f64 = 0.01;

/// How late operations may start, beside how long they take, before it is said.
const LATENESS_TOLERANCE: f64 = 0.1;

/// Makes the report of a run.
pub(crate) fn report(
    settings: &Settings,
    target: &Target,
    labels: &Labels,
    measured: Measured,
) -> Report {
    let measured = &measured;
    let recorder = &measured.recorder;
    let records = recorder.kinds();
    let percentiles = &settings.percentiles;
    let of = |histogram: &Histogram<u64>| Distribution::of(histogram, percentiles);
    let completed: u64 = records.values().map(|of| of.completed).sum();
    let elapsed = measured.elapsed.as_secs_f64();
    let per_second = |ops: u64| match elapsed > 0.0 {
        true => ops as f64 / elapsed,
        false => 0.0,
    };
    let per_cpu_second =
        |cpu: Duration| (!cpu.is_zero()).then(|| completed as f64 / cpu.as_secs_f64());
    let record = |kind: Kind| records.get(&kind);

    let mut failed: BTreeMap<String, u64> = BTreeMap::new();
    for (code, histogram) in records.values().flat_map(|of| &of.failed) {
        *failed.entry((*code).to_owned()).or_default() += histogram.len();
    }
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: labels.name.clone(),
        tags: labels.tags.clone(),
        started_at: humantime::format_rfc3339_seconds(measured.started_at).to_string(),
        machine: MachineReport {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, NonZero::get) as u64,
        },
        server: ServerReport {
            address: target.address.to_string(),
            embedded: target.is_embedded(),
            version: target.version.clone(),
        },
        settings: settings.by_flag(),
        seed: settings.seed,
        command: settings.command(match target.is_embedded() {
            true => None,
            false => Some(&target.address),
        }),
        interrupted: measured.interrupted.map(|signal| signal.as_raw_value()),
        elapsed_seconds: elapsed,
        completed,
        refused: records.values().flat_map(|of| of.refused.values()).sum(),
        failed,
        failure_messages: recorder
            .failure_messages()
            .iter()
            .map(|(code, message)| ((*code).to_owned(), message.clone()))
            .collect(),
        offered: measured.open_loop.as_ref().map(|open_loop| OfferedReport {
            requested_per_second: match elapsed > 0.0 {
                true => open_loop.requested(measured.elapsed) / elapsed,
                false => 0.0,
            },
            ops: open_loop.offered,
            per_second: per_second(open_loop.offered),
            dropped: open_loop.dropped,
        }),
        ops_per_second: per_second(completed),
        workers_lost: measured.lost.0,
        first_lost_seconds: measured.lost.1,
        late: LateReport {
            ops: records.values().map(|of| of.late).sum(),
            max_us: recorder.late_max().as_secs_f64() * 1e6,
        },
        read_ops: record(Kind::Read).map_or(0, |of| of.completed),
        read_misses: record(Kind::Read).map_or(0, |of| of.misses),
        write_ops: record(Kind::Write).map_or(0, |of| of.completed),
        kinds: records
            .iter()
            .map(|(kind, record)| (kind.name().to_owned(), kind_report(record, percentiles)))
            .collect(),
        latency: latencies(records, percentiles),
        phases: phases(settings, measured, completed, percentiles),
        interval_seconds: settings.interval.as_secs_f64(),
        intervals: intervals(settings, measured),
        lateness: measured
            .open_loop
            .as_ref()
            .map(|_| of(&measured.recorder.lateness)),
        client_cpu_seconds: measured.client_cpu.as_secs_f64(),
        server_cpu_seconds: measured.server_cpu.map(|cpu| cpu.as_secs_f64()),
        client_queries_per_cpu_sec: per_cpu_second(measured.client_cpu),
        server_queries_per_cpu_sec: measured.server_cpu.and_then(per_cpu_second),
        warnings: Vec::new(),
        slos: Vec::new(),
        verify: None,
    };
    report.slos = objectives(&report, labels);
    report.warnings = warnings(&report, settings, measured);
    report
}

/// Everything that was done, and everything that was refused.
fn answered(record: &KindStats) -> (Histogram<u64>, Histogram<u64>) {
    let (mut response, mut service) = (record.response.clone(), record.service.clone());
    add(&mut response, &record.refused_response);
    add(&mut service, &record.refused_service);
    (response, service)
}

fn all(records: &BTreeMap<Kind, KindStats>) -> (Histogram<u64>, Histogram<u64>) {
    let mut all = (histogram(), histogram());
    for record in records.values() {
        let (response, service) = answered(record);
        add(&mut all.0, &response);
        add(&mut all.1, &service);
    }
    all
}

fn latencies(
    records: &BTreeMap<Kind, KindStats>,
    percentiles: &[f64],
) -> BTreeMap<String, LatencyReport> {
    let of = |(response, service): (Histogram<u64>, Histogram<u64>)| LatencyReport {
        response: Distribution::of(&response, percentiles),
        service: Distribution::of(&service, percentiles),
    };
    let kinds = records
        .iter()
        .map(|(kind, record)| (kind.name().to_owned(), of(answered(record))));
    let mut latencies: BTreeMap<String, LatencyReport> = kinds.collect();
    latencies.insert("all".to_owned(), of(all(records)));
    latencies
}

fn kind_report(record: &KindStats, percentiles: &[f64]) -> KindReport {
    let of = |histogram: &Histogram<u64>| Distribution::of(histogram, percentiles);
    let mut outcomes = BTreeMap::new();
    for (name, histogram) in [
        ("OK", &record.response),
        ("REFUSED", &record.refused_response),
    ] {
        if !histogram.is_empty() {
            outcomes.insert(name.to_owned(), of(histogram));
        }
    }
    for (code, histogram) in &record.failed {
        outcomes.insert((*code).to_owned(), of(histogram));
    }
    let owned = |(name, ops): (&&str, u64)| ((*name).to_owned(), ops);
    KindReport {
        completed: record.completed,
        refused: record
            .refused
            .iter()
            .map(|(reason, ops)| owned((reason, *ops)))
            .collect(),
        failed: record
            .failed
            .iter()
            .map(|(code, histogram)| owned((code, histogram.len())))
            .collect(),
        misses: record.misses,
        outcomes,
    }
}

fn phases(
    settings: &Settings,
    measured: &Measured,
    completed: u64,
    percentiles: &[f64],
) -> Vec<PhaseReport> {
    let recorder = &measured.recorder;
    let (warmup, drain) = (&recorder.warmup, &recorder.drain);
    let failed: u64 = recorder.kinds().values().map(KindStats::failed_ops).sum();
    let mut in_window = histogram();
    for slot in measured.timeline.intervals() {
        add(&mut in_window, &slot.sum.response);
    }
    let phase = |name: &str, time: Duration, completed, failed, response: &Histogram<u64>| {
        let response = Distribution::of(response, percentiles);
        PhaseReport {
            phase: name.to_owned(),
            seconds: time.as_secs_f64(),
            completed,
            failed,
            response,
        }
    };
    let mut phases = Vec::new();
    if !settings.warmup.is_zero() {
        let (ops, failures) = (warmup.completed, warmup.failed);
        phases.push(phase(
            "warmup",
            settings.warmup,
            ops,
            failures,
            &warmup.response,
        ));
    }
    let failed = failed.saturating_sub(warmup.failed + drain.failed);
    phases.push(phase(
        "measured",
        measured.elapsed,
        completed,
        failed,
        &in_window,
    ));
    let (ops, failures) = (drain.completed, drain.failed);
    phases.push(phase(
        "drain",
        measured.drain,
        ops,
        failures,
        &drain.response,
    ));
    phases
}

fn intervals(settings: &Settings, measured: &Measured) -> Vec<IntervalReport> {
    let length = settings.interval.as_secs_f64();
    let elapsed = measured.elapsed.as_secs_f64();
    let mut dropped_before = 0;
    let mut slots = measured.timeline.intervals().peekable();
    let count = (elapsed / length).ceil() as u64;
    let mut intervals = Vec::new();
    for index in 0..count {
        let start = index as f64 * length;
        let slot = slots.next_if(|slot| slot.sum.index == index);
        let empty = histogram();
        let response = slot.map_or(&empty, |slot| &slot.sum.response);
        let dropped_so_far = slot
            .map_or(0, |slot| slot.dropped_so_far)
            .max(dropped_before);
        let seconds = length.min(elapsed - start);
        let completed = slot.map_or(0, |slot| slot.sum.completed);
        intervals.push(IntervalReport {
            completed,
            failed: slot.map_or(0, |slot| slot.sum.failed),
            dropped: dropped_so_far - dropped_before,
            in_flight: slot.map_or(0, |slot| slot.in_flight),
            ops_per_second: completed as f64 / seconds,
            ..IntervalReport::of(response, start, seconds)
        });
        dropped_before = dropped_so_far;
    }
    // What was dropped after the last look.
    if let (Some(last), Some(open_loop)) = (intervals.last_mut(), &measured.open_loop) {
        last.dropped += open_loop.dropped.saturating_sub(dropped_before);
    }
    intervals
}

/// Completes a report of several: what it is called and must reach.
pub(crate) fn finish_merged(
    report: &mut Report,
    settings: &Settings,
    target: &Target,
    labels: &Labels,
) {
    report.name.clone_from(&labels.name);
    report.tags.clone_from(&labels.tags);
    report.server.embedded = target.is_embedded();
    report.settings = settings.by_flag();
    report.command = settings.command(Some(&target.address));
    report.slos = objectives(report, labels);
}

fn objectives(report: &Report, labels: &Labels) -> Vec<SloReport> {
    let objectives = labels.slos.iter().map(|slo| {
        let actual = figure(report, slo.metric());
        SloReport {
            slo: slo.to_string(),
            actual: slo.metric().show(actual),
            met: slo.is_met_by(actual),
        }
    });
    objectives.collect()
}

/// What an objective looks at, in its unit.
fn figure(report: &Report, metric: Metric) -> Option<f64> {
    match metric {
        Metric::Latency(kind, point) => {
            let kind = kind.map_or("all", Kind::name);
            let response = report.latency.get(kind)?.response.histogram().ok()?;
            if response.is_empty() {
                return None;
            }
            let nanos = match point {
                Point::Quantile(quantile) => response.value_at_quantile(quantile) as f64,
                Point::Mean => response.mean(),
                Point::Max => response.max() as f64,
            };
            Some(nanos / 1e3)
        }
        Metric::ErrorRate => {
            let dropped = report.offered.as_ref().map_or(0, |offered| offered.dropped);
            let wrong = report.failed_ops() + dropped;
            let every = wrong + report.completed + report.late.ops;
            (every > 0).then(|| wrong as f64 / every as f64)
        }
        Metric::Rate => Some(report.ops_per_second),
    }
}

/// What a reader should know before trusting the figures.
fn warnings(report: &Report, settings: &Settings, measured: &Measured) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(offered) = &report.offered {
        let requested = offered.requested_per_second;
        let ratio = offered.per_second / requested;
        // A run that ends with its count has no time to be measured by.
        let is_timed = settings.requests.is_none() && report.interrupted.is_none();
        if is_timed && requested > 0.0 && (ratio - 1.0).abs() > RATE_TOLERANCE {
            warnings.push(format!(
                "offered {:.0} operations per second where {requested:.0} were asked for: the generator could not keep its schedule",
                offered.per_second
            ));
        }
        if offered.dropped > 0 {
            warnings.push(format!(
                "{} of {} operations were dropped, because {} were under way (--max-in-flight) or the time was over: the latencies are of the others",
                offered.dropped,
                offered.ops,
                settings.open_loop.as_ref().map_or(0, |of| of.max_in_flight)
            ));
        }
        let lateness = report.lateness.as_ref().and_then(|of| of.p99_us);
        let response = report.latency["all"].response.p99_us;
        if let (Some(lateness), Some(response)) = (lateness, response)
            && lateness > response * LATENESS_TOLERANCE
        {
            warnings.push(format!(
                "the generator itself is late: 1 in 100 operations starts more than {} after it was to, and that is in the response times (p99 {})",
                latency(Some(lateness)),
                latency(Some(response))
            ));
        }
        let slots = settings.workers() * settings.pipeline * settings.frame_ops;
        let in_flight = report.intervals.iter().map(|of| of.in_flight).max();
        if in_flight.unwrap_or(0) >= slots {
            warnings.push(format!(
                "all {slots} places for operations under way were taken at times: what was due waited for one, which counts as response time (more workers or --pipeline make more places)"
            ));
        }
    }
    let cores = report.machine.cores as f64;
    let window = measured.elapsed.as_secs_f64() + measured.drain.as_secs_f64();
    let threads = settings.threads as f64;
    let busy = report.client_cpu_seconds / (window * threads.min(cores));
    // In a closed loop the generator is meant to do what it can; only with threads of its own is it the limit.
    if !report.server.embedded && threads < cores && busy > 0.95 {
        warnings.push(format!(
            "the generator's {} threads were busy for {:.0}% of the time: it is the bottleneck, not the server (see --threads)",
            settings.threads,
            busy * 100.0
        ));
    }
    warnings
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::command_line::resolve::tests::settings;

    /// A report of a second in which so much was completed, and nothing else happened.
    pub(crate) fn report(completed: f64) -> Report {
        let settings = settings("--seed 1").unwrap();
        let ops = completed.round() as u64;
        let mut response = histogram();
        response.record_n(1_000_000, ops.max(1)).unwrap();
        let of = Distribution::of(&response, &[]);
        let latency = LatencyReport {
            response: of.clone(),
            service: of,
        };
        Report {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: None,
            tags: BTreeMap::new(),
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            machine: MachineReport {
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                cores: 2,
            },
            server: ServerReport {
                address: "127.0.0.1:1".to_owned(),
                embedded: false,
                version: "0".to_owned(),
            },
            settings: BTreeMap::new(),
            seed: settings.seed,
            command: settings.command(None),
            interrupted: None,
            elapsed_seconds: 1.0,
            completed: ops,
            refused: 0,
            failed: BTreeMap::new(),
            failure_messages: BTreeMap::new(),
            offered: None,
            ops_per_second: completed,
            workers_lost: 0,
            first_lost_seconds: None,
            late: LateReport {
                ops: 0,
                max_us: 0.0,
            },
            read_ops: ops,
            read_misses: 0,
            write_ops: 0,
            kinds: BTreeMap::new(),
            latency: BTreeMap::from([("all".to_owned(), latency)]),
            phases: Vec::new(),
            interval_seconds: 1.0,
            intervals: Vec::new(),
            lateness: None,
            client_cpu_seconds: 0.1,
            server_cpu_seconds: None,
            client_queries_per_cpu_sec: None,
            server_queries_per_cpu_sec: None,
            warnings: Vec::new(),
            slos: Vec::new(),
            verify: None,
        }
    }
}
