//! More than the server takes: refused, bounded, and over when it is over.

use std::time::Duration;

use soloist::v1::GetInfoRequest;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{
    TestServer, assert_rpc_refused, channel, frame, int, pipeline, read, read_op, text, write,
    write_op,
};

/// Long enough for anything that comes at all.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_and_never_reads_is_bounded() {
    const FRAMES: usize = 20_000;
    let server = TestServer::with(|config| config.limits.max_frames_in_flight = 8);
    let mut client = server.state().await;
    // Each answer is 64 KiB, so the window for answers is soon full.
    client
        .write(write("k", text("x".repeat(64 << 10))))
        .await
        .unwrap();
    let (frames, mut answers) = pipeline(&mut client).await;
    for _ in 0..FRAMES {
        // The server takes all of them, though none of its answers is taken.
        timeout(LONG, frames.send(frame([read_op("k")])))
            .await
            .unwrap()
            .unwrap();
    }
    drop(frames);
    // Others notice nothing.
    let mut other = server.state().await;
    other.write(write("other", int(1))).await.unwrap();

    // Every frame has its answer, in its place, and what could not wait says so.
    let (mut done, mut refused) = (0, 0);
    while let Some(answer) = timeout(LONG, answers.message()).await.unwrap().unwrap() {
        match answer.error {
            None => done += 1,
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
async fn a_full_mailbox_says_when_to_come_back() {
    // One message may wait, so many at once cannot.
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
        "what was refused was not applied"
    );
}

#[tokio::test]
async fn streams_beyond_the_limit_wait() {
    let server = TestServer::with(|config| config.transport.max_streams = 2);
    let mut client = server.state().await;
    // The limit comes with the server's first settings.
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
    first.write(write("k", int(1))).await.unwrap();
    assert!(!second.is_finished());
    drop(first);
    let answer = timeout(LONG, second).await.unwrap().unwrap().unwrap();
    assert!(answer.into_inner().entry.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_frames_are_bounded_in_bytes_while_they_wait() {
    let server = TestServer::start();
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..4 {
        let (frames, mut answers) = pipeline(&mut server.state().await).await;
        streams.spawn(async move {
            let value = text("x".repeat(1 << 20));
            let sender = tokio::spawn(async move {
                for n in 0..30 {
                    let ops = [write_op(write(
                        format!("{stream}-{}", n % 3),
                        value.clone(),
                    ))];
                    frames.send(frame(ops)).await.unwrap();
                }
            });
            let mut count = 0;
            while let Some(answer) = answers.message().await.unwrap() {
                count += 1;
                if let Some(error) = answer.error {
                    let limit = [("limit", "16777216")];
                    assert_rpc_refused(&error, Code::ResourceExhausted, "OVERLOADED", &limit);
                }
            }
            sender.await.unwrap();
            assert_eq!(count, 30);
        });
    }
    streams.join_all().await;
}
