//! Clients that are not Soloist's own: tools that know the server only by reflection, the libraries of gRPC in other languages, and
//! programs that know HTTP/2 and not gRPC. `./test --tools` installs them.

mod clients;
mod curl;
pub(crate) mod debian;
mod h2load;
mod nghttp;
mod relay;
pub(crate) mod requests;

use std::path::PathBuf;
use std::process::Output;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::access::AccessFile;
use crate::support::TestServer;

pub(crate) fn tool(name: &str) -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin")).join(name);
    assert!(
        path.exists(),
        "this test needs {name}, which is not at {}: run ./test --tools once",
        path.display()
    );
    path
}

async fn grpcurl(server: &TestServer, before: &[&str], after: &[&str]) -> Output {
    Command::new(tool("grpcurl"))
        .arg("-plaintext")
        .args(before)
        .arg(server.addr().to_string())
        .args(after)
        .output()
        .await
        .unwrap()
}

/// Returns the output of a successful command.
#[track_caller]
pub(crate) fn printed(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text}\nlacks {part:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_describes() {
    let server = TestServer::start();
    let services = printed(grpcurl(&server, &[], &["list"]).await);
    assert_contains(
        &services,
        &[
            "soloist.v1.State",
            "soloist.v1.Admin",
            "grpc.health.v1.Health",
        ],
    );
    for (symbol, comment) in [
        ("soloist.v1.State", "Creates or replaces one value."),
        (
            "soloist.v1.WriteRequest",
            "that must hold, or the write is refused",
        ),
        (
            "soloist.v1.Error.Reason",
            "ABORTED; read, then decide again.",
        ),
        ("google.rpc.ErrorInfo", "string reason = 1;"),
    ] {
        let described = printed(grpcurl(&server, &[], &["describe", symbol]).await);
        assert_contains(&described, &[comment]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_writes_and_reads() {
    let server = TestServer::start();
    let read = async || {
        let output = grpcurl(
            &server,
            &["-d", r#"{"key":"1"}"#],
            &["soloist.v1.State/Read"],
        )
        .await;
        printed(output)
    };
    assert_eq!(read().await.split_whitespace().collect::<String>(), "{}");
    let write = r#"{"key":"1","value":{"int":42}}"#;
    let written = grpcurl(&server, &["-d", write], &["soloist.v1.State/Write"]).await;
    assert_contains(
        &printed(written),
        &[r#""revision": "1""#, r#""createRevision": "1""#],
    );
    assert_contains(&read().await, &[r#""int": "42""#]);

    let frames = r#"{"ops":[{"read":{"key":"1"}}]} {"atomic":true,"ops":[{"write":{"key":"2","value":{"text":"x"}}}]}"#;
    let answers = grpcurl(&server, &["-d", frames], &["soloist.v1.State/Pipeline"]).await;
    assert_contains(&printed(answers), &[r#""int": "42""#, r#""revision": "2""#]);
    let info = printed(grpcurl(&server, &[], &["soloist.v1.Admin/GetInfo"]).await);
    assert_contains(
        &info,
        &[r#""keyCount": "2""#, r#""maxKeyBytes": 1024"#, "cpuTime"],
    );
    for (request, method, parts) in [
        (
            r#"{"key":"hits","delta":3}"#,
            "Add",
            &[r#""value": "3""#, r#""applied": "3""#][..],
        ),
        (
            r#"{"ops":[{"add":{"key":"hits","delta":-1,"min":0}},{"delete":{"key":"2"}}]}"#,
            "Batch",
            &[r#""value": "2""#, r#""text": "x""#, r#""revision": "4""#],
        ),
        (
            r#"{"prefix":"h"}"#,
            "List",
            &[r#""key": "hits""#, r#""revision": "4""#],
        ),
        (r#"{"key":"hits"}"#, "Delete", &[r#""int": "2""#]),
    ] {
        let method = format!("soloist.v1.State/{method}");
        let answer = printed(grpcurl(&server, &["-d", request], &[&method]).await);
        assert_contains(&answer, parts);
    }
    let health = printed(grpcurl(&server, &[], &["grpc.health.v1.Health/Check"]).await);
    assert_contains(&health, &[r#""status": "SERVING""#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_shows_a_token() {
    let file = AccessFile::new(&[("billing", "write = ['billing/*']")]);
    let server = file.server(|_| ());
    let header = format!("authorization: {}", file.bearer("billing"));
    let call = async |headers: &[&str], key: &str| {
        let request = format!(r#"{{"key":"{key}","value":{{"int":"1"}}}}"#);
        let before = [headers, &["-d", &request]].concat();
        grpcurl(&server, &before, &["soloist.v1.State/Write"]).await
    };
    // The header goes with the calls of reflection, too.
    printed(call(&["-H", &header], "billing/1").await);
    let refused = call(&["-H", &header], "config").await;
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_contains(&error, &["PermissionDenied", "NOT_PERMITTED", "config"]);
    assert!(!call(&[], "billing/1").await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_prints_the_details_of_errors() {
    let server = TestServer::start();
    for (request, parts) in [
        (
            r#"{"key":"1","value":{"int":1},"expect":{"revision":7}}"#,
            &[
                "Aborted",
                "EXPECTATION_FAILED",
                r#""expected":"7""#,
                "PreconditionFailure",
            ][..],
        ),
        (
            r#"{"key":"","value":{"int":1}}"#,
            &[
                "InvalidArgument",
                "BAD_KEY",
                "fieldViolations",
                r#""limit":"1""#,
            ],
        ),
        (
            r#"{"key":"1"}"#,
            &["VALUE_MISSING", "set one of int, text, bytes"],
        ),
    ] {
        let output = grpcurl(&server, &["-d", request], &["soloist.v1.State/Write"]).await;
        assert!(!output.status.success());
        assert_contains(&String::from_utf8_lossy(&output.stderr), parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_watches_until_its_deadline_and_large_messages_go_both_ways() {
    let server = TestServer::start();
    // Without reflection, which would count against the time, too.
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let contract = ["-import-path", contract, "-proto", "soloist/v1/state.proto"];
    let watch = ["-max-time", "1", "-d", r#"{"prefix":"","initial":true}"#];
    let before = [&contract[..], &watch].concat();
    let watch = grpcurl(&server, &before, &["soloist.v1.State/Watch"]).await;
    let [shown, error] = [&watch.stdout, &watch.stderr].map(|text| String::from_utf8_lossy(text));
    assert_contains(&shown, &[r#""caughtUp": true"#]);
    assert_contains(&error, &["DeadlineExceeded"]);

    let value = "x".repeat(1_000_000);
    let frame = format!(
        r#"{{"ops":[{{"write":{{"key":"1","value":{{"text":"{value}"}}}}}},{{"read":{{"key":"1"}}}}]}}"#
    );
    // An argument may not be as long.
    let mut pipeline = Command::new(tool("grpcurl"))
        .args(["-plaintext", "-d", "@"])
        .arg(server.addr().to_string())
        .arg("soloist.v1.State/Pipeline")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = pipeline.stdin.take().unwrap();
    let sent = tokio::spawn(async move { stdin.write_all(frame.repeat(3).as_bytes()).await });
    let answers = printed(pipeline.wait_with_output().await.unwrap());
    sent.await.unwrap().unwrap();
    assert_eq!(answers.matches(&format!(r#""text": "{value}""#)).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_reflection_are_served() {
    // grpcurl 1.8 asks for v1alpha; newer versions ask for v1 first. The server has both.
    let server = TestServer::start();
    for service in [
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ] {
        let script = format!("{PYTHON_REFLECTION}\nprint(list_services(sys.argv[1], {service:?}))");
        let listed = python(&server, &script).await;
        assert_contains(&listed, &["soloist.v1.State"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_writes_and_reads() {
    let server = TestServer::start();
    let printed = python(&server, include_str!("tools/by_reflection.py")).await;
    assert_contains(
        &printed,
        &[
            "missing: False",
            "written: 1",
            "read: 42",
            "refused: ABORTED EXPECTATION_FAILED 1",
            "frames: [1, 42]",
            "done",
        ],
    );
}

/// What other languages do first: `proto/` is all that protoc needs, and the crate that carries the contract has all of it.
#[tokio::test(flavor = "multi_thread")]
async fn protoc_compiles_the_contract_from_its_folder_alone() {
    let server = TestServer::start();
    let out = tempfile::tempdir().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(tool("python"))
        .args(["-c", include_str!("tools/compiled_stubs.py")])
        .arg(server.addr().to_string())
        .arg(format!("{root}/proto"))
        .arg(out.path())
        .output()
        .await
        .unwrap();
    let printed = printed(output);
    assert_contains(
        &printed,
        &["compiled: 7", "written: 1", "refused: EXPECTATION_FAILED"],
    );

    let packaged = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "-p", "soloist"])
        .current_dir(root)
        .output()
        .await
        .unwrap();
    let packaged = String::from_utf8(packaged.stdout).unwrap();
    for file in ["LICENSE", "error_details.proto", "status.proto"] {
        let file = format!("proto/google/rpc/{file}");
        assert!(packaged.lines().any(|line| line == file), "{packaged}");
    }
}

const PYTHON_REFLECTION: &str = include_str!("tools/list_services.py");

async fn python(server: &TestServer, script: &str) -> String {
    let output = Command::new(tool("python"))
        .args(["-c", script, &server.addr().to_string()])
        .output()
        .await
        .unwrap();
    printed(output)
}

/// The commands of a document's console blocks that begin like one of these, each with the output that the document shows.
pub(crate) fn commands_of(document: &str, beginnings: &[&str]) -> Vec<(String, String)> {
    let blocks = document
        .split("```console\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let mut commands = Vec::new();
    for block in blocks {
        for part in block.split("$ ").skip(1) {
            let mut lines = part.lines();
            let mut command = lines.next().unwrap().to_owned();
            if !beginnings.iter().any(|text| command.starts_with(text)) {
                continue;
            }
            loop {
                if command.ends_with('\\') {
                    command.pop();
                } else if command.matches('\'').count().is_multiple_of(2) {
                    break;
                }
                command.push_str(lines.next().unwrap());
            }
            let printed = lines.collect::<Vec<_>>().join("\n");
            commands.push((command, printed.trim().to_owned()));
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_is_true() {
    the_document_is_true(include_str!("../../../README.md"), 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipes_are_true() {
    the_document_is_true(include_str!("../../../docs/recipes.md"), 20).await;
}

/// Runs every grpcurl command of a document that needs no TLS, in order, against one server.
async fn the_document_is_true(document: &str, commands_min: usize) {
    let server = TestServer::start();
    let address = server.addr().to_string();
    let bin = tool("grpcurl").parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let commands = commands_of(document, &["grpcurl -plaintext"]);
    assert!(commands.len() >= commands_min, "{commands:?}");
    for (command, said) in commands {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &command.replace("127.0.0.1:50051", &address)])
            .env("PATH", &path)
            .kill_on_drop(true);
        // A command that runs until it is interrupted.
        if let Some(said) = said.strip_suffix("\n^C") {
            shell.stdout(std::process::Stdio::piped());
            let mut child = shell.spawn().unwrap();
            let mut printed = vec![0; said.len()];
            let stdout = child.stdout.as_mut().unwrap();
            stdout.read_exact(&mut printed).await.unwrap();
            assert_eq!(String::from_utf8(printed).unwrap(), said, "{command}");
            continue;
        }
        let output = shell.output().await.unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        if said.is_empty() {
            assert!(output.status.success(), "{command}: {printed}");
        } else {
            assert_eq!(printed.trim(), said, "{command}");
        }
    }
}
