//! Ctrl-C and SIGTERM: one rule for every command. What was measured is kept, and the exit code is 130 or 143.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};

use serde_json::Value;

use crate::runs::until_measuring;
use crate::support::{Run, TestServer, load};

fn kill(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// Starts a command, sends it a signal when it has written `lines` lines to standard error, and waits for its end.
fn interrupted_after(arguments: &str, lines: usize, signal: &str) -> Run {
    let mut child = load(arguments).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    for _ in 0..lines {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    kill(signal, &child);
    let output = child.wait_with_output().unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    Run {
        stderr: said + &rest,
        ..Run::from(output)
    }
}

#[test]
fn an_interrupted_sweep_keeps_its_rates() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let line = "sweep --rates 100,200,300 --settle 10ms --window 100ms -O json";
        // It would go on for an hour.
        let line = line.replace("300", &["300"; 600].join(","));
        let run = interrupted_after(&line, 2, signal);
        assert_eq!(run.code, Some(code), "{} {}", run.stdout, run.stderr);
        let sweep: Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(sweep["points"].as_array().unwrap().len() >= 2, "{sweep}");
        let headline = sweep["headline"].as_str().unwrap();
        assert!(
            headline.contains("of 602 rates, then interrupted"),
            "{headline}"
        );
    }
}

#[test]
fn an_interrupted_search_tells_what_it_has_found() {
    let line = "find-max --slo p99<9s --start 10 --settle 10ms --window 200ms --repeat 100 -O json";
    let run = interrupted_after(line, 2, "-INT");
    assert_eq!(run.code, Some(130), "{} {}", run.stdout, run.stderr);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(found["highest"].as_f64() >= Some(10.0), "{found}");
    let headline = found["headline"].as_str().unwrap();
    assert!(headline.contains("interrupted"), "{headline}");
}

#[test]
fn an_interrupted_comparison_compares_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.json");
    let run = Run::of(&format!("-z 1100ms -q -O json -o {}", base.display()));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // A run writes a line each second: after three of them, both sides have a run.
    let line = format!("compare {0} {0} --runs 1000", base.display());
    let run = interrupted_after(&line, 3, "-TERM");
    assert_eq!(run.code, Some(143), "{} {}", run.stdout, run.stderr);
    assert!(run.stdout.contains("of A, "), "{}", run.stdout);
    assert!(run.stderr.contains("interrupted"), "{}", run.stderr);
}

#[test]
fn an_interrupted_calibration_keeps_what_it_has_measured() {
    // The third measurement has begun.
    let run = interrupted_after("calibrate -z 300ms -O json", 3, "-INT");
    assert_eq!(run.code, Some(130), "{} {}", run.stdout, run.stderr);
    let calibration: Value = serde_json::from_str(&run.stdout).unwrap();
    let measured = calibration["lateness"].as_array().unwrap();
    assert_eq!(measured.len(), 2, "{calibration}");
    assert!(run.stderr.contains("interrupted"), "{}", run.stderr);
    // Also in the first one, which has nothing to keep.
    let run = interrupted_after("calibrate -z 1h", 1, "-TERM");
    assert_eq!((run.code, run.stdout.as_str()), (Some(143), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_ends_with_a_signal_before_and_after_a_run() {
    let server = TestServer::start();
    for runs in 0..2 {
        let mut agent = load("agent --listen 127.0.0.1:0").spawn().unwrap();
        let mut line = String::new();
        BufReader::new(agent.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let at = line.trim().rsplit(' ').next().unwrap();
        for _ in 0..runs {
            let run = Run::of(&format!("{} --agents {at} -n 10 -q", server.address()));
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
        kill("-TERM", &agent);
        assert_eq!(agent.wait().unwrap().code(), Some(143), "after {runs} runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_ends_the_runs_of_its_agents() {
    let server = TestServer::start();
    let client = server.client().await;
    let line = format!("{} --agents local:2 -z 1h -q -O json", server.address());
    let leader = load(&line).spawn().unwrap();
    until_measuring(&client).await;
    // The leader alone: agents on other machines get no signal of this terminal.
    kill("-INT", &leader);
    let run = Run::from(leader.wait_with_output().unwrap());
    assert_eq!(
        run.code.map(|code| code >= 130),
        Some(true),
        "{}",
        run.stderr
    );
    let report = run.report();
    assert!(report["completed"].as_u64() > Some(0), "{report}");
    assert_eq!(report["agents"].as_array().unwrap().len(), 2, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_check_says_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.history");
    let server = TestServer::start();
    let run = Run::of(&format!(
        "{} --workload mixed -c 60 --keys 1 -n 20k --verify --history {} -q",
        server.address(),
        file.display()
    ));
    assert_eq!(run.code, Some(0), "{} {}", run.stdout, run.stderr);
    assert!(fs::metadata(&file).unwrap().len() > 0);
    let mut child = load(&format!(
        "check {} --search --search-timeout 1h",
        file.display()
    ))
    .spawn()
    .unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("checking") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    kill("-INT", &child);
    let run = Run::from(child.wait_with_output().unwrap());
    // Decided before the signal, or ended by it.
    assert!(
        matches!(run.code, Some(0 | 130)),
        "{:?} {}",
        run.code,
        run.stdout
    );
    if run.code == Some(130) {
        assert!(run.stdout.contains("NOT DECIDED"), "{}", run.stdout);
        assert!(run.stdout.contains("interrupted"), "{}", run.stdout);
    }
}
