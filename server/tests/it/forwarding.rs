//! A standby of a cluster: what it answers itself, and the calls that it sends on to the owner. The owner is an ordinary server,
//! and the standby is told where it is.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use soloist::v1::admin_client::AdminClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, BackupRequest, GetInfoRequest, GetNodeRequest, ListRequest, WatchRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::{ErrorInfo, StatusExt as _};

use crate::access::AccessFile;
use crate::support::{
    TestServer, assert_refused, atomic, frame, int, pipeline, read, read_op, write, write_op,
};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A standby of the owner at `owner`.
fn standby_of(owner: &TestServer) -> TestServer {
    TestServer::standby(Some(&owner.addr().to_string()), |_| ())
}

/// The address of a port where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn not_owner(status: &Status, owner: &str) {
    let metadata = [("owner", owner), ("owner_node", "a"), ("epoch", "1")];
    assert_refused(status, Code::Unavailable, "NOT_OWNER", &metadata);
}

fn error_info(status: &Status) -> Option<ErrorInfo> {
    let details = status.check_error_details().unwrap();
    details.error_info().cloned()
}

fn watch_prefix(prefix: &str) -> WatchRequest {
    WatchRequest {
        target: Some(v1::watch_request::Target::Prefix(prefix.into())),
        ..WatchRequest::default()
    }
}

#[tokio::test]
async fn calls_are_sent_on_and_their_answers_come_back() {
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let mut near = owner.state().await;
    let mut far = standby.state().await;
    let written = far.write(write("k", int(7))).await.unwrap().into_inner();
    let found = near.read(read("k")).await.unwrap().into_inner();
    assert_eq!(found.entry.unwrap().revision, written.revision);
    // Errors are those of the owner.
    let bad = far.read(read("")).await.unwrap_err();
    let by_owner = near.read(read("")).await.unwrap_err();
    let (info, by_owner) = (error_info(&bad), error_info(&by_owner));
    assert_eq!(bad.code(), Code::InvalidArgument);
    assert_eq!(info.unwrap().metadata, by_owner.unwrap().metadata);
    // Larger than any window.
    let large = "x".repeat(900_000);
    let value = crate::support::text(large.clone());
    far.write(write("large", value.clone())).await.unwrap();
    let found = far.read(read("large")).await.unwrap().into_inner();
    assert_eq!(found.entry.unwrap().value, Some(value));
    // The other services.
    let mut sessions = SessionsClient::new(standby.channel().await);
    let open = v1::OpenSessionRequest {
        id: "s".into(),
        ttl: Some(prost_types::Duration {
            seconds: 10,
            nanos: 0,
        }),
        ..v1::OpenSessionRequest::default()
    };
    sessions.open_session(open).await.unwrap();
    let mut admin = standby.admin().await;
    let info = admin.get_info(GetInfoRequest {}).await.unwrap();
    assert_eq!(info.into_inner().session_count, 1);
}

#[tokio::test]
async fn a_pipeline_is_sent_on_with_all_frames_in_order() {
    const FRAMES: usize = 500;
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let mut state = standby.state().await;
    let (frames, mut answers) = pipeline(&mut state).await;
    let mut count = 0;
    for number in 0..FRAMES {
        let one = frame([write_op(write(format!("k{number:04}"), int(number as i64)))]);
        frames.send(one).await.unwrap();
        if number >= 20 {
            // Answers come while frames are still sent.
            let answer = timeout(TIMEOUT, answers.message()).await.unwrap();
            assert_eq!(answer.unwrap().unwrap().revision, count + 1);
            count += 1;
        }
    }
    let both = atomic([read_op("k0000"), read_op("k0499")]);
    frames.send(both).await.unwrap();
    drop(frames);
    while let Some(answer) = timeout(TIMEOUT, answers.message()).await.unwrap().unwrap() {
        assert!(!answer.results.is_empty(), "{answer:?}");
        count += 1;
    }
    assert_eq!(count, FRAMES as i64 + 1);
    let mut listed = owner.state().await;
    let list = ListRequest {
        prefix: "k".into(),
        page_size: 1000,
        ..ListRequest::default()
    };
    let page = listed.list(list).await.unwrap().into_inner();
    assert_eq!(page.entries.len(), FRAMES);
}

