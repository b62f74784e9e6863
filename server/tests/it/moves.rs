//! Connections that go to another thread while calls, watches and pipelines are open on them.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use soloist::v1::state_client::StateClient;
use soloist::v1::{AddRequest, WatchRequest, watch_request};
use tonic::transport::Channel;

use crate::metrics::Scrape;
use crate::support::{TestServer, frame, int, pipeline, read, unix_channel, write, write_op};

/// After so long no move will come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server's count of moves.
pub(crate) const MOVES: &str = "soloist_connection_moves_total";

async fn moves(server: &TestServer) -> f64 {
    Scrape::of(server.http_addr()).await.value(MOVES)
}

/// Makes calls one at a time, until a connection of the server has moved. Returns how many it made.
async fn call_until_one_moves(
    moves: impl AsyncFn() -> f64,
    client: &mut StateClient<Channel>,
) -> i64 {
    let before = moves().await;
    let mut calls = 0;
    let begun = Instant::now();
    while moves().await == before {
        assert!(begun.elapsed() < PATIENCE, "no move after {calls} calls");
        for _ in 0..500 {
            calls += 1;
            let add = AddRequest {
                key: "calls".into(),
                delta: 1,
                ..AddRequest::default()
            };
            let added = client.add(add).await.unwrap().into_inner();
            assert_eq!(added.value, calls, "each call counts once");
        }
    }
    calls
}

/// Checks that `client` is served, on another thread than at first, as before. Another connection must have been there first.
/// `moves` asks the server for [`MOVES`].
pub(crate) async fn check_a_move(moves: impl AsyncFn() -> f64, mut client: StateClient<Channel>) {
    let (frames, mut results) = pipeline(&mut client).await;
    let watch = WatchRequest {
        target: Some(watch_request::Target::Prefix("watched".into())),
        ..WatchRequest::default()
    };
    let mut watch = client.watch(watch).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    frames
        .send(frame([write_op(write("frames", int(1)))]))
        .await
        .unwrap();
    results.message().await.unwrap().unwrap();

    let calls = call_until_one_moves(moves, &mut client).await;

    // What was open is still served, and what waits for it is woken.
    frames
        .send(frame([write_op(write("frames", int(2)))]))
        .await
        .unwrap();
    let answer = results.message().await.unwrap().unwrap();
    assert_eq!(answer.results.len(), 1);
    client.write(write("watched", int(7))).await.unwrap();
    let events = watch.message().await.unwrap().unwrap().events;
    assert_eq!(events[0].entry.as_ref().unwrap().value, Some(int(7)));
    for (key, expected) in [("frames", 2), ("calls", calls)] {
        let entry = client.read(read(key)).await.unwrap().into_inner().entry;
        assert_eq!(entry.unwrap().value, Some(int(expected)), "{key}");
    }
}

#[tokio::test]
async fn a_lone_client_goes_to_the_thread_of_the_owner() {
    let server = TestServer::with_http(|_| ());
    // It is the first, so the thread of the owner has it.
    let idle = server.state().await;
    check_a_move(async || moves(&server).await, server.state().await).await;
    drop(idle);
    server.drain();
    server.stopped().await;
}

#[tokio::test]
async fn connections_of_unix_sockets_move_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("soloist.sock");
    let server = TestServer::with_http_on(UnixListener::bind(&path).unwrap(), |_| ());
    let client = async || StateClient::new(unix_channel(&path).await);
    let _idle = client().await;
    check_a_move(async || moves(&server).await, client().await).await;
}

/// Two clients that call as fast as they can get on the same thread at first, because another one is there.
#[tokio::test]
async fn busy_clients_spread_over_the_threads() {
    let server = TestServer::with_http(|_| ());
    let mut first = server.state().await;
    let _idle = server.state().await;
    let mut second = server.state().await;
    let before = moves(&server).await;
    let begun = Instant::now();
    while moves(&server).await == before {
        assert!(begun.elapsed() < PATIENCE, "no move");
        for _ in 0..500 {
            let (one, two) = tokio::join!(first.read(read("k")), second.read(read("k")));
            one.unwrap();
            two.unwrap();
        }
    }
}
