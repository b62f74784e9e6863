//! Runs: their counts add up, and their reports arrive.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use soloist_client::Client;

use crate::support::{Run, TestServer, load};

/// Waits until writes show that the run has started, however slow the machine is.
pub(crate) async fn until_measuring(client: &Client) {
    while client.info().await.unwrap().revision < 500 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn without_arguments_it_runs_the_stateful_goroutines() {
    let run = Run::of("");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let shown = run.stdout;
    assert!(shown.starts_with("readOps: "), "{shown}");
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
    assert!(!shown.contains("settings"), "{shown}");

    let run = Run::of("-v");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut lines = run.stdout.lines();
    let count = |line: Option<&str>, name: &str| -> u64 {
        let number = line.unwrap().strip_prefix(name).unwrap();
        number.parse().unwrap()
    };
    let read_ops = count(lines.next(), "readOps: ");
    let write_ops = count(lines.next(), "writeOps: ");
    assert!(read_ops > 0 && write_ops > 0);
    let completed = lines
        .find_map(|line| line.strip_prefix("completed"))
        .unwrap();
    let completed = completed
        .split_whitespace()
        .next()
        .unwrap()
        .replace(',', "");
    assert_eq!(completed, (read_ops + write_ops).to_string());
    assert!(run.stdout.contains("embedded"));
    for words in ["readers 100", "writers 10", "engine pipeline"] {
        assert!(run.stdout.contains(words), "{words} in {}", run.stdout);
    }
    assert!(run.stdout.contains("failed       0"));
    // Not a terminal, and over before the first line is due.
    assert!(run.stderr.lines().count() <= 1, "{}", run.stderr);
}

#[test]
fn a_report_for_programs_agrees_with_itself() {
    let run = Run::of("-z 200ms --warmup 50ms -O json --seed 7");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = run.report();
    assert!(report["completed"].as_u64().unwrap() > 0);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["elapsed_seconds"], 0.2);
    assert_eq!(report["settings"]["warmup"], "50ms");
    assert_eq!(report["server"]["embedded"], true);
    assert!(report["server_cpu_seconds"].as_f64().unwrap() > 0.0);
    assert!(report["client_cpu_seconds"].as_f64().unwrap() > 0.0);
    // A closed loop starts every operation when it means to.
    let latency = &report["latency"]["all"];
    assert_eq!(latency["response"], latency["service"]);
}

