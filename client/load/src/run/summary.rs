//! Makes a report of what a run has measured.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use crate::plan::kind::Kind;
use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::model::{
    Distribution, LateReport, MachineReport, OfferedReport, Report, SCHEMA, ServerReport,
};
use crate::run::breakdown::{call, intervals, kind, latencies, phases};
use crate::run::faults::{account, connections, longest_gap, outages};
use crate::run::measured::Measured;
use crate::run::objectives::objectives;
use crate::run::target::Target;
use crate::run::warnings::warnings;

/// Returns the report of one run, without a verdict on its history.
pub(crate) fn report(
    settings: &Settings,
    target: &Target,
    labels: &Labels,
    measured: Measured,
) -> Report {
    let measured = &measured;
    let recorder = &measured.recorder;
    let kinds = recorder.kinds();
    let percentiles = &settings.percentiles;
    let completed: u64 = kinds.values().map(|of| of.completed).sum();
    let elapsed = measured.elapsed.as_secs_f64();
    let per_cpu_second =
        |cpu: Duration| (!cpu.is_zero()).then(|| completed as f64 / cpu.as_secs_f64());
    let read = kinds.get(&Kind::Read);
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: labels.name.clone(),
        tags: labels.tags.clone(),
        started_at: humantime::format_rfc3339_seconds(measured.started_at).to_string(),
        machine: machine(),
        server: server(target),
        agents: Vec::new(),
        settings: settings.by_flag(),
        seed: settings.seed,
        command: settings.command(match target.is_embedded() {
            true => None,
            false => Some(&target.address),
        }),
        interrupted: measured.interrupted.map(|signal| signal.as_raw_value()),
        elapsed_seconds: elapsed,
        completed,
        refused: kinds.values().flat_map(|of| of.refused.values()).sum(),
        failed: failed(measured),
        failure_messages: recorder
            .failure_messages()
            .iter()
            .map(|(code, message)| ((*code).to_owned(), message.clone()))
            .collect(),
        offered: offered(measured),
        account: account(measured),
        connections: connections(measured),
        outages: outages(measured),
        longest_gap: longest_gap(measured),
        gave_up: measured.gave_up.clone(),
        ops_per_second: rate(completed as f64, elapsed),
        workers_lost: measured.workers_lost,
        first_lost_seconds: measured.first_lost_seconds,
        late: LateReport {
            ops: kinds.values().map(|of| of.late).sum(),
            max_us: recorder.late_max().as_secs_f64() * 1e6,
        },
        call: measured
            .call
            .as_ref()
            .zip(target.call.as_ref())
            .map(|(totals, program)| {
                call(
                    program,
                    totals,
                    kinds.get(&Kind::Call),
                    elapsed,
                    percentiles,
                )
            }),
        read_ops: read.map_or(0, |of| of.completed),
        read_misses: read.map_or(0, |of| of.misses),
        write_ops: kinds.get(&Kind::Write).map_or(0, |of| of.completed),
        kinds: kinds
            .iter()
            .map(|(of, stats)| (of.name().to_owned(), kind(stats, percentiles)))
            .collect(),
        latency: latencies(kinds, percentiles),
        phases: phases(settings, measured),
        interval_seconds: settings.interval.as_secs_f64(),
        intervals: intervals(settings, measured),
        lateness: measured
            .open_loop
            .as_ref()
            .map(|_| Distribution::of(&recorder.lateness, percentiles)),
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

/// Completes the report of several agents: what it is called, how to repeat it, and its objectives.
pub(crate) fn complete_merged(
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

fn machine() -> MachineReport {
    MachineReport {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cores: std::thread::available_parallelism().map_or(1, NonZero::get) as u64,
    }
}

fn server(target: &Target) -> ServerReport {
    ServerReport {
        address: target.address.to_string(),
        embedded: target.is_embedded(),
        version: target.version.clone(),
    }
}

/// Returns the failed operations by gRPC code.
fn failed(measured: &Measured) -> BTreeMap<String, u64> {
    let mut failed: BTreeMap<String, u64> = BTreeMap::new();
    let kinds = measured.recorder.kinds().values();
    for (code, histogram) in kinds.flat_map(|of| &of.failed) {
        *failed.entry((*code).to_owned()).or_default() += histogram.len();
    }
    failed
}

fn offered(measured: &Measured) -> Option<OfferedReport> {
    let elapsed = measured.elapsed.as_secs_f64();
    measured.open_loop.as_ref().map(|totals| OfferedReport {
        requested_per_second: rate(totals.requested(measured.elapsed), elapsed),
        ops: totals.offered,
        per_second: rate(totals.offered as f64, elapsed),
        dropped: totals.all_dropped(),
        dropped_by_reason: totals
            .dropped
            .iter()
            .map(|(reason, ops)| (reason.name().to_owned(), *ops))
            .collect(),
    })
}

fn rate(ops: f64, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => ops / seconds,
        false => 0.0,
    }
}
