//! Every engine over TLS, with certificates and tokens, and over Unix sockets; and what an error tells people to do.

mod files;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use soloist_client::Client;
use soloist_server::Server;
use soloist_server::config::Config;

use crate::runs::until_measuring;
use crate::support::{Run, load};
use files::{Files, https, serve};

const ENGINES: [&str; 3] = ["unary", "pipeline", "raw"];

/// The folder of the contract, for calls that ask the server for no descriptors.
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");

/// Does a run that must succeed. Returns its report.
#[track_caller]
fn report(line: &str) -> Value {
    let run = Run::of(&format!("{line} -q -O json"));
    assert_eq!(run.code, Some(0), "{line}: {} {}", run.stderr, run.stdout);
    run.report()
}

/// Does a run that must fail with this code, and say this.
#[track_caller]
fn refused(line: &str, code: i32, part: &str) {
    let run = Run::of(&format!("{line} -q -n 1 --connect-timeout 5s"));
    assert_eq!(
        run.code,
        Some(code),
        "{line}: {} {}",
        run.stderr,
        run.stdout
    );
    assert!(run.stderr.contains(part), "{line}: {part}: {}", run.stderr);
}

#[test]
fn every_engine_connects_with_tls_and_a_certificate() {
    let files = Files::new();
    let server = serve(&files.config("server", true), None);
    let (address, flags) = (https(&server), files.mutual());
    for engine in ENGINES {
        let report = report(&format!(
            "{address} {flags} --engine {engine} -n 2k --value-size 3000"
        ));
        assert_eq!(report["completed"], 2_000);
        assert_eq!(report["server"]["address"], address.as_str());
        // Longer than what TLS keeps until the system takes it.
        report_of_large_values(&format!("{address} {flags} --engine {engine}"));
        let command = report["command"].as_str().unwrap();
        assert!(
            command.contains(&flags.replace(' ', "=").replace("=--", " --")),
            "{command}"
        );
    }
    server.drain();
}

#[track_caller]
fn report_of_large_values(line: &str) {
    let report = report(&format!(
        "{line} --key-prefix big/ --value-size 700000 --readers 4 --writers 4 -n 60"
    ));
    assert_eq!(report["completed"], 60);
}

#[test]
fn watches_histories_searches_and_agents_connect_with_tls() {
    let files = Files::new();
    let server = serve(&files.config("server", true), None);
    let (address, flags) = (https(&server), files.mutual());
    for what in [
        "--workload watch -n 200 --verify",
        "--workload mixed -n 500 --verify",
        "--workload renew -n 200",
        "--workload transition -n 200 --engine raw --clean",
        "--agents local:2 -n 200 --engine raw",
        "--call grpc.health.v1.Health/Check -n 50 --engine raw",
        "--call grpc.health.v1.Health/Check -n 50",
    ] {
        report(&format!("{address} {flags} {what}"));
    }
    for search in [
        "find-max --slo p99<10s --start 50 --repeat 1 --precision 100 --settle 20ms --window 100ms",
        "sweep --rates 50,100 --settle 20ms --window 100ms",
    ] {
        let run = Run::of(&format!("{search} {address} {flags} -q"));
        assert_eq!(run.code, Some(0), "{search}: {}", run.stderr);
    }
    let file = files.shown("run.json");
    let saved = Run::of(&format!("{address} {flags} -n 100 -q -o {file}"));
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    let compared = Run::of(&format!("compare {file} {file} --runs 1 -q"));
    assert_eq!(compared.code, Some(0), "{}", compared.stderr);
    server.drain();
}

#[test]
fn every_engine_bears_the_token() {
    let files = Files::new();
    let mut config = files.config("server", false);
    files.know_tokens(&mut config);
    let server = serve(&config, None);
    let address = format!("{} {}", https(&server), files.trust());
    let (with_file, plain) = (files.shown("A"), "A".repeat(43));
    for engine in ENGINES {
        for token in [
            format!("--token-file {with_file}"),
            format!("--token slst_{plain}"),
        ] {
            let report = report(&format!(
                "{address} {token} --engine {engine} -n 500 --clean"
            ));
            assert_eq!(report["completed"], 500);
            assert!(
                !report.to_string().contains(&plain),
                "the report has the token"
            );
        }
        refused(
            &format!("{address} --engine {engine}"),
            1,
            "does not know this caller",
        );
    }
    let agents = format!("{address} --token slst_{plain} --agents local:2 -n 100");
    assert_eq!(report(&agents)["completed"], 100);
    let token = format!("--token-file {with_file}");
    for what in ["watch", "mixed", "renew", "transition"] {
        report(&format!("{address} {token} --workload {what} -n 200"));
    }
    // The server describes itself to those whom it knows.
    for engine in ["unary", "raw"] {
        let call = format!("{address} --call soloist.v1.State/List -n 20 --engine {engine}");
        let report = report(&format!("{call} {token}"));
        assert_eq!(report["call"]["codes"], json!({"OK": 20}));
        refused(&call, 2, "set --token-file");
    }
    server.drain();
}

#[test]
fn every_engine_connects_to_a_unix_socket() {
    let files = Files::new();
    let path = files.path("socket");
    let server = Server::start(UnixListener::bind(&path).unwrap(), &Config::default()).unwrap();
    let address = format!("unix:{}", path.display());
    for engine in ENGINES {
        let report = report(&format!("{address} --engine {engine} -n 2k"));
        assert_eq!(report["completed"], 2_000);
        assert_eq!(report["server"]["address"], address.as_str());
    }
    for engine in ["unary", "raw"] {
        report(&format!(
            "unix://{} --call grpc.health.v1.Health/Check -n 20 --engine {engine}",
            path.display()
        ));
    }
    server.drain();
    let missing = files.shown("missing");
    refused(&format!("unix:{missing}"), 1, "there is no such socket");
    drop(UnixListener::bind(&missing).unwrap());
    for engine in ["unary", "raw"] {
        let call = call(&format!("unix:{missing}"), engine);
        refused(&call, 1, "nobody listens on the socket");
    }
}

