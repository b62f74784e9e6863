//! Calls of any gRPC service: Python's grpcio, Node's grpc-js, etcd, and Soloist's own health service. `./test --tools`
//! installs the servers into `.tools`.

mod servers;
mod streams;
mod wrong;

use std::fs;

use serde_json::{Value, json};

use crate::support::{Run, TestServer, load};
use servers::{SERVERS, etcd, node, python};
use streams::streams_of;

/// Runs `soloist-load` with these words, and these more.
fn run(words: &[&str], more: &[&str]) -> Run {
    load("").args(words).args(more).output().unwrap().into()
}

/// Runs `soloist-load call` quietly. Returns its report.
#[track_caller]
fn report(address: &str, method: &str, more: &[&str]) -> Value {
    let run = run(&["call", address, method, "-q", "-O", "json"], more);
    assert_eq!(
        run.code,
        Some(0),
        "{method} {more:?}: {} {}",
        run.stderr,
        run.stdout
    );
    run.report()
}

/// Runs `soloist-load call`, which must fail. Returns its exit code and what it says.
#[track_caller]
fn refusal(address: &str, method: &str, more: &[&str]) -> (Option<i32>, String) {
    let run = run(&["call", address, method, "-q", "-n", "1"], more);
    assert_ne!(run.code, Some(0), "{method} {more:?}: {}", run.stdout);
    (run.code, run.stderr)
}

const ENGINES: [&str; 2] = ["unary", "raw"];

/// An animal with every kind of field.
fn animal() -> Value {
    json!({
        "name": "Ada", "age": -3, "id": "9007199254740993", "tag": "AQID", "colour": "RED",
        "parent": {"parent": {"parent": {"name": "root"}}},
        "children": [{"name": "a"}, {"children": [{"name": "b"}]}],
        "legs": {"left": 2, "right": 1}, "byPlace": {"7": {"name": "c"}},
        "meat": "18446744073709551615",
        "born": "2024-01-02T03:04:05.006Z", "nap": "1.500s",
        "notes": {"x": [1.0, null, "y"]}, "nick": "Addie",
    })
}

#[test]
fn a_python_service_reads_every_kind_of_field_as_it_was_meant() {
    let server = python("reflection");
    let data = animal().to_string();
    // Its keys are sorted, as the server prints them.
    let seen = format!("text={data}");
    for engine in ENGINES {
        let report = report(
            &server.address,
            "zoo.v1.Keeper/Feed",
            &[
                "-d",
                &data,
                "--engine",
                engine,
                "-n",
                "20",
                "-c",
                "2",
                "--expect",
                &seen,
                "--expect",
                "animal.legs.left=2",
            ],
        );
        assert_eq!(report["completed"], 20, "{report}");
        assert_eq!(report["call"]["codes"], json!({"OK": 20}));
        let requests = &report["call"]["requests"];
        assert_eq!(requests["messages"], 20);
        assert_eq!(requests["min_bytes"], requests["max_bytes"]);
        assert!(requests["min_bytes"].as_u64().unwrap() > 100, "{requests}");
    }
}

#[test]
fn placeholders_headers_and_deadlines_reach_the_server() {
    let server = python("reflection");
    for engine in ENGINES {
        let data = r#"{"name": "{{choice x}}-{{counter}}", "age": {{int 5 5}}}"#;
        let report = report(
            &server.address,
            "zoo.v1.Keeper.Feed",
            &[
                "--engine",
                engine,
                "-d",
                data,
                "-n",
                "1",
                "-m",
                r#"{"x-tenant":"t 1"}"#,
                "--timeout",
                "5s",
                "--expect",
                "animal.name=x-0",
                "--expect",
                "animal.age=5",
                "--expect",
                "tenant=t 1",
            ],
        );
        assert_eq!(report["completed"], 1);
        let (code, error) = refusal(
            &server.address,
            "zoo.v1.Keeper/Feed",
            &["--engine", engine, "--expect", "count=2"],
        );
        assert_eq!(code, Some(1));
        assert!(error.contains("failed: 1"), "{error}");
    }
}

