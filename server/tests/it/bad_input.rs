//! Requests that no well-behaved client sends. Each gets its answer, and the server goes on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use soloist_http2::frame::{
    END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, FrameHeader, PREFACE, kind, put, put_settings,
};
use soloist_http2::hpack::put_string;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::support::{TestServer, assert_refused, read};

/// Makes one call with exactly these headers and bytes. Returns the HTTP status and the gRPC status.
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

/// A message with its length in front.
fn message(bytes: &[u8]) -> BytesMut {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(bytes.len() as u32);
    message.put_slice(bytes);
    message
}

const WRITE: &str = "/soloist.v1.State/Write";
const BATCH: &str = "/soloist.v1.State/Batch";
const PIPELINE: &str = "/soloist.v1.State/Pipeline";

#[tokio::test]
async fn broken_messages_are_refused() {
    let server = TestServer::start();
    // Field 1, a string of two bytes that are not UTF-8.
    let not_utf8 = message(&[0x0a, 2, 0xff, 0xfe]);
    // Field 1, a string of 9 bytes, of which all but one are missing.
    let cut = message(&[0x0a, 9, b'x']);
    let nothing = message(&[]);
    let two = [nothing.clone(), nothing.clone()].concat();
    for (path, headers, body) in [
        (WRITE, &[][..], &not_utf8[..]),
        (PIPELINE, &[], &message(&[0x0a, 4, 0x0a, 2, 0x0a, 9])),
        (BATCH, &[], &message(&[0x0a, 4, 0x0a, 2, 0x0a, 9])),
        (WRITE, &[], &cut),
        (WRITE, &[], &message(b"\xff\xff\xff")),
        (WRITE, &[], &[]),
        (WRITE, &[], &two),
        (WRITE, &[], &cut[..7]),
        (WRITE, &[], &[1, 0, 0, 0, 0]),
        (WRITE, &[("grpc-timeout", "-5S")], &nothing),
        (WRITE, &[("grpc-timeout", "999999999S")], &nothing),
        (WRITE, &[("grpc-timeout", "soon")], &nothing),
        (PIPELINE, &[("grpc-timeout", "5")], &nothing),
    ] {
        let (http, status) = call(server.addr(), path, headers, body).await;
        assert_eq!(http, StatusCode::OK);
        let status = status.expect("the call is answered");
        assert_refused(&status, Code::InvalidArgument, "BAD_MESSAGE", &[]);
        assert!(!status.message().is_empty());
    }
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn compressed_messages_are_refused() {
    let server = TestServer::start();
    let compressed = [1, 0, 0, 0, 1, 0];
    for path in [WRITE, PIPELINE, "/soloist.v1.Admin/GetInfo"] {
        let gzip = [("grpc-encoding", "gzip")];
        let (_, status) = call(server.addr(), path, &gzip, &compressed).await;
        let status = status.unwrap();
        let actual = [("actual", "gzip")];
        assert_refused(&status, Code::Unimplemented, "UNKNOWN_ENCODING", &actual);
        let accepted = status.metadata().get("grpc-accept-encoding").unwrap();
        assert_eq!(accepted, "identity");
    }
    let identity = [("grpc-encoding", "identity")];
    let write = message(&[0x0a, 1, b'k', 0x22, 2, 0x08, 1]);
    let (_, status) = call(server.addr(), WRITE, &identity, &write).await;
    assert_eq!(status.unwrap().code(), Code::Ok);
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
    // A client library would not even send this call.
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

/// Opens a call, sends only the beginning of its message, and returns the status that the server answers.
async fn unfinished_call(addr: SocketAddr, headers: &[(&str, &str)]) -> Status {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request =
        Request::post(format!("http://{addr}{WRITE}")).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, mut stream) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    stream
        .send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 0x0a]), false)
        .unwrap();
    let response = response.await.unwrap();
    connection.abort();
    Status::from_header_map(response.headers()).unwrap()
}

