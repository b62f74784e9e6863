//! Sessions, and backups.

use nix::sys::signal::Signal;
use soloist_server::commands::{Command, NewClusterArgs, run};

use crate::support::{Running, Shell};

#[test]
fn sessions_hold_keys_until_they_end() {
    let shell = Shell::start();
    let opened = shell.ok(&["session", "open", "anna", "--ttl", "10m"]);
    assert!(
        opened.starts_with("anna  create_revision 1  ttl 10m  ends in 9m5"),
        "{opened}"
    );
    assert!(opened.ends_with("s  0 keys\n"), "{opened}");
    shell.ok(&["put", "a", "x", "--session", "anna"]);
    assert!(shell.ok(&["get", "a"]).contains("ends with session anna"));
    assert!(shell.ok(&["session", "list"]).ends_with("1 key\n"));
    assert!(shell.ok(&["session", "list", "anna"]).ends_with("1 key\n"));
    let error = shell.fails(3, &["session", "open", "anna", "--ttl", "10m"]);
    assert!(error.contains("--take-over"), "{error}");
    shell.ok(&["session", "renew", "anna"]);
    shell.fails(3, &["session", "renew", "anna", "--create-revision", "7"]);
    shell.ok(&["session", "open", "anna", "--ttl", "1h", "--take-over"]);
    shell.fails(1, &["get", "a"]);
    assert_eq!(
        shell.ok(&["session", "close", "anna"]),
        "closed, with 0 keys\n"
    );
    for words in [["session", "close", "anna"], ["session", "list", "anna"]] {
        assert_eq!(shell.fails(1, &words), "error: there is no session anna\n");
    }
    // The server makes an id.
    let id = shell.ok(&["session", "open", "--ttl", "1h", "-o", "value"]);
    assert_eq!(shell.ok(&["session", "list", "-o", "value"]), id);
}

#[test]
fn a_session_is_kept_until_it_is_lost() {
    let shell = Shell::start();
    shell.ok(&["session", "open", "anna", "--ttl", "2s"]);
    let mut keeper = Running::start(shell.command(&["session", "keep", "anna"]));
    assert!(keeper.line().starts_with("anna  "));
    // Several times as long as it lives by itself.
    shell.ok(&["put", "t", "x", "--ttl", "4500ms"]);
    shell.ok(&["watch", "t", "--count", "1"]);
    shell.ok(&["session", "close", "anna"]);
    assert_eq!(keeper.ended().0, 75);

    shell.ok(&["session", "open", "ben", "--ttl", "1h"]);
    let mut keeper = Running::start(shell.command(&["session", "keep", "ben"]));
    keeper.line();
    keeper.signal(Signal::SIGTERM);
    assert_eq!(keeper.ended().0, 143);
    shell.ok(&["session", "list", "ben"]);
}

#[test]
fn a_backup_can_be_restored() {
    let shell = Shell::start();
    shell.ok(&["put", "a", "x"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.backup");
    let name = file.to_str().unwrap();
    let told = shell.ok(&["backup", name]);
    assert!(
        told.starts_with(&format!("{name}: 1 keys\nrevision 1, digest ")),
        "{told}"
    );
    let digest = told.trim().rsplit(' ').next().unwrap();
    let mut out = Vec::new();
    let restore = Command::Restore {
        from: file.clone(),
        data_dir: Some(directory.path().join("data")),
        new_cluster: NewClusterArgs::default(),
        quiet: true,
    };
    run(&restore, &Default::default(), &mut out).unwrap();
    let restored = String::from_utf8(out).unwrap();
    assert!(restored.contains(digest), "{restored}");
    let error = shell.fails(2, &["backup", name]);
    assert!(error.contains("the file exists"), "{error}");
    // Nothing else is left.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}
