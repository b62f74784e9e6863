//! curl: a call of gRPC as a request of HTTP/2, and what speakers of HTTP/1 are told.

use std::path::Path;

use soloist::v1::watch_request::Target;
use soloist::v1::{ReadResponse, WatchRequest, WriteResponse};
use tokio::process::Command;

use super::debian::{curl, output};
use super::requests::{HEADERS, Request, message_of, url};
use super::{assert_contains, printed};
use crate::support::{TestServer, read, text, write};

/// A call over HTTP/2 without TLS. It prints the head and the trailers. The body goes to the file `answer`.
async fn call(server: &TestServer, method: &str, request: &Request, answer: &Path) -> Command {
    let mut curl = curl().await;
    curl.args(["--http2-prior-knowledge", "--dump-header", "-"])
        .args(HEADERS)
        .arg("--data-binary")
        .arg(format!("@{}", request.path().display()))
        .arg("--output")
        .arg(answer)
        .arg(url(&format!("http://{}", server.addr()), method));
    curl
}

#[tokio::test]
async fn curl_calls_over_http2_and_shows_trailers() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    let request = Request::of(&write("1", text("forty-two")));
    let mut writing = call(&server, "Write", &request, &answer).await;
    assert_contains(
        &printed(output(&mut writing).await),
        &[
            "HTTP/2 200",
            "content-type: application/grpc",
            "grpc-status: 0",
        ],
    );
    let written: WriteResponse = message_of(&std::fs::read(&answer).unwrap());
    assert_eq!(written.revision, 1);

    let refused = Request::of(&read(""));
    let mut reading = call(&server, "Read", &refused, &answer).await;
    assert_contains(
        &printed(output(&mut reading).await),
        &["HTTP/2 200", "grpc-status: 3", "grpc-message: "],
    );
    let request = Request::of(&WatchRequest {
        target: Some(Target::Key("1".into())),
        ..WatchRequest::default()
    });
    let mut watching = call(&server, "Watch", &request, &answer).await;
    let shown = output(watching.args(["-H", "grpc-timeout: 50m"])).await;
    assert_contains(&printed(shown), &["HTTP/2 200", "grpc-status: 4"]);
}

#[tokio::test]
async fn large_messages_go_both_ways_with_curl() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    let value = text("x".repeat(1_000_000));
    let request = Request::of(&write("1", value.clone()));
    let mut writing = call(&server, "Write", &request, &answer).await;
    let written = output(&mut writing).await;
    assert_contains(&printed(written), &["grpc-status: 0"]);
    let request = Request::of(&read("1"));
    let mut reading = call(&server, "Read", &request, &answer).await;
    let shown = output(&mut reading).await;
    assert_contains(&printed(shown), &["grpc-status: 0"]);
    let stored: ReadResponse = message_of(&std::fs::read(&answer).unwrap());
    assert_eq!(stored.entry.unwrap().value, Some(value));
}

#[tokio::test]
async fn curl_is_told_that_the_server_speaks_http2_only() {
    let server = TestServer::start();
    let address = format!("http://{}/", server.addr());
    // By itself it speaks HTTP/1.1; with --http2 it asks for an upgrade.
    for version in ["--http1.1", "--http2", "--http1.0"] {
        let mut curl = curl().await;
        let shown = output(curl.args(["--include", version, &address])).await;
        assert_contains(
            &printed(shown),
            &[
                "HTTP/1.1 505 HTTP Version Not Supported",
                "This is a gRPC server: it speaks HTTP/2 from the first byte on, without TLS.",
            ],
        );
    }
}
