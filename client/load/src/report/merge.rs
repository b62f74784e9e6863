//! One report of several, each of a part of the same run. Histograms are added as they are: the percentiles are those of
//! all operations, not averages of percentiles.

use std::collections::BTreeMap;

use crate::histogram::{add, histogram};
use crate::report::distribution::HistogramError;
use crate::report::model::{
    Distribution, IntervalReport, KindReport, LatencyReport, OfferedReport, PhaseReport, Report,
};

/// Puts reports together; there is at least one. What is true of the run as a whole is taken from the first.
pub(crate) fn merge(reports: &[Report], percentiles: &[f64]) -> Result<Report, HistogramError> {
    let of = |parts: Vec<&Distribution>| together(&parts, percentiles);
    let first = &reports[0];
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let elapsed = reports.iter().map(|of| of.elapsed_seconds);
    let elapsed = elapsed.fold(0.0, f64::max);
    let completed = sum(|of| of.completed);
    let per_second = |ops: u64| match elapsed > 0.0 {
        true => ops as f64 / elapsed,
        false => 0.0,
    };
    let client_cpu: f64 = reports.iter().map(|of| of.client_cpu_seconds).sum();
    // Each has asked the same server about the same time.
    let server_cpu = reports.iter().filter_map(|of| of.server_cpu_seconds);
    let server_cpu = server_cpu.reduce(f64::max);
    let rate = |cpu: f64| (cpu > 0.0).then(|| completed as f64 / cpu);

    let mut failed: BTreeMap<String, u64> = BTreeMap::new();
    let mut failure_messages = BTreeMap::new();
    for report in reports {
        for (code, ops) in &report.failed {
            *failed.entry(code.clone()).or_default() += ops;
        }
        for (code, message) in &report.failure_messages {
            let seen = failure_messages.entry(code.clone());
            seen.or_insert_with(|| message.clone());
        }
    }
    let kinds = keys(reports.iter().map(|of| &of.kinds));
    let kinds = kinds.into_iter().map(|kind| {
        let parts = reports.iter().filter_map(|of| of.kinds.get(kind));
        Ok((kind.clone(), merge_kinds(&parts.collect::<Vec<_>>(), &of)?))
    });
    let latency = keys(reports.iter().map(|of| &of.latency));
    let latency = latency.into_iter().map(|kind| {
        let parts: Vec<_> = reports
            .iter()
            .filter_map(|of| of.latency.get(kind))
            .collect();
        let latency = LatencyReport {
            response: of(parts.iter().map(|part| &part.response).collect())?,
            service: of(parts.iter().map(|part| &part.service).collect())?,
        };
        Ok((kind.clone(), latency))
    });
    let offered: Vec<&OfferedReport> = reports
        .iter()
        .filter_map(|of| of.offered.as_ref())
        .collect();
    let lateness: Vec<&Distribution> = reports
        .iter()
        .filter_map(|of| of.lateness.as_ref())
        .collect();
    let offered_ops = offered.iter().map(|of| of.ops).sum();
    Ok(Report {
        elapsed_seconds: elapsed,
        interrupted: reports.iter().find_map(|of| of.interrupted),
        completed,
        refused: sum(|of| of.refused),
        failed,
        failure_messages,
        offered: (!offered.is_empty()).then(|| OfferedReport {
            requested_per_second: offered.iter().map(|of| of.requested_per_second).sum(),
            ops: offered_ops,
            per_second: per_second(offered_ops),
            dropped: offered.iter().map(|of| of.dropped).sum(),
        }),
        ops_per_second: per_second(completed),
        workers_lost: sum(|of| of.workers_lost),
        first_lost_seconds: reports
            .iter()
            .filter_map(|of| of.first_lost_seconds)
            .reduce(f64::min),
        late: crate::report::model::LateReport {
            ops: sum(|of| of.late.ops),
            max_us: reports.iter().map(|of| of.late.max_us).fold(0.0, f64::max),
        },
        read_ops: sum(|of| of.read_ops),
        read_misses: sum(|of| of.read_misses),
        write_ops: sum(|of| of.write_ops),
        kinds: kinds.collect::<Result<_, _>>()?,
        latency: latency.collect::<Result<_, _>>()?,
        phases: merge_phases(reports, &of)?,
        intervals: merge_intervals(reports)?,
        lateness: match lateness.is_empty() {
            true => None,
            false => Some(of(lateness)?),
        },
        client_cpu_seconds: client_cpu,
        server_cpu_seconds: server_cpu,
        client_queries_per_cpu_sec: rate(client_cpu),
        server_queries_per_cpu_sec: server_cpu.and_then(rate),
        warnings: reports.iter().flat_map(|of| of.warnings.clone()).collect(),
        ..first.clone()
    })
}

type Merge<'a> = dyn Fn(Vec<&Distribution>) -> Result<Distribution, HistogramError> + 'a;

fn together(parts: &[&Distribution], percentiles: &[f64]) -> Result<Distribution, HistogramError> {
    let mut sum = histogram();
    for part in parts {
        add(&mut sum, &part.histogram()?);
    }
    Ok(Distribution::of(&sum, percentiles))
}

