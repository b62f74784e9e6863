//! The binary's log: who reads it, or does not, must not matter to the server.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use soloist::v1::state_client::StateClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{Process, command};
use crate::support::{channel, int, write};

/// More than any of these servers needs for anything.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A pipe with no room left, and its reader, which does not read.
fn full_pipe() -> (PipeWriter, PipeReader) {
    let (reader, mut writer) = pipe().unwrap();
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    writer.write_all(&vec![b'x'; size as usize]).unwrap();
    (writer, reader)
}

fn closed_pipe() -> PipeWriter {
    pipe().unwrap().1
}

fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Calls a server that logs a lot, and shuts it down in order.
async fn serves(process: &mut Process) {
    let mut client = StateClient::new(channel(process.addr).await);
    for n in 0..100 {
        client.write(write("k", int(n))).await.unwrap();
    }
    drop(client);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_stop_the_server() {
    let (full, _unread) = full_pipe();
    let logs: [Stdio; 3] = [closed_pipe().into(), full.into(), full_disk().into()];
    for (case, stderr) in logs.into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().to_str().unwrap();
        // A snapshot is made after a few changes, and logs on a thread of its own.
        let args = [
            &["--listen", "127.0.0.1:0", "--log", "trace"][..],
            &["--data-dir", path, "--snapshot-log-bytes", "1024"],
        ];
        let mut command = command(&args.concat());
        command.stderr(stderr);
        let served = async {
            let mut process = Process::spawn(command).await;
            serves(&mut process).await;
        };
        let served = tokio::time::timeout(TIMEOUT, served).await;
        served.unwrap_or_else(|_| panic!("case {case}: the server has stopped"));
    }
}

#[tokio::test]
async fn an_error_that_cannot_be_written_does_not_keep_the_process() {
    let (full, _unread) = full_pipe();
    let logs: [Stdio; 3] = [closed_pipe().into(), full.into(), full_disk().into()];
    for stderr in logs {
        let mut command = command(&["--data-dir", "/dev/null/none"]);
        let status = command.stderr(stderr).status();
        let status = tokio::time::timeout(TIMEOUT, status).await;
        assert_eq!(status.unwrap().unwrap().code(), Some(1));
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_printed_does_not_stop_the_server() {
    let (full, _unread) = full_pipe();
    let outputs: [Stdio; 3] = [closed_pipe().into(), full.into(), full_disk().into()];
    for stdout in outputs {
        let mut command = command(&["--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(stdout).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let addr = loop {
            let line = log
                .next_line()
                .await
                .unwrap()
                .expect("the server logs its address");
            if let Some((_, addr)) = line.split_once("address=") {
                break addr.trim().parse().unwrap();
            }
        };
        let mut process = Process { child, addr };
        let served = tokio::time::timeout(TIMEOUT, serves(&mut process)).await;
        served.expect("the server has stopped");
    }
}
