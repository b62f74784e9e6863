//! The open loop: latencies count from the intended start, and every operation that was due is accounted for.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use soloist_client::Client;
use soloist_server::Server;

use crate::support::{Run, load};

/// The variable that names the address of a server in a process of its own.
const SERVER_ADDRESS: &str = "TEST_SERVER_ADDRESS";

/// A server in a process of its own, which can be stopped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: String,
}

impl ServerProcess {
    pub(crate) fn start() -> Self {
        let (child, address) = Self::spawn("127.0.0.1:0");
        Self { child, address }
    }

    /// Starts the server again on its port, once it has ended.
    pub(crate) fn start_again(&mut self) {
        self.child.wait().unwrap();
        (self.child, _) = Self::spawn(&self.address);
    }

    /// Ends the server at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits until so many changes show that a run has started, however slow the machine is.
    pub(crate) fn until_changed(&self, revision: i64) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = Client::builder(&self.address).connect().await.unwrap();
            while client.info().await.unwrap().revision < revision {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    fn spawn(address: &str) -> (Child, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "open::serves_until_it_is_killed",
                "--nocapture",
            ])
            .env(SERVER_ADDRESS, address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            line.split_once("serving on ")
                .map(|(_, address)| address.to_owned())
        });
        (child, address.unwrap())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the process that other tests start"]
fn serves_until_it_is_killed() {
    let address = std::env::var(SERVER_ADDRESS).unwrap();
    // A client that tries to connect may have the port for a moment, as its own.
    let listener = loop {
        if let Ok(listener) = TcpListener::bind(&address) {
            break listener;
        }
        thread::yield_now();
    };
    let server = Server::start(listener, &Default::default()).unwrap();
    println!("serving on {}", server.local_addr());
    server.wait().unwrap();
}

