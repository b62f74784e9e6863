//! The HTTP listener: probes, metrics, and how it treats its clients.

use std::net::SocketAddr;

use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{TestServer, int, write};

/// Sends a request on a connection of its own. Returns the head of the answer, and its body.
pub(crate) async fn get(addr: SocketAddr, target: &str) -> (StatusCode, String) {
    let answer = request(addr, &format!("GET {target} HTTP/1.1\r\n")).await;
    (answer.status(), answer.into_body())
}

/// `start` is the request's first line, and headers.
pub(crate) async fn request(addr: SocketAddr, start: &str) -> Response<String> {
    exchange(TcpStream::connect(addr).await.unwrap(), start).await
}

pub(crate) async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    start: &str,
) -> Response<String> {
    let request = format!("{start}host: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

/// Reads an answer to its end.
async fn answer(mut stream: impl AsyncRead + Unpin) -> Response<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut response = Response::builder().status(status);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.header(name, value);
    }
    response.body(body.to_owned()).unwrap()
}

#[tokio::test]
async fn probes_say_that_a_server_lives_and_is_ready() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    // Whoever is answered is answered by a server that has started.
    let mut state = server.state().await;
    state.write(write("k", int(1))).await.unwrap();
    assert_eq!(get(addr, "/livez").await, (StatusCode::OK, "ok\n".into()));
    assert_eq!(get(addr, "/readyz").await, (StatusCode::OK, "ok\n".into()));
    let (status, verbose) = get(addr, "/readyz?verbose").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        verbose,
        "[+]started ok\n[+]not-draining ok\n[+]owner ok\n[+]disk ok\nreadyz check passed\n"
    );
    let (_, verbose) = get(addr, "/livez?verbose=1").await;
    assert_eq!(verbose, "[+]owner ok\nlivez check passed\n");
}

#[tokio::test]
async fn a_draining_server_is_not_ready_at_once_and_lives_on() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    // A call whose message does not come holds up the end of the server.
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = http::Request::post(format!("http://{}/soloist.v1.State/Write", server.addr()))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (_response, _open) = client.send_request(call, false).unwrap();
    let mut other = server.state().await;
    other.write(write("k", int(1))).await.unwrap();
    server.drain();
    let (status, said) = get(addr, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("[-]not-draining failed: draining"), "{said}");
    assert_eq!(get(addr, "/livez").await.0, StatusCode::OK);
    connection.abort();
    drop(other);
    server.stopped().await;
    // The listener ends with its server.
    TcpStream::connect(addr).await.unwrap_err();
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed_is_told() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let (status, said) = get(addr, "/nonsense").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(said.contains("/metrics"), "{said}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = request(addr, &format!("{method} /livez HTTP/1.1\r\n")).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "GET, HEAD");
    }
    let full = request(addr, "GET /livez HTTP/1.1\r\n").await;
    let head = request(addr, "HEAD /livez HTTP/1.1\r\n").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.body(), "");
    for name in ["content-length", "content-type", "cache-control"] {
        assert_eq!(head.headers()[name], full.headers()[name], "{name}");
    }
}

#[tokio::test]
async fn a_body_is_read_and_means_nothing_and_a_large_head_is_refused() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let body = "x".repeat(1000);
    let with_body =
        format!("GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{body}");
    // Not /readyz: a server that has just begun may not be ready.
    let last = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(with_body.as_bytes()).await.unwrap();
    stream.write_all(last.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");

    let large = format!("GET /livez HTTP/1.1\r\nx: {}\r\n", "x".repeat(64 << 10));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The server may close the connection before it has read all.
    let _ = stream.write_all(large.as_bytes()).await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    let text = String::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.contains(" 431 "), "{text}");
}

#[tokio::test]
async fn idle_connections_do_not_keep_a_probe_out() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let mut idle = Vec::new();
    // More than there may be.
    for _ in 0..100 {
        idle.push(TcpStream::connect(addr).await.unwrap());
    }
    assert_eq!(get(addr, "/livez").await.0, StatusCode::OK);
    // The oldest had to go.
    let mut byte = [0];
    assert_eq!(idle[0].read(&mut byte).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn metrics_are_text_that_shows_what_was_done() {
    let server = TestServer::with_http(|_| ());
    let mut state = server.state().await;
    state.write(write("k", int(1))).await.unwrap();
    let answer = request(server.http_addr(), "GET /metrics HTTP/1.1\r\n").await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.body();
    for line in [
        "# TYPE grpc_server_handled_total counter",
        "soloist_keys 1",
        "soloist_revision 1",
        "soloist_operations_total{operation=\"write\",result=\"ok\"} 1",
        "soloist_connections 1",
        "soloist_connections_total 1",
    ] {
        assert!(text.lines().any(|it| it == line), "no {line:?} in {text}");
    }
    // Prometheus makes nothing of a histogram without this last bucket.
    let last = "soloist_mailbox_wait_seconds_bucket{le=\"+Inf\"} ";
    assert!(text.contains(last), "no {last:?} in {text}");
}

#[tokio::test]
async fn a_web_page_cannot_read_what_is_here_by_resolving_its_name_to_this_machine() {
    let server = TestServer::with_http(|_| ());
    let addr = server.http_addr();
    let port = addr.port();
    for (host, is_answered) in [
        ("localhost", true),
        ("LocalHost:80", true),
        (&*format!("127.0.0.1:{port}"), true),
        ("[::1]:9090", true),
        ("example.com", false),
        ("127.0.0.1.example.com", false),
        ("localhost.example.com:9090", false),
        ("a b", false),
        ("", false),
    ] {
        for path in ["/", "/metrics", "/status.json"] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let expected = match is_answered {
                true => StatusCode::OK,
                false => StatusCode::MISDIRECTED_REQUEST,
            };
            assert_eq!(answer(stream).await.status(), expected, "{host} {path}");
        }
    }
}