/// Every key that any of them has, in order.
fn keys<'a, T>(maps: impl Iterator<Item = &'a BTreeMap<String, T>>) -> Vec<&'a String>
where
    T: 'a,
{
    let mut keys: Vec<&String> = maps.flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn merge_kinds(parts: &[&KindReport], of: &Merge<'_>) -> Result<KindReport, HistogramError> {
    let mut sum = KindReport::default();
    for part in parts {
        sum.completed += part.completed;
        sum.misses += part.misses;
        for (reason, ops) in &part.refused {
            *sum.refused.entry(reason.clone()).or_default() += ops;
        }
        for (code, ops) in &part.failed {
            *sum.failed.entry(code.clone()).or_default() += ops;
        }
    }
    for outcome in keys(parts.iter().map(|part| &part.outcomes)) {
        let parts = parts.iter().filter_map(|part| part.outcomes.get(outcome));
        sum.outcomes.insert(outcome.clone(), of(parts.collect())?);
    }
    Ok(sum)
}

fn merge_phases(reports: &[Report], of: &Merge<'_>) -> Result<Vec<PhaseReport>, HistogramError> {
    let phases = reports[0].phases.iter().map(|phase| {
        let parts: Vec<&PhaseReport> = reports
            .iter()
            .filter_map(|of| of.phases.iter().find(|part| part.phase == phase.phase))
            .collect();
        Ok(PhaseReport {
            phase: phase.phase.clone(),
            seconds: parts.iter().map(|part| part.seconds).fold(0.0, f64::max),
            completed: parts.iter().map(|part| part.completed).sum(),
            failed: parts.iter().map(|part| part.failed).sum(),
            response: of(parts.iter().map(|part| &part.response).collect())?,
        })
    });
    phases.collect()
}

fn merge_intervals(reports: &[Report]) -> Result<Vec<IntervalReport>, HistogramError> {
    let count = reports.iter().map(|of| of.intervals.len()).max();
    let intervals = (0..count.unwrap_or(0)).map(|index| {
        let parts: Vec<&IntervalReport> = reports
            .iter()
            .filter_map(|of| of.intervals.get(index))
            .collect();
        let mut response = histogram();
        for part in &parts {
            let part = crate::report::distribution::decode(&part.histogram)?;
            add(&mut response, &part);
        }
        let seconds = parts.iter().map(|part| part.seconds).fold(0.0, f64::max);
        let completed: u64 = parts.iter().map(|part| part.completed).sum();
        Ok(IntervalReport {
            completed,
            failed: parts.iter().map(|part| part.failed).sum(),
            dropped: parts.iter().map(|part| part.dropped).sum(),
            in_flight: parts.iter().map(|part| part.in_flight).sum(),
            ops_per_second: completed as f64 / seconds,
            ..IntervalReport::of(&response, parts[0].start_seconds, seconds)
        })
    });
    intervals.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::summary::tests::report;

    /// A report in which operations took these times.
    fn of(nanos: &[u64]) -> Report {
        let mut histogram = histogram();
        for &nanos in nanos {
            histogram.record(nanos).unwrap();
        }
        let distribution = Distribution::of(&histogram, &[]);
        let mut report = report(nanos.len() as f64);
        let latency = LatencyReport {
            response: distribution.clone(),
            service: distribution.clone(),
        };
        let kind = KindReport {
            completed: nanos.len() as u64,
            refused: BTreeMap::from([("KEY_EXISTS".to_owned(), 2)]),
            outcomes: BTreeMap::from([("OK".to_owned(), distribution)]),
            ..KindReport::default()
        };
        report.kinds.insert("read".to_owned(), kind);
        report.latency.insert("all".to_owned(), latency);
        report.failed.insert("ABORTED".to_owned(), 1);
        report
    }

    #[test]
    fn percentiles_of_all_are_those_of_one_histogram() {
        let (fast, slow) = (vec![1_000; 98], vec![9_000_000; 2]);
        let merged = merge(&[of(&fast), of(&slow)], &[]).unwrap();
        let whole: Vec<u64> = fast.into_iter().chain(slow).collect();
        let expected = of(&whole);
        // The same histogram may be written in more than one way.
        let plain = |of: &Distribution| Distribution {
            histogram: String::new(),
            ..of.clone()
        };
        let pairs = [
            (
                &merged.latency["all"].response,
                &expected.latency["all"].response,
            ),
            (
                &merged.kinds["read"].outcomes["OK"],
                &expected.kinds["read"].outcomes["OK"],
            ),
        ];
        for (merged, expected) in pairs {
            assert_eq!(plain(merged), plain(expected));
            assert_eq!(merged.histogram().unwrap(), expected.histogram().unwrap());
        }
        assert_eq!((merged.completed, merged.ops_per_second), (100, 100.0));
        assert_eq!(merged.kinds["read"].refused["KEY_EXISTS"], 4);
        assert_eq!(merged.failed["ABORTED"], 2);
    }

    #[test]
    fn a_part_that_has_nothing_of_a_kind_changes_nothing() {
        let mut other = of(&[5]);
        other.kinds.clear();
        let merged = merge(&[other, of(&[7, 8])], &[]).unwrap();
        assert_eq!(merged.kinds["read"].completed, 2);
    }

    #[test]
    fn a_histogram_that_is_none_is_an_error() {
        let mut broken = of(&[5]);
        let all = broken.latency.get_mut("all").unwrap();
        all.response.histogram = "what".to_owned();
        assert!(merge(&[broken], &[]).is_err());
    }
}
