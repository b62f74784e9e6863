//! The program on a terminal, which script(1) makes.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::support::Shell;

/// Waits until the process is in the foreground of its terminal: what is typed before is for whoever was there.
const FOREGROUND: &str = "until set -- $(cat /proc/$$/stat) && [ $5 = $8 ]; do :; done";

/// Runs a line of the shell on a terminal, and types when the terminal shows a prompt. Returns what the terminal shows.
fn on_terminal(shell: &Shell, line: &str, dialog: &[(&str, &str)], no_color: bool) -> String {
    let line = line.replace("soloist", env!("CARGO_BIN_EXE_soloist"));
    let line = line.replace("FOREGROUND", FOREGROUND);
    let mut command = Command::new("timeout");
    command
        .args(["60", "script", "-qec", &line, "/dev/null"])
        .env("SOLOIST_SERVER", shell.address())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    for (prompt, typed) in dialog {
        while !String::from_utf8_lossy(&shown).contains(prompt) {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            shown.extend(byte);
        }
        stdin.write_all(typed.as_bytes()).unwrap();
    }
    stdout.read_to_end(&mut shown).unwrap();
    let code = child.wait().unwrap().code();
    drop(stdin);
    let shown = String::from_utf8(shown).unwrap();
    format!("{}\nexit {code:?}", shown.replace('\r', ""))
}

#[test]
fn colours_are_for_terminals() {
    let shell = Shell::start();
    shell.ok(&["put", "a", "x"]);
    let coloured = on_terminal(&shell, "soloist get a", &[], false);
    assert!(
        coloured.contains("x\n\x1b[2mrevision 1\x1b[0m\n"),
        "{coloured:?}"
    );
    let plain = on_terminal(&shell, "soloist get a", &[], true);
    assert!(plain.contains("x\nrevision 1\n"), "{plain:?}");
}

#[test]
fn values_and_keys_do_not_control_a_terminal() {
    let shell = Shell::start();
    shell.ok(&["put", "k", "a\x1b[2Jb\u{9b}c"]);
    let shown = on_terminal(&shell, "soloist get k -o value", &[], false);
    assert!(shown.contains("a\\x1b[2Jb\\x9bc\n"), "{shown:?}");
}

#[test]
fn a_command_with_a_lock_has_the_terminal() {
    let shell = Shell::start();
    let line = "soloist lock l -- sh -c 'echo on; read x; echo got $x; exit 3'";
    let shown = on_terminal(&shell, line, &[("on\r\n", "hello\n")], false);
    assert!(
        shown.contains("got hello\n") && shown.ends_with("exit Some(3)"),
        "{shown:?}"
    );
    // Ctrl-C is for the command, and the lock is released.
    let line = "soloist lock l -- sh -c 'FOREGROUND; echo on; read x; read x'; echo code $?; soloist list -o value";
    let shown = on_terminal(&shell, line, &[("on\r\n", "\u{3}")], false);
    assert!(shown.contains("code 130\n"), "{shown:?}");
    assert!(!shown.contains("l/"), "{shown:?}");
}

#[test]
fn ctrl_z_stops_a_command_and_the_holder_of_its_lock() {
    let shell = Shell::start();
    let line = "set -m; soloist lock l -- sh -c 'FOREGROUND; echo on; read x; echo got $x; exit 3'; echo stopped $?; \
                soloist list --keys -o value | wc -l; fg >/dev/null; echo code $?; soloist list --keys";
    let dialog = [("on\r\n", "\u{1a}"), ("stopped 147\r\n1\r\n", "hello\n")];
    let shown = on_terminal(&shell, line, &dialog, false);
    assert!(shown.contains("got hello\ncode 3\n"), "{shown:?}");
    assert!(!shown.contains("l/"), "{shown:?}");
}

#[test]
fn the_live_view_leaves_the_terminal_as_it_was() {
    let shell = Shell::start();
    let line = "soloist info --watch --interval 50ms";
    let shown = on_terminal(&shell, line, &[("changes a second", "\u{3}")], false);
    assert!(shown.contains("changes a second"), "{shown:?}");
    let (enter, leave) = (shown.find("\x1b[?1049h"), shown.rfind("\x1b[?1049l"));
    assert!(enter.is_some() && leave > enter, "{shown:?}");
    // Without a terminal: lines.
    let mut command = shell.command(&["info", "--watch", "--interval", "10ms"]);
    let mut running = crate::support::Running::start({
        command.stdout(Stdio::piped());
        command
    });
    assert!(running.line().starts_with("revision 0  keys 0"));
    assert!(running.line().contains("changes/s"));
}
