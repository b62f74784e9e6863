//! Errors: a clear message, the right exit code, and no hang.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;
use soloist_server::config::Config;

use crate::proxy::Proxy;
use crate::runs::until_measuring;
use crate::support::{Run, TestServer, load};

#[test]
fn bad_arguments_name_the_flag_and_exit_with_2() {
    let cases = [
        ("--keys 0", "--keys", "from 1 to"),
        ("--readers=-1", "--readers", "from 0 to 100000"),
        ("--readers -1", "--readers", "from 0 to 100000"),
        ("-P -5", "--pipeline", "from 1 to 65536"),
        ("--seed abc", "--seed", "from 0 to 18446744073709551615"),
        ("--seed -1", "--seed", "from 0 to 18446744073709551615"),
        ("-n 0", "--requests", "from 1 to"),
        ("-n ten", "--requests", "suffix k or m"),
        ("-z 5", "--duration", "with a unit"),
        ("--key-dist zipf", "--key-dist", "zipfian[:THETA]"),
        ("--engine row", "--engine", "unary, pipeline, raw"),
        ("-O xml", "--format", "text, json, csv"),
        ("--no-such-flag", "--no-such-flag", "unexpected"),
        ("localhost", "HOST:PORT", ""),
        ("https://127.0.0.1", "HOST:PORT", "unix:PATH"),
        (
            "127.0.0.1:1 --tls-ca f",
            "--tls-ca",
            "type https://127.0.0.1:1",
        ),
        ("--readers 0 --writers 0", "--readers 0", "at least one"),
        (
            "--engine unary --frame-ops 2",
            "--frame-ops 2",
            "1 operation",
        ),
        // Limits of the server.
        ("--frame-ops 1025", "--frame-ops 1025", "at most 1024"),
        ("-P 257", "--pipeline 257", "at most 256"),
        (
            "--value-size 1048577",
            "--value-size 1048577",
            "at most 1048576",
        ),
        (
            "--frame-ops 1000 --value-size 10000",
            "--frame-ops 1000 with --value-size 10000",
            "bytes, the server allows at most 4259840",
        ),
    ];
    for (arguments, flag, why) in cases {
        let run = Run::of(arguments);
        assert_eq!(run.code, Some(2), "{arguments}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments}");
        assert!(run.stderr.contains(flag), "{arguments}: {}", run.stderr);
        assert!(run.stderr.contains(why), "{arguments}: {}", run.stderr);
    }
}

#[test]
fn an_unreachable_server_is_named() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let run = Run::of(&address);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains(&address), "{}", run.stderr);
    assert!(run.stderr.contains("refused"), "{}", run.stderr);
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    // The system makes connections that nobody accepts.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let run = Run::of(&format!("{address} --connect-timeout 300ms"));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("within 300ms"), "{}", run.stderr);
    assert!(run.stderr.contains(&address), "{}", run.stderr);
}

/// Serves every connection with `serve`, for as long as the test process lives.
fn other_service(serve: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

#[test]
fn a_server_that_is_no_soloist_is_recognised() {
    let services: [fn(TcpStream); 3] = [
        // Something that speaks HTTP/1.
        |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            let _ = stream.read(&mut [0; 1024]);
        },
        // Something that speaks nothing known.
        |mut stream| {
            let _ = stream.write_all(&[0xa5; 4096]);
            let _ = stream.read_to_end(&mut Vec::new());
        },
        // Something that hangs up.
        drop,
    ];
    for serve in services {
        let address = other_service(serve);
        let run = Run::of(&format!("{address} --connect-timeout 2s"));
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.stderr.contains(&address), "{}", run.stderr);
        let words = ["cannot reach", "does not answer as a Soloist"];
        let is_said = words.iter().any(|words| run.stderr.contains(words));
        assert!(is_said, "{}", run.stderr);
    }
}

