//! The load generator where something is wrong: clear words, the right exit code, no hang.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use soloist_server::config::Config;

use crate::support::{Run, TestServer, load};

#[test]
fn bad_arguments_name_the_flag_and_exit_with_2() {
    let cases = [
        ("--keys 0", "--keys", "from 1 to"),
        ("--readers=-1", "--readers", "whole number"),
        ("-n 0", "--requests", "at least 1"),
        ("-n ten", "--requests", "suffix k or m"),
        ("-z 5", "--duration", "with a unit"),
        ("--key-dist zipf", "--key-dist", "zipfian[:THETA]"),
        ("--engine raw", "--engine", "unary, pipeline"),
        ("-O xml", "--format", "text, json"),
        ("--no-such-flag", "--no-such-flag", "unexpected"),
        ("localhost", "HOST:PORT", ""),
        ("http://127.0.0.1:1", "HOST:PORT", ""),
        ("--readers 0 --writers 0", "--readers 0", "at least one"),
        (
            "--engine unary --frame-ops 2",
            "--frame-ops 2",
            "1 operation",
        ),
        // These the server has to say.
        ("--frame-ops 1025", "--frame-ops 1025", "at most 1024"),
        ("-P 257", "--pipeline 257", "at most 256"),
        (
            "--value-size 1048577",
            "--value-size 1048577",
            "at most 1048576",
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
    // Connections are made by the system; nobody accepts them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let run = Run::of(&format!("{address} --connect-timeout 300ms"));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("does not answer"), "{}", run.stderr);
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
fn another_service_is_told_apart() {
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
        assert!(
            run.stderr.contains("does not answer as a Soloist"),
            "{}",
            run.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_leaves_a_report() {
    for engine in ["pipeline", "unary"] {
        let server = TestServer::start();
        let client = server.client().await;
        let arguments = format!("{} -z 1h --engine {engine} -O json", server.address());
        let child = load(&arguments).spawn().unwrap();
        // Its writes show that it is under way.
        while client.info().await.unwrap().revision == 0 {
            tokio::task::yield_now().await;
        }
        server.drain();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(1), "{engine}: {}", run.stderr);
        let report = run.report();
        assert!(report["completed"].as_u64().unwrap() > 0, "{engine}");
        assert!(
            report["failed"]["UNAVAILABLE"].as_u64().unwrap() > 0,
            "{engine}: {report}"
        );
        assert!(
            report["elapsed_seconds"].as_f64().unwrap() < 3_600.0,
            "{engine}"
        );
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
