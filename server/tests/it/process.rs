//! The binary: its output, its arguments, and how it ends.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{channel, int, read, write};
use soloist::v1::state_client::StateClient;

/// A process of the binary that listens on a free port. Dropping it kills the process.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) addr: std::net::SocketAddr,
}

/// The binary: that of this build, or the one that SOLOIST_TEST_SERVER names, such as a release build.
fn binary() -> String {
    let this_build = env!("CARGO_BIN_EXE_soloist-server");
    std::env::var("SOLOIST_TEST_SERVER").unwrap_or_else(|_| this_build.into())
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    piped(command.args(args));
    command
}

/// The binary, started by a shell with `prefix` before the command.
pub(crate) fn shell(prefix: &str, args: &[&str]) -> Command {
    let line = format!("{prefix} {} {}", binary(), args.join(" "));
    let mut shell = Command::new("sh");
    piped(shell.args(["-c", &line]));
    shell
}

fn piped(command: &mut Command) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
}

impl Process {
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::spawn(command(&[&["--listen", "127.0.0.1:0"], args].concat())).await
    }

    /// Starts the binary from a shell, with `prefix` before the command.
    pub(crate) async fn start_by(prefix: &str, args: &[&str]) -> Self {
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        Self::spawn(shell(prefix, &args)).await
    }

    pub(crate) async fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the server prints its address");
        let addr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, addr }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap() as i32);
        kill(pid, signal).unwrap();
    }

    /// Shuts the process down in order.
    pub(crate) async fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.child.wait().await.unwrap().code(), Some(0));
    }

    /// Waits until the process has ended. Returns its exit code and its log.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).await.unwrap();
        (self.child.wait().await.unwrap().code(), log)
    }
}

#[tokio::test]
async fn a_signal_shuts_down_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let process = Process::start(&[]).await;
        let mut client = StateClient::new(channel(process.addr).await);
        client.write(write("k", int(1))).await.unwrap();
        process.signal(signal);
        let (code, log) = process.ended().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("draining") && log.contains("stopped"), "{log}");
        client.read(read("k")).await.unwrap_err();
    }
}

#[tokio::test]
async fn hosts_and_sizes_are_taken_as_people_write_them() {
    let args = ["--listen", "localhost:0", "--max-store-bytes", "1GiB"];
    let process = Process::spawn(command(&args)).await;
    assert!(process.addr.ip().is_loopback());
    let process = Process::spawn(command(&["--listen", "0.0.0.0:0", "--plaintext"])).await;
    process.signal(Signal::SIGTERM);
    let (_, log) = process.ended().await;
    assert!(
        log.contains("0.0.0.0") && log.contains("authentication"),
        "{log}"
    );
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tls_or_consent() {
    let refused = command(&["--listen", "0.0.0.0:0"]).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("--listen 0.0.0.0:0 can be reached by others: set --tls-cert and --tls-key, or --plaintext"),
        "{error}"
    );
}

