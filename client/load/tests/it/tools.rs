//! The other subcommands, and the formats of reports.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::runs::until_measuring;
use crate::support::{Run, TestServer, load};

#[test]
fn the_highest_rate_is_found() {
    let line = "find-max --slo p99<5s --start 200 --settle 50ms --window 200ms --precision 60 --repeat 1 -q -O json";
    let run = Run::of(line);
    assert_eq!(run.code, Some(0), "{} {}", run.stdout, run.stderr);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(found["highest"].as_f64().unwrap() >= 200.0, "{found}");
    assert!(found["points"].as_array().unwrap().len() >= 2);

    let none = Run::of("find-max --slo p50<1ns --start 1 --settle 10ms --window 50ms -q");
    assert_eq!(none.code, Some(99), "{} {}", none.stdout, none.stderr);
    let without = Run::of("find-max");
    assert_eq!(without.code, Some(2));
    assert!(without.stderr.contains("--slo"), "{}", without.stderr);
    let twice = Run::of("find-max --slo p99<1s --rps 5");
    assert_eq!(twice.code, Some(2));
    assert!(twice.stderr.contains("--rps"), "{}", twice.stderr);
}

#[test]
fn a_gate_that_fails_says_why_wherever_the_report_goes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.html");
    let run = Run::of(&format!(
        "-n 100 --slo p99<1ns --slo p99<1000s -q -o {}",
        file.display()
    ));
    assert_eq!((run.code, run.stdout.as_str()), (Some(99), ""));
    let said: Vec<_> = run.stderr.lines().collect();
    assert_eq!(said.len(), 1, "{}", run.stderr);
    assert!(
        said[0].starts_with("error: objective not met: p99<1ns (measured: "),
        "{}",
        run.stderr
    );
    // On standard output the text says it.
    let run = Run::of("-n 100 --slo p99<1ns -q");
    assert_eq!((run.code, run.stderr.as_str()), (Some(99), ""));
    assert!(run.stdout.contains("NOT MET"), "{}", run.stdout);
}

/// What the forms say of one real run, with operations in flight at its end.
#[test]
fn all_forms_of_a_run_tell_the_same_counts() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["r.txt", "r.json", "r.csv", "r.hgrm"];
    let files = names.map(|name| folder.path().join(name));
    let flags: Vec<String> = files
        .iter()
        .map(|file| format!("-o {}", file.display()))
        .collect();
    let run = Run::of(&format!(
        "-z 150ms --warmup 50ms --interval 40ms -q {}",
        flags.join(" ")
    ));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let [text, json, csv, hgrm] = files.map(|file| fs::read_to_string(file).unwrap());
    let report: Value = serde_json::from_str(&json).unwrap();
    let completed = report["completed"].as_u64().unwrap();
    let late = report["late"]["ops"].as_u64().unwrap();
    let of_phase = |phase: &str| -> u64 {
        let lines = csv.lines().filter(|line| line.ends_with(phase));
        lines
            .map(|line| line.split(',').nth(2).unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!(
        (of_phase(",measured"), of_phase(",drain")),
        (completed, late)
    );
    let count = report["latency"]["all"]["response"]["count"].as_u64();
    assert_eq!(count, Some(completed + late));
    let (_, total) = hgrm.split_once("Total count    =").unwrap();
    let total = total.split(']').next().unwrap().trim();
    assert_eq!(total.parse::<u64>().ok(), count);
    let plain = text.replace(',', "");
    assert!(
        plain.contains(&format!("completed    {completed} ")),
        "{text}"
    );
}

#[test]
fn the_extension_of_a_file_names_a_form_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let run = Run::of(&format!(
        "-n 10 -q -o {} -o {}",
        file("r.hdr"),
        file("R.JSON")
    ));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        fs::read_to_string(file("r.hdr"))
            .unwrap()
            .contains("#[Mean")
    );
    assert!(fs::read_to_string(file("R.JSON")).unwrap().starts_with('{'));
    let run = Run::of(&format!("-z 1h -o {}", file("r.pdf")));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    for words in ["r.pdf", ".hgrm", "-O"] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    let run = Run::of(&format!("-n 10 -q -O text -o {}", file("r.pdf")));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_sweep_measures_each_rate() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("sweep.html");
    let run = Run::of(&format!(
        "sweep --rates 100,200 --settle 20ms --window 200ms -q -O html -o {} -O json",
        page.display()
    ));
    assert_eq!(run.code, Some(0), "{} {}", run.stdout, run.stderr);
    let sweep: Value = serde_json::from_str(&run.stdout).unwrap();
    let points = sweep["points"].as_array().unwrap();
    let requested: Vec<f64> = points
        .iter()
        .map(|point| point["requested"].as_f64().unwrap().round())
        .collect();
    assert_eq!(requested, [100.0, 200.0]);
    assert!(fs::read_to_string(&page).unwrap().contains("</html>"));
}