/// Waits until the owner has so many open watches.
async fn watches(admin: &mut AdminClient<Channel>, count: i64) {
    let reached = async {
        loop {
            let info = admin.get_info(GetInfoRequest {}).await.unwrap();
            if info.into_inner().watch_count == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, reached).await.unwrap();
}

#[tokio::test]
async fn watches_are_sent_on_and_cancelled_at_the_owner() {
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let mut near = owner.state().await;
    let mut admin = owner.admin().await;
    let mut far = standby.state().await;
    let watch = far.watch(watch_prefix("w")).await.unwrap();
    let mut events = watch.into_inner();
    watches(&mut admin, 1).await;
    near.write(write("w1", int(1))).await.unwrap();
    let seen = async {
        loop {
            let message = events.message().await.unwrap().unwrap();
            if !message.events.is_empty() {
                return message.events;
            }
        }
    };
    let events_seen = timeout(TIMEOUT, seen).await.unwrap();
    assert_eq!(events_seen.len(), 1);
    drop(events);
    watches(&mut admin, 0).await;
}

#[tokio::test]
async fn a_pipeline_whose_client_leaves_ends_at_the_owner() {
    let owner = TestServer::with(|config| config.transport.max_streams = 1);
    let standby = TestServer::standby(Some(&owner.addr().to_string()), |config| {
        config.transport.max_streams = 1;
    });
    for _ in 0..20 {
        let mut state = standby.state().await;
        let (frames, mut answers) = pipeline(&mut state).await;
        frames.send(frame([read_op("k")])).await.unwrap();
        timeout(TIMEOUT, answers.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        // Without an end of the request: the connection breaks.
        drop((state, answers));
        drop(frames);
    }
}

#[tokio::test]
async fn more_calls_than_one_connection_takes_go_over_several() {
    let owner = TestServer::with(|config| config.transport.max_streams = 4);
    let standby = TestServer::standby(Some(&owner.addr().to_string()), |config| {
        config.transport.max_streams = 4;
        config.transport.threads = 1;
    });
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut state = standby.state().await;
        for _ in 0..3 {
            let watch = timeout(TIMEOUT, state.watch(watch_prefix("w"))).await;
            open.push(watch.unwrap().unwrap());
        }
        timeout(TIMEOUT, state.read(read("none")))
            .await
            .unwrap()
            .unwrap();
    }
    watches(&mut owner.admin().await, 12).await;
}

#[tokio::test]
async fn a_backup_through_a_standby_is_whole() {
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let mut state = owner.state().await;
    for number in 0..50 {
        let value = crate::support::text("v".repeat(10_000));
        state
            .write(write(format!("{number}"), value))
            .await
            .unwrap();
    }
    let mut admin = standby.admin().await;
    let backup = admin.backup(BackupRequest {}).await.unwrap().into_inner();
    let chunks: Vec<_> = backup.map(Result::unwrap).collect().await;
    let last = chunks.last().unwrap();
    assert_eq!((last.key_count, last.digest.len()), (50, 32));
}

#[tokio::test]
async fn a_call_is_sent_on_only_once_and_only_if_its_client_wants_it() {
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let mut state = standby.state().await;
    for header in ["soloist-direct", "soloist-hop"] {
        let mut call = Request::new(write("k", int(1)));
        call.metadata_mut().insert(header, "1".parse().unwrap());
        let refused = state.write(call).await.unwrap_err();
        not_owner(&refused, &owner.addr().to_string());
    }
    let off = TestServer::standby(Some(&owner.addr().to_string()), |config| {
        config.cluster.forward = soloist_server::config::Forward::Off;
    });
    let refused = off.state().await.write(write("k", int(1))).await;
    not_owner(&refused.unwrap_err(), &owner.addr().to_string());
    // An owner takes no notice of the headers.
    let mut call = Request::new(read("k"));
    call.metadata_mut()
        .insert("soloist-direct", "1".parse().unwrap());
    let found = owner.state().await.read(call).await.unwrap().into_inner();
    assert_eq!(found.entry, None, "nothing was written");
}

#[tokio::test]
async fn an_owner_that_is_not_reached_was_sent_nothing() {
    let address = nobody().await;
    let standby = TestServer::standby(Some(&address), |_| ());
    let mut state = standby.state().await;
    not_owner(
        &state.write(write("k", int(1))).await.unwrap_err(),
        &address,
    );
    let frames = stream::iter([frame([read_op("k")])]);
    not_owner(&state.pipeline(frames).await.unwrap_err(), &address);
    not_owner(&state.watch(watch_prefix("k")).await.unwrap_err(), &address);
    let alone = TestServer::standby(None, |_| ());
    let refused = alone.state().await.read(read("k")).await.unwrap_err();
    assert_refused(&refused, Code::Unavailable, "NOT_OWNER", &[]);
}

/// Waits until a call for a key `some-key-` has arrived.
async fn call_arrives(mut connection: TcpStream) {
    // SETTINGS of a server, without which nothing is sent.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    connection.write_all(&settings).await.unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // The message has the key in clear.
    while !bytes.windows(9).any(|window| window == b"some-key-") {
        let count = connection.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        if count == 0 {
            return std::future::pending().await;
        }
    }
}

#[tokio::test]
async fn a_call_that_breaks_meanwhile_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let standby = TestServer::standby(Some(&address), |_| ());
    let mut state = standby.state().await;
    let breaks = async {
        // One connection is there only to see whether the owner lives.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => drop(connections.spawn(call_arrives(accepted.unwrap().0))),
                Some(arrived) = connections.join_next() => return arrived.unwrap(),
            }
        }
    };
    let call = state.write(write("some-key-1", int(1)));
    let (answer, ()) = timeout(TIMEOUT, async { tokio::join!(call, breaks) })
        .await
        .unwrap();
    let unknown = answer.unwrap_err();
    assert_eq!(unknown.code(), Code::Unavailable, "{unknown:?}");
    assert!(error_info(&unknown).is_none(), "{unknown:?}");
}

