//! The binary under a supervisor, as systemd is one: a socket for notifications, and a socket that was opened for the
//! server.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use soloist::v1::state_client::StateClient;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tonic::transport::Endpoint;

use crate::process::{Process, command, shell};
use crate::support::{int, read, unix_channel, write};

/// The supervisor's side.
struct Supervisor {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    fn supervise(&self, mut command: Command) -> Command {
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    /// Waits for a notification with this line, and returns all of its lines.
    async fn told(&self, line: &str) -> String {
        let mut buffer = vec![0; 4096];
        loop {
            let len = self.socket.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
            if text.lines().any(|it| it == line) {
                return text;
            }
        }
    }
}

#[tokio::test]
async fn a_supervisor_is_told_how_the_server_is() {
    let supervisor = Supervisor::new();
    let directory = tempfile::tempdir().unwrap();
    let access = directory.path().join("access.toml");
    std::fs::write(&access, "").unwrap();
    let args = ["--listen", "127.0.0.1:0", "--access-file"];
    let command = command(&[&args[..], &[access.to_str().unwrap()]].concat());
    let process = Process::spawn(supervisor.supervise(command)).await;

    let opening = supervisor.told("STATUS=opening the store").await;
    assert!(
        opening.contains("EXTEND_TIMEOUT_USEC=60000000"),
        "{opening}"
    );
    let serving = format!("STATUS=serving on {}", process.addr);
    let ready = supervisor.told("READY=1").await;
    assert!(ready.contains(&serving), "{ready}");

    std::fs::write(&access, "[identities").unwrap();
    process.signal(Signal::SIGHUP);
    let reloading = supervisor.told("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    let refused = supervisor.told("READY=1").await;
    assert!(
        refused.contains(&format!("{serving}; not reloaded: --access-file")),
        "{refused}"
    );

    std::fs::write(&access, "# nobody\n").unwrap();
    process.signal(Signal::SIGHUP);
    supervisor.told("RELOADING=1").await;
    let ready = supervisor.told("READY=1").await;
    assert!(ready.lines().any(|line| line == serving), "{ready}");

    process.signal(Signal::SIGTERM);
    let stopping = supervisor.told("STOPPING=1").await;
    // Twice the drain timeout, and ten seconds.
    assert!(
        stopping.contains("EXTEND_TIMEOUT_USEC=30000000"),
        "{stopping}"
    );
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn the_watchdog_is_fed() {
    let supervisor = Supervisor::new();
    // The shell becomes the server, which so has the id that WATCHDOG_PID names.
    let prefix = "WATCHDOG_PID=$$ WATCHDOG_USEC=40000 exec";
    let command = supervisor.supervise(shell(prefix, &["--listen", "127.0.0.1:0"]));
    let mut process = Process::spawn(command).await;
    supervisor.told("READY=1").await;
    for _ in 0..3 {
        supervisor.told("WATCHDOG=1").await;
    }
    process.end().await;
}

/// A command of the server to which `socket` is passed as systemd does it.
fn with_socket(socket: OwnedFd, args: &[&str]) -> Command {
    let prefix = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec";
    let mut command = shell(prefix, args);
    command.stdin(Stdio::from(socket));
    command
}

#[tokio::test]
async fn a_passed_socket_is_used_instead_of_listen() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // A client that comes before the server waits.
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let call = tokio::spawn(async move {
        let mut client = StateClient::new(channel.connect().await.unwrap());
        client.write(write("k", int(1))).await.unwrap();
    });
    // Nobody could listen there.
    let args = ["--listen", "203.0.113.1:1", "--plaintext"];
    let mut process = Process::spawn(with_socket(socket.into(), &args)).await;
    assert_eq!(process.addr, address);
    call.await.unwrap();
    process.end().await;
}

#[tokio::test]
async fn a_passed_unix_socket_stays_when_the_server_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("soloist.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let mut server = with_socket(socket.try_clone().unwrap().into(), &[])
        .spawn()
        .unwrap();
    let mut client = StateClient::new(unix_channel(&path).await);
    client.write(write("k", int(1))).await.unwrap();
    client.read(read("k")).await.unwrap();
    drop(client);
    kill(Pid::from_raw(server.id().unwrap() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(server.wait().await.unwrap().code(), Some(0));
    assert!(path.exists());
}

#[tokio::test]
async fn a_passed_socket_that_cannot_be_used_is_refused() {
    let exposed = TcpListener::bind("0.0.0.0:0").unwrap();
    let unbound = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (socket, says) in [
        (OwnedFd::from(exposed), "the passed socket 0.0.0.0:"),
        (unbound.into(), "no TCP and no Unix socket that listens"),
        (file.into(), "no TCP and no Unix socket that listens"),
    ] {
        let refused = with_socket(socket, &[]).output().await.unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains(says), "{error}");
    }
}
