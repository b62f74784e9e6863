//! TLS as people try it: certificates of one command, the binary, and grpcurl. The README has exactly these commands.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::process::{Process, command};
use crate::tools::{assert_contains, commands_of, printed, tool};

/// Makes certificates in the directory `certs` of `directory`, and returns what the command prints.
async fn test_certificates(directory: &Path, args: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/test-certificates");
    let mut command = Command::new(script);
    command.args(args).current_dir(directory);
    command.output().await.unwrap()
}

/// The server that these commands talk to: it wants a certificate and a token.
async fn server(directory: &Path) -> Process {
    let path = |name: &str| directory.join("certs").join(name).display().to_string();
    let [cert, key, ca, access] = ["server.pem", "server.key", "ca.pem", "access.toml"].map(path);
    Process::start(&[
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--tls-client-ca",
        &ca,
        "--access-file",
        &access,
    ])
    .await
}

/// A call of grpcurl in `directory`, with these arguments before the address.
fn grpcurl(directory: &Path, args: &[&str], server: &Process, method: &str) -> Command {
    let mut command = Command::new(tool("grpcurl"));
    command
        .args(args)
        .arg(format!("localhost:{}", server.addr.port()))
        .args(method.split(' '))
        .current_dir(directory)
        .kill_on_drop(true);
    command
}

