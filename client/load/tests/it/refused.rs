//! A server that refuses streams by REFUSED_STREAM: it has not begun the call.

use std::net::TcpListener;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use tokio::runtime::Runtime;

use crate::support::Run;

/// A server that answers every call with an empty message, after it has refused it `refusals` times: one call is made at a
/// time. Dropping the runtime ends it.
fn server(refusals: u64) -> (Runtime, String) {
    let runtime = Runtime::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut calls = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    calls += 1;
                    if calls % (refusals + 1) != 0 {
                        respond.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    }
                    let response = Response::builder()
                        .header("content-type", "application/grpc")
                        .body(())
                        .unwrap();
                    let mut body = respond.send_response(response, false).unwrap();
                    body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
                    let status = (
                        "grpc-status".parse().unwrap(),
                        HeaderValue::from_static("0"),
                    );
                    body.send_trailers(HeaderMap::from_iter([status])).unwrap();
                }
            });
        }
    });
    (runtime, address)
}

fn run(address: &str, engine: &str) -> Run {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    Run::of(&format!(
        "call {address} soloist.v1.State/List --proto {proto}/soloist/v1/state.proto -I {proto} \
         --engine {engine} -c 1 -n 20 -q -O json"
    ))
}

#[test]
fn a_call_that_was_refused_once_is_sent_again_and_counted() {
    for engine in ["raw", "unary"] {
        let (_server, address) = server(1);
        let run = run(&address, engine);
        assert_eq!(run.code, Some(0), "{engine}: {}", run.stderr);
        let report = run.report();
        assert_eq!(report["completed"], 20, "{engine}");
        let refused = &report["connections"]["streams_refused"];
        assert_eq!(*refused, 20, "{engine}: {report}");
    }
}

#[test]
fn a_call_that_is_refused_twice_has_failed() {
    for engine in ["raw", "unary"] {
        let (_server, address) = server(2);
        let run = run(&address, engine);
        assert_eq!(run.code, Some(1), "{engine}: {}", run.stderr);
        let report = run.report();
        // Two refusals are one failed call, and the next call is answered.
        assert_eq!(report["failed"]["UNAVAILABLE"], 10, "{engine}: {report}");
        assert_eq!(report["completed"], 10, "{engine}: {report}");
        let refused = &report["connections"]["streams_refused"];
        assert_eq!(*refused, 10, "{engine}: {report}");
    }
}