#[test]
fn a_count_is_met_exactly() {
    for flags in [
        "-n 1",
        "-n 1k",
        "-n 1001 --frame-ops 64 -P 4",
        "-n 997 --engine unary",
        "-n 999 --engine unary -P 3 --readers 7 --writers 2",
        "-n 500 --readers 0 --writers 3 --value-size 1000",
        "-n 500 --warmup 20ms",
        "-n 300 --readers 300 --writers 0 -t 1",
        "-n 2k --keys 100 --key-dist zipfian:1.1",
        "-n 100 --timeout 5s",
        "-n 100 --timeout 5s --engine unary",
    ] {
        let run = Run::of(&format!("{flags} -O json"));
        assert_eq!(run.code, Some(0), "{flags}: {}", run.stderr);
        let wanted = flags.split_whitespace().nth(1).unwrap().replace('k', "000");
        let report = run.report();
        assert_eq!(report["completed"].to_string(), wanted, "{flags}");
        assert_eq!(report["late"]["ops"], 0, "{flags}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_agrees_with_the_revision_of_the_server() {
    let server = TestServer::start();
    let arguments = format!("{} -n 5k --frame-ops 8 -P 2 -O json", server.address());
    let run = Run::of(&arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = run.report();
    assert_eq!(report["server"]["embedded"], false);
    let info = server.client().await.info().await.unwrap();
    assert_eq!(report["write_ops"], info.revision);
    assert_eq!(report["server"]["version"], info.version);
}

/// Keys of others stay as they are, also one that has the number of a key as its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_writes_under_its_prefix_and_cleans_up() {
    let server = TestServer::start();
    let client = server.client().await;
    client.write("1", "mine").await.unwrap();
    client.write("loads", "mine").await.unwrap();
    let keys = async || -> Vec<String> {
        let page = client.list("").await.unwrap();
        page.entries.into_iter().map(|entry| entry.key).collect()
    };
    let run = async |flags: &str| {
        let run = Run::of(&format!("{} -n 2k -q {flags}", server.address()));
        assert_eq!(run.code, Some(0), "{flags}: {}", run.stderr);
        keys().await
    };
    let after = run("--readers 0 --writers 2 --keys 20").await;
    assert_eq!(after.len(), 22, "{after:?}");
    let begins = |key: &&String| key.starts_with("load/");
    assert_eq!(after.iter().filter(begins).count(), 20, "{after:?}");
    assert_eq!(run("--clean --writers 2 --readers 0").await, ["1", "loads"]);
    for flags in [
        "--workload a --keys 3000 --value-size 20",
        "--workload mixed",
        "--workload watch --watchers 2",
        "--workload transition",
        "--workload counter --engine raw",
        "--workload d --engine raw",
        "--ratio 1:1 --key-prefix x/",
        "--agents local:2",
    ] {
        assert_eq!(
            run(&format!("{flags} --clean")).await,
            ["1", "loads"],
            "{flags}"
        );
    }
    let swept = Run::of(&format!(
        "sweep {} --rates 500 --settle 10ms --window 100ms --clean",
        server.address()
    ));
    assert_eq!(swept.code, Some(0), "{}", swept.stderr);
    assert!(
        swept.stderr.contains("that began with \"load/\""),
        "{}",
        swept.stderr
    );
    assert_eq!(keys().await, ["1", "loads"]);
    // The runs that are repeated clean up as they did, or as they are told now.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json").display().to_string();
    for (of_run, of_compare) in [("--clean", ""), ("", "--clean")] {
        run(&format!("{of_run} --save-baseline {file}")).await;
        let compared = Run::of(&format!("compare {file} {file} --runs 1 -q {of_compare}"));
        assert_eq!(compared.code, Some(0), "{}", compared.stderr);
        assert_eq!(keys().await, ["1", "loads"], "{of_run} {of_compare}");
    }
    let value = client.read("1").await.unwrap().entry.unwrap().value;
    assert_eq!(value, "mine".into());
}

#[test]
fn a_report_goes_to_the_file_named() {
    let folder = std::env::temp_dir().join(format!("soloist-load-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("report.json");
    fs::write(&path, "before").unwrap();
    let run = Run::of(&format!("-n 10 -O json -o {}", path.display()));
    let stdout = fs::read_to_string(&path).unwrap();
    let files = fs::read_dir(&folder).unwrap().count();
    let onto_folder = Run::of(&format!("-n 10 -o {}", folder.display()));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""));
    assert_eq!(files, 1);
    let report = Run { stdout, ..run }.report();
    assert_eq!(report["completed"], 10);

    assert_eq!(onto_folder.code, Some(1));
    let named = onto_folder.stderr.contains(&*folder.to_string_lossy());
    assert!(named, "{}", onto_folder.stderr);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_before_the_run() {
    let run = Run::of("-z 1h -o /nowhere/at/all");
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("/nowhere/at/all"), "{}", run.stderr);
}

#[test]
fn a_report_that_its_file_does_not_take_is_printed() {
    let run = Run::of("-n 10 -O json -o /dev/full");
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("/dev/full"), "{}", run.stderr);
    assert_eq!(run.report()["completed"], 10);

    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let child = load("-n 10").stdout(full).spawn().unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, Some(1));
    let words = "standard output: No space left on device";
    assert!(run.stderr.contains(words), "{}", run.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = load("-n 10").spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_run_with_a_report() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let server = TestServer::start();
        let client = server.client().await;
        let arguments = format!("{} -z 1h -O json", server.address());
        let child = load(&arguments).spawn().unwrap();
        until_measuring(&client).await;
        let pid = child.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        let report = run.report();
        assert!(report["interrupted"].is_u64());
        assert_eq!(report["workers_lost"], 0, "{report}");
        assert!(report["completed"].as_u64() > Some(0), "{report}");
        assert!(
            report["elapsed_seconds"].as_f64() < Some(3_600.0),
            "{report}"
        );
    }
}

#[test]
fn reads_that_find_nothing_are_reported() {
    let run = Run::of("-n 100 --writers 0 -O json");
    let report = run.report();
    assert_eq!(
        (&report["read_ops"], &report["read_misses"]),
        (&100.into(), &100.into())
    );
    let run = Run::of("-n 100 --writers 0");
    let line = "not found    100 reads, because the key did not exist";
    assert!(run.stdout.contains(line), "{}", run.stdout);
}

#[test]
fn help_has_every_flag_and_the_exit_codes() {
    let mut child = load("--help").spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let help: String = lines.map(|line| line.unwrap() + "\n").collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for words in [
        "HOST:PORT",
        "--readers",
        "--writers",
        "-z, --duration",
        "-n, --requests",
        "--connections",
        "--engine",
        "-P, --pipeline",
        "--frame-ops",
        "--keys",
        "--key-dist",
        "--value-size",
        "--warmup",
        "-t, --threads",
        "--seed",
        "--timeout",
        "--connect-timeout",
        "-o, --output",
        "-O, --format",
        "-q, --quiet",
        "--allow-errors",
        "Exit codes",
    ] {
        assert!(help.contains(words), "{words} in {help}");
    }
}
