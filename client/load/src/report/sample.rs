//! Reports to test with: made up, plausible, and the same every time.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hdrhistogram::Histogram;
use serde_json::json;

use crate::histogram::histogram;
use crate::report::distribution::encode;
use crate::report::model::*;

/// Random numbers by splitmix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What the made-up run is like.
pub(super) struct Sample {
    pub(super) intervals: usize,
    pub(super) seed: u64,
    /// The rate and the latencies are this many times the usual.
    pub(super) rate: f64,
    pub(super) latency: f64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            intervals: 60,
            seed: 1,
            rate: 1.0,
            latency: 1.0,
        }
    }
}

/// A minute of an open loop: reads, writes and transitions, a pause of the server, a few failures.
pub(super) fn report() -> Report {
    // Deflating is slow where it is not optimised.
    static REPORT: LazyLock<Report> = LazyLock::new(|| Sample::default().report());
    REPORT.clone()
}

const KINDS: [(&str, f64); 3] = [("read", 0.7), ("transition", 0.1), ("write", 0.2)];

impl Sample {
    pub(super) fn report(&self) -> Report {
        let mut random = Random(self.seed);
        let mut response: BTreeMap<&str, Histogram<u64>> =
            KINDS.iter().map(|(kind, _)| (*kind, histogram())).collect();
        let mut service = response.clone();
        let intervals: Vec<_> = (0..self.intervals)
            .map(|index| self.interval(index, &mut random, &mut response, &mut service))
            .collect();

        let sum = |count: fn(&IntervalReport) -> u64| intervals.iter().map(count).sum::<u64>();
        let completed = sum(|one| one.completed);
        let failed = sum(|one| one.failed);
        let dropped = sum(|one| one.dropped);
        let elapsed = self.intervals as f64;
        let both = |kind: &str| LatencyReport {
            response: Distribution::of(&response[kind], &[99.5]),
            service: Distribution::of(&service[kind], &[99.5]),
        };
        let mut latency: BTreeMap<_, _> = KINDS
            .iter()
            .map(|(kind, _)| ((*kind).to_owned(), both(kind)))
            .collect();
        latency.insert(
            "all".to_owned(),
            LatencyReport {
                response: Distribution::of(&sum_of(&response), &[99.5]),
                service: Distribution::of(&sum_of(&service), &[99.5]),
            },
        );
        let refused = completed / 50;
        let kind = |kind: &str, share: f64| {
            let ok = Distribution::of(&response[kind], &[]);
            let mut report = KindReport {
                completed: (completed as f64 * share) as u64,
                outcomes: [("OK".to_owned(), ok)].into(),
                ..KindReport::default()
            };
            match kind {
                "transition" => report.refused = [("WRONG_STATE".to_owned(), refused)].into(),
                "write" => report.failed = [("UNAVAILABLE".to_owned(), failed)].into(),
                _ => report.misses = 7,
            }
            report
        };
        let client_cpu = completed as f64 * 2.1e-6 / self.rate * (1.0 + 0.01 * random.normal());
        let server_cpu = completed as f64 * 3.4e-6 / self.rate * (1.0 + 0.01 * random.normal());
        Report {
            schema: SCHEMA.to_owned(),
            version: "0.1.0".to_owned(),
            name: Some("nightly <b>mixed</b> & \"quoted\"".to_owned()),
            tags: [
                ("build".to_owned(), "a7d195f".to_owned()),
                ("disk".to_owned(), "nvme".to_owned()),
            ]
            .into(),
            started_at: format!("2026-11-23T18:{:02}:00.250Z", self.seed % 60),
            machine: MachineReport {
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                cores: 2,
            },
            server: ServerReport {
                address: "127.0.0.1:50051".to_owned(),
                embedded: true,
                version: "0.1.0".to_owned(),
            },
            settings: [
                ("readers".to_owned(), json!(100)),
                ("writers".to_owned(), json!(10)),
                ("engine".to_owned(), json!("pipeline")),
                ("rps".to_owned(), json!(100_000)),
                ("keys".to_owned(), json!(5)),
                ("key-dist".to_owned(), json!("zipfian:0.99")),
                ("value-size".to_owned(), json!(null)),
                ("connections".to_owned(), json!(2)),
                ("threads".to_owned(), json!(1)),
                ("duration".to_owned(), json!(format!("{}s", self.intervals))),
                ("warmup".to_owned(), json!("5s")),
            ]
            .into(),
            seed: self.seed,
            command: format!(
                "soloist-load 127.0.0.1:50051 --rps 100k -z {}s --warmup 5s --seed {} --name 'nightly <b>mixed</b>'",
                self.intervals, self.seed
            ),
            interrupted: None,
            elapsed_seconds: elapsed,
            completed,
            refused,
            failed: match failed {
                0 => BTreeMap::new(),
                failed => [("UNAVAILABLE".to_owned(), failed)].into(),
            },
            failure_messages: match failed {
                0 => BTreeMap::new(),
                _ => [(
                    "UNAVAILABLE".to_owned(),
                    "the mailbox is full: <script>alert(1)</script>".to_owned(),
                )]
                .into(),
            },
            offered: Some(OfferedReport {
                requested_per_second: 100_000.0 * self.rate,
                ops: completed + failed + dropped,
                per_second: (completed + failed + dropped) as f64 / elapsed,
                dropped,
            }),
            ops_per_second: completed as f64 / elapsed,
            workers_lost: 0,
            first_lost_seconds: None,
            late: LateReport {
                ops: 12,
                max_us: 1_834.2,
            },
            read_ops: (completed as f64 * 0.7) as u64,
            read_misses: 7,
            write_ops: (completed as f64 * 0.2) as u64,
            kinds: KINDS
                .iter()
                .map(|(name, share)| ((*name).to_owned(), kind(name, *share)))
                .collect(),
            phases: vec![
                phase("warmup", 5.0, completed / 12, &sum_of(&response)),
                phase("measured", elapsed, completed, &sum_of(&response)),
                phase("drain", 0.002, 12, &histogram()),
            ],
            latency,
            interval_seconds: 1.0,
            intervals,
            lateness: Some(Distribution::of(&lateness(&mut random), &[])),
            client_cpu_seconds: client_cpu,
            server_cpu_seconds: Some(server_cpu),
            client_queries_per_cpu_sec: Some(completed as f64 / client_cpu),
            server_queries_per_cpu_sec: Some(completed as f64 / server_cpu),
            warnings: vec![
                "the server was started in this process: it shares 2 cores with the load generator"
                    .to_owned(),
            ],
            slos: vec![
                SloReport {
                    slo: "p99<5ms".to_owned(),
                    actual: "1.93 ms".to_owned(),
                    met: true,
                },
                SloReport {
                    slo: "error_rate<0.001%".to_owned(),
                    actual: "0.003%".to_owned(),
                    met: false,
                },
            ],
            verify: Some(VerifyReport {
                verdict: "linearizable".to_owned(),
                operations: completed,
                keys: 5,
                unknown: 3,
                seconds: 1.25,
                text: "every answer can be true".to_owned(),
            }),
        }
    }