#[test]
fn expected_codes_are_answers_and_others_are_failures() {
    let server = python("reflection");
    let refuse = "zoo.v1.Keeper/Refuse";
    for engine in ENGINES {
        let words = [
            "--engine",
            engine,
            "-n",
            "6",
            "-c",
            "1",
            "-d",
            r#"{"code":5}"#,
            "-d",
            r#"{"code":9}"#,
        ];
        let both = [
            &words[..],
            &["--expect-code", "NOT_FOUND,failed_precondition"],
        ]
        .concat();
        let counted = report(&server.address, refuse, &both);
        assert_eq!(counted["completed"], 6);
        assert_eq!(counted["refused"], 6);
        assert_eq!(
            counted["call"]["codes"],
            json!({"NOT_FOUND": 3, "FAILED_PRECONDITION": 3})
        );

        let one = [
            &words[..],
            &["--expect-code", "OK,NOT_FOUND", "--allow-errors"],
        ]
        .concat();
        let counted = report(&server.address, refuse, &one);
        assert_eq!(counted["completed"], 3);
        assert_eq!(counted["failed"], json!({"FAILED_PRECONDITION": 3}));
        assert_eq!(
            counted["call"]["codes"],
            json!({"NOT_FOUND": 3, "FAILED_PRECONDITION": 3})
        );

        let only = [
            "--engine",
            engine,
            "-n",
            "2",
            "--expect-code",
            "NOT_FOUND",
            "--allow-errors",
        ];
        let run = run(
            &[
                "call",
                &server.address,
                "zoo.v1.Keeper/Feed",
                "-q",
                "-O",
                "json",
            ],
            &only,
        );
        assert_eq!(run.report()["failed"], json!({"OK": 2}));
    }
}

#[test]
fn a_grpc_js_service_is_called_in_every_way() {
    let server = node();
    let data = json!({"name": "Ada", "id": "9007199254740993", "tag": "AQID", "colour": "RED", "legs": {"left": 2}});
    for engine in ENGINES {
        let counted = report(
            &server.address,
            "zoo.v1.Keeper/Feed",
            &[
                "-d",
                &data.to_string(),
                "--engine",
                engine,
                "-n",
                "200",
                "-c",
                "4",
                "-H",
                "x-tenant: t",
                "--expect",
                "animal.name=Ada",
                "--expect",
                "animal.id=9007199254740993",
                "--expect",
                "animal.tag=AQID",
                "--expect",
                "animal.colour=RED",
                "--expect",
                "animal.legs.left=2",
                "--expect",
                "tenant=t",
            ],
        );
        assert_eq!(counted["call"]["codes"], json!({"OK": 200}));
    }
    streams_of(&server);
}

#[test]
fn etcd_is_measured_by_a_proto_file() {
    let server = etcd();
    let proto = format!("{SERVERS}/etcd.proto");
    // etcd takes calls once it has elected itself.
    let put = [
        "--proto",
        &proto,
        "-d",
        r#"{"key": "{{bytes 6}}", "value": "{{bytes 32}}"}"#,
    ];
    for engine in ENGINES {
        let more = [
            &put[..],
            &[
                "--engine",
                engine,
                "-n",
                "100",
                "-c",
                "8",
                "--timeout",
                "60s",
            ],
        ]
        .concat();
        let report = report(&server.address, "etcdserverpb.KV/Put", &more);
        assert_eq!(report["call"]["codes"], json!({"OK": 100}));
        assert_eq!(report["call"]["requests"]["min_bytes"], 42);
    }
    let range = [
        "--proto",
        &proto,
        "-d",
        r#"{"key": "AA==", "rangeEnd": "AA=="}"#,
        "-n",
        "10",
        "--expect",
        "count=200",
    ];
    assert_eq!(
        report(&server.address, "etcdserverpb.KV/Range", &range)["completed"],
        10
    );
    let (code, error) = refusal(&server.address, "etcdserverpb.KV/Range", &[]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("has no server reflection") && error.contains("pass --proto FILE"),
        "{error}"
    );
}

