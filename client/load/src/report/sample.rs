//! Made-up reports for tests: plausible, and the same in every run.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hdrhistogram::Histogram;
use serde_json::json;

use crate::histogram::histogram;
use crate::report::distribution::encode;
use crate::report::faults::{AccountReport, ConnectionsReport, GapEdge, GapReport, OutageReport};
use crate::report::model::*;

/// Random numbers: splitmix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform from 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by the method of Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The parameters of a made-up run.
pub(super) struct Sample {
    pub(super) intervals: usize,
    pub(super) seed: u64,
    /// How many times the usual rate.
    pub(super) rate: f64,
    /// How many times the usual latencies.
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
    // Made once: compressing the histograms is slow in a debug build.
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
        let all = sum_of(&response);
        let client_cpu = completed as f64 * 2.1e-6 / self.rate * (1.0 + 0.01 * random.normal());
        let server_cpu = completed as f64 * 3.4e-6 / self.rate * (1.0 + 0.01 * random.normal());
        let mut report = Report {
            started_at: format!("2026-11-23T18:{:02}:00.250Z", self.seed % 60),
            settings: settings(self.intervals),
            seed: self.seed,
            command: format!(
                "soloist-load 127.0.0.1:50051 --rps 100k -z {}s --warmup 5s --seed {} --name 'nightly <b>mixed</b>'",
                self.intervals, self.seed
            ),
            elapsed_seconds: elapsed,
            completed,
            refused: completed / 50,
            agents: agents(completed),
            offered: Some(OfferedReport {
                requested_per_second: 100_000.0 * self.rate,
                ops: completed + failed + dropped,
                per_second: (completed + failed + dropped) as f64 / elapsed,
                dropped,
                dropped_by_reason: [("no_connection".to_owned(), dropped)].into(),
            }),
            account: AccountReport {
                due: completed + failed + dropped,
                completed,
                failed,
                dropped,
                ..AccountReport::default()
            },
            connections: ConnectionsReport {
                all: 2,
                lost: 2,
                made_again: 2,
                attempts_failed: 21,
                ..ConnectionsReport::default()
            },
            outages: vec![outage(failed, dropped)],
            longest_gap: Some(gap(failed, dropped)),
            ops_per_second: completed as f64 / elapsed,
            late: LateReport {
                ops: 12,
                max_us: 1_834.2,
            },
            read_ops: (completed as f64 * 0.7) as u64,
            read_misses: 7,
            write_ops: (completed as f64 * 0.2) as u64,
            kinds: kinds(&response, completed, failed),
            phases: vec![
                phase("warmup", 5.0, completed / 12, &all),
                phase("measured", elapsed, completed, &all),
                phase("drain", 0.002, 12, &histogram()),
            ],
            latency: latency(&response, &service),
            interval_seconds: 1.0,
            intervals,
            lateness: Some(Distribution::of(&lateness(&mut random), &[])),
            client_cpu_seconds: client_cpu,
            server_cpu_seconds: Some(server_cpu),
            client_queries_per_cpu_sec: Some(completed as f64 / client_cpu),
            server_queries_per_cpu_sec: Some(completed as f64 / server_cpu),
            ..setup()
        };
        if failed > 0 {
            let message = "the mailbox is full: <script>alert(1)</script>".to_owned();
            report.failed = [("UNAVAILABLE".to_owned(), failed)].into();
            report.failure_messages = [("UNAVAILABLE".to_owned(), message)].into();
        }
        report.warnings = vec![
            "the server was started in this process: it shares 2 cores with the load generator"
                .to_owned(),
        ];
        report.slos = slos();
        report.verify = Some(VerifyReport {
            verdict: "linearizable".to_owned(),
            operations: completed,
            keys: 5,
            unknown: 3,
            seconds: 1.25,
            text: format!(
                "linearizable: {completed} operations on 5 keys, 3 of unknown outcome, checked in 1.25 s"
            ),
        });
        report
    }

    /// Makes an interval. 1,000 latencies stand for all, so that tests are quick.
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

