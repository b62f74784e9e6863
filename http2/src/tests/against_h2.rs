//! Against another implementation: the client of the crate `h2` talks to this server over a pipe in memory.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::talk::routes;
use crate::connection::{Connection, Event, StreamKey, Then};
use crate::fields::{ContentType, Method, Route, Timeout};
use crate::frame::{self, FrameHeader, kind};
use crate::header_block::HeaderBlock;
use crate::limits::Limits;

/// What the server keeps of a call: its body, and what of it was not sent back yet.
#[derive(Default)]
struct Echo {
    body: Vec<u8>,
    sent: usize,
    metadata: Vec<u8>,
}

/// Answers each call with its body. `reads` is the most that one read takes.
async fn echo(mut pipe: DuplexStream, limits: Limits, reads: usize) -> Connection {
    let mut connection = Connection::new(limits, routes(), Duration::ZERO);
    let mut calls: Vec<Echo> = Vec::new();
    let mut buffer = vec![0; reads];
    loop {
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        let mut input = &buffer[..count];
        loop {
            while let Some(event) = connection.next(&mut input, Duration::ZERO) {
                let ready = take(event, &mut calls);
                if let Some((stream, consumed)) = ready {
                    connection.consumed(stream, consumed);
                    answer(&mut connection, stream, &mut calls[stream.slot()]);
                }
            }
            let written = connection.output().len();
            if pipe.write_all(connection.output()).await.is_err() {
                return connection;
            }
            connection.wrote(written);
            if input.is_empty() && connection.output().is_empty() {
                let mut nothing = &[][..];
                match connection.next(&mut nothing, Duration::ZERO) {
                    Some(Event::Writable { stream }) => {
                        answer(&mut connection, stream, &mut calls[stream.slot()]);
                    }
                    Some(event) => panic!("{event:?}"),
                    None => break,
                }
            }
        }
        if count == 0 {
            return connection;
        }
    }
}

/// Keeps what an event has. Returns the stream if there is something to do for it, and how many bytes were consumed.
fn take(event: Event<'_>, calls: &mut Vec<Echo>) -> Option<(StreamKey, usize)> {
    match event {
        Event::Request { stream, head, then } => {
            assert_eq!(head.method(), Method::Post);
            assert_eq!(head.route(), Some(Route(1)));
            assert_eq!(head.content_type(), Some(ContentType::Grpc));
            assert!(head.has_te() && !head.is_https());
            assert_eq!(head.timeout(), Some(Timeout::Nanoseconds(5_000_000_000)));
            assert_eq!(head.authority(), Some(&b"host"[..]));
            if calls.len() <= stream.slot() {
                calls.resize_with(stream.slot() + 1, Echo::default);
            }
            let mut fields = head.fields();
            let metadata = fields.find(|(_, name, _)| name == b"x-id").unwrap().2;
            calls[stream.slot()] = Echo {
                metadata: metadata.to_vec(),
                ..Echo::default()
            };
            (then == Then::End).then_some((stream, 0))
        }
        Event::Data { stream, data, then } => {
            let call = &mut calls[stream.slot()];
            call.body.extend_from_slice(data);
            // Given back in any case; answered only when it is whole.
            call.sent = match then {
                Then::More => usize::MAX,
                Then::End => 0,
            };
            Some((stream, data.len()))
        }
        Event::Writable { stream } => Some((stream, 0)),
        Event::Reset { .. } | Event::GoAway { .. } => None,
        other => panic!("{other:?}"),
    }
}

fn answer(connection: &mut Connection, stream: StreamKey, call: &mut Echo) {
    if call.sent == usize::MAX {
        return;
    }
    if call.sent == 0 && !connection.has_head(stream) {
        let id = String::from_utf8(call.metadata.clone()).unwrap();
        let head = HeaderBlock::new([(":status", "200"), ("x-id", id.as_str())]);
        _ = connection.send_head(stream, &head);
    }
    let Ok(taken) = connection.send_data(stream, &call.body[call.sent..]) else {
        return;
    };
    call.sent += taken;
    if call.sent == call.body.len() {
        _ = connection.send_trailers(stream, &HeaderBlock::new([("grpc-status", "0")]));
    }
}