pub(crate) fn ops(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The ends of all operations add up to the offered ones.
pub(crate) fn check_account(report: &Value) {
    let (account, offered) = (&report["account"], &report["offered"]);
    assert_eq!(account["due"], offered["ops"], "{report}");
    assert_eq!(account["dropped"], offered["dropped"], "{report}");
    let ends = ["completed", "late", "failed", "dropped", "unanswered"];
    let ends: u64 = ends.iter().map(|end| ops(&account[end])).sum();
    assert_eq!(ends, ops(&account["due"]), "{report}");
}

/// Runs at 1,000/s for 10 s, of which the server is stopped for 2 s.
fn run_with_a_pause(engine: &str) -> Value {
    let server = ServerProcess::start();
    let line = format!(
        "{} --rps 1000 -z 10s --engine {engine} --no-tui -O json",
        server.address
    );
    let mut child = load(&line).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // A line a second says that it is under way.
    for _ in 0..3 {
        lines.next().unwrap().unwrap();
    }
    server.signal("-STOP");
    thread::sleep(Duration::from_secs(2));
    server.signal("-CONT");
    let reading = thread::spawn(move || for _ in lines {});
    let output = child.wait_with_output().unwrap();
    reading.join().unwrap();
    let run = Run::from(output);
    assert_eq!(run.code, Some(0), "{engine}: {}", run.stdout);
    run.report()
}

#[test]
fn a_pause_of_the_server_shows_in_full() {
    let engines = ["pipeline", "unary", "raw"];
    let runs = engines.map(|engine| thread::spawn(move || run_with_a_pause(engine)));
    for (engine, run) in engines.into_iter().zip(runs) {
        let report = run.join().unwrap();
        check_account(&report);
        let response = &report["latency"]["all"]["response"];
        let at = |name: &str| response[name].as_f64().unwrap() / 1e6;
        // A fifth of the operations fell into the pause: a tenth waited for 1 s and more, a hundredth for 1.9 s.
        assert!(at("p99_us") >= 1.8, "{engine}: {response}");
        assert!(at("p90_us") >= 0.8, "{engine}: {response}");
    }
}

#[test]
fn operations_beyond_the_limit_in_flight_are_dropped_and_counted() {
    for engine in ["pipeline", "unary", "raw"] {
        let line = format!(
            "--rps 300k -z 300ms --max-in-flight 50 --readers 20 --writers 20 --engine {engine} -q -O json"
        );
        let run = Run::of(&line);
        assert_eq!(run.code, Some(0), "{engine}: {}", run.stderr);
        let report = run.report();
        check_account(&report);
        assert!(ops(&report["offered"]["dropped"]) > 0, "{engine}: {report}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains("dropped"), "{engine}: {warnings}");
    }
}

#[test]
fn schedules_offer_their_integral() {
    let cases = [
        ("--rps 2000 -z 500ms", 1_000),
        ("--rps 2000 -z 500ms --warmup 200ms", 1_000),
        ("--rps 2000 -z 500ms --frame-ops 10", 1_000),
        ("--rps 1500 -n 300", 300),
        ("--rps 1500 -n 300 --arrival poisson", 300),
        // 1,000/s for 200 ms, 2,000/s for 200 ms, 3,000/s for 100 ms.
        (
            "--load-schedule step --load-start 1000 --load-step 1000 --load-step-duration 200ms -z 500ms",
            900,
        ),
        // From 1,000/s to 2,000/s within half a second.
        (
            "--load-schedule line --load-start 1000 --load-step 2000 -z 500ms",
            750,
        ),
    ];
    for engine in ["pipeline", "raw"] {
        for (flags, offered) in cases {
            if engine == "raw" && flags.contains("--frame-ops") {
                continue;
            }
            let run = Run::of(&format!("{flags} --engine {engine} -q -O json"));
            assert_eq!(run.code, Some(0), "{flags}: {}", run.stderr);
            let report = run.report();
            check_account(&report);
            let actual = ops(&report["offered"]["ops"]);
            // Where the last one falls on the end, it is either within or not.
            assert!(actual.abs_diff(offered) <= 10, "{engine} {flags}: {actual}");
            assert!(report["lateness"]["count"].is_u64(), "{flags}");
        }
    }
}

#[test]
fn a_missed_objective_shows_in_the_exit_code() {
    let cases = [
        ("--slo p99<30s --slo error_rate<1%", 0, "true"),
        ("--slo read:p50<1ns", 99, "false"),
        ("--slo rps>1000000000", 99, "false"),
        // There are none of these.
        ("--slo list:max<1s", 99, "false"),
    ];
    for (flags, code, met) in cases {
        let run = Run::of(&format!("-n 200 {flags} -q -O json"));
        assert_eq!(run.code, Some(code), "{flags}: {}", run.stderr);
        assert_eq!(run.report()["slos"][0]["met"].to_string(), met, "{flags}");
    }
}

#[test]
fn a_low_rate_is_measured_over_the_whole_duration() {
    // Operations are due at 0 s and 0.5 s; at 0 s only.
    let cases = [("--rps 2 -z 1s", 2.0), ("--rps 0.5 -z 1s", 1.0)];
    for engine in ["pipeline", "unary", "raw"] {
        for (flags, per_second) in cases {
            let run = Run::of(&format!("{flags} --engine {engine} -q -O json"));
            assert_eq!(run.code, Some(0), "{flags}: {}", run.stderr);
            let report = run.report();
            assert_eq!(report["elapsed_seconds"], 1.0, "{engine} {flags}");
            assert_eq!(report["ops_per_second"], per_second, "{engine} {flags}");
        }
    }
}

#[test]
fn a_rate_beyond_the_generator_ends_at_the_end_and_what_was_offered_is_told() {
    for engine in ["pipeline", "unary", "raw"] {
        let line =
            format!("--rps 1000000000 -z 500ms --max-in-flight 100 --engine {engine} -q -O json");
        let run = Run::of(&line);
        assert_eq!(run.code, Some(0), "{engine}: {}", run.stderr);
        let report = run.report();
        check_account(&report);
        // Nothing hands out an operation a nanosecond.
        let offered = ops(&report["offered"]["ops"]);
        assert!((100..250_000_000).contains(&offered), "{engine}: {offered}");
        let warnings = report["warnings"].to_string();
        assert!(
            warnings.contains("could not keep its schedule"),
            "{warnings}"
        );
    }
}

#[test]
fn every_operation_has_an_end_if_the_server_stops_answering() {
    let run = |engine: &'static str| {
        let server = ServerProcess::start();
        let line = format!(
            "{} --rps 200 -z 4s --timeout 300ms -P 1 --engine {engine} --no-tui -O json",
            server.address
        );
        let mut child = load(&line).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // The first line comes after a second.
        lines.next().unwrap().unwrap();
        server.signal("-STOP");
        let reading = thread::spawn(move || for _ in lines {});
        let run = Run::from(child.wait_with_output().unwrap());
        reading.join().unwrap();
        assert_eq!(run.code, Some(1), "{engine}: {}", run.stderr);
        let report = run.report();
        check_account(&report);
        assert_eq!(report["offered"]["ops"], 800, "{engine}: {report}");
        let failed = report["failed"]["DEADLINE_EXCEEDED"].as_u64();
        assert!(
            failed.is_some_and(|failed| failed > 0),
            "{engine}: {report}"
        );
    };
    let engines = ["pipeline", "unary", "raw"];
    let runs = engines.map(|engine| thread::spawn(move || run(engine)));
    for run in runs {
        run.join().unwrap();
    }
}
