//! The libraries of gRPC in other languages: each does the same calls over one connection, which goes through a relay that sees
//! the answers to its pings.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use soloist::v1::GetInfoRequest;
use soloist_server::Server;
use soloist_server::config::{Config, Transport};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::debian::{LONG, output};
use super::relay::Relay;
use super::{assert_contains, printed, tool};
use crate::support::TestServer;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tools");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");

/// A program that says in a line how far it is, and goes on when it is sent one.
struct Steps {
    child: Child,
}

impl Steps {
    /// Starts a program with the address of the server, and the folder of the contract, as its arguments.
    fn of(mut command: Command, relay: &Relay) -> Self {
        let child = command
            .arg(relay.addr().to_string())
            .arg(PROTO)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Waits for the next line, which must be this one.
    async fn says(&mut self, step: &str) {
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        // Nothing is in the buffer behind a line: the program waits.
        BufReader::new(stdout).read_line(&mut line).await.unwrap();
        if line.trim_end() != step {
            let mut error = String::new();
            self.child.start_kill().unwrap();
            let stderr = self.child.stderr.as_mut().unwrap();
            stderr.read_to_string(&mut error).await.unwrap();
            panic!("{line:?} instead of {step:?}: {error}");
        }
    }

    async fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").await.unwrap();
    }
}

/// Follows a program through its steps.
async fn makes_all_calls(command: Command) {
    let calls = timeout(LONG, follow(command)).await;
    calls.expect("the server answers calls and pings");
}

async fn follow(command: Command) {
    let server = TestServer::start();
    let relay = Relay::to(server.addr()).await;
    let mut admin = server.admin().await;
    let mut steps = Steps::of(command, &relay);
    steps.says("a watch is open, and quiet").await;
    relay.pongs(2).await;
    steps.go_on().await;
    steps.says("the watch was cancelled").await;
    // The server has seen that.
    loop {
        let info = admin.get_info(GetInfoRequest::default()).await.unwrap();
        if info.into_inner().watch_count == 0 {
            break;
        }
    }
    steps.go_on().await;
    steps.says("done").await;
    assert!(steps.child.wait().await.unwrap().success());
}

fn python(script: &str) -> Command {
    let mut python = Command::new(tool("python"));
    // Without compiled files in the folder of the sources.
    python.arg("-B").arg(Path::new(FOLDER).join(script));
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcio_makes_all_kinds_of_calls() {
    makes_all_calls(python("grpcio_threads.py")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcio_with_asyncio_makes_all_kinds_of_calls() {
    makes_all_calls(python("grpcio_asyncio.py")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_js_makes_all_kinds_of_calls() {
    let mut node = Command::new(tool("node"));
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/node_modules");
    node.env("NODE_PATH", modules)
        .arg(Path::new(FOLDER).join("grpc_js.cjs"));
    makes_all_calls(node).await;
}

/// gRPC's C core names the path of the socket as the authority, with `%2F` for each slash. hyper refuses that as no authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcio_needs_no_option_for_a_unix_socket() {
    let mut config = Config::default();
    config.transport.transport = Transport::Own;
    config.transport.threads = 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _server = Server::start(UnixListener::bind(&path).unwrap(), &config).unwrap();
    let mut python = python("by_reflection.py");
    python.arg(format!("unix:{}", path.display()));
    assert_contains(&printed(output(&mut python).await), &["read: 42", "done"]);
}
