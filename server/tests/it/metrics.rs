//! `/metrics`: what it shows after calls, and while calls go on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::json;
use tonic::Code;

use crate::access::AccessFile;
use crate::http::get;
use crate::json::Caller;
use crate::support::{TestServer, atomic, frame, int, pipeline, read, read_op, write, write_op};

/// What a scrape shows, read by the rules of the text format.
pub(crate) struct Scrape {
    /// The type of each family, by its name.
    types: BTreeMap<String, String>,
    /// The names of the labels of each family, without `le`.
    labels: BTreeMap<String, BTreeSet<String>>,
    /// Each series as it is written, with its value.
    values: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) async fn of(addr: SocketAddr) -> Self {
        let (status, text) = get(addr, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        Self::parse(&text)
    }

    /// Source: Prometheus' documentation, "Exposition formats".
    pub(crate) fn parse(text: &str) -> Self {
        let mut scrape = Self {
            types: BTreeMap::new(),
            labels: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        let mut helped = String::new();
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(help.len() > 3, "{line}");
                helped = name.into();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, helped, "HELP comes before TYPE");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                let before = scrape.types.insert(name.into(), kind.into());
                assert_eq!(before, None, "{name} comes twice");
                family = name.into();
            } else {
                scrape.add_series(&family, line);
            }
        }
        scrape
    }

    fn add_series(&mut self, family: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let suffixes: &[_] = match self.types[family].as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let expected = suffixes.iter().map(|suffix| format!("{family}{suffix}"));
        assert!(expected.into_iter().any(|it| it == name), "{line}");
        let names = self.labels.entry(family.into()).or_default();
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            assert!(value.len() < 200, "{line}");
            if label != "le" {
                names.insert(label.into());
            }
        }
        let before = self.values.insert(series.into(), value);
        assert_eq!(before, None, "{series} comes twice");
    }

    /// The value of a series, as it is written; 0 if it is not there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.values.get(series).copied().unwrap_or(0.0)
    }

    /// The sum of all series of a name whose labels have all of these texts.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.values.iter().filter(|(series, _)| {
            let rest = series.strip_prefix(name);
            rest.is_some_and(|rest| {
                (rest.is_empty() || rest.starts_with('{'))
                    && labels.iter().all(|label| rest.contains(label))
            })
        });
        series.map(|(_, value)| value).sum()
    }
}

/// Waits until the sum of some series is what it must be: some are counted a moment after the answer.
async fn until(addr: SocketAddr, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
    for _ in 0..500 {
        let scrape = Scrape::of(addr).await;
        if is_so(&scrape) {
            return scrape;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_, text) = get(addr, "/metrics").await;
    panic!("what is waited for does not come: {text}");
}

/// A row of the tables in docs/metrics.md: the name, type and labels of a family. Only a node of a cluster has those of the
/// cluster.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = include_str!("../../../docs/metrics.md");
    let sections = text.split("\n### ");
    let sections = sections.filter(|section| !section.starts_with("The cluster\n"));
    let rows = sections.flat_map(str::lines);
    let rows = rows.filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else {
            panic!("four cells, not {row}");
        };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        let name = name.trim_matches('`').to_owned();
        (name, (kind.to_owned(), labels.collect()))
    })
    .collect()
}

