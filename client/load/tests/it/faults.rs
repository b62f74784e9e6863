//! Faults: servers that go away and come back, connections that break. Nothing that was due gets lost from the counts.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::open::{ServerProcess, check_account, ops};
use crate::proxy::{Mode, Proxy};
use crate::support::{Run, TestServer, load};

const ENGINES: [&str; 3] = ["unary", "pipeline", "raw"];

/// Does something with each engine, all at once.
fn with_each_engine(test: fn(&'static str)) {
    let tests = ENGINES.map(|engine| thread::spawn(move || test(engine)));
    for (engine, test) in ENGINES.into_iter().zip(tests) {
        test.join()
            .unwrap_or_else(|_| panic!("with engine {engine}"));
    }
}

fn start(arguments: &str) -> Child {
    load(arguments).spawn().unwrap()
}

fn end(child: Child) -> Run {
    child.wait_with_output().unwrap().into()
}

/// Ends a run early.
fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let kill = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(kill.success());
}

/// Waits until so many requests have passed.
fn wait_for_requests(proxy: &Proxy, child: &mut Child, requests: u64) {
    while proxy.requests() < requests && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn outages(report: &Value) -> &Vec<Value> {
    report["outages"].as_array().unwrap()
}

fn failed(report: &Value) -> u64 {
    ops(&report["account"]["failed"])
}

/// Runs while the server is killed, and started again on its port after a second. Returns the outage as it was seen here, and
/// the report.
fn run_over_a_restart(flags: &str) -> (f64, Value) {
    let mut server = ServerProcess::start();
    let line = format!(
        "{} --readers 3 --writers 1 -t 1 {flags} -q -O json",
        server.address
    );
    let load = start(&line);
    server.until_changed(50);
    let killed = Instant::now();
    server.kill();
    thread::sleep(Duration::from_secs(1));
    server.start_again();
    let outage = killed.elapsed().as_secs_f64();
    server.until_changed(20);
    interrupt(&load);
    let run = end(load);
    assert!(!run.stdout.is_empty(), "{flags}: {}", run.stderr);
    (outage, run.report())
}

#[test]
fn a_restart_of_the_server_shows_as_one_outage_of_its_length() {
    let test = |engine: &str, flags: &str| {
        // A machine that is busy with other things may be late; it is not three times in a row.
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (outage, report) = run_over_a_restart(&format!("{flags} --engine {engine}"));
            let outages = outages(&report);
            assert_eq!(outages.len(), 1, "{engine} {flags}: {report}");
            assert_eq!(outages[0]["ended"], true, "{engine} {flags}: {report}");
            let gap = report["longest_gap"]["seconds"].as_f64().unwrap();
            let seconds = outages[0]["seconds"].as_f64().unwrap();
            assert!(gap >= seconds - 0.05, "{}", report["longest_gap"]);
            assert!(report["longest_gap"]["after"].is_object(), "{report}");
            assert!(ops(&report["connections"]["made_again"]) > 0, "{report}");
            if flags.contains("--rps") {
                check_account(&report);
                // What was due in the outage, and what had been due before and was not sent yet.
                let lost = ops(&outages[0]["dropped"]) + ops(&outages[0]["failed"]);
                let due = 200.0 * seconds;
                assert!(
                    lost as f64 > due * 0.9 - 5.0,
                    "{engine}: {lost} lost in {seconds} s: {} {}",
                    report["outages"],
                    report["longest_gap"]
                );
            }
            seen.push((outage, seconds));
            if (seconds - outage).abs() <= outage * 0.1 {
                return;
            }
        }
        panic!("{engine} {flags}: outages as they were, and as reported: {seen:?}");
    };
    let flags = ["--rps 200 -z 1m", "-z 1m"];
    let tests: Vec<_> = ENGINES
        .into_iter()
        .flat_map(|engine| flags.map(|flags| thread::spawn(move || test(engine, flags))))
        .collect();
    for test in tests {
        test.join().unwrap();
    }
}

#[test]
fn a_server_that_never_comes_back_fails_the_run() {
    with_each_engine(|engine| {
        let server = ServerProcess::start();
        let line = format!(
            "{} --engine {engine} -n 1m --rps 300 --slo error_rate<=0% --reconnect-timeout 1s -q -O json",
            server.address
        );
        let load = start(&line);
        server.until_changed(20);
        server.signal("-TERM");
        let run = end(load);
        assert_eq!(run.code, Some(1), "{engine}: {}", run.stderr);
        let report = run.report();
        check_account(&report);
        assert!(report["gave_up"].is_string(), "{engine}: {report}");
        assert_eq!(report["slos"][0]["met"], false, "{engine}: {report}");
        let dropped = &report["offered"]["dropped_by_reason"]["no_connection"];
        // A second at 300/s, at the least, since it was given up no earlier.
        assert!(ops(dropped) >= 200, "{engine}: {report}");
    });
}

