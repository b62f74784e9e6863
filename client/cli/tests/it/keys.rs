//! Commands about keys, their forms and their exit codes.

use std::net::TcpListener;

use soloist_server::config::Config;

use crate::support::{Done, Shell, soloist};

#[test]
fn values_are_shown_to_people() {
    let shell = Shell::start();
    assert_eq!(shell.ok(&["put", "a", "green"]), "created at revision 1\n");
    assert_eq!(shell.ok(&["put", "a", "blue"]), "written at revision 2\n");
    assert_eq!(shell.ok(&["get", "a"]), "blue\nrevision 2, created at 1\n");
    shell.ok(&["put", "n", "--int", "-5"]);
    assert_eq!(shell.ok(&["get", "n"]), "-5\nrevision 3\n");
    // A text that looks like a number, or would control a terminal.
    shell.ok(&["put", "t", "42"]);
    assert_eq!(shell.ok(&["get", "t"]), "\"42\"\nrevision 4\n");
    shell.ok(&["put", "e", "\x1b[31mred"]);
    assert_eq!(shell.ok(&["get", "e"]), "\"\\x1b[31mred\"\nrevision 5\n");
    let lines = shell.ok(&["list"]);
    assert_eq!(
        lines,
        "a  blue           revision 2, created at 1\n\
         e  \"\\x1b[31mred\"  revision 5\n\
         n  -5             revision 3\n\
         t  \"42\"           revision 4\n"
    );
    assert_eq!(shell.ok(&["list", "--keys", "a"]), "a\n");
}

#[test]
fn values_go_in_and_out_exactly() {
    let shell = Shell::start();
    for input in [&b"text\n"[..], b"", b"\xff\0bytes", "ä\n\n".as_bytes()] {
        let done = shell.with_input(&["put", "a", "-"], input);
        assert_eq!(done.code, 0, "{done:?}");
        let output = shell
            .command(&["get", "a", "-o", "value"])
            .output()
            .unwrap();
        assert_eq!(output.stdout, input);
    }
    let kind = |value: &str| shell.ok(&["get", "a", "-o", "json"]).contains(value);
    shell.with_input(&["put", "a", "-"], b"\xff");
    assert!(kind("\"bytes\": \"/w==\""));
    shell.ok(&["put", "a", "x", "--bytes"]);
    assert!(kind("\"bytes\": \"eA==\""));
    shell.with_input(&["put", "a", "-", "--int"], b"7\n");
    assert_eq!(shell.ok(&["get", "a", "-o", "value"]), "7");
    assert_eq!(shell.ok(&["list", "-o", "value"]), "a\t7\n");
    let error = shell.fails(2, &["put", "a", "x", "--int"]);
    assert!(error.contains("--int: \"x\" is no whole number"), "{error}");
}

#[test]
fn conditions_and_lifetimes() {
    let shell = Shell::start();
    shell.ok(&["put", "a", "1", "--if-missing"]);
    let error = shell.fails(3, &["put", "a", "1", "--if-missing"]);
    assert_eq!(
        error,
        "error: key \"a\" exists, at revision 1 [ALREADY_EXISTS, KEY_EXISTS]\n"
    );
    shell.ok(&["put", "a", "2", "--if-revision", "1", "--ttl", "10m"]);
    let shown = shell.ok(&["get", "a"]);
    assert!(shown.contains(", ends in 9m5"), "{shown}");
    shell.fails(3, &["put", "a", "2", "--if-revision", "1"]);
    shell.ok(&["put", "a", "3", "--keep-lifetime"]);
    assert!(shell.ok(&["get", "a"]).contains("ends in"));
    shell.ok(&["put", "a", "--keep-value"]);
    assert_eq!(shell.ok(&["get", "a"]), "\"3\"\nrevision 4, created at 1\n");

    assert_eq!(
        shell.fails(1, &["get", "b"]),
        "soloist: there is no key b\n"
    );
    shell.fails(1, &["put", "b", "x", "--if-exists"]);
    assert_eq!(shell.fails(2, &["get", ""]).lines().count(), 1);
    // clap's own.
    shell.fails(2, &["put", "a"]);
    shell.fails(2, &["put", "a", "x", "--ttl", "1"]);
    shell.fails(2, &["put", "a", "x", "--ttl", "1s", "--session", "s"]);
    shell.fails(1, &["put", "a", "x", "--session", "nobody"]);
}

