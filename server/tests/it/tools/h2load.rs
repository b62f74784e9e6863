//! h2load: thousands of calls on several connections, with windows and header tables as clients may choose them.

use soloist::v1::{ReadResponse, WriteRequest};

use super::debian::{output, program};
use super::printed;
use super::requests::{HEADERS, Request, framed, url};
use crate::http::get;
use crate::support::{TestServer, read, text, write};

/// The calls of a run.
struct Load<'a> {
    server: &'a TestServer,
    method: &'a str,
    request: Request,
    calls: usize,
}

impl Load<'_> {
    /// Makes all calls, with these further arguments. Every one must be answered without an error. Returns the bytes of the
    /// messages that came back.
    async fn run(&self, args: &[&str]) -> usize {
        let calls = self.calls;
        let before = self.handled().await;
        let mut h2load = program("h2load");
        h2load
            .args(HEADERS)
            .args(["-n", &calls.to_string(), "-d"])
            .arg(self.request.path())
            .args(args)
            .arg(url(&format!("http://{}", self.server.addr()), self.method));
        let report = printed(output(&mut h2load).await);
        let counted = [
            format!("{calls} done, {calls} succeeded, 0 failed, 0 errored, 0 timeout"),
            format!("status codes: {calls} 2xx, 0 3xx, 0 4xx, 0 5xx"),
        ];
        for line in counted {
            assert!(report.contains(&line), "{args:?}: {report}lacks {line:?}");
        }
        // To HTTP, an error of gRPC is a success like any other.
        assert_eq!(self.handled().await - before, calls, "{args:?}");
        data_bytes(&report)
    }

    /// How many calls of the method the server has answered without an error.
    async fn handled(&self) -> usize {
        let (_, metrics) = get(self.server.http_addr(), "/metrics").await;
        let method = format!("grpc_method=\"{}\"", self.method);
        let mut lines = metrics.lines().filter(|line| {
            line.starts_with("grpc_server_handled_total")
                && line.contains(&method)
                && line.contains("grpc_code=\"OK\"")
        });
        lines.next().map_or(0, |line| {
            let (_, count) = line.rsplit_once(' ').unwrap();
            count.parse().unwrap()
        })
    }
}

/// The bytes of DATA that a report counts: `traffic: 1.2MB (1234567) total, 9B (9) headers (…), 12B (12) data`.
fn data_bytes(report: &str) -> usize {
    let (traffic, _) = report.split_once(") data").unwrap();
    let (_, bytes) = traffic.rsplit_once('(').unwrap();
    bytes.parse().unwrap()
}

/// An answer to a Read of a key that has only been written once.
async fn written(server: &TestServer, request: WriteRequest) -> usize {
    let key = request.key.clone();
    let mut state = server.state().await;
    state.write(request).await.unwrap();
    let answer: ReadResponse = state.read(read(key)).await.unwrap().into_inner();
    framed(&answer).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_of_h2load_succeed() {
    let server = TestServer::with_http(|_| ());
    let answer = written(&server, write("1", text("forty-two"))).await;
    let load = Load {
        server: &server,
        method: "Read",
        request: Request::of(&read("1")),
        calls: 4_000,
    };
    for args in [
        &["-c", "4", "-m", "50"][..],
        // As few bytes as one answer at once, and the smallest window of a connection.
        &["-c", "4", "-m", "50", "-w", "5", "-W", "16"],
        // More than the server allows on a connection.
        &["-c", "2", "-m", "1000"],
        // Nothing is kept in the header tables.
        &["-c", "4", "-m", "50", "--encoder-header-table-size", "0"],
        &["-c", "4", "-m", "50", "--header-table-size", "0"],
        &["-c", "200", "-m", "1", "-t", "2"],
    ] {
        assert_eq!(load.run(args).await, load.calls * answer, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_go_through_the_small_windows_of_h2load() {
    let server = TestServer::with_http(|_| ());
    let answer = written(&server, write("1", text("x".repeat(300_000)))).await;
    let load = Load {
        server: &server,
        method: "Read",
        request: Request::of(&read("1")),
        calls: 60,
    };
    for args in [
        &["-c", "3", "-m", "10"][..],
        &["-c", "3", "-m", "10", "-w", "10", "-W", "16"],
        &["-c", "3", "-m", "10", "-w", "16", "-W", "17"],
        // All streams share what one of them could use.
        &["-c", "3", "-m", "10", "-W", "16"],
    ] {
        assert_eq!(load.run(args).await, load.calls * answer, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_requests_of_h2load_succeed() {
    let server = TestServer::with_http(|_| ());
    let load = Load {
        server: &server,
        method: "Write",
        request: Request::of(&write("1", text("x".repeat(300_000)))),
        calls: 60,
    };
    load.run(&["-c", "3", "-m", "10"]).await;
}