#[test]
fn a_count_without_a_server_ends_too() {
    with_each_engine(|engine| {
        let server = ServerProcess::start();
        let line = format!(
            "{} --engine {engine} -n 100m --reconnect-timeout 500ms -q",
            server.address
        );
        let load = start(&line);
        server.until_changed(20);
        server.signal("-KILL");
        let run = end(load);
        assert_eq!(run.code, Some(1), "{engine}: {}", run.stderr);
        for words in ["given up", "--reconnect-timeout", "outage"] {
            assert!(run.stdout.contains(words), "{engine}: {}", run.stdout);
        }
    });
}

#[test]
fn one_of_two_connections_that_is_cut_is_made_again_and_is_no_outage() {
    with_each_engine(|engine| {
        let server = TestServer::start();
        let proxy = Proxy::start(&server.address().to_string());
        let line = format!(
            "{} --engine {engine} --rps 1000 -z 2s --connections 2 -t 2 -q -O json",
            proxy.address()
        );
        let mut load = start(&line);
        wait_for_requests(&proxy, &mut load, 150);
        assert_eq!(proxy.cut(1), 1);
        let report = end(load).report();
        check_account(&report);
        assert_eq!(report["offered"]["ops"], 2_000, "{engine}: {report}");
        assert_eq!(report["connections"]["lost"], 1, "{engine}: {report}");
        assert_eq!(report["connections"]["made_again"], 1, "{engine}: {report}");
        assert!(outages(&report).is_empty(), "{engine}: {report}");
        // What was in flight, and no more.
        assert!(failed(&report) < 200, "{engine}: {report}");
    });
}

#[test]
fn a_connection_that_went_silent_is_replaced() {
    with_each_engine(|engine| {
        let server = TestServer::start();
        let proxy = Proxy::start(&server.address().to_string());
        let line = format!(
            "{} --engine {engine} --rps 200 -z 1m --timeout 200ms --connect-timeout 1s --connections 1 --readers 2 --writers 2 -q -O json",
            proxy.address()
        );
        let mut load = start(&line);
        wait_for_requests(&proxy, &mut load, 60);
        // What is sent now is lost without a word, as by a network that is cut in two.
        let lost_from = proxy.requests();
        proxy.set(Mode::Silent);
        wait_for_requests(&proxy, &mut load, lost_from + 1);
        proxy.deafen();
        proxy.set(Mode::Pass);
        let accepted = proxy.accepted();
        while proxy.accepted() == accepted && load.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        wait_for_requests(&proxy, &mut load, proxy.requests() + 60);
        interrupt(&load);
        let report = end(load).report();
        check_account(&report);
        assert_eq!(
            report["connections"]["lost"], 1,
            "{engine}: {}",
            report["connections"]
        );
        // What was in flight: four at most, and the few that followed them. The server itself ends the connection after some
        // 40 s, in which each worker would have failed every 700 ms.
        assert!(failed(&report) < 60, "{engine}: {}", failed(&report));
        assert_eq!(outages(&report)[0]["ended"], true, "{engine}: {report}");
    });
}

/// A run behind nginx, which ends each connection with GOAWAY after its 100th request.
#[test]
fn behind_nginx_no_operation_fails_when_it_ends_connections_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::start();
    // Nobody else takes a port that was just free, or else nginx says so.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = format!(
        "daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
         events {{ worker_connections 1024; }}
         http {{
           access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c;
           uwsgi_temp_path d; scgi_temp_path e;
           upstream soloist {{ server {}; keepalive 64; keepalive_requests 1000000; }}
           server {{
             listen 127.0.0.1:{port} http2; keepalive_requests 100;
             location / {{ grpc_pass grpc://soloist; }}
           }}
         }}",
        server.address()
    );
    let file = directory.path().join("nginx.conf");
    fs::write(&file, config).unwrap();
    let nginx = Command::new(nginx())
        .arg("-p")
        .arg(directory.path())
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs nginx: ./test --tools installs it");
    let nginx = Ended(nginx);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    for engine in ["unary", "raw"] {
        for flags in ["-n 3k", "-n 1k --rps 2000"] {
            let line = format!(
                "127.0.0.1:{port} --engine {engine} {flags} --readers 8 --writers 2 -q -O json"
            );
            let run = Run::of(&line);
            assert_eq!(run.code, Some(0), "{line}: {} {}", run.stdout, run.stderr);
            let report = run.report();
            assert_eq!(failed(&report), 0, "{line}: {report}");
            assert!(
                ops(&report["connections"]["goaways"]) >= 5,
                "{line}: {report}"
            );
            assert!(outages(&report).is_empty(), "{line}: {report}");
        }
    }
    drop(nginx);
}