#[test]
fn numbers_stay_within_bounds() {
    let shell = Shell::start();
    assert_eq!(shell.ok(&["add", "n"]), "1\nrevision 1\n");
    assert_eq!(shell.ok(&["add", "n", "-3", "-o", "value"]), "-2\n");
    let error = shell.fails(3, &["add", "n", "-1", "--min", "-2"]);
    assert!(error.contains("BOUND_REACHED"), "{error}");
    let shown = shell.ok(&["add", "n", "-7", "--min", "-5", "--saturate"]);
    assert_eq!(shown, "-5 (added -3)\nrevision 3\n");
    shell.ok(&["put", "t", "text"]);
    let error = shell.fails(3, &["add", "t"]);
    assert!(error.contains("NOT_AN_INT"), "{error}");
    assert!(error.contains("soloist put KEY --int"), "{error}");
}

#[test]
fn keys_are_deleted_one_by_one_and_by_prefix() {
    let shell = Shell::start();
    for key in ["a/1", "a/2", "a/3", "b"] {
        shell.ok(&["put", key, "x"]);
    }
    assert_eq!(shell.ok(&["delete", "b"]), "deleted\nrevision 5\n");
    assert_eq!(shell.ok(&["delete", "b"]), "there was no such key\n");
    assert_eq!(shell.ok(&["del", "b", "-o", "value"]), "0\n");
    assert_eq!(shell.ok(&["rm", "b", "-o", "value"]), "0\n");
    let error = shell.fails(2, &["batch", "[]"]);
    assert!(
        error.contains("JSON itself goes to standard input"),
        "{error}"
    );
    shell.fails(1, &["delete", "b", "--if-exists"]);
    assert_eq!(shell.ok(&["delete", "--prefix", "a/"]), "deleted 3 keys\n");
    shell.ok(&["put", "c", "x"]);
    let error = shell.fails(2, &["delete", "--prefix", ""]);
    assert!(error.contains("--every-key"), "{error}");
    assert_eq!(shell.ok(&["delete", "--every-key", "-o", "value"]), "1\n");
    assert_eq!(shell.ok(&["list"]), "");
}

#[test]
fn what_there_was_before_is_shown() {
    let shell = Shell::start();
    assert_eq!(
        shell.ok(&["put", "a", "x", "--previous"]),
        "created at revision 1\n"
    );
    let shown = shell.ok(&["put", "a", "y", "--previous"]);
    assert_eq!(shown, "written at revision 2\nbefore: x  revision 1\n");
    let shown = shell.ok(&["delete", "a", "--previous"]);
    assert_eq!(
        shown,
        "deleted\nrevision 3\nbefore: y  revision 2, created at 1\n"
    );
    assert_eq!(
        shell.ok(&["delete", "a", "--previous"]),
        "there was no such key\n"
    );
    let words = ["watch", "a", "--after", "1", "--count", "2", "--previous"];
    assert_eq!(
        shell.ok(&words),
        "written    a  y  revision 2, created at 1  before: x  revision 1\n\
         deleted    a  revision 3  before: y  revision 2, created at 1\n"
    );
    shell.fails(2, &["delete", "--prefix", "a", "--previous"]);
}

#[test]
fn as_many_keys_are_listed_as_are_wanted() {
    let mut config = Config::default();
    config.limits.max_page_size = 2;
    let shell = Shell::with(&config);
    for key in ["a", "b", "c", "d"] {
        shell.ok(&["put", key, "x"]);
    }
    for (limit, keys) in [
        ("1", "a\n"),
        ("2", "a\nb\n"),
        ("3", "a\nb\nc\n"),
        ("9", "a\nb\nc\nd\n"),
    ] {
        assert_eq!(
            shell.ok(&["list", "--keys", "--limit", limit]),
            keys,
            "{limit}"
        );
    }
    shell.fails(2, &["list", "--limit", "0"]);
}

