//! Overload: refusals, bounds, and that the server recovers.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use prost::Message as _;
use soloist::v1::GetInfoRequest;
use soloist::v1::op_result::Result as OpResult;
use soloist::v1::state_client::StateClient;
use soloist_http2::frame::{END_STREAM, kind};
use soloist_server::config::Transport;
use tokio::time::timeout;
use tonic::Code;

use crate::raw::{Raw, call};
use crate::support::{
    TestServer, assert_rpc_refused, channel, frame, int, pipeline, read, read_op, text,
    unix_channel, write,
};

/// Longer than anything takes here, unless it never happens.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_and_never_reads_is_bounded() {
    const FRAMES: usize = 20_000;
    let server = TestServer::with(|config| config.limits.max_frames_in_flight = 8);
    let mut client = server.state().await;
    // Each answer has 64 KiB, so the flow-control window for answers is soon full.
    client
        .write(write("k", text("x".repeat(64 << 10))))
        .await
        .unwrap();
    let (frames, mut answers) = pipeline(&mut client).await;
    // Frames differ in their number of operations, so that each answer can be told to belong to its frame.
    let length = |n: usize| n % 7 + 1;
    for n in 0..FRAMES {
        // The server reads all frames, though the client reads no answer.
        let frame = frame((0..length(n)).map(|_| read_op("k")));
        timeout(LONG, frames.send(frame)).await.unwrap().unwrap();
    }
    drop(frames);
    // Other connections do not notice.
    let mut other = server.state().await;
    other.write(write("other", int(1))).await.unwrap();

    // Every frame is answered in its place, with a refusal if it was one too many.
    let (mut done, mut refused) = (0, 0);
    while let Some(answer) = timeout(LONG, answers.message()).await.unwrap().unwrap() {
        match answer.error {
            None => {
                assert_eq!(answer.results.len(), length(done + refused));
                done += 1;
            }
            Some(error) => {
                refused += 1;
                let limit = [("limit", "8")];
                assert_rpc_refused(&error, Code::ResourceExhausted, "OVERLOADED", &limit);
            }
        }
    }
    assert_eq!(done + refused, FRAMES);
    assert!(done >= 8 && refused > 0, "{done} done, {refused} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_of_a_connection_are_bounded_in_bytes() {
    const FRAMES: usize = 40;
    // Four values, and what the answers take besides, refusals among them.
    let server = TestServer::with(|config| config.limits.max_unread_bytes = (4 << 20) + (64 << 10));
    let mut client = server.state().await;
    client
        .write(write("k", text("x".repeat(1 << 20))))
        .await
        .unwrap();
    let (frames, mut answers) = pipeline(&mut client).await;
    for _ in 0..FRAMES {
        frames.send(frame([read_op("k")])).await.unwrap();
    }
    drop(frames);
    // The owner has handled all frames by the time that another stream of the connection has its answer.
    let (other_frames, mut other) = pipeline(&mut client).await;
    other_frames.send(frame([read_op("m")])).await.unwrap();
    other.message().await.unwrap().unwrap();

    let mut shown = 0;
    for _ in 0..FRAMES {
        let answer = timeout(LONG, answers.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        // The frame was refused, or the Read in it.
        if let Some(error) = answer.error {
            assert_eq!(error.code, Code::ResourceExhausted as i32);
            continue;
        }
        match answer.results[0].result.as_ref().unwrap() {
            OpResult::Read(_) => shown += 1,
            OpResult::Error(error) => assert_eq!(error.code, Code::ResourceExhausted as i32),
            other => panic!("{other:?}"),
        }
    }
    assert!((4..FRAMES).contains(&shown), "{shown} of {FRAMES} shown");
    // Once the answers are read, there is room again.
    other_frames.send(frame([read_op("k")])).await.unwrap();
    let answer = other.message().await.unwrap().unwrap();
    assert!(matches!(answer.results[0].result, Some(OpResult::Read(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_says_when_to_come_back() {
    // Only one message may wait, so of many calls at once some are refused.
    let server = TestServer::with(|config| config.mailbox.messages = 1);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = server.state().await;
        for n in 0..250 {
            let mut client = client.clone();
            calls.spawn(async move { client.write(write("k", int(n))).await });
        }
    }
    let mut applied = 0;
    for result in calls.join_all().await {
        match result {
            Ok(_) => applied += 1,
            Err(refused) => {
                use tonic_types::StatusExt as _;
                assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
                let details = refused.get_error_details();
                assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
                assert!(details.retry_info().unwrap().retry_delay.is_some());
                let pushback = refused.metadata().get("grpc-retry-pushback-ms");
                assert_eq!(pushback.unwrap(), "20");
            }
        }
    }
    assert!(applied > 0);
    let info = server
        .admin()
        .await
        .get_info(GetInfoRequest {})
        .await
        .unwrap();
    assert_eq!(
        info.into_inner().revision,
        applied,
        "refused calls are not applied"
    );
}

#[tokio::test]
async fn streams_beyond_the_limit_wait() {
    let server = TestServer::with(|config| config.transport.max_streams = 2);
    let mut client = server.state().await;
    // After one call the client knows the server's settings, with the limit.
    client.read(read("k")).await.unwrap();
    let (first, _first) = pipeline(&mut client).await;
    let (_second, _second_answers) = pipeline(&mut client).await;
    let mut third = client.clone();
    let third = tokio::spawn(async move { third.read(read("k")).await });
    // A stream of another connection is not held up.
    server.state().await.read(read("k")).await.unwrap();
    assert!(!third.is_finished());
    drop(first);
    drop(_first);
    timeout(LONG, third).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = TestServer::with(|config| config.transport.max_connections = 1);
    let mut first = server.state().await;
    first.read(read("k")).await.unwrap();
    let addr = server.addr();
    let second = tokio::spawn(async move {
        let channel = channel(addr).await;
        soloist::v1::state_client::StateClient::new(channel)
            .read(read("k"))
            .await
    });
    for n in 0..50 {
        first.write(write("k", int(n))).await.unwrap();
    }
    assert!(!second.is_finished());
    drop(first);
    let answer = timeout(LONG, second).await.unwrap().unwrap().unwrap();
    assert!(answer.into_inner().entry.is_some());
}

/// Reads 1 MiB on each of some streams, and a small value on another one behind them.
#[tokio::test]
async fn a_small_answer_does_not_wait_for_large_ones_of_its_connection() {
    const LARGE: [u32; 4] = [1, 3, 5, 7];
    const SMALL: u32 = 9;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("soloist.sock");
    let _server = TestServer::with_http_on(UnixListener::bind(&path).unwrap(), |config| {
        // In which order hyper sends what waits is up to h2.
        config.transport.transport = Transport::Own;
    });
    let mut other = StateClient::new(unix_channel(&path).await);
    let large = text("x".repeat(1 << 20));
    other.write(write("large", large)).await.unwrap();
    other.write(write("small", int(1))).await.unwrap();
    let mut client = Raw::connect(&path).await;
    let [large, small] = ["large", "small"].map(|key| read(key).encode_to_vec());
    let mut calls = LARGE
        .map(|stream| call(stream, "Read", Some(&large)))
        .concat();
    calls.extend(call(SMALL, "Read", Some(&small)));
    client.send(&calls).await;
    // All are answered by then, and most of that waits for the client.
    other.read(read("small")).await.unwrap();
    let mut order = Vec::new();
    while order.len() <= LARGE.len() {
        let (header, _) = client.frame().await.unwrap();
        if header.kind == kind::HEADERS && header.has(END_STREAM) {
            order.push(header.stream);
        }
    }
    assert_eq!(order[0], SMALL, "{order:?}");
}
