//! The binary: what it prints, how it ends.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{channel, int, read, write};
use soloist::v1::state_client::StateClient;

/// The binary, listening on a free port. Killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) addr: std::net::SocketAddr,
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soloist-server"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Process {
    pub(crate) async fn start(args: &[&str]) -> Self {
        let mut child = command(&[&["--listen", "127.0.0.1:0"], args].concat())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("it says where it listens");
        let addr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, addr }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap() as i32);
        kill(pid, signal).unwrap();
    }

    /// Waits for its end; returns the exit code and what it logged.
    async fn ended(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).await.unwrap();
        (self.child.wait().await.unwrap().code(), log)
    }
}

#[tokio::test]
async fn signals_end_it_in_order() {
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
async fn a_second_signal_ends_it_at_once() {
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
    // Once it drains, a new connection is refused.
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
    let process = Process::start(&["--log-format", "json"]).await;
    process.signal(Signal::SIGTERM);
    let (_, log) = process.ended().await;
    assert!(
        log.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}')),
        "{log}"
    );
}

#[tokio::test]
async fn arguments_that_cannot_be() {
    for (args, says) in [
        (&["--nonsense"][..], &["--nonsense"][..]),
        (&["--listen", "nowhere"], &["--listen", "nowhere"]),
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
    let output = command(&["--listen", &addr]).output().await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&addr) && error.contains("in use"), "{error}");
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
