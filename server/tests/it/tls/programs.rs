//! Programs that know HTTP/2 and not gRPC, over TLS: they agree on HTTP/2 by ALPN.

use tokio::process::Command;

use super::Setup;
use crate::support::{TestServer, read};
use crate::tools::assert_contains;
use crate::tools::debian::{curl, output, program};
use crate::tools::requests::{HEADERS, Request, url};

fn read_url(server: &TestServer) -> String {
    url(
        &format!("https://localhost:{}", server.addr().port()),
        "Read",
    )
}

/// A call of curl that trusts the authority, with the body in this file.
async fn curl_call(setup: &Setup, request: &Request) -> Command {
    let mut curl = curl().await;
    curl.args(["--verbose", "--output", "/dev/null", "--cacert"])
        .arg(setup.files.path("ca.pem"))
        .args(HEADERS)
        .arg("--data-binary")
        .arg(format!("@{}", request.path().display()));
    curl
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_agrees_on_http2_and_shows_its_certificate() {
    let setup = Setup::new();
    let client = setup.authority.issue("client");
    let cert = setup.files.write("client.pem", &client.chain_pem);
    let key = setup.files.write("client.key", &client.key_pem);
    let server = setup.mutual(|_| ());
    let request = Request::of(&read("1"));
    let call = async |args: &[&str]| {
        let mut curl = curl_call(&setup, &request).await;
        output(curl.args(args).arg(read_url(&server))).await
    };
    let identity = [
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let called = call(&identity).await;
    assert!(called.status.success(), "{called:?}");
    let said = String::from_utf8(called.stderr).unwrap();
    assert_contains(
        &said,
        &["ALPN: server accepted h2", "HTTP/2 200", "grpc-status: 0"],
    );
    // Without HTTP/2 there is no connection; without a certificate it ends after the handshake.
    let refused = call(&[&identity[..], &["--http1.1"]].concat()).await;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_contains(&said, &["no application protocol"]);
    let refused = call(&[]).await;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!said.contains("grpc-status"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_and_nghttp_call_over_tls() {
    let setup = Setup::new();
    let server = setup.server(|_| ());
    let request = Request::of(&read("1"));
    let mut load = program("h2load");
    load.args(["-n", "1000", "-c", "4", "-m", "50"]);
    let mut shown = program("nghttp");
    shown.args(["-v", "--no-verify-peer"]);
    for (program, says) in [
        (
            &mut load,
            ["Application protocol: h2", "1000 succeeded, 0 failed"],
        ),
        (
            &mut shown,
            ["The negotiated protocol: h2", "grpc-status: 0"],
        ),
    ] {
        program.args(HEADERS).arg("-d").arg(request.path());
        let called = output(program.arg(read_url(&server))).await;
        assert!(called.status.success(), "{called:?}");
        assert_contains(&String::from_utf8_lossy(&called.stdout), &says);
    }
}
