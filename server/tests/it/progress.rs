//! Long work shows how far it is: on a terminal as a bar, elsewhere as log lines, and never on standard output.
//!
//! The work is a restore from a pipe. It goes on when the test writes to the pipe, so it takes as long as the test wants.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use soloist::v1::state_client::StateClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr};

use crate::durable::output;
use crate::process::{Process, command};
use crate::support::{channel, text, write};

/// Longer than any line takes to come.
const LONG: Duration = Duration::from_secs(60);

/// A backup of several pages.
async fn backup(dir: &Path) -> Vec<u8> {
    let process = Process::start(&[]).await;
    let mut state = StateClient::new(channel(process.addr).await);
    for n in 0..16 {
        let value = text("x".repeat(50_000));
        state.write(write(format!("{n}"), value)).await.unwrap();
    }
    let file = dir.join("backup");
    let from = process.addr.to_string();
    let args = ["backup", "--from", &from, "--to", file.to_str().unwrap()];
    let (code, out, error) = output(&args).await;
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out} {error}");
    std::fs::read(file).unwrap()
}

/// A restore that has read the first half of a backup, and waits for the rest.
struct Restore {
    child: Child,
    data_dir: PathBuf,
    pipe: File,
}

impl Restore {
    async fn start(dir: &Path, name: &str, flags: &[&str], stderr: Stdio, half: &[u8]) -> Self {
        let (pipe, data_dir) = (dir.join(format!("{name}.pipe")), dir.join(name));
        mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let from = ["restore", "--from", pipe.to_str().unwrap()];
        let to = ["--data-dir", data_dir.to_str().unwrap()];
        let mut command = command(&[&from[..], &to, flags].concat());
        let child = command.stderr(stderr).spawn().unwrap();
        // Opening a pipe waits for its reader.
        let open = move || OpenOptions::new().write(true).open(pipe).unwrap();
        let mut pipe = tokio::task::spawn_blocking(open).await.unwrap();
        pipe.write_all(half).unwrap();
        Self {
            child,
            data_dir,
            pipe,
        }
    }

    /// Writes the rest, and waits for the end. Standard output has the result alone.
    async fn finish(mut self, rest: &[u8]) -> String {
        self.pipe.write_all(rest).unwrap();
        drop(self.pipe);
        let ended = self.child.wait_with_output().await.unwrap();
        let (out, log) = (ended.stdout, String::from_utf8(ended.stderr).unwrap());
        let out = String::from_utf8(out).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{log}");
        let data_dir = self.data_dir.to_str().unwrap();
        assert!(out.starts_with(data_dir), "{out}");
        assert_eq!(out.lines().count(), 1, "{out}");
        log
    }
}

async fn first_line(stderr: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(LONG, stderr.read_line(&mut line)).await;
    read.expect("a line comes").unwrap();
    line
}

#[tokio::test]
async fn without_a_terminal_work_is_told_in_log_lines_unless_it_is_quiet() {
    let dir = TempDir::new().unwrap();
    let backup = backup(dir.path()).await;
    let (half, rest) = backup.split_at(backup.len() / 2);
    // It begins first, so its first line would be there first.
    let quiet = Restore::start(dir.path(), "quiet", &["-q"], Stdio::piped(), half).await;
    let mut told = Restore::start(dir.path(), "told", &[], Stdio::piped(), half).await;
    let mut stderr = BufReader::new(told.child.stderr.take().unwrap());
    let line = first_line(&mut stderr).await;
    for part in ["INFO", "reading the backup: ", "KiB/s"] {
        assert!(line.contains(part), "{line:?} lacks {part:?}");
    }
    assert!(!line.contains('\r'), "{line:?}");
    told.finish(rest).await;
    assert_eq!(quiet.finish(rest).await, "");
}

#[tokio::test]
async fn on_a_terminal_work_is_a_bar_that_is_gone_at_the_end() {
    let dir = TempDir::new().unwrap();
    let backup = backup(dir.path()).await;
    let (half, rest) = backup.split_at(backup.len() / 2);
    let size = Winsize {
        ws_row: 24,
        ws_col: 60,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let restore = Restore::start(dir.path(), "bar", &[], slave.into(), half).await;
    let mut terminal = File::from(master);
    let reading = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("reading the backup") {
            let mut some = [0; 1024];
            let count = terminal.read(&mut some).unwrap();
            seen.extend(&some[..count]);
        }
        terminal
    });
    let mut terminal = tokio::time::timeout(LONG, reading).await.unwrap().unwrap();
    restore.finish(rest).await;
    let mut all = Vec::new();
    // A terminal that nobody writes to any more is an error.
    let _ = terminal.read_to_end(&mut all);
    let all = String::from_utf8(all).unwrap();
    let drawn: Vec<&str> = all.split("\r\u{1b}[K").collect();
    assert_eq!(drawn.last(), Some(&""), "{all:?}");
    let is_short = |bar: &&str| bar.len() < 60 && !bar.contains('\n');
    assert!(drawn[1..].iter().all(is_short), "{all:?}");
}