    /// The latencies of an interval: 1,000 of them stand for all, so that tests are quick.
    fn interval(
        &self,
        index: usize,
        random: &mut Random,
        response: &mut BTreeMap<&str, Histogram<u64>>,
        service: &mut BTreeMap<&str, Histogram<u64>>,
    ) -> IntervalReport {
        let paused = index % 60 == 37;
        let mut own = histogram();
        for drawn in 0..1_000 {
            let share = f64::from(drawn) / 1_000.0;
            let kind = match share {
                ..0.7 => "read",
                ..0.8 => "transition",
                _ => "write",
            };
            let slower = match kind {
                "read" => 1.0,
                _ => 1.6,
            };
            let nanos = 180_000.0 * slower * self.latency * (0.45 * random.normal()).exp();
            let tail = match random.unit() {
                ..0.004 => 1_500_000.0 * random.unit(),
                _ => 0.0,
            };
            let wait = match paused {
                true => 400_000_000.0 * random.unit(),
                false => 20_000.0 * random.unit(),
            };
            service
                .get_mut(kind)
                .unwrap()
                .record((nanos + tail) as u64)
                .unwrap();
            let whole = (nanos + tail + wait) as u64;
            response.get_mut(kind).unwrap().record(whole).unwrap();
            own.record(whole).unwrap();
        }
        let rate = 100_000.0 * self.rate * (1.0 + 0.004 * random.normal());
        let (completed, failed, dropped) = match paused {
            true => (rate * 0.6, 180, 1_200),
            false => (rate, 0, 0),
        };
        let figures = Distribution::of(&own, &[]);
        IntervalReport {
            start_seconds: index as f64,
            seconds: 1.0,
            completed: completed as u64,
            failed,
            dropped,
            in_flight: 20 + random.bits() % 10,
            ops_per_second: completed,
            p50_us: figures.p50_us,
            p90_us: figures.p90_us,
            p99_us: figures.p99_us,
            p99_9_us: figures.p99_9_us,
            max_us: figures.max_us,
            histogram: encode(&own),
        }
    }
}

fn sum_of(histograms: &BTreeMap<&str, Histogram<u64>>) -> Histogram<u64> {
    let mut sum = histogram();
    for histogram in histograms.values() {
        sum.add(histogram).unwrap();
    }
    sum
}

fn lateness(random: &mut Random) -> Histogram<u64> {
    let mut lateness = histogram();
    for _ in 0..1_000 {
        lateness
            .record((9_000.0 * (0.5 * random.normal()).exp()) as u64)
            .unwrap();
    }
    lateness
}

fn phase(name: &str, seconds: f64, completed: u64, response: &Histogram<u64>) -> PhaseReport {
    PhaseReport {
        phase: name.to_owned(),
        seconds,
        completed,
        failed: 0,
        response: Distribution::of(response, &[]),
    }
}

/// A run that measured nothing.
pub(crate) fn nothing() -> Report {
    let mut report = report();
    report.name = None;
    report.tags.clear();
    report.completed = 0;
    report.refused = 0;
    report.failed.clear();
    report.failure_messages.clear();
    report.elapsed_seconds = 0.0;
    report.ops_per_second = 0.0;
    report.offered = None;
    report.lateness = None;
    report.late = LateReport {
        ops: 0,
        max_us: 0.0,
    };
    report.read_ops = 0;
    report.read_misses = 0;
    report.write_ops = 0;
    report.intervals.clear();
    report.kinds.clear();
    report.latency = [(
        "all".to_owned(),
        LatencyReport {
            response: Distribution::default(),
            service: Distribution::default(),
        },
    )]
    .into();
    report.phases.clear();
    report.warnings.clear();
    report.slos.clear();
    report.verify = None;
    report.client_cpu_seconds = 0.0;
    report.server_cpu_seconds = None;
    report.client_queries_per_cpu_sec = None;
    report.server_queries_per_cpu_sec = None;
    report
}
