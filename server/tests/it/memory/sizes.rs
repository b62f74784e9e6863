//! The same attacks in the sizes of a determined attacker, too large for every run of the tests. Best with a release build:
//!
//! ```text
//! cargo build --release -p soloist-server
//! SOLOIST_TEST_SERVER=$PWD/target/release/soloist-server \
//!     cargo test -p soloist-server --test it memory::sizes -- --ignored --nocapture --test-threads 1
//! ```
//!
//! Each prints the most memory that the process ever had. Whatever the clients do, it is at most its store and 512 MB.

#![allow(
    clippy::print_stdout,
    reason = "the figures are what these are run for"
)]

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::ResponseFuture;
use soloist::v1;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::state_client::StateClient;
use tokio::time::timeout;
use tonic::Code;

use super::{Attacker, LONG, MIB, memory, message, most_memory, server_with_large_values};
use crate::process::Process;
use crate::support::{channel, frame, read, read_op, text, write};

/// What a process may have besides its store.
const BESIDES_STORE: usize = 512_000_000;
/// The streams that a connection may have.
const STREAMS: usize = 256;
const SETTLES: Duration = Duration::from_secs(3);

/// Calls of one kind, of which nothing is read, or which do not end.
struct Attack {
    method: &'static str,
    body: Bytes,
    /// Whether the request ends.
    ends: bool,
    /// How much of each answer HTTP/2 may send.
    window: u32,
    connections: usize,
    timeout: Option<&'static str>,
}