/// The names that production.md fixed, and that alerts and dashboards rely on.
const FIXED: [&str; 48] = [
    "grpc_server_started_total",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds",
    "soloist_operations_total",
    "soloist_refusals_total",
    "soloist_mailbox_messages",
    "soloist_mailbox_bytes",
    "soloist_mailbox_messages_limit",
    "soloist_mailbox_wait_seconds",
    "soloist_owner_busy_seconds_total",
    "soloist_owner_messages_total",
    "soloist_owner_batches_total",
    "soloist_revision",
    "soloist_durable_revision",
    "soloist_oldest_revision",
    "soloist_keys",
    "soloist_store_bytes",
    "soloist_store_bytes_limit",
    "soloist_sessions",
    "soloist_machines",
    "soloist_watches",
    "soloist_request_ids",
    "soloist_keys_in_state",
    "soloist_ended_total",
    "soloist_watch_events_total",
    "soloist_watch_lagged_total",
    "soloist_commit_duration_seconds",
    "soloist_commit_bytes_total",
    "soloist_commit_operations_total",
    "soloist_fsync_duration_seconds",
    "soloist_unsynced_operations",
    "soloist_log_bytes",
    "soloist_disk_free_bytes",
    "soloist_snapshot_duration_seconds",
    "soloist_snapshot_timestamp_seconds",
    "soloist_snapshot_failures_total",
    "soloist_backup_timestamp_seconds",
    "soloist_start_seconds",
    "soloist_connections",
    "soloist_connections_total",
    "soloist_connection_moves_total",
    "soloist_tls_handshake_failures_total",
    "soloist_certificate_expiry_timestamp_seconds",
    "soloist_auth_failures_total",
    "soloist_permission_denied_total",
    "soloist_reload_success",
    "soloist_reload_timestamp_seconds",
    "soloist_log_lines_dropped_total",
];

#[tokio::test]
async fn every_family_is_documented_and_has_a_value_after_some_work() {
    let file = AccessFile::new(&[
        (
            "a",
            "read = ['*']\nwrite = ['*']\nsessions = ['*']\ndefine = ['*']\nadmin = true",
        ),
        ("nobody", "read = ['x']"),
    ]);
    let dir = tempfile::TempDir::new().unwrap();
    let server = TestServer::with_http(|config| {
        config.access.file = Some(file.path());
        config.storage.data_dir = Some(dir.path().into());
        config.storage.snapshot_log_bytes = 1024;
    });
    let addr = server.http_addr();
    let a = file.json(&server, "a").await;
    let (nobody, stranger) = (
        file.json(&server, "nobody").await,
        Caller::of(&server).await,
    );
    let machine = json!({"machine": {
        "name": "m", "key_prefix": "m/", "initial": "on",
        "states": {"on": {"timeout": "0.001s", "timeout_next": "off"}, "off": {}},
    }});
    a.call("Machines/DefineMachine", &machine).await.unwrap();
    for (name, request) in [
        ("State/Write", json!({"key": "m/1", "value": {"int": "1"}})),
        (
            "State/Write",
            json!({"key": "k", "value": {"int": "1"}, "ttl": "0.001s"}),
        ),
        (
            "State/Write",
            json!({"key": "k2", "value": {"text": "x".repeat(4000)}, "request_id": "r"}),
        ),
        ("Sessions/OpenSession", json!({"id": "s", "ttl": "10s"})),
        ("State/List", json!({})),
    ] {
        a.call(name, &request).await.unwrap();
    }
    // A snapshot is due when the log is longer than the state.
    for _ in 0..4 {
        let large = json!({"key": "k2", "value": {"text": "x".repeat(4000)}});
        a.call("State/Write", &large).await.unwrap();
    }
    let mut backup = a.stream("Admin/Backup", &json!({})).await.unwrap();
    while let Some(chunk) = backup.next().await {
        chunk.unwrap();
    }
    let mut watch = a
        .stream("State/Watch", &json!({"prefix": "k2", "initial": true}))
        .await
        .unwrap();
    watch.next().await.unwrap().unwrap();
    let refused = nobody.call("State/Read", &json!({"key": "k"})).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = stranger.call("State/Read", &json!({"key": "k"})).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);

    let scrape = until(addr, |scrape| {
        let causes = ["expired", "timed_out"]
            .map(|cause| scrape.value(&format!("soloist_ended_total{{cause=\"{cause}\"}}")));
        causes == [1.0, 1.0] && scrape.value("soloist_snapshot_duration_seconds_count") > 0.0
    })
    .await;
    for (series, expected) in [
        ("soloist_keys_in_state{machine=\"m\",state=\"on\"}", 0.0),
        ("soloist_keys_in_state{machine=\"m\",state=\"off\"}", 1.0),
        ("soloist_keys", 2.0),
        ("soloist_machines", 1.0),
        ("soloist_sessions", 1.0),
        ("soloist_watches", 1.0),
        ("soloist_request_ids", 1.0),
        ("soloist_auth_failures_total", 1.0),
        ("soloist_permission_denied_total{identity=\"nobody\"}", 1.0),
        ("soloist_refusals_total{reason=\"NOT_PERMITTED\"}", 1.0),
        (
            "soloist_refusals_total{reason=\"CREDENTIALS_MISSING\"}",
            1.0,
        ),
        ("soloist_reload_success{what=\"access_file\"}", 1.0),
        ("soloist_watch_events_total", 1.0),
    ] {
        assert!(scrape.values.contains_key(series), "no {series}");
        assert_eq!(scrape.value(series), expected, "{series}");
    }
    for series in [
        "soloist_backup_timestamp_seconds",
        "soloist_snapshot_timestamp_seconds",
        "soloist_start_seconds",
        "soloist_store_bytes_limit",
        "soloist_mailbox_messages_limit",
        "soloist_mailbox_wait_seconds_count",
        "soloist_owner_busy_seconds_total",
        "soloist_commit_bytes_total",
        "soloist_fsync_duration_seconds_count{file=\"tail\"}",
        "soloist_disk_free_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(scrape.value(series) > 0.0, "{series}");
    }

    let documented = documented();
    for name in FIXED {
        assert!(
            documented.contains_key(name),
            "docs/metrics.md lacks {name}"
        );
    }
    let exported: BTreeMap<_, _> = scrape.types.iter().collect();
    let written: BTreeMap<_, _> = documented
        .iter()
        .map(|(name, (kind, _))| (name, kind))
        .collect();
    assert_eq!(
        exported, written,
        "docs/metrics.md has exactly what is exported"
    );
    for (name, (_, labels)) in &documented {
        // Certificates are only there with TLS; a test of TLS looks for them.
        if name != "soloist_certificate_expiry_timestamp_seconds" {
            let exported = scrape.labels.get(name);
            assert_eq!(
                exported,
                Some(labels),
                "the labels of {name}, which has a value"
            );
        }
    }
}

