//! Draining: calls in flight finish, new ones are refused, and nothing waits for ever.

use std::time::Duration;

use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::support::{TestServer, assert_refused, frame, int, pipeline, write, write_op};

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
