//! `-o json` is what grpcurl prints.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Running, Shell};

fn tool() -> PathBuf {
    let path = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.tools/bin/grpcurl"
    ));
    assert!(
        path.exists(),
        "this test needs grpcurl, which is not at {}: run ./test --tools once",
        path.display()
    );
    path
}

/// What grpcurl prints.
fn grpcurl(shell: &Shell, method: &str, data: &str) -> String {
    let output = Command::new(tool())
        .args(["-plaintext", "-d", data])
        .args([&shell.address(), method])
        .output()
        .unwrap();
    normalized(&String::from_utf8(output.stdout).unwrap())
}

/// What grpcurl prints of a Watch until it has caught up.
fn watched(shell: &Shell, data: &str) -> String {
    let mut command = Command::new(tool());
    command.args([
        "-plaintext",
        "-d",
        data,
        &shell.address(),
        "soloist.v1.State/Watch",
    ]);
    command.stdout(Stdio::piped());
    let mut running = Running::start(command);
    let mut printed = String::new();
    while !printed.ends_with("\n  \"caughtUp\": true\n}\n") {
        printed += &running.line();
        printed.push('\n');
    }
    normalized(&printed)
}

/// This grpcurl writes an empty message with an empty line in it, and as null in a map, as later versions do not.
fn normalized(printed: &str) -> String {
    let mut text = String::new();
    let mut lines = printed.lines().peekable();
    while let Some(line) = lines.next() {
        text.push_str(&line.replace(": null", ": {}"));
        if line.ends_with('{') && lines.peek().is_some_and(|next| next.trim().is_empty()) {
            lines.next();
            text.push_str(lines.next().unwrap_or_default().trim_start());
        }
        text.push('\n');
    }
    text
}

#[test]
fn json_is_what_grpcurl_prints() {
    let shell = Shell::start();
    let definition = r#"{"name":"jobs","keyPrefix":"jobs/","initial":"queued","states":{
        "queued":{"next":["running","done"]},"running":{"next":["done"],"timeout":"5400.5s","timeoutNext":"queued"},"done":{}}}"#;
    let done = shell.with_input(
        &["machine", "define", "-", "-o", "json"],
        definition.as_bytes(),
    );
    assert_eq!(done.code, 0, "{done:?}");
    shell.ok(&["session", "open", "anna", "--ttl", "10m"]);
    shell.ok(&["put", "<&>\u{2028}", "a \"quoted\" <text>\t\u{1}\\ ä"]);
    shell.ok(&["put", "held", "x", "--session", "anna"]);
    shell.ok(&["put", "lived", "x", "--ttl", "1h"]);
    shell.ok(&["put", "jobs/1", "", "--bytes"]);
    shell.ok(&["move", "jobs/1", "running", "--value", "-7", "--int"]);
    let json = |words: &[&str]| {
        let done = shell.run(&[words, &["-o", "json"]].concat());
        assert!(done.code <= 1, "{done:?}");
        done.out
    };
    for (words, method, data) in [
        (
            &["get", "<&>\u{2028}"][..],
            "State/Read",
            "{\"key\":\"<&>\u{2028}\"}",
        ),
        (&["get", "none"], "State/Read", r#"{"key":"none"}"#),
        (&["get", "held"], "State/Read", r#"{"key":"held"}"#),
        (&["get", "lived"], "State/Read", r#"{"key":"lived"}"#),
        (&["get", "jobs/1"], "State/Read", r#"{"key":"jobs/1"}"#),
        (&["list"], "State/List", "{}"),
        (&["list", "--keys"], "State/List", r#"{"keysOnly":true}"#),
        (
            &["machine", "get", "jobs"],
            "Machines/GetMachine",
            r#"{"name":"jobs"}"#,
        ),
        (&["machine", "list"], "Machines/ListMachines", "{}"),
        (&["session", "list"], "Sessions/ListSessions", "{}"),
        (&["node"], "Admin/GetNode", "{}"),
    ] {
        let method = format!("soloist.v1.{method}");
        assert_eq!(json(words), grpcurl(&shell, &method, data), "{words:?}");
    }
    assert_eq!(
        json(&["health"]),
        grpcurl(&shell, "grpc.health.v1.Health/Check", "{}")
    );
    // But for the time that the server has used.
    let without_time = |json: String| {
        let lines = json.lines().filter(|line| !line.contains("cpuTime"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        without_time(json(&["info"])),
        without_time(grpcurl(&shell, "soloist.v1.Admin/GetInfo", "{}"))
    );
    let batch =
        r#"{"ops":[{"read":{"key":"held"}},{"read":{"key":"none"}},{"delete":{"key":"none"}}]}"#;
    let done = shell.with_input(&["batch", "-", "-o", "json"], batch.as_bytes());
    assert_eq!(done.out, grpcurl(&shell, "soloist.v1.State/Batch", batch));
    // Calls that change something, with the same numbers in both.
    shell.ok(&["put", "n", "5", "--int"]);
    let add = r#"{"key":"n","delta":0}"#;
    assert_eq!(
        json(&["add", "n", "0"]),
        grpcurl(&shell, "soloist.v1.State/Add", add)
    );
    let delete = r#"{"key":"none"}"#;
    assert_eq!(
        json(&["delete", "none"]),
        grpcurl(&shell, "soloist.v1.State/Delete", delete)
    );
}

#[test]
fn a_watch_is_what_grpcurl_prints() {
    let shell = Shell::start();
    shell.ok(&["put", "w/1", "a", "--ttl", "1h"]);
    shell.ok(&["put", "w/2", "b"]);
    shell.ok(&["put", "w/2", "c"]);
    shell.ok(&["delete", "w/2"]);
    let ours = shell.ok(&[
        "watch", "--prefix", "w/", "--after", "0", "--count", "4", "-o", "json",
    ]);
    let theirs = watched(&shell, r#"{"prefix":"w/","afterRevision":"0"}"#);
    assert!(theirs.starts_with(&ours), "{ours}\n{theirs}");
    let ours = shell.ok(&["watch", "w/1", "--initial", "--count", "1", "-o", "json"]);
    let theirs = watched(&shell, r#"{"key":"w/1","initial":true}"#);
    assert!(theirs.starts_with(&ours), "{ours}\n{theirs}");
}