/// Calls a method without asking the server for anything before.
fn call(address: &str, engine: &str) -> String {
    format!(
        "call {address} soloist.v1.State/List --proto {PROTO}/soloist/v1/state.proto -I {PROTO} --engine {engine}"
    )
}

#[test]
fn every_engine_says_what_is_wrong_with_a_connection() {
    let files = Files::new();
    let servers =
        ["server", "expired", "elsewhere"].map(|name| serve(&files.config(name, false), None));
    let mutual = serve(&files.config("server", true), None);
    let plain = serve(&Config::default(), None);
    let [good, expired, elsewhere] = servers.each_ref().map(https);
    let (mutual_at, plain_at) = (https(&mutual), https(&plain));
    let trust = files.trust();
    let other = format!("--tls-ca {}", files.shown("other-ca.pem"));
    let plaintext = good.replace("https://", "");
    let speaks_tls = "speaks TLS: type https://";
    let cases = [
        (
            &good,
            other.as_str(),
            "set --tls-ca to the CA of this server",
        ),
        (&expired, &trust, "has expired: renew it there"),
        (&elsewhere, &trust, "or set --tls-server-name"),
        (&mutual_at, &trust, "set --tls-cert and --tls-key"),
        (&plain_at, &trust, "does not speak TLS: type http://"),
        (&plaintext, "", speaks_tls),
    ];
    for (address, flags, part) in cases {
        refused(&format!("{address} {flags}"), 1, part);
        for engine in ["unary", "raw"] {
            refused(&format!("{} {flags}", call(address, engine)), 1, part);
        }
    }
    let named = format!("{elsewhere} {trust} --tls-server-name example.org");
    for engine in ENGINES {
        report(&format!("{named} --engine {engine} -n 100"));
    }
    for (line, part) in [
        (format!("{plaintext} {trust}"), "type https://"),
        (
            format!("{good} --tls-ca {}", files.shown("nothing")),
            "--tls-ca ",
        ),
        (
            format!("{good} {trust} --token-file {}", files.shown("nothing")),
            "--token-file",
        ),
        (
            format!("{good} {trust} --tls-cert {}", files.shown("client.pem")),
            "--tls-key",
        ),
        (trust.clone(), "needs https://HOST:PORT"),
    ] {
        refused(&line, 2, part);
    }
    [mutual, plain]
        .iter()
        .chain(&servers)
        .for_each(Server::drain);
}

/// What answers plain HTTP/2 as servers do whose TLS is not rustls'.
#[test]
fn an_alert_of_tls_is_recognised_in_plain_text() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), &[21, 3, 1, 0, 2, 2, 70]);
        }
    });
    refused(&address, 1, "speaks TLS: type https://");
    for engine in ["unary", "raw"] {
        refused(&call(&address, engine), 1, "speaks TLS: type https://");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_made_again_reads_the_files_again() {
    for engine in ENGINES {
        let files = Files::new();
        let server = serve(&files.config("server", true), None);
        let (address, port) = (https(&server), server.local_addr().tcp().unwrap().port());
        let line = format!(
            "{address} {} --engine {engine} -z 2m -q -O json",
            files.mutual()
        );
        let child = load(&line).spawn().unwrap();
        within(until_measuring(&files.client(&address).await)).await;

        // Both sides move to another CA.
        files.issue_all();
        let config = files.config("server", true);
        server.drain();
        let next = tokio::task::spawn_blocking(move || {
            server.wait().unwrap();
            serve(&config, Some(port))
        });
        let next = next.await.unwrap();
        within(until_measuring(&files.client(&address).await)).await;
        end(&child);
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(143), "{engine}: {}", run.stderr);
        let report = run.report();
        assert!(
            report["connections"]["made_again"].as_u64() > Some(0),
            "{engine}: {report}"
        );
        next.drain();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_is_used_by_the_next_calls() {
    let files = Files::new();
    let mut config = Config::default();
    files.know_tokens(&mut config);
    let server = serve(&config, None);
    let address = server.local_addr().to_string();
    let client = Client::builder(&address).token_file(files.path("A"));
    let client = client.connect().await.unwrap();
    for engine in ["unary", "raw"] {
        let prefix = format!("{engine}/");
        // B may not write.
        files.write("token", &std::fs::read_to_string(files.path("B")).unwrap());
        let line = format!(
            "{address} --engine {engine} --readers 0 --writers 2 --rps 200 -z 2m --key-prefix {prefix} --no-tui -O json --token-file {}",
            files.shown("token")
        );
        let mut child = load(&line).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("FAILED")));
        files.write("token", &std::fs::read_to_string(files.path("A")).unwrap());
        within(async {
            // Two writers have completed a Write then.
            while client.list(&prefix).await.unwrap().entries.len() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        end(&child);
        let report = Run::from(child.wait_with_output().unwrap()).report();
        assert!(report["completed"].as_u64() > Some(0), "{engine}: {report}");
        assert_eq!(report["connections"]["lost"], 0, "{engine}: {report}");
    }
    server.drain();
}

/// Waits for something that takes milliseconds, or for a minute.
async fn within(what: impl Future<Output = ()>) {
    let waited = tokio::time::timeout(Duration::from_secs(60), what).await;
    waited.expect("it has not come in a minute");
}

fn end(child: &std::process::Child) {
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
}
