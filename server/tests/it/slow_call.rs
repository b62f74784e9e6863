//! `--slow-call`: what is logged of calls that take long.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::access::AccessFile;
use crate::process::{Process, command};
use crate::support::{int, write};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Writes a key, and sends the message so late that the call takes at least `time`.
async fn write_slowly(process: &Process, bearer: &str, time: Duration) {
    let stream = TcpStream::connect(process.addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let call = |addr| {
        http::Request::post(format!("http://{addr}/soloist.v1.State/Write"))
            .header("content-type", "application/grpc")
            .header("authorization", bearer)
            .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
            .body(())
            .unwrap()
    };
    let (response, mut body) = client.send_request(call(process.addr), false).unwrap();
    // A call counts from its headers. They have arrived once another call on the connection has its answer.
    let (other, _) = client.send_request(call(process.addr), true).unwrap();
    assert_eq!(other.await.unwrap().status(), 200);
    let begun = Instant::now();
    while begun.elapsed() < time {
        tokio::task::yield_now().await;
    }
    let message = write("k", int(1)).encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    body.send_data(Bytes::from(framed), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    connection.abort();
}

#[tokio::test]
async fn a_slow_call_is_logged_with_what_took_it_and_a_fast_one_is_not() {
    let file = AccessFile::new(&[("billing", "write = ['*']")]);
    let directory = tempfile::tempdir().unwrap();
    for (threshold, is_logged) in [("1ms", true), ("1h", false)] {
        let args = [
            "--listen",
            "127.0.0.1:0",
            "--slow-call",
            threshold,
            "--log-format",
            "json",
            "--access-file",
            file.path().to_str().unwrap(),
            "--data-dir",
            directory.path().to_str().unwrap(),
        ]
        .map(str::to_owned);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let process = Process::spawn(command(&args)).await;
        write_slowly(&process, &file.bearer("billing"), Duration::from_millis(20)).await;
        process.signal(nix::sys::signal::Signal::SIGTERM);
        let (_, log) = process.ended().await;
        let slow = log.lines().find(|line| line.contains("\"slow_call\""));
        assert_eq!(slow.is_some(), is_logged, "{log}");
        let Some(slow) = slow else { continue };
        let slow: serde_json::Value = serde_json::from_str(slow).unwrap();
        let fields = &slow["fields"];
        assert_eq!(fields["method"], "soloist.v1.State/Write");
        assert_eq!(fields["identity"], "billing");
        assert_eq!(fields["trace_id"], TRACE);
        assert_eq!(fields["code"], "Ok");
        assert!(fields["took_ms"].as_f64().unwrap() >= 1.0, "{slow}");
        let parts =
            ["mailbox_ms", "owner_ms", "disk_ms"].map(|part| fields[part].as_f64().unwrap());
        // Each of them took some time, the commit on disk among them.
        assert!(parts.iter().all(|part| *part > 0.0), "{slow}");
        assert!(parts.iter().sum::<f64>() < fields["took_ms"].as_f64().unwrap());
    }
}
