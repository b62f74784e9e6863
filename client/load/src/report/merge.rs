//! Makes one report of several, when several processes did one run. Histograms are added, so the percentiles are those
//! of all operations, not averages of percentiles.

use std::collections::BTreeMap;

use crate::histogram::{add, histogram};
use crate::report::distribution::{HistogramError, decode};
use crate::report::faults::{AccountReport, ConnectionsReport, OutageReport};
use crate::report::model::{
    CallReport, Distribution, IntervalReport, KindReport, LateReport, LatencyReport,
    MessagesReport, OfferedReport, PhaseReport, Report, StreamReport,
};

/// Merges reports, of which there is at least one. Fields about the run as a whole are taken from the first.
pub(crate) fn merge(reports: &[Report], percentiles: &[f64]) -> Result<Report, HistogramError> {
    let parts = Parts {
        reports,
        percentiles,
    };
    let elapsed = parts.longest(|of| of.elapsed_seconds);
    let completed = parts.sum(|of| of.completed);
    let client_cpu: f64 = reports.iter().map(|of| of.client_cpu_seconds).sum();
    // All processes have asked the same server about the same time.
    let server_cpu = reports.iter().filter_map(|of| of.server_cpu_seconds);
    let server_cpu = server_cpu.reduce(f64::max);
    let per_cpu_second = |cpu: f64| (cpu > 0.0).then(|| completed as f64 / cpu);
    let first_lost = reports.iter().filter_map(|of| of.first_lost_seconds);
    Ok(Report {
        elapsed_seconds: elapsed,
        interrupted: reports.iter().find_map(|of| of.interrupted),
        completed,
        refused: parts.sum(|of| of.refused),
        failed: sums(reports.iter().map(|of| &of.failed)),
        failure_messages: parts.failure_messages(),
        offered: parts.offered(elapsed),
        account: parts.account(),
        connections: parts.connections(),
        outages: parts.outages(),
        // The gap of all is within a gap of each, and only the longest of each is known.
        longest_gap: None,
        gave_up: reports.iter().find_map(|of| of.gave_up.clone()),
        ops_per_second: per_second(completed, elapsed),
        workers_lost: parts.sum(|of| of.workers_lost),
        first_lost_seconds: first_lost.reduce(f64::min),
        late: LateReport {
            ops: parts.sum(|of| of.late.ops),
            max_us: parts.longest(|of| of.late.max_us),
        },
        call: parts.call(elapsed)?,
        read_ops: parts.sum(|of| of.read_ops),
        read_misses: parts.sum(|of| of.read_misses),
        write_ops: parts.sum(|of| of.write_ops),
        kinds: parts.kinds()?,
        latency: parts.latency()?,
        phases: parts.phases()?,
        intervals: parts.intervals()?,
        lateness: parts.lateness()?,
        client_cpu_seconds: client_cpu,
        server_cpu_seconds: server_cpu,
        client_queries_per_cpu_sec: per_cpu_second(client_cpu),
        server_queries_per_cpu_sec: server_cpu.and_then(per_cpu_second),
        warnings: reports.iter().flat_map(|of| of.warnings.clone()).collect(),
        ..reports[0].clone()
    })
}

/// The reports to merge.
struct Parts<'a> {
    reports: &'a [Report],
    /// The percentiles of `--percentiles`.
    percentiles: &'a [f64],
}