/// A report of no operations, with the name, machine and server of all made-up runs.
fn setup() -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        version: "0.1.0".to_owned(),
        name: Some("nightly <b>mixed</b> & \"quoted\"".to_owned()),
        tags: [
            ("build".to_owned(), "a7d195f".to_owned()),
            ("disk".to_owned(), "nvme".to_owned()),
        ]
        .into(),
        started_at: String::new(),
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
        agents: Vec::new(),
        settings: BTreeMap::new(),
        seed: 1,
        command: String::new(),
        interrupted: None,
        elapsed_seconds: 0.0,
        completed: 0,
        refused: 0,
        failed: BTreeMap::new(),
        failure_messages: BTreeMap::new(),
        offered: None,
        account: AccountReport::default(),
        connections: ConnectionsReport::default(),
        outages: Vec::new(),
        longest_gap: None,
        gave_up: None,
        ops_per_second: 0.0,
        workers_lost: 0,
        call: None,
        first_lost_seconds: None,
        late: LateReport {
            ops: 0,
            max_us: 0.0,
        },
        read_ops: 0,
        read_misses: 0,
        write_ops: 0,
        kinds: BTreeMap::new(),
        latency: BTreeMap::new(),
        phases: Vec::new(),
        interval_seconds: 1.0,
        intervals: Vec::new(),
        lateness: None,
        client_cpu_seconds: 0.0,
        server_cpu_seconds: None,
        client_queries_per_cpu_sec: None,
        server_queries_per_cpu_sec: None,
        warnings: Vec::new(),
        slos: Vec::new(),
        verify: None,
    }
}

/// Two agents that did the run, and one that went away.
fn agents(completed: u64) -> Vec<AgentReport> {
    let agent = |port: u16, completed: u64, lost: Option<&str>| AgentReport {
        address: format!("10.0.0.1:{port}"),
        completed,
        failed: 0,
        elapsed_seconds: 60.0,
        lost: lost.map(str::to_owned),
    };
    vec![
        agent(7411, completed / 2, None),
        agent(7412, completed - completed / 2, None),
        agent(7413, 0, Some("10.0.0.1:7413: the agent has gone away")),
    ]
}

fn settings(seconds: usize) -> BTreeMap<String, serde_json::Value> {
    [
        ("readers", json!(100)),
        ("writers", json!(10)),
        ("engine", json!("pipeline")),
        ("rps", json!(100_000)),
        ("keys", json!(5)),
        ("key-dist", json!("zipfian:0.99")),
        ("value-size", json!(null)),
        ("connections", json!(2)),
        ("threads", json!(1)),
        ("duration", json!(format!("{seconds}s"))),
        ("warmup", json!("5s")),
    ]
    .map(|(flag, value)| (flag.to_owned(), value))
    .into()
}

fn kinds(
    response: &BTreeMap<&str, Histogram<u64>>,
    completed: u64,
    failed: u64,
) -> BTreeMap<String, KindReport> {
    let kind = |kind: &str, share: f64| {
        let ok = Distribution::of(&response[kind], &[]);
        let mut report = KindReport {
            completed: (completed as f64 * share) as u64,
            outcomes: [("OK".to_owned(), ok)].into(),
            ..KindReport::default()
        };
        match kind {
            "transition" => report.refused = [("WRONG_STATE".to_owned(), completed / 50)].into(),
            "write" => report.failed = [("UNAVAILABLE".to_owned(), failed)].into(),
            _ => report.misses = 7,
        }
        report
    };
    KINDS
        .iter()
        .map(|(name, share)| ((*name).to_owned(), kind(name, *share)))
        .collect()
}

fn latency(
    response: &BTreeMap<&str, Histogram<u64>>,
    service: &BTreeMap<&str, Histogram<u64>>,
) -> BTreeMap<String, LatencyReport> {
    let both = |response: &Histogram<u64>, service: &Histogram<u64>| LatencyReport {
        response: Distribution::of(response, &[99.5]),
        service: Distribution::of(service, &[99.5]),
    };
    let mut latency: BTreeMap<_, _> = KINDS
        .iter()
        .map(|(kind, _)| ((*kind).to_owned(), both(&response[kind], &service[kind])))
        .collect();
    latency.insert("all".to_owned(), both(&sum_of(response), &sum_of(service)));
    latency
}

fn outage(failed: u64, dropped: u64) -> OutageReport {
    OutageReport {
        start_seconds: 37.1,
        seconds: 0.412,
        ended: true,
        failed,
        dropped,
    }
}

fn gap(failed: u64, dropped: u64) -> GapReport {
    let edge = |due_seconds, response_us| GapEdge {
        kind: "read".to_owned(),
        due_seconds,
        response_us,
    };
    GapReport {
        start_seconds: 37.099,
        seconds: 0.414,
        before: Some(edge(37.0987, 210.5)),
        after: Some(edge(37.5128, 340.0)),
        failed,
        dropped,
    }
}

fn slos() -> Vec<SloReport> {
    vec![
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
    ]
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

/// The report of a run without operations.
pub(crate) fn empty_report() -> Report {
    let nothing = LatencyReport {
        response: Distribution::default(),
        service: Distribution::default(),
    };
    Report {
        name: None,
        tags: BTreeMap::new(),
        started_at: "2026-11-23T18:01:00.250Z".to_owned(),
        settings: settings(60),
        command: "soloist-load 127.0.0.1:50051 --rps 100k -z 60s".to_owned(),
        latency: [("all".to_owned(), nothing)].into(),
        ..setup()
    }
}