#[tokio::test]
async fn an_owner_that_answers_too_late_leaves_the_outcome_open() {
    // It listens, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let standby = TestServer::standby(Some(&address), |config| {
        config.limits.max_deadline = Duration::from_millis(100);
    });
    let mut state = standby.state().await;
    let late = timeout(TIMEOUT, state.write(write("k", int(1))))
        .await
        .unwrap();
    let late = late.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert!(error_info(&late).is_none(), "{late:?}");
}

#[tokio::test]
async fn a_standby_that_drains_ends_what_it_has_sent_on() {
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let mut admin = owner.admin().await;
    let mut state = standby.state().await;
    let mut watch = state.watch(watch_prefix("w")).await.unwrap().into_inner();
    let (frames, mut answers) = pipeline(&mut state).await;
    frames.send(frame([read_op("k")])).await.unwrap();
    timeout(TIMEOUT, answers.message()).await.unwrap().unwrap();
    watches(&mut admin, 1).await;
    standby.drain();
    let ended = async {
        loop {
            if let Err(status) = watch.message().await {
                return status;
            }
        }
    };
    let ended = timeout(TIMEOUT, ended).await.unwrap();
    assert_refused(&ended, Code::Unavailable, "DRAINING", &[]);
    let ended = timeout(TIMEOUT, answers.message()).await.unwrap();
    let ended = ended.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(error_info(&ended).is_none(), "{ended:?}");
    drop((state, frames, watch, answers));
    standby.stopped().await;
    watches(&mut admin, 0).await;
}