impl Parts<'_> {
    fn sum(&self, count: fn(&Report) -> u64) -> u64 {
        self.reports.iter().map(count).sum()
    }

    fn longest(&self, time: fn(&Report) -> f64) -> f64 {
        self.reports.iter().map(time).fold(0.0, f64::max)
    }

    fn distribution<'a>(
        &self,
        parts: impl IntoIterator<Item = &'a Distribution>,
    ) -> Result<Distribution, HistogramError> {
        let mut sum = histogram();
        for part in parts {
            add(&mut sum, &part.histogram()?);
        }
        Ok(Distribution::of(&sum, self.percentiles))
    }

    /// Returns the first message of each code.
    fn failure_messages(&self) -> BTreeMap<String, String> {
        let mut messages = BTreeMap::new();
        for (code, message) in self.reports.iter().flat_map(|of| &of.failure_messages) {
            let seen = messages.entry(code.clone());
            seen.or_insert_with(|| message.clone());
        }
        messages
    }

    fn offered(&self, elapsed: f64) -> Option<OfferedReport> {
        let offered = || self.reports.iter().filter_map(|of| of.offered.as_ref());
        offered().next()?;
        let ops = offered().map(|of| of.ops).sum();
        Some(OfferedReport {
            requested_per_second: offered().map(|of| of.requested_per_second).sum(),
            ops,
            per_second: per_second(ops, elapsed),
            dropped: offered().map(|of| of.dropped).sum(),
            dropped_by_reason: sums(offered().map(|of| &of.dropped_by_reason)),
        })
    }

    fn account(&self) -> AccountReport {
        let account = AccountReport {
            due: self.sum(|of| of.account.due),
            completed: self.sum(|of| of.account.completed),
            late: self.sum(|of| of.account.late),
            failed: self.sum(|of| of.account.failed),
            dropped: self.sum(|of| of.account.dropped),
            unanswered: self.sum(|of| of.account.unanswered),
            missing: 0,
        };
        account.balanced()
    }

    fn connections(&self) -> ConnectionsReport {
        ConnectionsReport {
            all: self.sum(|of| of.connections.all),
            lost: self.sum(|of| of.connections.lost),
            goaways: self.sum(|of| of.connections.goaways),
            made_again: self.sum(|of| of.connections.made_again),
            attempts_failed: self.sum(|of| of.connections.attempts_failed),
            outages_more: self.sum(|of| of.connections.outages_more),
            streams_refused: self.sum(|of| of.connections.streams_refused),
            // All of them have seen the same changes.
            owner_changes: (self
                .reports
                .iter()
                .map(|of| of.connections.owner_changes)
                .max())
            .unwrap_or(0),
        }
    }

    /// Returns the outages of all agents. Those that overlap are one: from the first loss to the last return.
    fn outages(&self) -> Vec<OutageReport> {
        let outages = self.reports.iter().flat_map(|of| &of.outages);
        let mut outages: Vec<OutageReport> = outages.cloned().collect();
        outages.sort_by(|one, other| one.start_seconds.total_cmp(&other.start_seconds));
        let mut merged: Vec<OutageReport> = Vec::new();
        for outage in outages {
            let end = outage.start_seconds + outage.seconds;
            match merged.last_mut() {
                Some(last) if outage.start_seconds <= last.start_seconds + last.seconds => {
                    last.seconds = last.seconds.max(end - last.start_seconds);
                    last.ended &= outage.ended;
                    last.failed += outage.failed;
                    last.dropped += outage.dropped;
                }
                _ => merged.push(outage),
            }
        }
        merged
    }

    fn call(&self, elapsed: f64) -> Result<Option<CallReport>, HistogramError> {
        let calls = || self.reports.iter().filter_map(|of| of.call.as_ref());
        let Some(first) = calls().next() else {
            return Ok(None);
        };
        let streams = || calls().filter_map(|call| call.stream.as_ref());
        let messages = streams().map(|stream| stream.messages).sum();
        let stream = StreamReport {
            messages,
            messages_per_second: per_second(messages, elapsed),
            first_message: self.distribution(streams().map(|of| &of.first_message))?,
            last_message: self.distribution(streams().map(|of| &of.last_message))?,
        };
        Ok(Some(CallReport {
            codes: sums(calls().map(|call| &call.codes)),
            requests: MessagesReport::sum(calls().map(|call| call.requests)),
            responses: MessagesReport::sum(calls().map(|call| call.responses)),
            stream: first.stream.as_ref().map(|_| stream),
            ..first.clone()
        }))
    }

    fn kinds(&self) -> Result<BTreeMap<String, KindReport>, HistogramError> {
        let kinds = keys(self.reports.iter().map(|of| &of.kinds));
        let kinds = kinds.into_iter().map(|kind| {
            let parts = self.reports.iter().filter_map(|of| of.kinds.get(kind));
            Ok((kind.clone(), self.kind(&parts.collect::<Vec<_>>())?))
        });
        kinds.collect()
    }

    fn kind(&self, parts: &[&KindReport]) -> Result<KindReport, HistogramError> {
        let outcomes = keys(parts.iter().map(|part| &part.outcomes));
        let outcomes = outcomes.into_iter().map(|outcome| {
            let parts = parts.iter().filter_map(|part| part.outcomes.get(outcome));
            Ok((outcome.clone(), self.distribution(parts)?))
        });
        Ok(KindReport {
            completed: parts.iter().map(|part| part.completed).sum(),
            refused: sums(parts.iter().map(|part| &part.refused)),
            failed: sums(parts.iter().map(|part| &part.failed)),
            misses: parts.iter().map(|part| part.misses).sum(),
            outcomes: outcomes.collect::<Result<_, _>>()?,
        })
    }

    fn latency(&self) -> Result<BTreeMap<String, LatencyReport>, HistogramError> {
        let kinds = keys(self.reports.iter().map(|of| &of.latency));
        let latency = kinds.into_iter().map(|kind| {
            let parts = || self.reports.iter().filter_map(|of| of.latency.get(kind));
            let latency = LatencyReport {
                response: self.distribution(parts().map(|part| &part.response))?,
                service: self.distribution(parts().map(|part| &part.service))?,
            };
            Ok((kind.clone(), latency))
        });
        latency.collect()
    }

    fn phases(&self) -> Result<Vec<PhaseReport>, HistogramError> {
        let phases = self.reports[0]
            .phases
            .iter()
            .map(|PhaseReport { phase, .. }| {
                let parts = || {
                    let phases = self.reports.iter().map(|of| of.phases.iter());
                    phases.filter_map(|mut phases| phases.find(|part| part.phase == *phase))
                };
                Ok(PhaseReport {
                    phase: phase.clone(),
                    seconds: parts().map(|part| part.seconds).fold(0.0, f64::max),
                    completed: parts().map(|part| part.completed).sum(),
                    failed: parts().map(|part| part.failed).sum(),
                    response: self.distribution(parts().map(|part| &part.response))?,
                })
            });
        phases.collect()
    }

    fn intervals(&self) -> Result<Vec<IntervalReport>, HistogramError> {
        let count = self.reports.iter().map(|of| of.intervals.len()).max();
        let intervals = (0..count.unwrap_or(0)).map(|index| {
            let parts = self.reports.iter().filter_map(|of| of.intervals.get(index));
            let parts: Vec<_> = parts.collect();
            let mut response = histogram();
            for part in &parts {
                add(&mut response, &decode(&part.histogram)?);
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

    fn lateness(&self) -> Result<Option<Distribution>, HistogramError> {
        let mut parts = self.reports.iter().filter_map(|of| of.lateness.as_ref());
        let Some(first) = parts.next() else {
            return Ok(None);
        };
        self.distribution([first].into_iter().chain(parts))
            .map(Some)
    }
}

fn per_second(ops: u64, elapsed: f64) -> f64 {
    match elapsed > 0.0 {
        true => ops as f64 / elapsed,
        false => 0.0,
    }
}

/// Returns every key of the maps, in order.
fn keys<'a, T: 'a>(maps: impl Iterator<Item = &'a BTreeMap<String, T>>) -> Vec<&'a String> {
    let mut keys: Vec<&String> = maps.flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Returns the sum for each key.
fn sums<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (key, ops) in maps.flatten() {
        *sums.entry(key.clone()).or_default() += ops;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// A report of operations that took these times.
    fn of(nanos: &[u64]) -> Report {
        let mut histogram = histogram();
        for &nanos in nanos {
            histogram.record(nanos).unwrap();
        }
        let distribution = Distribution::of(&histogram, &[]);
        let ops = nanos.len() as u64;
        let mut report = sample::empty_report();
        report.elapsed_seconds = 1.0;
        report.completed = ops;
        report.ops_per_second = ops as f64;
        let latency = LatencyReport {
            response: distribution.clone(),
            service: distribution.clone(),
        };
        let kind = KindReport {
            completed: ops,
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
        // A histogram may be encoded in more than one way.
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
    fn a_report_without_a_kind_is_merged_too() {
        let mut other = of(&[5]);
        other.kinds.clear();
        let merged = merge(&[other, of(&[7, 8])], &[]).unwrap();
        assert_eq!(merged.kinds["read"].completed, 2);
    }

    #[test]
    fn outages_of_several_agents_that_overlap_are_one() {
        let outage = |start_seconds, seconds| OutageReport {
            start_seconds,
            seconds,
            ended: true,
            failed: 1,
            dropped: 2,
        };
        let (mut one, mut other) = (of(&[5]), of(&[5]));
        one.outages = vec![outage(1.0, 0.5), outage(9.0, 1.0)];
        other.outages = vec![outage(1.25, 0.5), outage(4.0, 1.0)];
        let merged = merge(&[one, other], &[]).unwrap().outages;
        let shown = merged
            .iter()
            .map(|of| (of.start_seconds, of.seconds, of.failed));
        let expected = [(1.0, 0.75, 2), (4.0, 1.0, 1), (9.0, 1.0, 1)];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_invalid_histogram_is_an_error() {
        let mut broken = of(&[5]);
        let all = broken.latency.get_mut("all").unwrap();
        all.response.histogram = "what".to_owned();
        assert!(merge(&[broken], &[]).is_err());
    }
}
