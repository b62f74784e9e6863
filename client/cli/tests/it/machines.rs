//! Machines, and moves.

use crate::support::Shell;

const CONNECTIONS: &str = r#"{"name":"connections","key_prefix":"connections/","initial":"idle","states":{
    "idle":{"next":["inflight","closing"]},
    "inflight":{"next":["idle","closing"],"timeout":"600s","timeout_next":"closing"},
    "closing":{}}}"#;

#[test]
fn machines_are_defined_shown_drawn_and_deleted() {
    let shell = Shell::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("connections.json");
    std::fs::write(&file, CONNECTIONS).unwrap();
    let file = file.to_str().unwrap();
    shell.ok(&["machine", "define", file, "--check"]);
    shell.fails(1, &["machine", "get", "connections"]);
    let shown = shell.ok(&["machine", "define", file]);
    assert_eq!(
        shown,
        "connections  keys connections/*, begins in idle, revision 1\n  \
         idle      -> inflight, closing\n  \
         closing   final\n  \
         inflight  -> idle, closing; after 10m -> closing\n"
            .replace("inflight, closing\n", "closing, inflight\n")
            .replace("-> idle, closing;", "-> closing, idle;")
    );
    assert_eq!(shell.ok(&["machine", "get", "connections"]), shown);
    assert_eq!(shell.ok(&["machine", "list"]), shown);
    assert_eq!(
        shell.ok(&["machine", "list", "-o", "value"]),
        "connections\n"
    );

    let drawn = shell.ok(&["machine", "draw", "connections"]);
    assert_eq!(drawn, shell.ok(&["machine", "draw", "--file", file]));
    assert!(drawn.contains("║ closing   ║◀"), "\n{drawn}");
    for (kind, begin) in [
        ("svg", "<svg "),
        ("mermaid", "stateDiagram-v2\n"),
        ("dot", "digraph "),
    ] {
        let drawn = shell.ok(&["machine", "draw", "connections", "--as", kind]);
        assert!(drawn.starts_with(begin), "{drawn}");
    }

    shell.ok(&["put", "connections/7", "192.0.2.7:443"]);
    let moved = shell.ok(&["move", "connections/7", "inflight"]);
    assert_eq!(moved, "idle -> inflight\nrevision 3\n");
    let shown = shell.ok(&["get", "connections/7"]);
    assert!(
        shown.contains("in state inflight of connections for 9m5"),
        "{shown}"
    );
    let error = shell.fails(3, &["move", "connections/7", "inflight"]);
    assert!(error.contains("TRANSITION_REFUSED"), "{error}");
    shell.fails(3, &["move", "connections/7", "closing", "--from", "idle"]);
    shell.fails(3, &["machine", "delete", "connections"]);
    let words = ["delete", "--prefix", "connections/"];
    let done = shell.run(&words);
    assert_eq!(
        (done.code, done.out.as_str()),
        (3, "deleted 0 keys\n"),
        "{done:?}"
    );
    assert!(done.err.contains("1 key is kept"), "{done:?}");
    shell.ok(&["move", "connections/7", "closing", "--value", "gone"]);
    assert_eq!(
        shell.ok(&["delete", "--prefix", "connections/"]),
        "deleted 1 key\n"
    );
    shell.ok(&["machine", "delete", "connections"]);
    shell.fails(1, &["machine", "delete", "connections"]);
}

#[test]
fn a_bad_definition_names_the_field() {
    let shell = Shell::start();
    let done = shell.with_input(&["machine", "define", "-"], br#"{"name":7}"#);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.err.contains("standard input: name"), "{done:?}");
    let done = shell.with_input(&["machine", "define", "-"], br#"{"name":"a"}"#);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.err.contains("BAD_MACHINE"), "{done:?}");
}