fn request(id: usize) -> Request<()> {
    Request::post("http://host/s/M")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "5S")
        .header("x-id", id.to_string())
        .body(())
        .unwrap()
}

/// Makes a call, and checks that what comes back is what was sent.
async fn call(mut client: SendRequest<Bytes>, id: usize, body: Vec<u8>, parts: usize) {
    let is_empty = body.is_empty();
    client = client.ready().await.unwrap();
    let (response, mut stream) = client.send_request(request(id), is_empty).unwrap();
    if !is_empty {
        let part = body.len().div_ceil(parts);
        let count = body.chunks(part).count();
        for (index, part) in body.chunks(part).enumerate() {
            let part = Bytes::copy_from_slice(part);
            stream.send_data(part, index + 1 == count).unwrap();
        }
    }
    let response = response.await.unwrap();
    assert_eq!(response.headers()["x-id"], id.to_string());
    let mut answer = response.into_body();
    let mut come = Vec::new();
    while let Some(part) = answer.data().await {
        let part = part.unwrap();
        come.extend_from_slice(&part);
        answer.flow_control().release_capacity(part.len()).unwrap();
    }
    assert!(come == body, "{} bytes of {}", come.len(), body.len());
    let trailers: HeaderMap = answer.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

fn block_on(task: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(task);
}

/// Calls of many sizes, many at once, with windows of many sizes, through pipes of many sizes.
#[test]
fn a_client_of_h2_gets_what_it_asks_for() {
    block_on(async {
        for seed in 0..12 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let limits = Limits {
                stream_window: [70_000, 100, 16_384][seed as usize % 3],
                connection_window: [1 << 20, 65_535][seed as usize % 2],
                output_bytes_max: [65_536, 500][rng.random_range(0..2)],
                ..Limits::DEFAULT
            };
            let pipe = [64, 1_000, 100_000][rng.random_range(0..3)];
            let (here, there) = tokio::io::duplex(pipe);
            let server = tokio::spawn(echo(
                here,
                limits,
                [7, 1_000, 32_768][rng.random_range(0..3)],
            ));
            let (client, connection) = h2::client::Builder::new()
                .initial_window_size([200, 65_535, 1 << 20][rng.random_range(0..3)])
                .header_table_size([0, 4_096, 100][rng.random_range(0..3)])
                .handshake::<_, Bytes>(there)
                .await
                .unwrap();
            let driver = tokio::spawn(connection);
            let calls: Vec<_> = (0..30)
                .map(|id| {
                    let length = [0, 1, 90, 3_000, 70_000][rng.random_range(0..5)];
                    let body = (0..length).map(|at| (at % 251) as u8).collect();
                    tokio::spawn(call(client.clone(), id, body, rng.random_range(1..5)))
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
            drop(client);
            driver.await.unwrap().unwrap();
            let connection = server.await.unwrap();
            assert_eq!(connection.open_streams(), 0, "seed {seed}");
        }
    });
}

/// h2 encodes with a dynamic table: the fields of later requests are indices.
#[test]
fn h2_uses_the_dynamic_table() {
    let blocks = block_sizes();
    assert!(blocks[0] > 50 && blocks[1] < 20, "{blocks:?}");
}

/// The sizes of the header blocks of two requests.
fn block_sizes() -> Vec<usize> {
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    block_on(async move {
        let (mut here, there) = tokio::io::duplex(100_000);
        let (mut client, connection) = h2::client::handshake(there).await.unwrap();
        tokio::spawn(connection);
        let mut out = Vec::new();
        frame::put_settings(&mut out, &[]);
        here.write_all(&out).await.unwrap();
        for id in [5, 5] {
            client = client.ready().await.unwrap();
            _ = client.send_request(request(id), true).unwrap();
            tokio::task::yield_now().await;
        }
        let mut bytes = Vec::new();
        let mut sizes = Vec::new();
        while sizes.len() < 2 {
            here.read_buf(&mut bytes).await.unwrap();
            sizes = header_frames(&bytes[frame::PREFACE.len()..]);
        }
        send.send(sizes).unwrap();
    });
    receive.recv().unwrap()
}

fn header_frames(mut bytes: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = FrameHeader::parse(header);
        if header.kind == kind::HEADERS {
            sizes.push(header.length);
        }
        bytes = rest.get(header.length..).unwrap_or_default();
    }
    sizes
}