#[tokio::test]
async fn sums_are_what_clients_saw() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let mut state = server.state().await;
    for n in 0..100 {
        state
            .write(write(format!("k{}", n % 10), int(n)))
            .await
            .unwrap();
    }
    for _ in 0..50 {
        state.read(read("k1")).await.unwrap();
    }
    for _ in 0..7 {
        state.read(read("")).await.unwrap_err();
    }
    let (frames, mut answers) = pipeline(&mut state).await;
    for _ in 0..20 {
        let plain = frame([read_op("k1"), write_op(write("p", int(1)))]);
        frames.send(plain).await.unwrap();
        // Not an int: refused, and both operations with it.
        let delta = soloist::v1::AddRequest {
            key: "text".into(),
            delta: 1,
            ..soloist::v1::AddRequest::default()
        };
        let add = soloist::v1::Op {
            op: Some(soloist::v1::op::Op::Add(delta)),
        };
        let text = write_op(write("text", crate::support::text("x")));
        frames.send(atomic([text, add])).await.unwrap();
    }
    for _ in 0..40 {
        answers.next().await.unwrap().unwrap();
    }
    drop(frames);
    assert!(answers.next().await.is_none());

    let method = |method: &str, code: &str| {
        [
            format!("grpc_method=\"{method}\""),
            format!("grpc_code=\"{code}\""),
        ]
    };
    let scrape = until(addr, |scrape| {
        let [method, code] = method("Pipeline", "OK");
        scrape.sum("grpc_server_handled_total", &[&method, &code]) == 1.0
    })
    .await;
    for (name, code, expected) in [
        ("Write", "OK", 100.0),
        ("Read", "OK", 50.0),
        ("Read", "InvalidArgument", 7.0),
        ("Pipeline", "OK", 1.0),
    ] {
        let [method, code] = method(name, code);
        let handled = scrape.sum("grpc_server_handled_total", &[&method, &code]);
        assert_eq!(handled, expected, "{method} {code}");
    }
    for (series, expected) in [
        ("{operation=\"write\",result=\"ok\"}", 120.0),
        ("{operation=\"write\",result=\"refused\"}", 20.0),
        ("{operation=\"add\",result=\"refused\"}", 20.0),
        ("{operation=\"read\",result=\"ok\"}", 70.0),
        ("{operation=\"read\",result=\"refused\"}", 0.0),
    ] {
        let series = format!("soloist_operations_total{series}");
        assert_eq!(scrape.value(&series), expected, "{series}");
    }
    let reasons = |reason| scrape.value(&format!("soloist_refusals_total{{reason=\"{reason}\"}}"));
    assert_eq!((reasons("BAD_KEY"), reasons("NOT_AN_INT")), (7.0, 20.0));
    let count = scrape.sum(
        "grpc_server_handling_seconds_count",
        &["grpc_method=\"Read\""],
    );
    assert_eq!(count, 57.0);
    let infinite = scrape.sum(
        "grpc_server_handling_seconds_bucket",
        &["\"Read\"", "le=\"+Inf\""],
    );
    assert_eq!(infinite, 57.0);
}