#[test]
fn every_form_of_a_report_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["r.txt", "r.json", "r.csv", "r.html", "r.hgrm", "r.hlog"];
    let files = names.map(|name| folder.path().join(name));
    let flags: Vec<String> = files
        .iter()
        .map(|file| format!("-o {}", file.display()))
        .collect();
    let line = format!(
        "-n 2000 --interval 50ms --percentiles 75,95 --name first --tag who=me -q {}",
        flags.join(" ")
    );
    let run = Run::of(&line);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), ""),
        "{}",
        run.stderr
    );
    let [text, json, csv, html, hgrm, hlog] = files.map(|file| fs::read_to_string(file).unwrap());
    assert!(text.starts_with("readOps: "), "{text}");
    assert!(html.contains("</html>") && !html.contains("http://127.0.0.1/"));
    assert!(hgrm.contains("#[Mean"), "{hgrm}");
    assert!(hlog.starts_with("#"), "{hlog}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["name"], "first");
    assert_eq!(report["tags"]["who"], "me");
    let percentiles = &report["latency"]["all"]["response"]["percentiles"];
    assert_eq!(percentiles.as_array().unwrap().len(), 2, "{percentiles}");
    let intervals = report["intervals"].as_array().unwrap();
    assert_eq!(csv.lines().count(), intervals.len() + 1, "{csv}");

    let schema: Value = serde_json::from_str(&Run::of("schema").stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&report)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");

    let run = Run::of("-n 10 -O json -O csv");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("standard output"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_repeated_by_the_command_in_its_report() {
    let server = TestServer::start();
    let line = format!(
        "{} --ratio 2:1 -c 1 --keys 30 --key-dist zipfian:0.8 -n 500 --distinct -q -O json",
        server.address()
    );
    let first = Run::of(&line).report();
    let command = first["command"].as_str().unwrap();
    let words = command.strip_prefix("soloist-load ").unwrap();
    let again = Run::of(&format!("{words} -q -O json")).report();
    for field in ["seed", "settings", "completed", "read_ops", "write_ops"] {
        assert_eq!(again[field], first[field], "{field}: {command}");
    }
}

#[test]
fn runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (base, slow) = (file("base.json"), file("slow.json"));
    let run = Run::of(&format!("-n 500 --runs 6 --save-baseline {base} -q"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let text = fs::read_to_string(&base).unwrap();
    let mut reports: Value = serde_json::from_str(&text).unwrap();
    let runs = reports.as_array_mut().unwrap();
    assert_eq!(runs.len(), 6);
    // As noisy as the machine is: what is slow must be slower than that.
    for (number, report) in (0i32..).zip(runs.iter_mut()) {
        report["ops_per_second"] = (1_000.0 + f64::from(number)).into();
    }
    fs::write(&base, reports.to_string()).unwrap();
    for report in reports.as_array_mut().unwrap() {
        let half = report["ops_per_second"].as_f64().unwrap() / 2.0;
        report["ops_per_second"] = half.into();
    }
    fs::write(&slow, reports.to_string()).unwrap();

    let same = Run::of(&format!("compare {base} {base} --fail-on-regression"));
    assert_eq!(same.code, Some(0), "{} {}", same.stdout, same.stderr);
    let slower = Run::of(&format!("compare {base} {slow} --fail-on-regression=10"));
    assert_eq!(slower.code, Some(1), "{} {}", slower.stdout, slower.stderr);
    assert!(slower.stdout.contains("worse"), "{}", slower.stdout);
    let told = Run::of(&format!("compare {base} {slow}"));
    assert_eq!(told.code, Some(0), "only told: {}", told.stderr);
    let faster = Run::of(&format!(
        "compare {slow} {base} --fail-on-regression -O json"
    ));
    assert_eq!(faster.code, Some(0), "{}", faster.stdout);
    assert!(serde_json::from_str::<Value>(&faster.stdout).is_ok());
    let table = Run::of(&format!("compare {base} {slow} -O markdown"));
    assert!(table.stdout.contains("| "), "{}", table.stdout);

    let against = Run::of(&format!("-n 300 --baseline {base} -q"));
    assert_eq!(against.code, Some(0), "{}", against.stderr);
    let again = Run::of(&format!("compare {base} {base} --runs 2 -q"));
    assert_eq!(again.code, Some(0), "{} {}", again.stdout, again.stderr);

    // A gate that cannot fail is none.
    let one = file("one.json");
    let runs: Value = serde_json::from_str(&fs::read_to_string(&base).unwrap()).unwrap();
    fs::write(&one, runs[0].to_string()).unwrap();
    let slow_one = file("slow-one.json");
    let runs: Value = serde_json::from_str(&fs::read_to_string(&slow).unwrap()).unwrap();
    fs::write(&slow_one, runs[0].to_string()).unwrap();
    let undecided = Run::of(&format!("compare {one} {slow_one} --fail-on-regression"));
    assert_eq!(undecided.code, Some(4), "{}", undecided.stdout);
    assert!(
        undecided.stderr.contains("at least 6"),
        "{}",
        undecided.stderr
    );
    for line in [
        format!("compare {one} {one} --runs 1 --fail-on-regression"),
        format!("-n 300 --baseline {base} --fail-on-regression -q"),
        format!("-n 300 --runs 6 --baseline {one} --fail-on-regression -q"),
    ] {
        let refused = Run::of(&line);
        assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{line}");
        assert!(refused.stderr.contains("--runs 6"), "{}", refused.stderr);
    }

    let missing = Run::of(&format!("compare {base} {}", file("none.json")));
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("none.json"), "{}", missing.stderr);
    fs::write(&slow, "{}").unwrap();
    let other = Run::of(&format!("compare {base} {slow}"));
    assert_eq!(other.code, Some(2), "{}", other.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_do_a_run_together() {
    let server = TestServer::start();
    let mut agent = load("agent --listen 127.0.0.1:0 --once")
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let at = line.trim().rsplit(' ').next().unwrap();
    for agents in ["local:3", at] {
        let revision = server.client().await.info().await.unwrap().revision;
        let run = Run::of(&format!(
            "{} --agents {agents} -n 1001 --readers 0 --writers 4 -q -O json",
            server.address()
        ));
        assert_eq!(run.code, Some(0), "{agents}: {}", run.stderr);
        let report = run.report();
        assert_eq!(report["completed"], 1_001, "{agents}");
        let count = &report["latency"]["all"]["response"]["count"];
        assert_eq!(*count, 1_001, "{agents}");
        let flag = format!("--agents={agents}");
        assert!(
            report["command"].as_str().unwrap().contains(&flag),
            "{report}"
        );
        assert_eq!(report["settings"]["agents"], agents);
        let parts = report["agents"].as_array().unwrap();
        let sum: u64 = parts
            .iter()
            .map(|of| of["completed"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, 1_001, "{report}");
        let now = server.client().await.info().await.unwrap().revision;
        assert_eq!(now - revision, 1_001, "{agents}");
    }
    assert!(agent.wait().unwrap().success());

    let open = Run::of("--agents local:2 --rps 1000 -z 300ms -q -O json").report();
    assert_eq!(open["offered"]["ops"], 300, "{open}");
    let nobody = Run::of("--agents 127.0.0.1:1 -n 1");
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("127.0.0.1:1"), "{}", nobody.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_loses_its_own_results_only() {
    let server = TestServer::start();
    let client = server.client().await;
    let mut agents: Vec<_> = (0..2)
        .map(|_| load("agent --listen 127.0.0.1:0 --once").spawn().unwrap())
        .collect();
    let addresses: Vec<String> = agents
        .iter_mut()
        .map(|agent| {
            let mut line = String::new();
            BufReader::new(agent.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            line.trim().rsplit(' ').next().unwrap().to_owned()
        })
        .collect();
    let line = format!(
        "{} --agents {} -z 2s -q -O json",
        server.address(),
        addresses.join(",")
    );
    let leader = load(&line).spawn().unwrap();
    until_measuring(&client).await;
    agents[1].kill().unwrap();
    let run = Run::from(leader.wait_with_output().unwrap());
    assert_eq!(run.code, Some(1), "{} {}", run.stdout, run.stderr);
    assert!(run.stderr.contains(&addresses[1]), "{}", run.stderr);
    let report = run.report();
    assert!(report["completed"].as_u64() > Some(0), "{report}");
    assert_eq!(report["agents"][0]["completed"], report["completed"]);
    let lost = report["agents"][1]["lost"].as_str().unwrap();
    assert!(lost.contains(&addresses[1]), "{report}");
    let warning = report["warnings"].to_string();
    assert!(warning.contains(&addresses[1]), "{report}");
    for agent in &mut agents {
        agent.wait().unwrap();
    }
}

#[test]
fn the_tool_measures_itself() {
    let run = Run::of("calibrate -z 200ms -O json");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let calibration: Value = serde_json::from_str(&run.stdout).unwrap();
    let lateness = calibration["lateness"].as_array().unwrap();
    assert_eq!(lateness.len(), 3, "{calibration}");
    for lateness in lateness {
        assert!(lateness["p50_us"].is_f64(), "{calibration}");
    }
    // Constant arrivals from the first moment on: one every 100 us of 200 ms.
    assert_eq!(lateness[0]["operations"], 2_000, "{calibration}");
    assert_eq!(calibration["rates"].as_array().unwrap().len(), 3);
    for delays in calibration["delays"].as_array().unwrap() {
        for point in delays["points"].as_array().unwrap() {
            let at = |name: &str| point[name].as_f64().unwrap();
            // The answer cannot come before it is sent; the histograms know three digits.
            assert!(at("measured_us") >= at("true_us") * 0.99, "{delays}");
        }
    }
}

#[test]
fn flags_come_from_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(
        &file,
        "requests = 50\nformat = \"json\"\nquiet = true\nengine = \"unary\"\n",
    )
    .unwrap();
    let report = Run::of(&format!("--config {} -n 70", file.display())).report();
    assert_eq!(report["completed"], 70);
    assert_eq!(report["settings"]["engine"], "unary");
    fs::write(&file, "no-such-flag = 1").unwrap();
    let run = Run::of(&format!("--config {}", file.display()));
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("no-such-flag"), "{}", run.stderr);
}

#[test]
fn the_program_has_manual_pages_and_completions() {
    for (line, part) in [
        ("man", "\\-\\-readers"),
        ("man find-max", "\\-\\-precision"),
        ("completions bash", "--readers"),
        ("completions fish", "readers"),
    ] {
        let run = Run::of(line);
        assert_eq!(run.code, Some(0), "{line}: {}", run.stderr);
        assert!(run.stdout.contains(part), "{line}: {}", run.stdout);
    }
}

#[test]
fn the_environment_is_above_the_file_and_below_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(
        &file,
        "requests = 50\nslo = [\"p99<5ms\", \"error_rate<0.1%\"]\nkeys = 9\n",
    )
    .unwrap();
    let config = |line: &str| -> Run {
        let line = format!("config {line} --keys 10").replace("FILE", file.to_str().unwrap());
        let mut command = load(&line);
        command.env("SOLOIST_LOAD_REQUESTS", "60");
        command.output().unwrap().into()
    };
    let printed = config("--config FILE");
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let from_file = format!(
        "slo = [\"p99<5ms\", \"error_rate<0.1%\"]  # file {}:2",
        file.display()
    );
    for line in [
        "requests = 60  # environment SOLOIST_LOAD_REQUESTS",
        "keys = 10  # flag",
        "interval = \"1s\"  # default",
        &from_file,
    ] {
        assert!(printed.stdout.contains(line), "{}", printed.stdout);
    }
    fs::write(&file, &printed.stdout).unwrap();
    let checked = config("--check FILE");
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    for (text, part) in [
        ("\nrequests = true\n", ":2: requests is true"),
        ("token = \"t\"\n", ":1: token is a secret"),
        ("ratio = \"9:1\"\nreaders = 5\n", ":1: ratio = \"9:1\""),
    ] {
        fs::write(&file, text).unwrap();
        let refused = config("--check FILE");
        assert_eq!(refused.code, Some(2), "{text}");
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}
