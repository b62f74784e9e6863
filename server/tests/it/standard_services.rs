//! Health and reflection, as their specifications say.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ExtensionRequest, ServerReflectionRequest};

use crate::support::{TestServer, assert_refused};

const TIMEOUT: Duration = Duration::from_secs(20);

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

#[tokio::test]
async fn a_health_watch_of_an_unknown_service_is_told_so_and_stays_open() {
    let server = TestServer::start();
    let mut health = HealthClient::new(server.channel().await);
    let refused = health.check(of("nobody")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let mut watch = health.watch(of("nobody")).await.unwrap().into_inner();
    let first: HealthCheckResponse = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    server.drain();
    let ended = watch.message().await.unwrap_err();
    assert_refused(&ended, Code::Unavailable, "DRAINING", &[]);
}

#[tokio::test]
async fn health_and_reflection_end_at_their_deadline() {
    let server = TestServer::start();
    let channel = server.channel().await;
    // Only the header, so that it is the server that ends the call.
    fn with_deadline<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let timeout = "50m".parse().unwrap();
        request.metadata_mut().insert("grpc-timeout", timeout);
        request
    }
    let mut health = HealthClient::new(channel.clone());
    let watch = health.watch(with_deadline(of(""))).await.unwrap();
    let mut statuses = watch.into_inner();
    statuses.message().await.unwrap().unwrap();
    let ended = tokio::time::timeout(TIMEOUT, statuses.message()).await;
    let ended = ended.unwrap().unwrap_err();
    assert_refused(&ended, Code::DeadlineExceeded, "NOT_STARTED", &[]);

    let mut reflection = ServerReflectionClient::new(channel);
    let requests = with_deadline(stream::pending());
    let answers = reflection.server_reflection_info(requests).await.unwrap();
    let ended = tokio::time::timeout(TIMEOUT, answers.into_inner().message()).await;
    let ended = ended.unwrap().unwrap_err();
    assert_refused(&ended, Code::DeadlineExceeded, "NOT_STARTED", &[]);
}

#[tokio::test]
async fn a_health_check_whose_body_does_not_end_ends() {
    let server = TestServer::with(|config| config.limits.max_deadline = Duration::from_millis(50));
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let path = "grpc.health.v1.Health/Check";
    let request = http::Request::post(format!("http://{}/{path}", server.addr()))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, _open) = client.send_request(request, false).unwrap();
    let response = tokio::time::timeout(TIMEOUT, response)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    connection.abort();
}

#[tokio::test]
async fn reflection_answers_unknown_names_and_goes_on() {
    let server = TestServer::start();
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let extension = ExtensionRequest {
        containing_type: "soloist.v1.Value".into(),
        extension_number: 7,
    };
    let asked = [
        (
            MessageRequest::FileContainingSymbol("no.Symbol".into()),
            Some(5),
        ),
        (MessageRequest::FileByFilename("no.proto".into()), Some(5)),
        (MessageRequest::FileContainingExtension(extension), Some(5)),
        (
            MessageRequest::AllExtensionNumbersOfType("no.Type".into()),
            Some(5),
        ),
        (
            MessageRequest::AllExtensionNumbersOfType("soloist.v1.Value".into()),
            None,
        ),
        (
            MessageRequest::FileByFilename("google/protobuf/descriptor.proto".into()),
            None,
        ),
        (
            MessageRequest::FileContainingSymbol("google.protobuf.FileDescriptorSet".into()),
            None,
        ),
        (
            MessageRequest::FileContainingSymbol("soloist.v1.State.Write".into()),
            None,
        ),
    ];
    let (requests, expected): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let requests = requests.into_iter().map(|request| ServerReflectionRequest {
        host: "host".into(),
        message_request: Some(request),
    });
    let requests: Vec<_> = requests.collect();
    let answers = reflection
        .server_reflection_info(stream::iter(requests.clone()))
        .await
        .unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    assert_eq!(answers.len(), requests.len());
    for ((answer, request), code) in answers.into_iter().zip(requests).zip(expected) {
        let answer = answer.unwrap();
        assert_eq!(answer.original_request, Some(request.clone()));
        let refused = match answer.message_response.unwrap() {
            MessageResponse::ErrorResponse(error) => Some(error.error_code),
            _ => None,
        };
        assert_eq!(refused, code, "{request:?}");
    }
}
