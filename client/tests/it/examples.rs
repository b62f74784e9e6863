//! The examples run and print what they show.

use std::env;
use std::process::{Command, Output, Stdio};

use crate::support::TestServer;

/// Runs an example, which Cargo builds next to the tests.
pub(crate) fn run_example(name: &str, args: &[&str]) -> Output {
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    let output = Command::new(&path).args(args).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| {
        let path = path.display();
        panic!("{path}: {error}; `cargo build -p soloist-client --examples` builds it")
    })
}

#[test]
fn examples_print_what_they_show() {
    let server = TestServer::start();
    let cases = [
        ("config_watch", "after the break: color = green"),
        (
            "connection",
            "refused: inflight -> inflight, allowed: closing,idle",
        ),
        ("job_workflow", "encode: failed (TimedOut)"),
        ("leader_election", "3 terms, one leader at a time"),
        ("lock", "refused: token"),
        ("rate_limiter", "5 of 8 requests allowed"),
    ];
    std::thread::scope(|scope| {
        for (name, line) in cases {
            let url = format!("http://{}", server.address());
            scope.spawn(move || {
                let run = run_example(name, &[&url]);
                let stdout = String::from_utf8(run.stdout).unwrap();
                let stderr = String::from_utf8(run.stderr).unwrap();
                let said = format!("{name}: {stdout}{stderr}");
                assert_eq!(run.status.code(), Some(0), "{said}");
                let mut lines = stdout.lines();
                assert!(lines.any(|said| said.starts_with(line)), "{said}");
            });
        }
    });
}

#[test]
fn without_a_url_an_example_starts_a_server_of_its_own() {
    let run = run_example("connection", &[]);
    assert!(run.status.success(), "{run:?}");
}
