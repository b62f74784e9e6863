//! Several nodes of one store: the load generator goes to the owner, and follows it from one node to the next.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use prost::Message as _;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::Code;
use tonic_types::pb;

use crate::open::ops;
use crate::support::{Run, TestServer, load};

/// How long the store may go without changes.
const LIMIT: Duration = Duration::from_secs(20);

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    (listener, address)
}

/// An address at which nobody listens.
fn nobody() -> String {
    listen().1
}

fn not_owner(owner: &str) -> Response<()> {
    let metadata = [("owner", owner), ("owner_node", "b"), ("epoch", "7")];
    let info = pb::ErrorInfo {
        reason: "NOT_OWNER".into(),
        domain: soloist::ERROR_DOMAIN.into(),
        metadata: metadata
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
    };
    let status = pb::Status {
        code: Code::Unavailable as i32,
        message: "another node owns the store".into(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: info.encode_to_vec(),
        }],
    };
    let details = status.encode_to_vec().into();
    let status = tonic::Status::with_details(Code::Unavailable, status.message, details);
    status.into_http::<()>()
}

/// Nodes that answer with empty messages. After so many calls the next node is the owner.
struct Turns {
    /// The last one is in no list.
    addresses: Vec<String>,
    _runtime: Runtime,
}

impl Turns {
    fn start(nodes: usize, calls_each: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let (listeners, addresses): (Vec<_>, Vec<_>) = (0..nodes).map(|_| listen()).unzip();
        let (owner, calls) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        for (me, listener) in listeners.into_iter().enumerate() {
            let (owner, calls) = (Arc::clone(&owner), Arc::clone(&calls));
            let addresses = addresses.clone();
            runtime.spawn(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (owner, calls) = (Arc::clone(&owner), Arc::clone(&calls));
                    let addresses = addresses.clone();
                    tokio::spawn(async move {
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        while let Some(Ok((request, mut respond))) = connection.accept().await {
                            assert!(request.headers().contains_key("soloist-direct"));
                            let now = owner.load(Ordering::SeqCst);
                            if now != me {
                                // A client that is done has left.
                                let _ = respond.send_response(not_owner(&addresses[now]), true);
                                continue;
                            }
                            if calls.fetch_add(1, Ordering::SeqCst) % calls_each == calls_each - 1 {
                                owner.store((me + 1) % nodes, Ordering::SeqCst);
                            }
                            let response = Response::builder()
                                .header("content-type", "application/grpc")
                                .body(())
                                .unwrap();
                            let mut body = respond.send_response(response, false).unwrap();
                            body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
                            let status = (
                                "grpc-status".parse().unwrap(),
                                HeaderValue::from_static("0"),
                            );
                            body.send_trailers(HeaderMap::from_iter([status])).unwrap();
                        }
                    });
                }
            });
        }
        Self {
            addresses,
            _runtime: runtime,
        }
    }
}

#[test]
fn calls_follow_the_owner_and_none_fails() {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    for engine in ["raw", "unary"] {
        for concurrency in [1, 4] {
            let nodes = Turns::start(3, 50);
            let listed = format!("{},{},{}", nobody(), nodes.addresses[1], nodes.addresses[0]);
            let run = Run::of(&format!(
                "-a {listed} --call soloist.v1.State/List --proto {proto}/soloist/v1/state.proto -I {proto} \
                 --engine {engine} -c {concurrency} -t 1 -n 500 -q -O json"
            ));
            assert_eq!(run.code, Some(0), "{engine}: {}", run.stderr);
            let report = run.report();
            assert_eq!(report["completed"], 500, "{engine}: {report}");
            let changes = ops(&report["connections"]["owner_changes"]);
            assert!((8..=11).contains(&changes), "{engine}: {report}");
            assert_eq!(report["connections"]["lost"], 0, "{engine}: {report}");
            assert!(report["longest_gap"].is_object(), "{engine}: {report}");
        }
    }
}

