//! What a client can make the server keep in memory: whatever it does, it stays below a bound that does not grow with the
//! number of its connections. Each test attacks a process of its own, with the limits at their defaults, and looks at
//! the most memory that the process ever had.

mod sizes;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use prost::Message;
use soloist::v1;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::Process;
use crate::support::{atomic, channel, frame, read, read_op, text, write};

const MIB: usize = 1 << 20;

/// All clients may hold 256 MiB at the defaults. The rest is for the store, and for what the counted bytes take besides.
const MOST: usize = 450 * MIB;

const LONG: Duration = Duration::from_secs(60);

/// A client of HTTP/2 that answers PINGs, and grants windows only as it is told.
struct Attacker {
    client: SendRequest<Bytes>,
    addr: SocketAddr,
    connection: JoinHandle<()>,
}

impl Attacker {
    async fn connect(addr: SocketAddr, stream_window: u32) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (client, connection): (_, Connection<TcpStream, Bytes>) = h2::client::Builder::new()
            .initial_window_size(stream_window)
            .initial_max_send_streams(1000)
            .handshake(stream)
            .await
            .unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self {
            client,
            addr,
            connection,
        }
    }

    /// Begins a call. Without `end` its request stays open.
    async fn call(
        &mut self,
        method: &str,
        timeout: Option<&str>,
        body: Bytes,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("http://{}/soloist.v1.{method}", self.addr))
            .header("content-type", "application/grpc");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let mut client = self.client.clone().ready().await.unwrap();
        let (response, mut stream) = client
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        stream.send_data(body, end).unwrap();
        (response, stream)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn message(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// The most memory that the process ever had.
fn most_memory(process: &Process) -> usize {
    memory(process, "VmHWM:")
}

/// Memory of the process, as the kernel names it.
fn memory(process: &Process, name: &str) -> usize {
    let pid = process.child.id().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}

async fn server_with_large_values(args: &[&str]) -> (Process, StateClient<Channel>) {
    let process = Process::start(args).await;
    let mut client = StateClient::new(channel(process.addr).await);
    for key in ["k0", "k1"] {
        client
            .write(write(key, text("x".repeat(MIB))))
            .await
            .unwrap();
    }
    (process, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn unary_answers_that_are_not_read_are_bounded_and_end_at_their_deadline() {
    const CONNECTIONS: usize = 8;
    const CALLS: usize = 120;
    let (mut process, mut modest) = server_with_large_values(&[]).await;
    let list = v1::ListRequest {
        prefix: "k".into(),
        ..v1::ListRequest::default()
    };
    let batch = v1::BatchRequest {
        ops: vec![read_op("k0"), read_op("k1")],
        ..v1::BatchRequest::default()
    };
    let calls = [
        ("State/Read", message(&read("k0"))),
        ("State/List", message(&list)),
        ("State/Batch", message(&batch)),
    ];
    let mut attackers = Vec::new();
    let mut responses = Vec::new();
    for number in 0..CONNECTIONS {
        // Without a window HTTP/2 takes nothing of an answer, with a window of one byte all of it.
        let mut attacker = Attacker::connect(process.addr, (number % 2) as u32).await;
        for call in 0..CALLS {
            let (method, body) = calls[call % calls.len()].clone();
            let (response, _) = attacker.call(method, Some("2S"), body, true).await;
            responses.push(response);
        }
        attackers.push(attacker);
    }
    let (mut refused, mut late, mut unread) = (0, 0, Vec::<RecvStream>::new());
    for response in responses {
        let (parts, body) = timeout(LONG, response).await.unwrap().unwrap().into_parts();
        match Status::from_header_map(&parts.headers) {
            Some(status) => match status.code() {
                Code::ResourceExhausted => refused += 1,
                // On a slow machine.
                Code::DeadlineExceeded => late += 1,
                _ => panic!("{status:?}"),
            },
            None => unread.push(body),
        }
    }
    let most = most_memory(&process);
    println!(
        "{} unread, {refused} refused, {late} late, {} MiB",
        unread.len(),
        most / MIB
    );
    assert!(most < MOST, "{} MiB", most / MIB);
    assert!(refused > 0 && !unread.is_empty());

    // The answers that nobody reads are reset after their deadline, although PINGs are answered.
    for mut body in unread {
        while let Some(data) = timeout(LONG, body.data()).await.unwrap() {
            match data {
                Ok(data) => assert!(data.len() <= 1),
                Err(error) => {
                    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
                    break;
                }
            }
        }
    }
    // Then there is room for others again.
    for _ in 0..40 {
        modest.read(read("k0")).await.unwrap();
    }
    drop(attackers);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_end_are_bounded_and_ended() {
    const CONNECTIONS: usize = 8;
    const CALLS: usize = 40;
    let args = ["--max-deadline", "3s"];
    let mut process = Process::start(&args).await;
    // All of a frame but its last byte.
    let whole = message(&frame([crate::support::write_op(write(
        "k",
        text("x".repeat(4 * MIB)),
    ))]));
    let unfinished = whole.slice(..whole.len() - 1);
    let mut attackers = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut attacker = Attacker::connect(process.addr, 65_535).await;
        for call in 0..CALLS {
            let method = ["State/Pipeline", "State/Batch", "Machines/DefineMachine"][call % 3];
            calls.push(attacker.call(method, None, unfinished.clone(), false).await);
        }
        attackers.push(attacker);
    }
    let mut refused = 0;
    for (response, _stream) in calls {
        let (parts, mut body) = match timeout(LONG, response).await.unwrap() {
            Ok(response) => response.into_parts(),
            // The rest of a body that was refused is not wanted.
            Err(error) => panic!("{error}"),
        };
        let status = match Status::from_header_map(&parts.headers) {
            Some(status) => status,
            None => {
                while let Some(data) = timeout(LONG, body.data()).await.unwrap() {
                    data.unwrap();
                }
                let trailers = timeout(LONG, body.trailers()).await.unwrap().unwrap();
                Status::from_header_map(&trailers.unwrap()).unwrap()
            }
        };
        match status.code() {
            Code::ResourceExhausted => refused += 1,
            Code::DeadlineExceeded => {}
            _ => panic!("{status:?}"),
        }
    }
    let most = most_memory(&process);
    println!("{refused} refused, {} MiB", most / MIB);
    assert!(most < MOST, "{} MiB", most / MIB);
    assert!(refused > 0);
    let mut modest = StateClient::new(channel(process.addr).await);
    modest
        .write(write("k", text("x".repeat(MIB))))
        .await
        .unwrap();
    drop(attackers);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_read_are_bounded_and_shut_nobody_out_for_long() {
    const CONNECTIONS: usize = 12;
    const STREAMS: usize = 100;
    let (mut process, mut modest) = server_with_large_values(&["--unread-timeout", "1s"]).await;
    let watch = v1::WatchRequest {
        target: Some(v1::watch_request::Target::Prefix("k".into())),
        initial: true,
        ..v1::WatchRequest::default()
    };
    let frames: Vec<u8> = (0..8)
        .flat_map(|_| message(&frame([read_op("k0")])))
        .collect();
    let calls = [
        ("State/Watch", message(&watch)),
        ("State/Pipeline", frames.into()),
    ];
    let mut attackers = Vec::new();
    let mut open = Vec::new();
    let mut memory = Vec::new();
    for number in 0..CONNECTIONS {
        let mut attacker = Attacker::connect(process.addr, (number % 2) as u32).await;
        for call in 0..STREAMS {
            let (method, body) = calls[call % calls.len()].clone();
            open.push(attacker.call(method, None, body, true).await);
        }
        attackers.push(attacker);
        // Every watch is told of this change.
        let change = write("k1", text("y".repeat(MIB)));
        while let Err(error) = modest.write(change.clone()).await {
            assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Small calls go on meanwhile.
        modest.read(read("k2")).await.unwrap();
        memory.push(most_memory(&process) / MIB);
    }
    println!("{memory:?} MiB");
    assert!(*memory.last().unwrap() < MOST / MIB, "{memory:?} MiB");
    // The attackers hold on, but lose what they hold when others need it.
    while let Err(error) = timeout(LONG, modest.read(read("k0"))).await.unwrap() {
        assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((open, attackers));
    process.end().await;
}

/// Outcomes take memory besides the values that they show: those of refusals, and lists of many.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_that_are_not_read_are_bounded() {
    const FRAMES: usize = 256;
    const OPERATIONS: usize = 1024;
    const MOST: usize = 64 * MIB;
    let limits = ["--max-unread-bytes", "8MiB", "--max-client-bytes", "16MiB"];
    let mismatch = v1::ReadRequest {
        expect: Some(v1::Condition {
            test: Some(v1::condition::Test::Revision(1)),
        }),
        ..read("long")
    };
    let transition = v1::TransitionRequest {
        key: "absent".into(),
        to: "done".into(),
        ..v1::TransitionRequest::default()
    };
    let many = |op| vec![v1::Op { op: Some(op) }; OPERATIONS];
    let mismatches = frame(many(v1::op::Op::Read(mismatch)));
    let transitions = frame(many(v1::op::Op::Transition(transition)));
    let absent = atomic(many(v1::op::Op::Read(read("absent"))));
    for (what, streams, frame) in [
        ("refused transitions", 2, transitions),
        ("mismatches", 1, mismatches),
        ("atomic frames", 5, absent),
    ] {
        let (mut process, mut modest) = server_with_large_values(&limits).await;
        for _ in 0..2 {
            let long = write("long", text("x".repeat(600)));
            modest.write(long).await.unwrap();
        }
        let mut attacker = Attacker::connect(process.addr, 0).await;
        let frame = message(&frame);
        let mut open = Vec::new();
        for _ in 0..streams {
            let call = attacker.call("State/Pipeline", None, Bytes::new(), false);
            open.push(call.await);
        }
        for (_, stream) in &mut open {
            for _ in 0..FRAMES {
                if !send(stream, frame.clone()).await {
                    break;
                }
            }
        }
        // The owner is done with what came before.
        for _ in 0..3 {
            modest.write(write("after", text("x"))).await.unwrap();
        }
        let most = most_memory(&process);
        println!("{what}: {} MiB", most / MIB);
        assert!(most < MOST, "{what}: {} MiB", most / MIB);
        drop((open, attacker));
        process.end().await;
    }
}

/// Sends data as the server grants windows for it. Returns false if the server has ended the stream, or the connection.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(granted)) = granted else {
            return false;
        };
        let part = data.split_to(granted.min(data.len()));
        if stream.send_data(part, false).is_err() {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_are_not_read_leave_their_places_to_others() {
    let mut process = Process::start(&["--max-deadline", "1s"]).await;
    let mut modest = StateClient::new(channel(process.addr).await);
    for key in 0..8 {
        let value = text("x".repeat(MIB));
        modest.write(write(format!("k{key}"), value)).await.unwrap();
    }
    // One connection gets one backup of two.
    let request = message(&v1::BackupRequest::default());
    let mut attackers = Vec::new();
    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut attacker = Attacker::connect(process.addr, 1).await;
        for call in 0..2 {
            let (response, _) = attacker
                .call("Admin/Backup", None, request.clone(), true)
                .await;
            let (parts, body) = response.await.unwrap().into_parts();
            match Status::from_header_map(&parts.headers) {
                None => assert_eq!(call, 0),
                Some(status) => assert_eq!((call, status.code()), (1, Code::ResourceExhausted)),
            }
            unread.push(body);
        }
        attackers.push(attacker);
    }
    let mut operator = AdminClient::new(channel(process.addr).await);
    let place = async {
        loop {
            match operator.backup(v1::BackupRequest::default()).await {
                Ok(chunks) => break chunks.into_inner(),
                Err(error) => assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut chunks = timeout(LONG, place).await.expect("a place becomes free");
    while timeout(LONG, chunks.message())
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {}
    drop((unread, attackers));
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_end_beside_no_call_end_the_connection() {
    let mut process = Process::start(&[]).await;
    let mut stream = TcpStream::connect(process.addr).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        .await
        .unwrap();
    // PRIORITY of stream 1.
    let priority = b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x10";
    let frames = priority.repeat(10_000);
    let flood = async { while stream.write_all(&frames).await.is_ok() {} };
    timeout(LONG, flood).await.unwrap();
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_calls_leaves_its_place_to_others() {
    let args = ["--max-connections", "2", "--idle-timeout", "1s"];
    let mut process = Process::start(&args).await;
    // Both answer PINGs, and one has a call in progress.
    let mut busy = Attacker::connect(process.addr, 65_535).await;
    let (_response, _request) = busy.call("State/Pipeline", None, Bytes::new(), false).await;
    let _idle = Attacker::connect(process.addr, 65_535).await;
    let mut modest = StateClient::new(channel(process.addr).await);
    timeout(LONG, modest.read(read("k")))
        .await
        .unwrap()
        .unwrap();
    busy.call("State/Read", None, message(&read("k")), true)
        .await
        .0
        .await
        .unwrap();
    drop(busy);
    process.end().await;
}