#[test]
fn all_pages_are_listed() {
    let shell = Shell::start();
    let ops: Vec<_> = (0..1_000)
        .map(|n| format!(r#"{{"add":{{"key":"k/{n:04}","delta":"{n}"}}}}"#))
        .collect();
    let mut revision = 0;
    for ops in ops.chunks(500) {
        let batch = format!("[{}]", ops.join(","));
        let done = shell.with_input(&["batch", "-", "-o", "value"], batch.as_bytes());
        assert_eq!(done.code, 0, "{done:?}");
        revision += 1;
    }
    for key in ["k/x", "k/y"] {
        shell.ok(&["put", key, "x"]);
        revision += 1;
    }
    let keys = shell.ok(&["list", "k/", "--keys", "-o", "value"]);
    assert_eq!(keys.lines().count(), 1_002);
    assert!(keys.lines().is_sorted());
    let text = shell.ok(&["list", "k/"]);
    assert!(
        text.ends_with(&format!("k/y  x  revision {revision}\n")),
        "{text}"
    );
    assert_eq!(
        shell.ok(&["delete", "--prefix", "k/"]),
        "deleted 1002 keys\n"
    );
}

#[test]
fn a_batch_is_whole_or_not_at_all() {
    let shell = Shell::start();
    let batch = r#"{"ops":[{"add":{"key":"anna","delta":5}},{"read":{"key":"anna"}},
        {"write":{"key":"t","value":{"text":"x"}}},{"delete":{"key":"none"}}]}"#;
    let done = shell.with_input(&["batch", "-"], batch.as_bytes());
    assert_eq!(
        done.out,
        "added: the sum is 5\nread: 5  revision 1\nwritten\ndeleted: there was no such key\nrevision 1\n",
        "{done:?}"
    );
    let refused = r#"[{"add":{"key":"anna","delta":1}},{"add":{"key":"anna","delta":-9,"min":0}}]"#;
    let done = shell.with_input(&["batch", "-"], refused.as_bytes());
    assert_eq!(done.code, 3, "{done:?}");
    assert_eq!(shell.ok(&["get", "anna", "-o", "value"]), "5");
    for (input, part) in [
        ("{", "standard input: EOF"),
        (r#"{"ops":[{"add":{"kei":"a"}}]}"#, "ops[0].add"),
        (r#"[{"add":{"delta":"x"}}]"#, "ops[0].add.delta"),
    ] {
        let done = shell.with_input(&["batch", "-"], input.as_bytes());
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains(part), "{part} in {done:?}");
    }
    assert!(
        shell
            .fails(2, &["batch", "/none.json"])
            .contains("/none.json: No such file")
    );
}

#[test]
fn a_server_that_is_not_there_is_named_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let done: Done = soloist(&address, &["get", "a"]).output().unwrap().into();
    assert_eq!(done.code, 5, "{done:?}");
    for part in [
        &address,
        "is a server running there?",
        "soloist-server",
        "SOLOIST_SERVER",
    ] {
        assert!(done.err.contains(part), "{part} in {done:?}");
    }
    // No colours where there is no terminal.
    assert!(!done.err.contains('\x1b'), "{done:?}");
    for (server, part) in [
        ("a b", "--server a b"),
        ("ftp://a:1", "unknown scheme"),
        ("example.org", "no port"),
    ] {
        let done: Done = soloist(server, &["health"]).output().unwrap().into();
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains(part), "{part} in {done:?}");
    }
    let words = [
        "health",
        "--tls-ca",
        "/none.pem",
        "--server",
        "https://127.0.0.1:1",
    ];
    let done: Done = soloist("", &words).output().unwrap().into();
    assert_eq!(done.code, 2, "{done:?}");
    assert!(
        done.err.contains("--tls-ca") && done.err.contains("/none.pem"),
        "{done:?}"
    );
}

#[test]
fn the_first_node_that_answers_is_enough() {
    let shell = Shell::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let several = format!("{nobody},{}", shell.address());
    let done: Done = soloist(&several, &["put", "a", "x"])
        .output()
        .unwrap()
        .into();
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let shown: Done = soloist(&several, &["node"]).output().unwrap().into();
    assert_eq!(shown.code, 5, "{shown:?}");
    let rows = format!(
        "{nobody}  unreachable\n{}  owner        no node of a cluster\n",
        shell.address()
    );
    // Ports have four or five digits.
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&shown.out), words(&rows), "{shown:?}");
    assert_eq!(shell.ok(&["node", "-o", "value"]), "owner\n");
    let done: Done = soloist(&format!("{nobody},{nobody}"), &["get", "a"])
        .output()
        .unwrap()
        .into();
    assert_eq!(done.code, 5, "{done:?}");
}

#[test]
fn the_server_tells_of_itself() {
    let shell = Shell::start();
    shell.ok(&["put", "a", "x"]);
    assert_eq!(shell.ok(&["health"]), "SERVING\n");
    let info = shell.ok(&["info"]);
    for part in [
        "keys             1\n",
        "durability       in memory only\n",
        "of 1.0 GiB\n",
    ] {
        assert!(info.contains(part), "{part} in\n{info}");
    }
    assert_eq!(shell.ok(&["info", "-o", "value"]), "1\n");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let shell = Shell::start();
    for n in 0..5 {
        shell.ok(&["put", &format!("{n}"), &"x".repeat(60_000)]);
    }
    let mut child = shell.command(&["list", "-o", "json"]).spawn().unwrap();
    drop(child.stdout.take());
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
}