#[tokio::test]
async fn an_unfinished_message_is_refused_at_the_deadline() {
    let server = TestServer::with(|config| config.limits.max_deadline = Duration::from_millis(50));
    for headers in [
        &[][..],
        &[("grpc-timeout", "20m")],
        &[("grpc-timeout", "9H")],
    ] {
        let status = unfinished_call(server.addr(), headers).await;
        assert_refused(&status, Code::DeadlineExceeded, "NOT_STARTED", &[]);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_cut_off() {
    let server = TestServer::with(|config| {
        config.transport.keepalive_interval = Duration::from_millis(20);
        config.transport.keepalive_timeout = Duration::from_millis(20);
    });
    // The peer sends the preface and empty settings, and then nothing more.
    let hello = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ]
    .concat();
    exchange(server.addr(), &hello).await;
}

#[tokio::test]
async fn a_frame_of_many_empty_operations_is_refused_by_its_count() {
    let server = TestServer::start();
    let frame = message(&[0x0a, 0].repeat(1 << 20));
    let (_, status) = call(server.addr(), PIPELINE, &[], &frame).await;
    assert_eq!(
        status.unwrap().code(),
        Code::Ok,
        "the frame is refused, not the stream"
    );
    let (_, status) = call(server.addr(), BATCH, &[], &frame).await;
    assert_refused(
        &status.unwrap(),
        Code::InvalidArgument,
        "TOO_MANY_OPERATIONS",
        &[("field", "ops"), ("limit", "1024"), ("actual", "1048576")],
    );
}

#[tokio::test]
async fn requests_that_are_not_grpc_are_refused() {
    let server = TestServer::start();
    for content_type in [
        "application/json",
        "application/grpc-web",
        "application/grpc+json",
    ] {
        let headers = [("content-type", content_type)];
        let (http, _) = call(server.addr(), WRITE, &headers, b"{}").await;
        assert_eq!(http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let headers = [("content-type", content_type)];
        let (http, _) = call(server.addr(), WRITE, &headers, &message(&[])).await;
        assert_eq!(http, StatusCode::OK);
    }
    for path in [
        "/",
        "/soloist.v1.State/Missing",
        "/missing.Service/Read",
        "/x/y/z",
    ] {
        let (_, status) = call(server.addr(), path, &[], &message(&[])).await;
        let status = status.unwrap();
        assert_refused(&status, Code::Unimplemented, "UNKNOWN_METHOD", &[]);
        assert!(status.message().contains(path), "{status:?}");
    }
}

/// Sends `bytes` and reads until the server closes the connection.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // The server may also reset the connection instead of closing it.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn connections_that_do_not_speak_http2_are_closed() {
    let server = TestServer::start();
    let answer = exchange(server.addr(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("This is a gRPC server"), "{answer}");
    // The server answers at the first wrong byte, without waiting for more.
    assert!(!exchange(server.addr(), b"hello").await.is_empty());
    // The clients of TLS, too, recognise the text: it says that there is no TLS here.
    let answer = exchange(server.addr(), &[22; 64]).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("without TLS"), "{answer}");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for frames in [
        // DATA on stream 0, a SETTINGS frame of odd length, a frame larger than allowed, noise.
        &[0, 0, 1, 0, 0, 0, 0, 0, 0, 7][..],
        &[0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5],
        &[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0],
        &[0xa5; 1000],
    ] {
        // The server sends GOAWAY and closes the connection.
        exchange(server.addr(), &[&preface[..], frames].concat()).await;
    }
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn a_connection_without_a_preface_is_closed() {
    let server =
        TestServer::with(|config| config.transport.preface_timeout = Duration::from_millis(50));
    assert!(exchange(server.addr(), b"").await.is_empty());
    assert!(
        exchange(server.addr(), b"PRI * HTTP/2.0\r\n")
            .await
            .is_empty()
    );
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
        ended = resets => ended.expect_err("the connection ends before all resets are sent"),
        ended = connection => ended.expect_err("the connection ends with an error"),
    };
    // The GOAWAY may be lost if the server closes before it has read everything.
    let calm = ended.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    assert!(calm || ended.is_io(), "{ended:?}");
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn cancelling_as_many_calls_as_allowed_does_not_end_the_connection() {
    // As a client does when the deadlines of all its calls pass at the same time.
    let server = TestServer::start();
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = || {
        Request::post(format!("http://{}{WRITE}", server.addr()))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap()
    };
    // Nothing is sent until this task waits, so all calls arrive together.
    for _ in 0..100 {
        let (_, mut stream) = client.send_request(request(), false).unwrap();
        stream.send_reset(h2::Reason::CANCEL);
    }
    let mut client = client.ready().await.unwrap();
    let (response, mut stream) = client.send_request(request(), false).unwrap();
    stream.send_data(message(&[]).freeze(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    connection.abort();
}

#[tokio::test]
async fn malformed_requests_without_end_beside_an_open_call_end_the_connection() {
    // CVE-2025-8671, with faults that no protocol but that of HTTP's fields knows.
    const REQUESTS: u32 = 20_000;
    const LAST: &[u8; 8] = b"the last";
    let server = TestServer::start();
    let fields = |method: &str, path: &str| {
        let mut block = vec![0x86];
        for (name, value) in [
            (":method", method),
            (":path", path),
            (":authority", "a"),
            ("content-type", "application/grpc"),
        ] {
            block.push(0);
            put_string(&mut block, name.as_bytes());
            put_string(&mut block, value.as_bytes());
        }
        block
    };
    let call = fields("POST", PIPELINE);
    let malformed_head = fields("PO ST", PIPELINE);
    let malformed_trailers = [0, 2, b'a', b'(', 1, b'b'];
    let (mut heads, mut trailers) = (Vec::new(), Vec::new());
    for number in 1..=REQUESTS {
        let stream = 2 * number + 1;
        let end = END_HEADERS | END_STREAM;
        put(&mut heads, kind::HEADERS, end, stream, &malformed_head);
        put(&mut trailers, kind::HEADERS, END_HEADERS, stream, &call);
        put(
            &mut trailers,
            kind::HEADERS,
            end,
            stream,
            &malformed_trailers,
        );
    }
    for faults in [heads, trailers] {
        let mut bytes = PREFACE.to_vec();
        put_settings(&mut bytes, &[]);
        put(&mut bytes, kind::HEADERS, END_HEADERS, 1, &call);
        bytes.extend(faults);
        put(&mut bytes, kind::PING, 0, 0, LAST);
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let send = async move {
            // The connection ends before everything is sent.
            let _ = to.write_all(&bytes).await;
            to
        };
        let read = async {
            let mut resets = 0;
            loop {
                let mut header = [0; FRAME_HEADER_BYTES];
                if from.read_exact(&mut header).await.is_err() {
                    return resets;
                }
                let header = FrameHeader::parse(&header);
                let mut payload = vec![0; header.length];
                if from.read_exact(&mut payload).await.is_err() {
                    return resets;
                }
                assert_ne!(payload, LAST, "all were looked at");
                resets += u32::from(header.kind == kind::RST_STREAM);
            }
        };
        let (_to, resets) = tokio::join!(send, read);
        assert!(resets < REQUESTS, "{resets}");
    }
    server.state().await.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn settings_without_end_beside_open_calls_end_the_connection() {
    const STREAMS: u8 = 20;
    const SETTINGS: u32 = 5_000;
    let server = TestServer::start();
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let frame = |kind: u8, flags: u8, id: u8, payload: &[u8]| {
        let header = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, id];
        [&header, payload].concat()
    };
    // POST, http, the path, an authority, and the content-type, which HPACK's static table names.
    let path = PIPELINE.as_bytes();
    let headers = [
        &[0x83, 0x86, 0x04, path.len() as u8],
        path,
        b"\x01\x01a\x0f\x10\x10application/grpc",
    ]
    .concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for number in 0..STREAMS {
        bytes.extend(frame(1, 4, 2 * number + 1, &headers));
    }
    stream.write_all(&bytes).await.unwrap();
    let mut acknowledged = 0;
    for number in 0..SETTINGS {
        // Another initial window each time.
        let window = (65_535 + number % 2).to_be_bytes();
        let settings = frame(4, 0, 0, &[&[0, 4], &window[..]].concat());
        if stream.write_all(&settings).await.is_err() {
            break;
        }
        if next_ack(&mut stream).await.is_err() {
            break;
        }
        acknowledged += 1;
    }
    assert!(
        acknowledged > 50,
        "as many as adaptive clients send are taken"
    );
    assert!(acknowledged < SETTINGS, "all are answered");
    server.state().await.read(read("k")).await.unwrap();
}

/// Reads up to the next acknowledgement of SETTINGS.
async fn next_ack(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await?;
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; len as usize];
        stream.read_exact(&mut payload).await?;
        if header[3..5] == [4, 1] {
            return Ok(());
        }
    }
}