#[test]
fn a_web_server_is_recognised() {
    let address = other_service(|mut stream| {
        // SETTINGS, empty.
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let _ = stream.read_exact(&mut [0; 24]);
        let mut header = [0; 9];
        while stream.read_exact(&mut header).is_ok() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let _ = stream.read_exact(&mut vec![0; length as usize]);
            if header[3] == 1 {
                // HEADERS, the last of stream 1: ":status: 404".
                let _ = stream.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x8d]);
            }
        }
    });
    let run = Run::of(&address);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let words = format!("{address} answers HTTP/2, but is not a Soloist");
    assert!(run.stderr.contains(&words), "{}", run.stderr);
}

#[test]
fn streams_that_the_server_refuses_are_explained() {
    let mut config = Config::default();
    config.transport.max_streams = 10;
    let server = TestServer::with(config);
    let run = Run::of(&format!(
        "{} --connect-timeout 1s --connections 1",
        server.address()
    ));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("--connections"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_leaves_a_report() {
    for engine in ["pipeline", "unary", "raw"] {
        let server = TestServer::start();
        let client = server.client().await;
        let arguments = format!(
            "{} -z 1h --reconnect-timeout 300ms --engine {engine} -O json",
            server.address()
        );
        let child = load(&arguments).spawn().unwrap();
        until_measuring(&client).await;
        server.drain();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(1), "{engine}: {}", run.stderr);
        let report = run.report();
        let count = |number: &Value| number.as_u64().unwrap_or(0);
        assert!(count(&report["completed"]) > 0, "{engine}: {report}");
        let outages = report["outages"].as_array().unwrap();
        assert_eq!(outages.len(), 1, "{engine}: {report}");
        assert_eq!(outages[0]["ended"], false, "{engine}: {report}");
        assert!(count(&report["connections"]["attempts_failed"]) > 0);
        let gave_up = report["gave_up"].as_str().unwrap();
        assert!(gave_up.contains("--reconnect-timeout"), "{gave_up}");
        let elapsed = report["elapsed_seconds"].as_f64();
        assert!(
            elapsed.is_some_and(|elapsed| elapsed < 3_600.0),
            "{engine}: {report}"
        );
    }
}

#[test]
fn lost_workers_are_reported() {
    let server = TestServer::start();
    let proxy = Proxy::start(&server.address().to_string());
    let line = format!("{} -z 1h --reconnect-timeout 300ms", proxy.address());
    let mut child = load(&line).spawn().unwrap();
    while proxy.requests() < 500 && child.try_wait().unwrap().is_none() {
        thread::sleep(std::time::Duration::from_millis(1));
    }
    proxy.refuse();
    let run = Run::from(child.wait_with_output().unwrap());
    let line = run.stdout.lines().find(|line| line.starts_with("lost "));
    let line = line.unwrap_or_else(|| panic!("{} {}", run.stdout, run.stderr));
    for words in ["110 workers", "stream"] {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn failed_operations_fail_the_run_unless_they_are_allowed() {
    // A store that holds one key of five.
    let mut config = Config::default();
    config.limits.max_store_bytes = 100;
    let server = TestServer::with(config);
    let arguments = format!("{} -n 1000 -O json", server.address());

    let run = Run::of(&arguments);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let report = run.report();
    let failed = report["failed"]["RESOURCE_EXHAUSTED"].as_u64().unwrap();
    assert!(failed > 0);
    assert_eq!(report["completed"].as_u64().unwrap() + failed, 1_000);

    let run = Run::of(&format!("{arguments} --allow-errors"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.report()["failed"]["RESOURCE_EXHAUSTED"].is_u64());
}

#[test]
fn a_run_without_a_result_says_why() {
    // A store that holds nothing.
    let mut config = Config::default();
    config.limits.max_store_bytes = 1;
    let server = TestServer::with(config);
    let run = Run::of(&format!("{} -n 100 --readers 0", server.address()));
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("no operation"), "{}", run.stderr);
    assert!(run.stderr.contains("failed: 100"), "{}", run.stderr);
}