/// nginx as `./test --tools` installs it, or else the system's.
fn nginx() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nginx/usr/sbin/nginx");
    match installed.exists() {
        true => installed,
        false => "nginx".into(),
    }
}

/// A process that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Random numbers: splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Breaks things until the load has ended.
fn break_things(proxy: &Proxy, load: &mut Child, random: &mut Random) {
    while load.try_wait().unwrap().is_none() {
        let pause = Duration::from_millis(20 + random.below(150));
        match random.below(6) {
            0 => _ = proxy.cut(1 + random.below(3) as usize),
            1 => proxy.go_away(1 + random.below(3) as usize),
            2 => {
                proxy.refuse();
                thread::sleep(pause);
                proxy.serve_again();
            }
            3 => {
                proxy.set(Mode::Stall);
                thread::sleep(pause);
                proxy.set(Mode::Pass);
            }
            4 => {
                // Bytes are lost, so the connections are worth nothing afterwards.
                proxy.set(Mode::Silent);
                thread::sleep(pause * 2);
                proxy.set(Mode::Pass);
                proxy.cut(usize::MAX);
            }
            _ => _ = proxy.cut(usize::MAX),
        }
        thread::sleep(pause);
    }
}

fn run_with_faults(seed: u64) {
    let random = &mut Random(seed);
    let engine = ENGINES[(seed % 3) as usize];
    let pace = random.pick(&[
        "-z 800ms",
        "-n 3k",
        "-z 800ms --rps 700",
        "-n 400 --rps 600",
        "-z 800ms --rps 900 --arrival poisson --warmup 200ms",
        "-z 800ms --load-schedule step --load-start 300 --load-step 300 --load-step-duration 250ms",
        "-z 800ms --load-schedule line --load-start 900 --load-step -500 --load-end 100",
        "-z 800ms --rps 3000 --max-in-flight 16",
    ]);
    let shape = random.pick(&[
        "--readers 1 --writers 1",
        "--readers 6 --writers 3 --connections 3",
        "--readers 4 --writers 4 -P 3",
        "--ratio 1:1 -c 5 --connections 2 -t 1 -P 2",
        "--workload mixed -c 4 --keys 10",
    ]);
    let shape = match (engine, shape) {
        ("pipeline", "--workload mixed -c 4 --keys 10") => "--ratio 1:1 -c 4 --frame-ops 7 -P 2",
        (_, shape) => shape,
    };
    let stop = random.pick(&["wait", "wait", "close", "ignore"]);
    let server = TestServer::start();
    let proxy = Proxy::start(&server.address().to_string());
    let line = format!(
        "{} --engine {engine} {pace} {shape} --duration-stop {stop} --seed {seed} --timeout 300ms \
         --connect-timeout 2s --reconnect-timeout 2s -q -O json",
        proxy.address()
    );
    let mut load = start(&line);
    wait_for_requests(&proxy, &mut load, 60);
    break_things(&proxy, &mut load, random);
    let run = end(load);
    if run.stdout.is_empty() {
        // It was broken before the run began.
        assert_eq!(run.code, Some(1), "{seed}: {line}: {}", run.stderr);
        return;
    }
    // Checks that nothing is missing.
    let report = run.report();
    if report["offered"].is_object() {
        check_account(&report);
    }
    let requested = report["settings"]["requests"].as_u64();
    if let (Some(requests), true) = (requested, report["gave_up"].is_null()) {
        // Frames are full.
        let due = ops(&report["account"]["due"]);
        assert!(
            (requests - 6..=requests).contains(&due),
            "{seed}: {line}: {due}"
        );
    }
}

#[test]
fn with_random_faults_the_counts_add_up() {
    // To look for more, set how many to try.
    let seeds = std::env::var("FAULT_SEEDS").map_or(24, |seeds| seeds.parse().unwrap());
    let workers: Vec<_> = (0..6_u64)
        .map(|worker| {
            thread::spawn(move || {
                for seed in (worker..seeds).step_by(6) {
                    run_with_faults(seed);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
}