/// Nodes before one store: the owner passes bytes on to it, and the others name the owner.
struct Fronts {
    addresses: Vec<String>,
    owner: watch::Sender<usize>,
    _runtime: Runtime,
}

impl Fronts {
    fn of(server: &TestServer, nodes: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let (listeners, addresses): (Vec<_>, Vec<_>) = (0..nodes).map(|_| listen()).unzip();
        let (owner, watched) = watch::channel(0);
        for (me, listener) in listeners.into_iter().enumerate() {
            let (owner, addresses, store) = (watched.clone(), addresses.clone(), server.address());
            runtime.spawn(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let (mut owner, store) = (owner.clone(), store.clone());
                    let addresses = addresses.clone();
                    tokio::spawn(async move {
                        let now = *owner.borrow_and_update();
                        let serve = async {
                            if now == me {
                                let mut store = TcpStream::connect(store).await.unwrap();
                                let _ = copy_bidirectional(&mut stream, &mut store).await;
                                return;
                            }
                            let Ok(mut connection) = h2::server::handshake(stream).await else {
                                return;
                            };
                            while let Some(Ok((_, mut respond))) = connection.accept().await {
                                let _ = respond.send_response(not_owner(&addresses[now]), true);
                            }
                        };
                        tokio::select! {
                            () = serve => {}
                            _ = owner.changed() => {}
                        }
                    });
                }
            });
        }
        Self {
            addresses,
            owner,
            _runtime: runtime,
        }
    }
}

/// Waits until the store has changed so often, while the run goes on.
fn until_changed(server: &TestServer, runtime: &Runtime, changes: i64, load: &mut Child) {
    runtime.block_on(async {
        let client = server.client().await;
        let before = client.info().await.unwrap().revision;
        let end = Instant::now() + LIMIT;
        while client.info().await.unwrap().revision < before + changes {
            if Instant::now() > end {
                load.kill().unwrap();
                panic!("the store does not change");
            }
            if load.try_wait().unwrap().is_some() {
                let mut why = String::new();
                load.stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut why)
                    .unwrap();
                panic!("the run has ended: {why}");
            }
        }
    });
}

/// Runs while the owner changes, and keeps the history. A signal ends the run.
fn run_over_owner_changes(engine: &str, history: &Path) -> Value {
    let server = TestServer::start();
    let runtime = Runtime::new().unwrap();
    let fronts = Fronts::of(&server, 3);
    let listed = fronts.addresses[1..].join(",");
    let workload = match engine {
        "pipeline" => "--ratio 1:1 --frame-ops 3 -P 2",
        _ => "--workload mixed",
    };
    let history = history.display();
    let line = format!(
        "{listed} --engine {engine} {workload} --verify --history {history} -c 6 -t 2 -z 60s -q -O json"
    );
    let mut load = load(&line).spawn().unwrap();
    for owner in [1, 2, 0] {
        until_changed(&server, &runtime, 50, &mut load);
        fronts.owner.send_replace(owner);
    }
    until_changed(&server, &runtime, 50, &mut load);
    let pid = load.id().to_string();
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-INT", &pid]).status().unwrap().success());
    let run = Run::from(load.wait_with_output().unwrap());
    assert!(!run.stdout.is_empty(), "{engine}: {}", run.stderr);
    run.report()
}

#[test]
fn a_history_over_changes_of_the_owner_is_linearizable() {
    for engine in ["raw", "unary", "pipeline"] {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().join("run.history");
        let report = run_over_owner_changes(engine, &history);
        assert_ne!(
            report["verify"]["verdict"], "violation",
            "{engine}: {report}"
        );
        // The signal has ended the search of the run itself, too, and operations of unknown outcome may need one.
        let run = Run::of(&format!("check {}", history.display()));
        assert!(
            run.stdout.starts_with("linearizable"),
            "{engine}: {}",
            run.stdout
        );
        let changes = ops(&report["connections"]["owner_changes"]);
        assert!(changes >= 3, "{engine}: {report}");
    }
}