#[tokio::test]
async fn a_call_whose_client_leaves_is_canceled() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let mut state = server.state().await;
    let watch = soloist::v1::WatchRequest {
        target: Some(soloist::v1::watch_request::Target::Key("k".into())),
        ..soloist::v1::WatchRequest::default()
    };
    let mut answers = state.watch(watch).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    until(addr, |scrape| scrape.value("soloist_watches") == 1.0).await;
    drop(answers);
    let labels = ["grpc_method=\"Watch\"", "grpc_code=\"Canceled\""];
    until(addr, |scrape| {
        scrape.sum("grpc_server_handled_total", &labels) == 1.0
    })
    .await;
}

#[tokio::test]
async fn scraping_ten_times_a_second_goes_beside_calls() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let mut state = server.state().await;
    let calls = tokio::spawn(async move {
        let begun = tokio::time::Instant::now();
        let mut count = 0;
        while begun.elapsed() < Duration::from_secs(1) {
            state.write(write("k", int(count))).await.unwrap();
            count += 1;
        }
        count as f64
    });
    let written = |scrape: &Scrape| {
        scrape.value("soloist_operations_total{operation=\"write\",result=\"ok\"}")
    };
    let mut before = 0.0;
    while !calls.is_finished() {
        let scrape = Scrape::of(addr).await;
        assert!(written(&scrape) >= before, "counters never go back");
        before = written(&scrape);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(written(&Scrape::of(addr).await), calls.await.unwrap());
}

#[tokio::test]
async fn a_server_whose_disk_refuses_changes_is_not_ready() {
    let dir = tempfile::TempDir::new().unwrap();
    let server = TestServer::with_http(|config| {
        config.storage.data_dir = Some(dir.path().into());
        // More than any disk has.
        config.storage.min_free_bytes = u64::MAX / 4;
    });
    let mut state = server.state().await;
    let refused = state.write(write("k", int(1))).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let (status, said) = get(server.http_addr(), "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("[-]disk failed"), "{said}");
    assert_eq!(get(server.http_addr(), "/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_server_that_recovers_lives_and_is_not_ready() {
    let config = soloist_server::config::Config::default();
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let prepared = soloist_server::Server::prepare(&config, Some(bind().into())).unwrap();
    let addr = prepared.http_addr().unwrap().tcp().unwrap();
    let (status, said) = get(addr, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("[-]started failed: recovering"), "{said}");
    assert_eq!(get(addr, "/livez").await.0, StatusCode::OK);
    assert_eq!(get(addr, "/metrics").await.0, StatusCode::OK);
    drop(prepared);
    tokio::net::TcpStream::connect(addr).await.unwrap_err();
}
