//! The parts of a report that break the measurement down: by kind of operation, by phase and by interval.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::histogram::{add, histogram};
use crate::plan::kind::Kind;
use crate::plan::settings::Settings;
use crate::record::stats::{KindStats, PhaseStats};
use crate::report::model::{
    CallReport, Distribution, IntervalReport, KindReport, LatencyReport, MessagesReport,
    PhaseReport, StreamReport,
};
use crate::run::measured::Measured;
use crate::workload::call::program::CallProgram;
use crate::workload::call::sizes::Sizes;
use crate::workload::call::totals::CallTotals;

/// Returns the latencies of each kind, and those of all kinds together under "all". Refusals are among them, failures not.
pub(crate) fn latencies(
    kinds: &BTreeMap<Kind, KindStats>,
    percentiles: &[f64],
) -> BTreeMap<String, LatencyReport> {
    let mut all = (histogram(), histogram());
    let mut latencies = BTreeMap::new();
    for (kind, stats) in kinds {
        let (mut response, mut service) = (stats.response.clone(), stats.service.clone());
        add(&mut response, &stats.refused_response);
        add(&mut service, &stats.refused_service);
        add(&mut all.0, &response);
        add(&mut all.1, &service);
        let latency = latency(&response, &service, percentiles);
        latencies.insert(kind.name().to_owned(), latency);
    }
    latencies.insert("all".to_owned(), latency(&all.0, &all.1, percentiles));
    latencies
}

fn latency(
    response: &Histogram<u64>,
    service: &Histogram<u64>,
    percentiles: &[f64],
) -> LatencyReport {
    LatencyReport {
        response: Distribution::of(response, percentiles),
        service: Distribution::of(service, percentiles),
    }
}

/// Returns the counts of one kind, and its response times by outcome.
pub(crate) fn kind(stats: &KindStats, percentiles: &[f64]) -> KindReport {
    let done = ("OK", &stats.response);
    let refused = ("REFUSED", &stats.refused_response);
    let answered = [done, refused].into_iter().filter(|(_, of)| !of.is_empty());
    let failed = stats.failed.iter().map(|(code, of)| (*code, of));
    let outcomes = answered
        .chain(failed)
        .map(|(name, of)| (name.to_owned(), Distribution::of(of, percentiles)));
    let owned = |(name, ops): (&&str, u64)| ((*name).to_owned(), ops);
    KindReport {
        completed: stats.completed,
        refused: stats
            .refused
            .iter()
            .map(|(reason, ops)| owned((reason, *ops)))
            .collect(),
        failed: stats
            .failed
            .iter()
            .map(|(code, of)| owned((code, of.len())))
            .collect(),
        misses: stats.misses,
        outcomes: outcomes.collect(),
    }
}

/// Returns what was called, with the codes and the messages of the calls.
pub(crate) fn call(
    program: &CallProgram,
    totals: &CallTotals,
    stats: Option<&KindStats>,
    elapsed: f64,
    percentiles: &[f64],
) -> CallReport {
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    if let Some(stats) = stats {
        let refused: u64 = stats.refused.values().sum();
        let answered = stats.refused.iter().map(|(code, ops)| (*code, *ops));
        let failed = stats.failed.iter().map(|(code, of)| (*code, of.len()));
        let ok = ("OK", stats.completed.saturating_sub(refused));
        for (code, ops) in answered
            .chain(failed)
            .chain([ok])
            .filter(|(_, ops)| *ops > 0)
        {
            *codes.entry(code.to_owned()).or_default() += ops;
        }
    }
    let sizes = |sizes: &Sizes| MessagesReport {
        messages: sizes.messages,
        bytes: sizes.bytes,
        min_bytes: sizes.min,
        max_bytes: sizes.max,
    };
    let streams = &totals.streams;
    let method = &program.method;
    CallReport {
        service: method.parent_service().full_name().to_owned(),
        method: method.name().to_owned(),
        kind: program.kind().to_owned(),
        codes,
        requests: sizes(&totals.requests),
        responses: sizes(&totals.responses),
        stream: method.is_server_streaming().then(|| StreamReport {
            messages: streams.messages,
            messages_per_second: match elapsed > 0.0 {
                true => streams.messages as f64 / elapsed,
                false => 0.0,
            },
            first_message: Distribution::of(&streams.first, percentiles),
            last_message: Distribution::of(&streams.last, percentiles),
        }),
    }
}

/// Returns the warm-up, if there was one, the measured time, and the time after it until the last answer.
pub(crate) fn phases(settings: &Settings, measured: &Measured) -> Vec<PhaseReport> {
    let recorder = &measured.recorder;
    let (warmup, drain) = (&recorder.warmup, &recorder.drain);
    let mut in_time = PhaseStats::new();
    for stats in recorder.kinds().values() {
        in_time.completed += stats.completed;
        in_time.failed += stats.failed_ops();
    }
    in_time.failed = in_time.failed.saturating_sub(warmup.failed + drain.failed);
    for interval in measured.timeline.intervals() {
        add(&mut in_time.response, &interval.response());
    }
    let phase = |name: &str, time: Duration, stats: &PhaseStats| PhaseReport {
        phase: name.to_owned(),
        seconds: time.as_secs_f64(),
        completed: stats.completed,
        failed: stats.failed,
        response: Distribution::of(&stats.response, &settings.percentiles),
    };
    let mut phases = Vec::new();
    if !settings.warmup.is_zero() {
        phases.push(phase("warmup", settings.warmup, warmup));
    }
    phases.push(phase("measured", measured.elapsed, &in_time));
    phases.push(phase("drain", measured.drain, drain));
    phases
}

/// Returns every interval of the measured time, also those in which nothing happened.
pub(crate) fn intervals(settings: &Settings, measured: &Measured) -> Vec<IntervalReport> {
    let length = settings.interval.as_secs_f64();
    let elapsed = measured.elapsed.as_secs_f64();
    let mut dropped_before = 0;
    let mut seen = measured.timeline.intervals().peekable();
    let count = (elapsed / length).ceil() as u64;
    let mut intervals = Vec::new();
    for index in 0..count {
        let start = index as f64 * length;
        let interval = seen.next_if(|interval| interval.index == index);
        let response = interval.map_or(Cow::Owned(histogram()), |interval| interval.response());
        let dropped_so_far = interval
            .map_or(0, |interval| interval.dropped_so_far)
            .max(dropped_before);
        let seconds = length.min(elapsed - start);
        let completed = interval.map_or(0, |interval| interval.completed);
        intervals.push(IntervalReport {
            completed,
            failed: interval.map_or(0, |interval| interval.failed),
            dropped: dropped_so_far - dropped_before,
            in_flight: interval.map_or(0, |interval| interval.in_flight),
            ops_per_second: completed as f64 / seconds,
            ..IntervalReport::of(&response, start, seconds)
        });
        dropped_before = dropped_so_far;
    }
    // Operations that were dropped after the last sample belong to the last interval.
    if let (Some(last), Some(totals)) = (intervals.last_mut(), &measured.open_loop) {
        last.dropped += totals.all_dropped().saturating_sub(dropped_before);
    }
    intervals
}
