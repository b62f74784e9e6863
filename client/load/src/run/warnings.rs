//! Warnings: what a reader must know before trusting the figures of a report.

use crate::plan::settings::Settings;
use crate::report::model::{OfferedReport, Report};
use crate::report::numbers::latency;
use crate::run::measured::Measured;

/// By how much the offered rate may differ from the requested one without a warning.
const RATE_TOLERANCE: f64 = 0.01;

/// How late operations may start without a warning, as a share of their response time.
const LATENESS_TOLERANCE: f64 = 0.1;

/// How busy the threads may be without a warning.
const BUSY_TOLERANCE: f64 = 0.95;

pub(crate) fn warnings(report: &Report, settings: &Settings, measured: &Measured) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(offered) = &report.offered {
        warnings.extend(schedule_missed(offered, report, settings));
        warnings.extend(operations_dropped(offered, settings));
        warnings.extend(generator_late(report));
        warnings.extend(workers_all_busy(report, settings));
    }
    warnings.extend(generator_is_bottleneck(report, settings, measured));
    warnings
}

fn schedule_missed(
    offered: &OfferedReport,
    report: &Report,
    settings: &Settings,
) -> Option<String> {
    let requested = offered.requested_per_second;
    let ratio = offered.per_second / requested;
    // The length of a run that ends with its count or with a signal says nothing about the rate.
    let is_timed = settings.requests.is_none() && report.interrupted.is_none();
    let is_missed = is_timed && requested > 0.0 && (ratio - 1.0).abs() > RATE_TOLERANCE;
    is_missed.then(|| {
        format!(
            "offered {:.0} operations per second instead of {requested:.0}: the generator could not keep its schedule",
            offered.per_second
        )
    })
}

fn operations_dropped(offered: &OfferedReport, settings: &Settings) -> Option<String> {
    let in_flight_max = settings.open_loop.as_ref().map_or(0, |of| of.max_in_flight);
    let of = |reason: &str| offered.dropped_by_reason.get(reason).copied().unwrap_or(0);
    (offered.dropped > 0).then(|| {
        format!(
            "{} of {} operations were dropped: {} because {in_flight_max} were in flight (--max-in-flight), {} because there was no connection, {} because the time was over; the latencies are those of the others",
            offered.dropped,
            offered.ops,
            of("no_capacity"),
            of("no_connection"),
            of("late_start"),
        )
    })
}

fn generator_late(report: &Report) -> Option<String> {
    let lateness = report.lateness.as_ref().and_then(|of| of.p99_us)?;
    let response = report.latency["all"].response.p99_us?;
    (lateness > response * LATENESS_TOLERANCE).then(|| {
        format!(
            "the generator itself is late: 1 in 100 operations starts more than {} after it was due, which is part of the response times (p99 {})",
            latency(Some(lateness)),
            latency(Some(response))
        )
    })
}

fn workers_all_busy(report: &Report, settings: &Settings) -> Option<String> {
    let capacity = settings.workers() * settings.pipeline * settings.frame_ops;
    let in_flight = report.intervals.iter().map(|of| of.in_flight).max();
    (in_flight.unwrap_or(0) >= capacity).then(|| {
        format!(
            "the workers were all busy at times, with {capacity} operations in flight: operations that were due waited for a free worker, which counts as response time (more workers or --pipeline make room for more)"
        )
    })
}

fn generator_is_bottleneck(
    report: &Report,
    settings: &Settings,
    measured: &Measured,
) -> Option<String> {
    let cores = report.machine.cores as f64;
    let seconds = measured.elapsed.as_secs_f64() + measured.drain.as_secs_f64();
    let threads = settings.threads as f64;
    let busy = report.client_cpu_seconds / (seconds * threads.min(cores));
    // In a closed loop the generator is meant to be busy. It is the bottleneck only if it leaves cores unused, and does not
    // share the cores with the server.
    let is_bottleneck = !report.server.embedded && threads < cores && busy > BUSY_TOLERANCE;
    is_bottleneck.then(|| {
        format!(
            "the generator's {} threads were busy for {:.0}% of the time: they are the bottleneck, not the server (see --threads)",
            settings.threads,
            busy * 100.0
        )
    })
}