impl Attack {
    /// Begins all calls that the server lets begin, and waits until it has answered or refused most of them.
    async fn run(&self, process: &Process) -> (Vec<Attacker>, Vec<ResponseFuture>) {
        let (mut attackers, mut responses, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.connections {
            let mut attacker = Attacker::connect(process.addr, self.window).await;
            for _ in 0..STREAMS {
                let begun = attacker.call(self.method, self.timeout, self.body.clone(), self.ends);
                // A connection that is at its limit of streams, all held open.
                let Ok((response, request)) = timeout(Duration::from_secs(1), begun).await else {
                    break;
                };
                responses.push(response);
                requests.push(request);
            }
            attackers.push(attacker);
        }
        tokio::time::sleep(SETTLES).await;
        (attackers, responses)
    }
}

/// Checks the most memory that a process ever had against its store.
async fn check(what: &str, process: &Process) {
    let info = loop {
        match timeout(LONG, async { info_of(process).await }).await {
            Ok(Ok(info)) => break info,
            Ok(Err(error)) => assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}"),
            Err(_) => panic!("{what}: others get no answer"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let most = most_memory(process);
    let store = info.used_bytes as usize;
    println!(
        "{what}: VmHWM {} MB, now {} MB, store {} MB",
        most / 1_000_000,
        memory(process, "VmRSS:") / 1_000_000,
        store / 1_000_000
    );
    assert!(most <= store + BESIDES_STORE, "{what}: {most} bytes");
}

async fn info_of(process: &Process) -> Result<v1::Info, tonic::Status> {
    let mut admin = AdminClient::new(channel(process.addr).await);
    Ok(admin.get_info(v1::GetInfoRequest {}).await?.into_inner())
}

fn unread() -> [(&'static str, Bytes); 3] {
    let list = v1::ListRequest {
        prefix: "k".into(),
        ..v1::ListRequest::default()
    };
    let batch = v1::BatchRequest {
        ops: vec![read_op("k0"), read_op("k1")],
        ..v1::BatchRequest::default()
    };
    [
        ("State/Read", message(&read("k0"))),
        ("State/List", message(&list)),
        ("State/Batch", message(&batch)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "large: see the head of this file"]
async fn unread_answers() {
    for (method, body) in unread() {
        for (connections, window) in [(1, 1), (1, 0), (40, 1), (40, 0)] {
            let (mut process, _modest) = server_with_large_values(&[]).await;
            let attack = Attack {
                method,
                body: body.clone(),
                ends: true,
                window,
                connections,
                timeout: None,
            };
            let held = attack.run(&process).await;
            let what = format!("{STREAMS} unread {method}, window {window}, on {connections}");
            check(&what, &process).await;
            drop(held);
            process.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "large: see the head of this file"]
async fn unread_answers_beyond_their_deadline() {
    let (mut process, mut modest) = server_with_large_values(&[]).await;
    let mut held = Vec::new();
    for (method, body) in unread() {
        let attack = Attack {
            method,
            body,
            ends: true,
            window: 0,
            connections: 1,
            timeout: Some("5S"),
        };
        held.push(attack.run(&process).await);
    }
    check("window 0, before the deadline", &process).await;
    let mut ended = 0;
    for response in held
        .iter_mut()
        .flat_map(|(_, responses)| responses.drain(..))
    {
        let response = timeout(LONG, response).await.unwrap().unwrap();
        let mut body: RecvStream = response.into_body();
        // All of them end, although this client answers PINGs.
        if let Some(Err(error)) = timeout(LONG, body.data()).await.unwrap() {
            assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
            ended += 1;
        }
    }
    println!("{ended} were reset after their deadline");
    assert!(ended > 0);
    check("window 0, after the deadline", &process).await;
    modest.read(read("k0")).await.unwrap();
    drop(held);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "large: see the head of this file"]
async fn requests_without_their_last_byte() {
    let len = 4 * MIB + 64 * 1024;
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(len as u32);
    body.put_bytes(0, len - 1);
    let body = body.freeze();
    for connections in [1, 8] {
        let (mut process, _modest) = server_with_large_values(&[]).await;
        let attack = Attack {
            method: "State/Pipeline",
            body: body.clone(),
            ends: false,
            window: 65_535,
            connections,
            timeout: None,
        };
        let held = attack.run(&process).await;
        let what = format!("{STREAMS} frames of 4.1 MiB without their last byte, on {connections}");
        check(&what, &process).await;
        drop(held);
        process.end().await;
    }
}

/// Changes the watched keys, or whatever is let through, so that every stream has something to tell.
async fn change(modest: &mut StateClient<tonic::transport::Channel>, times: usize) {
    for time in 0..times {
        let value = text(format!("{time}").repeat(MIB / 2));
        let _ = timeout(LONG, modest.write(write("k1", value)))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "large: see the head of this file"]
async fn unread_watches_and_pipelines() {
    let watch = |initial| {
        message(&v1::WatchRequest {
            target: Some(v1::watch_request::Target::Prefix("k".into())),
            initial,
            ..v1::WatchRequest::default()
        })
    };
    let frames: Vec<u8> = (0..64)
        .flat_map(|_| message(&frame([read_op("k0")])))
        .collect();
    let frames = Bytes::from(frames);
    for (what, method, body) in [
        ("watches with initial", "State/Watch", watch(true)),
        ("watches", "State/Watch", watch(false)),
        ("Pipelines of 64 Reads", "State/Pipeline", frames),
    ] {
        for (connections, window) in [(1, 1), (1, 0), (40, 1), (40, 0)] {
            let (mut process, mut modest) = server_with_large_values(&[]).await;
            let attack = Attack {
                method,
                body: body.clone(),
                ends: method == "State/Pipeline",
                window,
                connections,
                timeout: None,
            };
            let held = attack.run(&process).await;
            change(&mut modest, 8).await;
            tokio::time::sleep(SETTLES).await;
            let what = format!("{STREAMS} unread {what}, window {window}, on {connections}");
            check(&what, &process).await;
            drop(held);
            process.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "large: see the head of this file"]
async fn large_machines() {
    const STATES: usize = 240;
    const NEXT: usize = 125;
    let state = |number: usize| format!("{number:0>120}");
    let states = (0..STATES).map(|number| {
        let next = (0..NEXT).map(|next| state((number + next) % STATES));
        let next = v1::machine::State {
            next: next.collect(),
            ..v1::machine::State::default()
        };
        (state(number), next)
    });
    let mut machine = v1::Machine {
        initial: state(0),
        states: states.collect(),
        ..v1::Machine::default()
    };
    let mut process = Process::start(&[]).await;
    let mut client = MachinesClient::new(channel(process.addr).await);
    let mut defined = 0;
    for number in 0..250 {
        machine.name = format!("m{number}");
        machine.key_prefix = format!("m{number}/");
        let define = v1::DefineMachineRequest {
            machine: Some(machine.clone()),
            ..v1::DefineMachineRequest::default()
        };
        match client.define_machine(define).await {
            Ok(_) => defined += 1,
            Err(error) => assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}"),
        }
    }
    let bytes = prost::Message::encoded_len(&machine);
    let what = format!("{defined} of 250 machines of {bytes} bytes");
    check(&what, &process).await;
    process.end().await;
}
