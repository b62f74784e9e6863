//! nghttp: frames as few clients send them, with what both sides said to each other.

use std::process::Stdio;
use std::time::Duration;

use soloist::v1::WatchRequest;
use soloist::v1::watch_request::Target;
use soloist_server::config::{Transport, TransportLimits};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::assert_contains;
use super::debian::{LONG, output, program};
use super::requests::{HEADERS, Request, url};
use crate::support::{TestServer, read, text, write};

/// A call with this request, shown frame by frame.
fn nghttp(server: &TestServer, method: &str, request: &Request) -> Command {
    let mut nghttp = program("nghttp");
    nghttp
        .arg("-v")
        .args(HEADERS)
        .arg("-d")
        .arg(request.path())
        .arg(url(&format!("http://{}", server.addr()), method));
    nghttp
}

/// Runs a command to its end. Returns what it has printed, in which bodies may be anything.
async fn shown(mut nghttp: Command) -> String {
    let output = output(&mut nghttp).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn nghttp_shows_settings_and_trailers() {
    let server = TestServer::start();
    let mut state = server.state().await;
    state.write(write("1", text("forty-two"))).await.unwrap();
    let request = Request::of(&read("1"));
    let shown = shown(nghttp(&server, "Read", &request)).await;
    let limits = TransportLimits::DEFAULT;
    assert_contains(
        &shown,
        &[
            // By default it opens a tree of priorities.
            "send PRIORITY frame",
            "recv SETTINGS frame",
            &format!("MAX_CONCURRENT_STREAMS(0x03):{}]", limits.max_streams),
            &format!("INITIAL_WINDOW_SIZE(0x04):{}]", limits.stream_window_bytes),
            &format!("MAX_HEADER_LIST_SIZE(0x06):{}]", limits.max_header_bytes),
            ":status: 200",
            "content-type: application/grpc",
            "forty-two",
            "grpc-status: 0",
        ],
    );
    // Its last words.
    assert_contains(&shown, &["send GOAWAY frame", "error_code=NO_ERROR"]);

    let refused = Request::of(&read(""));
    let shown = self::shown(nghttp(&server, "Read", &refused)).await;
    assert_contains(
        &shown,
        &[
            "grpc-status: 3",
            "grpc-message: ",
            "grpc-status-details-bin",
        ],
    );
}

#[tokio::test]
async fn a_call_of_nghttp_succeeds_however_it_is_framed() {
    let server = TestServer::with(|config| config.transport.max_header_bytes = 32 * 1024);
    let mut state = server.state().await;
    state.write(write("1", text("forty-two"))).await.unwrap();
    let request = Request::of(&read("1"));
    for (args, calls, sent) in [
        (&["--no-dep"][..], 1, "send HEADERS frame"),
        (&["--padding", "255"], 1, "(padlen="),
        // A header block that is too large for one frame.
        (&["--continuation"], 1, "continuation-test-6"),
        // Streams that depend on each other.
        (&["-m", "40", "-p", "1"], 40, "weight=1,"),
        (&["-c", "0"], 1, "HEADER_TABLE_SIZE(0x01):0]"),
        (
            &["--encoder-header-table-size", "0"],
            1,
            "send HEADERS frame",
        ),
        (&["-m", "3", "-w", "1"], 3, "WINDOW_SIZE(0x04):1]"),
        (&["--trailer", "checksum: 1"], 1, "checksum: 1"),
        (&["--no-content-length"], 1, "send DATA frame"),
        (&["--no-push"], 1, "ENABLE_PUSH(0x02):0]"),
    ] {
        let mut nghttp = nghttp(&server, "Read", &request);
        nghttp.args(args);
        let shown = shown(nghttp).await;
        assert_contains(&shown, &[sent]);
        let answered = shown.matches("grpc-status: 0").count();
        assert_eq!(answered, calls, "{args:?}: {shown}");
    }
}

/// Each answer says the smallest size of the table first (RFC 7541, section 4.2). h2 leaves it out, and nghttp ends the connection.
#[tokio::test]
async fn the_header_table_of_nghttp_may_shrink_and_grow_at_once() {
    let server = TestServer::with(|config| config.transport.transport = Transport::Own);
    let request = Request::of(&read("1"));
    let mut nghttp = nghttp(&server, "Read", &request);
    nghttp.args(["-c", "0", "-c", "4096"]);
    let shown = shown(nghttp).await;
    assert_contains(&shown, &["HEADER_TABLE_SIZE(0x01):0]", "grpc-status: 0"]);
}

#[tokio::test]
async fn a_silent_watch_of_nghttp_is_pinged_and_stays_open() {
    let server = TestServer::with(|config| {
        config.transport.keepalive_interval = Duration::from_millis(20);
    });
    let request = Request::of(&WatchRequest {
        target: Some(Target::Key("1".into())),
        ..WatchRequest::default()
    });
    let mut nghttp = nghttp(&server, "Watch", &request);
    let mut nghttp = nghttp.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(nghttp.stdout.take().unwrap()).split(b'\n');
    let mut wait_for = async |word: &str, times: usize| {
        let mut found = 0;
        while found < times {
            let line = timeout(LONG, lines.next_segment()).await.unwrap();
            let line = line.unwrap().expect(word);
            found += usize::from(String::from_utf8_lossy(&line).contains(word));
        }
    };
    wait_for("recv PING frame", 3).await;
    wait_for("send PING frame", 3).await;
    let mut state = server.state().await;
    state.write(write("1", text("forty-two"))).await.unwrap();
    wait_for("forty-two", 1).await;
}

#[tokio::test]
async fn an_upgrade_of_nghttp_from_http_1_is_refused() {
    let server = TestServer::start();
    let mut nghttp = program("nghttp");
    let address = format!("http://{}", server.addr());
    nghttp.args(["-v", "--upgrade", &url(&address, "Read")]);
    let shown = shown(nghttp).await;
    assert_contains(
        &shown,
        &["HTTP/1.1 505", "it speaks HTTP/2 from the first byte on"],
    );
}
