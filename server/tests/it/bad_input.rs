//! What no well-behaved client sends: each with its answer, and the server goes on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::support::{TestServer, assert_refused, read};

/// Makes one call with exactly these headers and bytes, and returns the HTTP status and what the call ended with.
async fn call(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (StatusCode, Option<Status>) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{addr}{path}"));
    let content_type = [("content-type", "application/grpc")];
    let headers = if headers.iter().any(|(name, _)| *name == "content-type") {
        headers.to_vec()
    } else {
        [&content_type, headers].concat()
    };
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (response, mut stream) = client
        .send_request(request.body(()).unwrap(), body.is_empty())
        .unwrap();
    if !body.is_empty() {
        stream
            .send_data(Bytes::copy_from_slice(body), true)
            .unwrap();
    }
    let (parts, mut body) = response.await.unwrap().into_parts();
    let mut trailers = parts.headers;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    trailers.extend(
        body.trailers()
            .await
            .unwrap()
            .unwrap_or_else(HeaderMap::new),
    );
    connection.abort();
    (parts.status, Status::from_header_map(&trailers))
}

/// A length-prefixed message.
fn message(bytes: &[u8]) -> BytesMut {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(bytes.len() as u32);
    message.put_slice(bytes);
    message
}

const WRITE: &str = "/soloist.v1.State/Write";
const PIPELINE: &str = "/soloist.v1.State/Pipeline";

#[tokio::test]
async fn broken_messages() {
    let server = TestServer::start();
    // Field 1, a string of two bytes that are not UTF-8.
    let not_utf8 = message(&[0x0a, 2, 0xff, 0xfe]);
    // Field 1, a string of 9 bytes, of which one is there.
    let cut = message(&[0x0a, 9, b'x']);
    let nothing = message(&[]);
    let two = [nothing.clone(), nothing.clone()].concat();
    for (path, headers, body) in [
        (WRITE, &[][..], &not_utf8[..]),
        (PIPELINE, &[], &message(&[0x0a, 4, 0x0a, 2, 0x0a, 9])),
        (WRITE, &[], &cut),
        (WRITE, &[], &message(b"\xff\xff\xff")),
        (WRITE, &[], &[]),
        (WRITE, &[], &two),
        (WRITE, &[], &cut[..7]),
        (WRITE, &[("grpc-timeout", "-5S")], &nothing),
        (WRITE, &[("grpc-timeout", "999999999S")], &nothing),
        (WRITE, &[("grpc-timeout", "soon")], &nothing),
        (PIPELINE, &[("grpc-timeout", "5")], &nothing),
    ] {
        let (http, status) = call(server.addr(), path, headers, body).await;
        assert_eq!(http, StatusCode::OK);
        let status = status.expect("an answer");
        assert_refused(&status, Code::InvalidArgument, "BAD_MESSAGE", &[]);
        assert!(!status.message().is_empty());
    }
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_is_read() {
    let server = TestServer::start();
    for (length, actual) in [
        ([0xff, 0xff, 0xff, 0xff], "4294967295"),
        (4_259_841_u32.to_be_bytes(), "4259841"),
    ] {
        for path in [WRITE, PIPELINE] {
            let prefix = [&[0][..], &length].concat();
            let (_, status) = call(server.addr(), path, &[], &prefix).await;
            assert_refused(
                &status.unwrap(),
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
                &[("limit", "4259840"), ("actual", actual)],
            );
        }
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_answered_by_the_server() {
    // A client library would answer for itself.
    let server = TestServer::start();
    for timeout in ["0n", "1n"] {
        let write = message(&[0x0a, 1, b'k', 0x22, 2, 0x08, 1]);
        let timeout = [("grpc-timeout", timeout)];
        let (_, status) = call(server.addr(), WRITE, &timeout, &write).await;
        assert_refused(&status.unwrap(), Code::DeadlineExceeded, "NOT_STARTED", &[]);
    }
    let answer = server.state().await.read(read("k")).await.unwrap();
    assert_eq!(answer.into_inner().entry, None);
}

#[tokio::test]
async fn what_is_not_grpc() {
    let server = TestServer::start();
    let json = [("content-type", "application/json")];
    let (http, _) = call(server.addr(), WRITE, &json, b"{}").await;
    assert_eq!(http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for path in [
        "/",
        "/soloist.v1.State/Missing",
        "/missing.Service/Read",
        "/x/y/z",
    ] {
        let (_, status) = call(server.addr(), path, &[], &message(&[])).await;
        let status = status.unwrap();
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().contains(path), "{status:?}");
    }
}

/// Sends `bytes` and reads until the server closes the connection.
async fn say(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset instead of an end is as good.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn what_is_not_http2() {
    let server = TestServer::start();
    let answer = say(server.addr(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("This is a gRPC server"), "{answer}");
    // A TLS handshake is not answered in plain text.
    assert!(say(server.addr(), &[22; 64]).await.is_empty());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for frames in [
        // DATA on stream 0, a SETTINGS frame of odd length, a frame larger than allowed, noise.
        &[0, 0, 1, 0, 0, 0, 0, 0, 0, 7][..],
        &[0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5],
        &[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0],
        &[0xa5; 1000],
    ] {
        // It says GOAWAY and closes.
        say(server.addr(), &[&preface[..], frames].concat()).await;
    }
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_never_says_what_it_wants_is_closed() {
    let server =
        TestServer::with(|config| config.transport.preface_timeout = Duration::from_millis(50));
    assert!(say(server.addr(), b"").await.is_empty());
    assert!(say(server.addr(), b"PRI * HTTP/2.0\r\n").await.is_empty());
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn large_headers_are_refused() {
    let server = TestServer::start();
    let large = "x".repeat(17 << 10);
    let (http, _) = call(server.addr(), WRITE, &[("large", &large)], &message(&[])).await;
    assert_eq!(http, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn streams_opened_only_to_be_reset_end_the_connection() {
    // CVE-2023-44487, rapid reset.
    const PAIRS: usize = 10_000;
    let server = TestServer::start();
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let resets = async {
        let mut client = client;
        for _ in 0..PAIRS {
            let request = Request::post(format!("http://{}{PIPELINE}", server.addr()))
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            client = client.ready().await?;
            let (_, mut stream) = client.send_request(request, false)?;
            stream.send_reset(h2::Reason::CANCEL);
            tokio::task::yield_now().await;
        }
        Ok::<_, h2::Error>(())
    };
    let ended = tokio::select! {
        ended = resets => ended.unwrap_err(),
        ended = connection => ended.unwrap_err(),
    };
    assert_eq!(
        ended.reason(),
        Some(h2::Reason::ENHANCE_YOUR_CALM),
        "{ended:?}"
    );
    server.state().await.read(read("k")).await.unwrap();
}
