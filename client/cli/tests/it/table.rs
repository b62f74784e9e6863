//! The table of docs/cli.md: what etcdctl does, and how `soloist` does it. Each line runs.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::support::{Done, Running, Shell};

/// The commands of the table, in order.
fn lines() -> Vec<String> {
    let page = include_str!("../../../../docs/cli.md");
    let (_, table) = page.split_once("<!-- etcdctl -->").unwrap();
    let (table, _) = table.split_once("\n\nWhat etcdctl").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let commands = rows.map(|row| {
        let (_, command) = row.rsplit_once(" | `").unwrap();
        command.strip_suffix("` |").unwrap().replace("\\|", "|")
    });
    // But for the heading.
    commands.skip(1).collect()
}

/// Whether a command goes on until a signal comes.
fn goes_on(line: &str) -> bool {
    let begins = |begin: &str| line.starts_with(begin);
    begins("soloist watch")
        || begins("soloist elect")
        || begins("soloist session keep")
        || begins("soloist lock") && !line.contains(" -- ")
}

fn shell_command(shell: &Shell, directory: &std::path::Path, line: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_soloist");
    let mut command = Command::new("bash");
    command
        .args(["-o", "pipefail", "-c"])
        .arg(format!("soloist() {{ {program} \"$@\"; }}; {line}"))
        .current_dir(directory)
        .env("SOLOIST_SERVER", shell.address())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn every_line_runs() {
    let shell = Shell::start();
    let directory = tempfile::tempdir().unwrap();
    let lines = lines();
    assert!(lines.len() > 30, "{lines:?}");
    for line in lines {
        if !goes_on(&line) {
            let done: Done = shell_command(&shell, directory.path(), &line)
                .output()
                .unwrap()
                .into();
            assert_eq!((done.code, done.err.as_str()), (0, ""), "{line}: {done:?}");
            assert!(!done.out.is_empty() || line.ends_with("-- true"), "{line}");
            continue;
        }
        // Without the shell in between, which would not pass on the signal.
        let line = line.replace(
            "soloist ",
            &format!("exec {} ", env!("CARGO_BIN_EXE_soloist")),
        );
        let mut running = Running::start(shell_command(&shell, directory.path(), &line));
        // A watch has something to show when something changes. It may not have begun yet: so until it has ended.
        let has_line = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !has_line.load(Ordering::SeqCst) {
                    shell.ok(&["put", "a", "x"]);
                }
            });
            let shown = running.line();
            has_line.store(true, Ordering::SeqCst);
            assert!(!shown.is_empty(), "{line}");
        });
        running.signal(Signal::SIGINT);
        let (code, said) = running.ended();
        assert!(matches!(code, -1 | 130), "{line}: {code} {said}");
    }
}

/// The first session of the page, with what it prints.
#[test]
fn the_first_session_is_true() {
    let shell = Shell::start();
    let page = include_str!("../../../../docs/cli.md");
    let (_, session) = page.split_once("```console\n").unwrap();
    let (session, _) = session.split_once("```").unwrap();
    let mut count = 0;
    for command in session.split("\n\n") {
        let (line, said) = command.split_once('\n').unwrap_or((command, ""));
        let Some(words) = line.strip_prefix("$ soloist ") else {
            continue;
        };
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(shell.ok(&words).trim(), said.trim(), "{line}");
        count += 1;
    }
    assert_eq!(count, 4);
}