const CA: [&str; 2] = ["-cacert", "certs/ca.pem"];
const CERTIFICATE: [&str; 4] = ["-cert", "certs/client.pem", "-key", "certs/client.key"];

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_calls_with_certificates_and_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    printed(test_certificates(at, &["certs"]).await);
    let server = server(at).await;
    let token = std::fs::read_to_string(at.join("certs/token")).unwrap();
    let header = format!("authorization: Bearer {}", token.trim());
    let all = [&CA[..], &CERTIFICATE, &["-H", &header]].concat();

    let services = grpcurl(at, &all, &server, "list").output().await.unwrap();
    assert_contains(&printed(services), &["soloist.v1.State"]);
    let write = [&all[..], &["-d", r#"{"key":"a","value":{"int":1}}"#]].concat();
    let written = grpcurl(at, &write, &server, "soloist.v1.State/Write");
    assert_contains(
        &printed({ written }.output().await.unwrap()),
        &[r#""revision": "1""#],
    );
    let watch = [&all[..], &["-d", r#"{"prefix":"","initial":true}"#]].concat();
    let mut watch = grpcurl(at, &watch, &server, "soloist.v1.State/Watch");
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    let stdout = watch.stdout.as_mut().unwrap();
    while !shown.contains("caughtUp") {
        let mut part = [0; 1024];
        let len = stdout.read(&mut part).await.unwrap();
        assert_ne!(len, 0, "{shown}");
        shown.push_str(&String::from_utf8_lossy(&part[..len]));
    }
    assert_contains(&shown, &[r#""key": "a""#, "INITIAL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_says_what_is_wrong_with_certificates_and_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    printed(test_certificates(at, &["certs"]).await);
    printed(test_certificates(at, &["others", "example.org"]).await);
    let server = server(at).await;
    let unknown = "authorization: Bearer slst_nobody";
    let read = ["-d", r#"{"key":"a"}"#];
    for (args, says) in [
        (
            [&["-cacert", "others/ca.pem"][..], &CERTIFICATE].concat(),
            "certificate signed by unknown authority",
        ),
        ([&CA[..], &CERTIFICATE, &["-H", unknown]].concat(), "token"),
        // TLS 1.3 refuses a client only after its handshake, and grpcurl tries until its time is over.
        (CA.to_vec(), "Failed to dial"),
        (vec!["-plaintext"], "Failed to dial"),
    ] {
        let args = [&args[..], &["-connect-timeout", "1"], &read].concat();
        let mut call = grpcurl(at, &args, &server, "soloist.v1.State/Read");
        let output = call.output().await.unwrap();
        assert!(!output.status.success(), "{args:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(says), "{args:?}: {error} lacks {says:?}");
    }
}

/// With `--tls-client-auth off` only the token says who calls.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_and_a_certificate_grpcurl_is_told_to_show_one() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    printed(test_certificates(at, &["certs"]).await);
    let path = |name: &str| at.join("certs").join(name).display().to_string();
    let [cert, key, access] = ["server.pem", "server.key", "access.toml"].map(path);
    let args = [
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--access-file",
        &access,
    ];
    let server = Process::start(&args).await;
    let mut call = grpcurl(at, &CA, &server, "list");
    let output = call.output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_contains(&error, &["authorization"]);
    let header = format!(
        "authorization: Bearer {}",
        std::fs::read_to_string(at.join("certs/token"))
            .unwrap()
            .trim()
    );
    let args = [&CA[..], &["-H", &header]].concat();
    let mut call = grpcurl(at, &args, &server, "list");
    assert_contains(
        &printed(call.output().await.unwrap()),
        &["soloist.v1.State"],
    );
}

#[tokio::test]
async fn test_certificates_are_for_their_owner_and_overwrite_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let said = printed(test_certificates(at, &["certs", "db.example.org", "192.0.2.7"]).await);
    assert_contains(&said, &["certs: ca.pem", "7 days"]);
    for (name, mode) in [
        ("ca.key", 0o600),
        ("server.key", 0o600),
        ("client.key", 0o600),
        ("token", 0o600),
        ("ca.pem", 0o644),
        ("server.pem", 0o644),
    ] {
        let file = std::fs::metadata(at.join("certs").join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{name}");
    }
    let mut text = Command::new("openssl");
    text.args(["x509", "-noout", "-text", "-in", "certs/server.pem"]);
    let text = printed(text.current_dir(at).output().await.unwrap());
    let names = [
        "DNS:localhost",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
        "DNS:db.example.org",
        "IP Address:192.0.2.7",
    ];
    assert_contains(&text, &names);

    let before = std::fs::read(at.join("certs/ca.key")).unwrap();
    for (args, code, says) in [
        (&["certs"][..], 1, "certs exists"),
        (&[], 2, "usage"),
        (&["new", "no name"], 2, "no name of a host"),
    ] {
        let output = test_certificates(at, args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_contains(&String::from_utf8_lossy(&output.stderr), &[says]);
    }
    assert_eq!(std::fs::read(at.join("certs/ca.key")).unwrap(), before);
    assert_eq!(
        std::fs::read_dir(at).unwrap().count(),
        1,
        "nothing is left over"
    );
}

/// Runs the commands of the README that need TLS, as they stand there.
#[tokio::test(flavor = "multi_thread")]
async fn the_minute_of_tls_in_the_readme_is_true() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let readme = include_str!("../../../../README.md");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::os::unix::fs::symlink(format!("{root}/deploy"), at.join("deploy")).unwrap();
    let bin = tool("grpcurl").parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut server: Option<Process> = None;
    let mut calls = 0;
    for (line, said) in commands_of(
        readme,
        &[
            "deploy/test-certificates",
            "soloist-server --tls",
            "grpcurl -cacert",
        ],
    ) {
        if let Some(args) = line.strip_prefix("soloist-server ") {
            let args: Vec<_> = args.split_whitespace().collect();
            let args = [&["--listen", "127.0.0.1:0"], &args[..]].concat();
            let mut command = command(&args);
            command.current_dir(at);
            server = Some(Process::spawn(command).await);
            continue;
        }
        let mut line = line;
        if let Some(server) = &server {
            line = line.replace(
                "localhost:50051",
                &format!("localhost:{}", server.addr.port()),
            );
            calls += 1;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(at).env("PATH", &path);
        let printed = printed(shell.output().await.unwrap());
        assert_eq!(printed.trim(), said, "{line}");
    }
    assert!(calls > 0, "the README has calls with TLS");
}