#[test]
fn the_health_service_of_a_soloist_by_the_same_loops() {
    let server = TestServer::start();
    let address = server.address().to_string();
    let check = "grpc.health.v1.Health/Check";
    for engine in ENGINES {
        let more = [
            "--engine",
            engine,
            "-z",
            "300ms",
            "--rps",
            "500",
            "--expect",
            "status=SERVING",
            "--slo",
            "error_rate<=0%",
        ];
        let report = report(&address, check, &more);
        assert_eq!(report["call"]["service"], "grpc.health.v1.Health");
        assert_eq!(report["slos"][0]["met"], true);
        assert!(
            report["offered"]["ops"].as_u64().unwrap() >= 100,
            "{report}"
        );
        assert!(report["server_cpu_seconds"].is_null());
    }
    // Without an address, the server is one of its own.
    let words = [
        "--call", check, "-n", "50", "--agents", "local:2", "-q", "-O", "json",
    ];
    let run = run(&words, &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = run.report();
    assert_eq!(report["call"]["codes"], json!({"OK": 50}));
    assert_eq!(report["call"]["requests"]["messages"], 50);
}

#[test]
fn a_report_of_a_call_says_the_same_in_every_form() {
    let server = TestServer::start();
    let address = server.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (text, html, json) = (file("r.txt"), file("r.html"), file("r.json"));
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let words = [
        "call",
        &address,
        "soloist.v1.State/Write",
        "-q",
        "-n",
        "30",
        "-c",
        "1",
    ];
    let data = [
        "-d",
        r#"{"key": "k{{counter}}", "value": {"int": "{{int 1 9}}"}}"#,
        "-d",
        "{}",
    ];
    let codes = ["--expect-code", "OK,INVALID_ARGUMENT"];
    let outputs = ["-o", &text, "-o", &html, "-o", &json];
    let run = run(&words, &[&data[..], &codes, &outputs].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let (text, html) = (read(&text), read(&html));
    let report: Value = serde_json::from_str(&read(&json)).unwrap();
    assert_eq!(
        report["call"]["codes"],
        json!({"INVALID_ARGUMENT": 15, "OK": 15})
    );
    for part in [
        "soloist.v1.State/Write (unary)",
        "INVALID_ARGUMENT 15",
        "OK 15",
    ] {
        assert!(text.contains(part), "{part}: {text}");
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(
        html.contains("<title>soloist.v1.State/Write, unary"),
        "{html}"
    );
    // The command of the report repeats the run.
    let command = report["command"].as_str().unwrap();
    assert!(
        command.contains("--call=soloist.v1.State/Write") && command.contains("--data='{"),
        "{command}"
    );
    let validator =
        jsonschema::validator_for(&serde_json::from_str(&Run::of("schema").stdout).unwrap())
            .unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&report)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn searches_and_comparisons_take_a_method() {
    let server = TestServer::start();
    let address = server.address().to_string();
    let check = "grpc.health.v1.Health/Check";
    let found = run(
        &[
            "sweep", &address, "--call", check, "--rates", "100,200", "--settle", "50ms",
            "--window", "200ms", "-q",
        ],
        &["--engine", "raw"],
    );
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(found.stdout.contains("2 rates"), "{}", found.stdout);
    let found = run(
        &[
            "find-max",
            &address,
            "--call",
            check,
            "--slo",
            "p99<10s",
            "--start",
            "50",
            "--repeat",
            "1",
            "--precision",
            "100",
            "--settle",
            "20ms",
            "--window",
            "200ms",
        ],
        &[
            "--engine",
            "raw",
            "--expect",
            "status=SERVING",
            "-q",
            "-O",
            "json",
        ],
    );
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    let search: Value = serde_json::from_str(&found.stdout).unwrap();
    assert!(search["highest"].as_f64() >= Some(50.0), "{search}");
    for report in search["reports"].as_array().unwrap() {
        assert_eq!(report["call"]["service"], "grpc.health.v1.Health");
        assert_eq!(report["settings"]["call"], check);
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.json").display().to_string();
    let words = [
        "call", &address, check, "-z", "100ms", "--runs", "2", "-q", "--seed", "1",
    ];
    let saved = run(&words, &["--save-baseline", &base]);
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    let compared = run(&["compare", &base, &base, "--runs", "2", "-q"], &[]);
    assert_eq!(compared.code, Some(0), "{}", compared.stderr);
}