#[tokio::test]
async fn a_standby_answers_health_reflection_and_get_node_itself() {
    let owner = TestServer::start();
    let address = owner.addr().to_string();
    let standby = TestServer::standby(Some(&address), |_| ());
    let off = TestServer::standby(Some(&address), |config| {
        config.cluster.forward = soloist_server::config::Forward::Off;
    });
    let unreached = TestServer::standby(Some(&nobody().await), |_| ());
    let health = async |server: &TestServer, service: &str| {
        let mut health = HealthClient::new(server.channel().await);
        let request = HealthCheckRequest {
            service: service.into(),
        };
        health.check(request).await.unwrap().into_inner().status()
    };
    use ServingStatus::{NotServing, Serving};
    // The connection to the owner is made soon.
    let reached = async {
        while health(&standby, "soloist.v1.State").await != Serving {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, reached).await.unwrap();
    for (server, store) in [
        (&standby, Serving),
        (&off, NotServing),
        (&unreached, NotServing),
    ] {
        assert_eq!(health(server, "").await, Serving);
        assert_eq!(health(server, "soloist.v1.State").await, store);
        assert_eq!(health(server, "owner").await, NotServing);
    }
    let mut admin = unreached.admin().await;
    let node = admin.get_node(GetNodeRequest {}).await.unwrap();
    let node = node.into_inner();
    assert_eq!((&*node.node, &*node.owner), ("b", "a"));
    assert_eq!(node.role(), v1::node::Role::Standby);
    assert_eq!(node.epoch, 1);
    // A server that is no node owns its store.
    let alone = TestServer::start();
    let node = alone.admin().await.get_node(GetNodeRequest {}).await;
    let node = node.unwrap().into_inner();
    assert_eq!(
        (node.role(), node.takeover_at),
        (v1::node::Role::Owner, None)
    );
    let info = alone.admin().await.get_info(GetInfoRequest {}).await;
    assert_eq!(node.epoch, info.unwrap().into_inner().epoch);
}

#[tokio::test]
async fn the_owner_decides_who_may_do_what() {
    let access = AccessFile::new(&[("writer", "write = ['*']\nread = ['*']")]);
    let owner = access.server(|_| ());
    let standby = TestServer::standby(Some(&owner.addr().to_string()), |config| {
        config.access.file = Some(access.path());
    });
    let mut state = standby.state().await;
    let missing = state.write(write("k", int(1))).await.unwrap_err();
    assert_refused(&missing, Code::Unauthenticated, "CREDENTIALS_MISSING", &[]);
    let mut admin = standby.admin().await;
    let missing = admin.get_node(GetNodeRequest {}).await.unwrap_err();
    assert_refused(&missing, Code::Unauthenticated, "CREDENTIALS_MISSING", &[]);
    let mut call = Request::new(write("k", int(1)));
    let bearer = access.bearer("writer").parse().unwrap();
    call.metadata_mut().insert("authorization", bearer);
    state.write(call).await.unwrap();
    let mut call = Request::new(GetNodeRequest {});
    let bearer = access.bearer("writer").parse().unwrap();
    call.metadata_mut().insert("authorization", bearer);
    admin.get_node(call).await.unwrap();
}

#[tokio::test]
async fn probes_say_that_a_standby_is_ready() {
    let standby = TestServer::standby_with_http("127.0.0.1:1");
    let ready = async {
        loop {
            let (status, text) = crate::http::get(standby.http_addr(), "/readyz?verbose").await;
            if status == 200 {
                return text;
            }
            assert!(text.contains("[-]standby failed"), "{text}");
        }
    };
    let text = timeout(TIMEOUT, ready).await.unwrap();
    assert!(text.contains("[+]standby ok"), "{text}");
    let (status, _) = crate::http::get(standby.http_addr(), "/livez").await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_each_get_their_own_answer() {
    let owner = TestServer::start();
    let standby = standby_of(&owner);
    let state = standby.state().await;
    let calls = (0..200).map(|number: i64| {
        let mut state: StateClient<Channel> = state.clone();
        tokio::spawn(async move {
            let key = format!("k{number}");
            state.write(write(key.clone(), int(number))).await.unwrap();
            let found = state.read(read(key)).await.unwrap().into_inner();
            (found.entry.unwrap().value == Some(int(number))).then_some(number)
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut seen = BTreeSet::new();
    for call in calls {
        seen.insert(call.await.unwrap().unwrap());
    }
    assert_eq!(seen.len(), 200);
}