#[tokio::test]
async fn a_unix_socket_serves_as_a_port_does_and_is_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("soloist.sock");
    let listen = format!("unix:{}", path.display());
    let mut server = command(&["--listen", &listen]).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    assert_eq!(line, format!("listening on {listen}"));
    let channel = tonic::transport::Endpoint::from_shared(listen)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = StateClient::new(channel);
    client.write(write("k", int(1))).await.unwrap();
    drop(client);
    kill(Pid::from_raw(server.id().unwrap() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(server.wait().await.unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn sighup_without_anything_to_reload_is_logged_and_ignored() {
    let mut process = Process::start(&[]).await;
    process.signal(Signal::SIGHUP);
    let mut log = BufReader::new(process.child.stderr.take().unwrap()).lines();
    while let Some(line) = log.next_line().await.unwrap() {
        if line.contains("ignoring SIGHUP") {
            break;
        }
    }
    let mut client = StateClient::new(channel(process.addr).await);
    client.write(write("k", int(1))).await.unwrap();
    process.end().await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let process = Process::start(&["--drain-timeout", "600s"]).await;
    let stream = tokio::net::TcpStream::connect(process.addr).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/soloist.v1.State/Write", process.addr))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (_response, _open) = client.send_request(request, false).unwrap();
    let mut other = StateClient::new(channel(process.addr).await);
    other.write(write("k", int(1))).await.unwrap();
    process.signal(Signal::SIGINT);
    // New connections are refused as soon as the server drains.
    while tokio::net::TcpStream::connect(process.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    process.signal(Signal::SIGINT);
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(130), "{log}");
    connection.abort();
}

#[tokio::test]
async fn logs_are_json_if_asked_for() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    let process = Process::start(&["--log-format", "json", "--data-dir", path]).await;
    process.signal(Signal::SIGTERM);
    let (_, log) = process.ended().await;
    assert!(log.contains("draining"), "{log}");
    assert!(
        log.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}')),
        "{log}"
    );
    let mut fields = serde_json::Map::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        fields.extend(line["fields"].as_object().unwrap().clone());
    }
    for number in ["keys", "used_bytes", "revision", "took_ms"] {
        assert!(fields[number].is_u64(), "{number}: {log}");
    }
}

#[tokio::test]
async fn invalid_arguments_are_refused() {
    for (args, says) in [
        (&["--nonsense"][..], &["--nonsense"][..]),
        (&["--listen", "nowhere"], &["--listen", "nowhere"]),
        (&["--log", "nonsense"], &["--log", "nonsense", "warn"]),
        (
            &["--max-store-bytes", "1Gi"],
            &["--max-store-bytes", "1Gi", "GiB"],
        ),
        (
            &["--max-key-bytes", "0"],
            &["--max-key-bytes", "0", "1..=65536"],
        ),
        (&["--max-deadline=-1s"], &["--max-deadline", "-1s"]),
        (
            &["--max-value-bytes", "8388608"],
            &["--max-message-bytes", "4259840", "--max-value-bytes"],
        ),
    ] {
        let output = command(args).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        for part in says {
            assert!(error.contains(part), "{args:?}: {error:?} lacks {part:?}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn the_environment_sets_limits_too() {
    let output = command(&["--listen", "127.0.0.1:0"])
        .env("SOLOIST_MAX_KEY_BYTES", "many")
        .output()
        .await
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("many"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    // The error is printed even if logging is off.
    let args = ["--listen", &addr, "--log", "off"];
    let output = command(&args).output().await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&addr) && error.contains("in use"), "{error}");
}

#[tokio::test]
async fn few_descriptors_mean_few_connections() {
    // Of 80 descriptors, 64 are left for everything else, and each of the two threads uses 4.
    const CONNECTIONS: usize = 8;
    let mut process = Process::start_by("ulimit -n 80; exec", &["--threads", "2"]).await;
    let mut open = Vec::new();
    for n in 0..CONNECTIONS as i64 {
        let mut client = StateClient::new(channel(process.addr).await);
        client.write(write("n", int(n))).await.unwrap();
        open.push(client);
    }
    // Further connections wait in the backlog, and the open ones are still served.
    let waiting: Vec<_> = (0..2 * CONNECTIONS)
        .map(|_| {
            let addr = process.addr;
            tokio::spawn(async move {
                let mut client = StateClient::new(channel(addr).await);
                client.read(read("n")).await.unwrap();
            })
        })
        .collect();
    open[0].read(read("n")).await.unwrap();
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(open);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert!(
        process.child.try_wait().unwrap().is_none(),
        "the server still runs"
    );
}

#[tokio::test]
async fn help_explains_itself() {
    let output = command(&["--help"]).output().await.unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "--listen",
        "127.0.0.1:50051",
        "SOLOIST_MAX_VALUE_BYTES",
        "listening on",
    ] {
        assert!(help.contains(part), "{help} lacks {part}");
    }
}
