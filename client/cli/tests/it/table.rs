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

/// What the first cells of all tables about etcdctl have as code.
fn of_etcdctl() -> Vec<String> {
    let page = include_str!("../../../../docs/cli.md");
    let (_, tables) = page.split_once("<!-- etcdctl -->").unwrap();
    let (tables, _) = tables.split_once("\n## ").unwrap();
    let cells = tables.lines().filter_map(|line| {
        let (first, _) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some(first)
    });
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Each flag of these commands of etcdctl is in a table: what it is with `soloist`, or why it is not there.
#[test]
fn no_flag_of_etcdctl_is_left_out() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let commands = [
        "get",
        "put",
        "del",
        "watch",
        "lock",
        "elect",
        "lease grant",
        "lease list",
        "lease timetolive",
        "lease keep-alive",
        "lease revoke",
    ];
    let told = of_etcdctl();
    for command in commands {
        let help = Command::new(format!("{root}/.tools/etcd/usr/bin/etcdctl"))
            .args(command.split(' '))
            .arg("--help")
            .output()
            .expect("this test needs etcdctl: ./test --tools installs it");
        let help = String::from_utf8(help.stdout).unwrap();
        let (_, options) = help.split_once("\nOPTIONS:\n").unwrap();
        let (options, _) = options.split_once("\nGLOBAL OPTIONS:").unwrap();
        let mut flags: Vec<_> = options
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
            .map(|word| word.split(['[', '=']).next().unwrap())
            .filter(|flag| *flag != "--help")
            .collect();
        // And the command itself.
        flags.push("");
        for flag in flags {
            let is_told = told.iter().any(|line| {
                let words: Vec<_> = line.split([' ', '=']).collect();
                line.starts_with(command) && (flag.is_empty() || words.contains(&flag))
            });
            assert!(is_told, "docs/cli.md has nothing about {command} {flag}");
        }
    }
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
        // Not SIGINT: a test that runs in the background of a script ignores that one, and its children do, too.
        running.signal(Signal::SIGTERM);
        let (code, said) = running.ended();
        assert!(matches!(code, -1 | 143), "{line}: {code} {said}");
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
