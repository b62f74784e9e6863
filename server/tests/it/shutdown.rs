//! Draining: calls in flight finish, new ones are refused, and nothing waits for ever.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use futures_util::future::join_all;
use prost::Message as _;
use soloist::v1::state_client::StateClient;
use soloist_http2::frame::{ACK, END_STREAM, kind, put};
use soloist_server::config::Transport;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::raw::{Raw, call};
use crate::support::{
    TestServer, assert_refused, frame, int, pipeline, read, text, unix_channel, write, write_op,
};

#[tokio::test]
async fn a_draining_server_ends_pipelines() {
    let server = TestServer::start();
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    frames
        .send(frame([write_op(write("k", int(1)))]))
        .await
        .unwrap();
    assert!(answers.message().await.unwrap().is_some());
    server.drain();
    let ended = answers.message().await.unwrap_err();
    assert_refused(&ended, Code::Unavailable, "DRAINING", &[]);
    server.stopped().await;
}

#[tokio::test]
async fn health_reports_draining_and_its_watches_end() {
    let server = TestServer::start();
    let mut health = HealthClient::new(server.channel().await);
    for service in ["", "soloist.v1.State", "soloist.v1.Admin"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = health.check(request).await.unwrap();
        assert_eq!(
            answer.into_inner().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
    let request = HealthCheckRequest::default();
    let mut watch = health.watch(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    server.drain();
    let change = watch.message().await.unwrap().unwrap();
    assert_eq!(change.status(), ServingStatus::NotServing);
    let ended = watch.message().await.unwrap_err();
    assert_refused(&ended, Code::Unavailable, "DRAINING", &[]);
    server.stopped().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_a_shutdown() {
    let server =
        TestServer::with(|config| config.transport.drain_timeout = Duration::from_secs(600));
    let _idle = server.channel().await;
    // Not even a connection without a preface does.
    let _silent = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    server.drain();
    tokio::time::timeout(Duration::from_secs(60), server.stopped())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stopped_client_without_a_call_does_not_delay_a_shutdown() {
    let server =
        TestServer::with(|config| config.transport.drain_timeout = Duration::from_secs(600));
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let mut connection = std::pin::pin!(connection);
    let request = http::Request::post(format!("http://{}/soloist.v1.State/Read", server.addr()))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let response = tokio::select! {
        response = response => response.unwrap(),
        _ = connection.as_mut() => panic!("the connection has ended"),
    };
    assert_eq!(response.status(), 200);
    drop(response);
    // From here on the connection is not driven any more: nothing is read, and no ping is answered.
    server.drain();
    tokio::time::timeout(Duration::from_secs(60), server.stopped())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off() {
    let server =
        TestServer::with(|config| config.transport.drain_timeout = Duration::from_millis(50));
    // A raw connection with a stream that its peer never ends.
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/soloist.v1.State/Write", server.addr()))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (_response, _open) = client.send_request(request, false).unwrap();
    let mut other = server.state().await;
    other.write(write("k", int(1))).await.unwrap();
    server.drain();
    server.stopped().await;
    connection.abort();
}

#[tokio::test]
async fn an_answer_whose_call_has_ended_is_read_while_the_server_drains() {
    // The kernel takes some of an answer, and the connection the rest. How much the former is, is not known: one of these
    // answers is so much larger that its call ends, and not all of it is in the kernel.
    const STEP: usize = 48 << 10;
    const ANSWERS: usize = 16;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("soloist.sock");
    let server = TestServer::with_http_on(UnixListener::bind(&path).unwrap(), |config| {
        config.transport.drain_timeout = Duration::from_secs(600);
        // Nobody can see what hyper has still to write.
        config.transport.transport = Transport::Own;
    });
    let mut client = StateClient::new(unix_channel(&path).await);
    let mut slow = Vec::new();
    for number in 1..=ANSWERS {
        let key = format!("k{number}");
        let value = text("x".repeat(number * STEP));
        client.write(write(key.clone(), value)).await.unwrap();
        let message = read(key).encode_to_vec();
        let mut reader = Raw::connect(&path).await;
        reader.send(&call(1, "Read", Some(&message))).await;
        // As much of the data as there is room for comes with the head.
        while reader.frame().await.unwrap().0.kind != kind::HEADERS {}
        slow.push(reader);
    }
    // One whose call goes on for a while when the server drains already.
    let mut last = Raw::connect(&path).await;
    last.send(&call(1, "Write", None)).await;
    while !last.frame().await.unwrap().0.has(ACK) {}
    server.drain();
    while last.frame().await.unwrap().0.kind != kind::GOAWAY {}
    let mut reset = Vec::new();
    put(&mut reset, kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    last.send(&reset).await;
    // It does not answer the ping of the server, which closes it: after every other one whose calls have ended and which does
    // not either.
    while last.frame().await.is_some() {}
    let read = async |(number, mut slow): (usize, Raw)| {
        let mut data = 0;
        loop {
            let frame = slow.frame().await;
            let (header, payload) = frame.unwrap_or_else(|| panic!("{number}: {data} bytes"));
            match header.kind {
                kind::DATA => data += payload.len(),
                kind::HEADERS if header.has(END_STREAM) => break,
                _ => {}
            }
        }
        assert!(data > number * STEP, "{number}: {data} bytes");
    };
    join_all((1..).zip(slow).map(read)).await;
    drop(client);
    server.stopped().await;
}
