//! Streams, in each direction.

use std::fs;

use serde_json::json;

use super::servers::{ServerProcess, python};
use super::{refusal, report};

/// Calls the streaming methods of a server of zoo.proto.
pub(super) fn streams_of(server: &ServerProcess) {
    let watch = "zoo.v1.Keeper/Watch";
    let watched = report(
        &server.address,
        watch,
        &["-d", r#"{"count":7}"#, "-n", "5", "--expect", "count=7"],
    );
    let call = &watched["call"];
    assert_eq!(call["kind"], "server streaming");
    assert_eq!(call["responses"]["messages"], 35);
    assert_eq!(call["stream"]["messages"], 35);
    let point = |of: &str| call["stream"][of]["p50_us"].as_f64().unwrap();
    assert!(point("first_message") <= point("last_message"), "{call}");
    assert!(
        point("last_message")
            <= watched["latency"]["call"]["response"]["max_us"]
                .as_f64()
                .unwrap()
    );

    let cut = report(
        &server.address,
        watch,
        &[
            "-d",
            r#"{"count":1000}"#,
            "-n",
            "3",
            "--stream-messages",
            "2",
        ],
    );
    assert_eq!(cut["call"]["stream"]["messages"], 6);
    let empty = report(&server.address, watch, &["-n", "2"]);
    assert_eq!(
        (&empty["completed"], &empty["call"]["stream"]["messages"]),
        (&json!(2), &json!(0))
    );

    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("animals.jsonl");
    fs::write(
        &lines,
        "{\"name\":\"a\"}\n{\"name\":\"b\"}\n{\"age\":{{counter}}}\n",
    )
    .unwrap();
    let file = format!("@{}", lines.display());
    let collected = report(
        &server.address,
        "zoo.v1.Keeper/Collect",
        &["-d", &file, "-n", "4", "--expect", "count=3"],
    );
    assert_eq!(collected["call"]["requests"]["messages"], 12);
    assert!(collected["call"]["stream"].is_null());
    let chatted = report(
        &server.address,
        "zoo.v1.Keeper/Chat",
        &["-d", &file, "-n", "4", "--expect", "count=3"],
    );
    assert_eq!(chatted["call"]["kind"], "bidirectional streaming");
    assert_eq!(chatted["call"]["stream"]["messages"], 12);

    let (code, error) = refusal(&server.address, watch, &["--engine", "raw"]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("server streaming") && error.contains("--engine unary"),
        "{error}"
    );
}

#[test]
fn streams_of_a_python_service_are_counted() {
    streams_of(&python("reflection"));
}
