//! `--slow-call`: what is logged of calls and frames that take long.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::poll_fn;
use prost::Message as _;
use soloist::v1::state_client::StateClient;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::Request;

use crate::access::AccessFile;
use crate::process::{Process, command};
use crate::support::{atomic, channel, frame, int, text, write, write_op};

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

#[tokio::test]
async fn slow_frames_are_logged_by_the_message_that_they_went_in_and_fast_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    for (threshold, is_logged) in [("1ms", true), ("1h", false)] {
        let process = Process::spawn(command(&[
            "--listen",
            "127.0.0.1:0",
            "--slow-call",
            threshold,
            "--log-format",
            "json",
            "--data-dir",
            directory.path().to_str().unwrap(),
        ]))
        .await;
        let mut client = StateClient::new(channel(process.addr).await);
        let (frames, mut sent) = mpsc::channel(1);
        let mut request = Request::new(poll_fn(move |cx| sent.poll_recv(cx)));
        let trace = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", trace.parse().unwrap());
        let mut answers = client.pipeline(request).await.unwrap().into_inner();
        // More than can be applied, encoded and written to a disk in a millisecond.
        let writes =
            || (0..1_000).map(|key| write_op(write(key.to_string(), text("x".repeat(1_000)))));
        for frame in [frame(writes()), atomic(writes())] {
            frames.send(frame).await.unwrap();
            answers.message().await.unwrap().unwrap();
        }
        drop((frames, answers, client));
        process.signal(nix::sys::signal::Signal::SIGTERM);
        let (_, log) = process.ended().await;
        let slow: Vec<serde_json::Value> = log
            .lines()
            .filter(|line| line.contains("slow frames"))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(slow.len(), if is_logged { 2 } else { 0 }, "{log}");
        for line in slow {
            let fields = &line["fields"];
            assert_eq!(fields["method"], "soloist.v1.State/Pipeline");
            assert_eq!(fields["frames"], 1);
            assert_eq!(fields["trace_id"], TRACE);
            assert_eq!(fields["code"], "Ok");
            let millis = |name: &str| fields[name].as_f64().unwrap();
            let parts = ["mailbox_ms", "owner_ms", "disk_ms"].map(millis);
            assert!(parts.iter().all(|part| *part > 0.0), "{line}");
            // The parts are rounded to microseconds.
            assert!(
                parts.iter().sum::<f64>() <= millis("took_ms") + 0.003,
                "{line}"
            );
        }
    }
}
