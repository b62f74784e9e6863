//! Conversations that mutation begins with: SETTINGS, and calls of every method.

use prost::Message;
use prost_types::Duration;
use soloist::v1;

/// Frame types and flags. Source: RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// Literal fields, which are not added to the dynamic table.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn headers(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // POST and http of the static table; the path and the authority with its names, into the dynamic table.
    let mut block = vec![0x83, 0x86, 0x44, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x41\x01h");
    let common = [("content-type", "application/grpc"), ("te", "trailers")];
    block.extend(fields(&[&common, more].concat()));
    frame(HEADERS, END_HEADERS, stream, &block)
}

fn message(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

fn call(stream: u32, path: &str, more: &[(&str, &str)], request: &[u8]) -> Vec<u8> {
    let more = [&[("grpc-timeout", "1S")][..], more].concat();
    let data = frame(DATA, END_STREAM, stream, &message(request));
    [headers(stream, path, &more), data].concat()
}

/// A request of each method.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let key = || "k".to_owned();
    let value = || {
        Some(v1::Value {
            kind: Some(v1::value::Kind::Int(1)),
        })
    };
    let write = v1::WriteRequest {
        key: key(),
        value: value(),
        request_id: "id".into(),
        return_previous: true,
        ..v1::WriteRequest::default()
    };
    let op = |op| v1::Op { op: Some(op) };
    let ops = vec![
        op(v1::op::Op::Write(write.clone())),
        op(v1::op::Op::Read(v1::ReadRequest {
            key: key(),
            expect: None,
        })),
    ];
    let state = |next: &str| v1::machine::State {
        next: vec![next.into()],
        timeout: Some(Duration {
            seconds: 20,
            nanos: 0,
        }),
        timeout_next: next.into(),
    };
    let machine = v1::Machine {
        name: "m".into(),
        key_prefix: "m/".into(),
        initial: "a".into(),
        states: [("a".to_owned(), state("b")), ("b".to_owned(), state("a"))].into(),
        revision: 0,
    };
    let session = v1::OpenSessionRequest {
        id: "s".into(),
        ttl: Some(Duration {
            seconds: 10,
            nanos: 0,
        }),
        take_over: true,
        ..v1::OpenSessionRequest::default()
    };
    let add = v1::AddRequest {
        key: "n".into(),
        delta: 2,
        max: Some(9),
        saturate: true,
        ..v1::AddRequest::default()
    };
    let transition = v1::TransitionRequest {
        key: "m/1".into(),
        to: "b".into(),
        value: value(),
        ..v1::TransitionRequest::default()
    };
    let list = v1::ListRequest {
        page_size: 10,
        ..v1::ListRequest::default()
    };
    let watch = v1::WatchRequest {
        target: Some(v1::watch_request::Target::Prefix("k".into())),
        initial: true,
        previous: true,
        ..v1::WatchRequest::default()
    };
    let delete_prefix = v1::DeletePrefixRequest {
        prefix: "k".into(),
        ..v1::DeletePrefixRequest::default()
    };
    let define = v1::DefineMachineRequest {
        machine: Some(machine),
        ..v1::DefineMachineRequest::default()
    };
    let frame = v1::PipelineRequest {
        ops: ops.clone(),
        atomic: true,
        ..v1::PipelineRequest::default()
    };
    let batch = v1::BatchRequest {
        ops,
        ..v1::BatchRequest::default()
    };
    let read = v1::ReadRequest {
        key: key(),
        expect: None,
    };
    let delete = v1::DeleteRequest {
        key: key(),
        ..v1::DeleteRequest::default()
    };
    vec![
        ("/soloist.v1.State/Read", read.encode_to_vec()),
        ("/soloist.v1.State/Write", write.encode_to_vec()),
        ("/soloist.v1.State/Add", add.encode_to_vec()),
        ("/soloist.v1.State/Transition", transition.encode_to_vec()),
        ("/soloist.v1.State/Delete", delete.encode_to_vec()),
        (
            "/soloist.v1.State/DeletePrefix",
            delete_prefix.encode_to_vec(),
        ),
        ("/soloist.v1.State/Batch", batch.encode_to_vec()),
        ("/soloist.v1.State/List", list.encode_to_vec()),
        ("/soloist.v1.State/Watch", watch.encode_to_vec()),
        ("/soloist.v1.State/Pipeline", frame.encode_to_vec()),
        ("/soloist.v1.Machines/DefineMachine", define.encode_to_vec()),
        ("/soloist.v1.Machines/GetMachine", b"\x0a\x01m".to_vec()),
        ("/soloist.v1.Machines/ListMachines", Vec::new()),
        (
            "/soloist.v1.Machines/DeleteMachine",
            b"\x0a\x01m\x10\x01".to_vec(),
        ),
        ("/soloist.v1.Sessions/OpenSession", session.encode_to_vec()),
        (
            "/soloist.v1.Sessions/RenewSession",
            b"\x0a\x01s\x10\x01".to_vec(),
        ),
        (
            "/soloist.v1.Sessions/CloseSession",
            b"\x0a\x01s\x10\x01".to_vec(),
        ),
        ("/soloist.v1.Sessions/ListSessions", Vec::new()),
        ("/soloist.v1.Admin/GetInfo", Vec::new()),
        ("/soloist.v1.Admin/Backup", Vec::new()),
        ("/grpc.health.v1.Health/Check", Vec::new()),
        ("/grpc.health.v1.Health/Watch", Vec::new()),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            b"\x3a\x00".to_vec(),
        ),
        (
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            b"\x22\x10soloist.v1.State".to_vec(),
        ),
    ]
}

/// The frames of connections, without the preface. Each call has this header `authorization`.
pub(crate) fn conversations(authorization: Option<&str>) -> Vec<Vec<u8>> {
    let more = authorization.map(|value| ("authorization", value));
    let more = more.as_slice();
    let begin = [settings(&[]), frame(SETTINGS, ACK, 0, &[])].concat();
    let requests = requests();
    let mut all: Vec<Vec<u8>> = requests
        .iter()
        .map(|(path, request)| call(1, path, more, request))
        .collect();
    let many = (0_u32..).zip(&requests);
    all.push(
        many.flat_map(|(at, (path, request))| call(2 * at + 1, path, more, request))
            .collect(),
    );
    let (_, frame_of_ops) = &requests[9];
    let pipeline = headers(1, "/soloist.v1.State/Pipeline", more);
    let piece = frame(DATA, 0, 1, &message(frame_of_ops));
    all.extend([
        // A Pipeline of two frames, a Watch that is reset, an unfinished Write, a call without a message.
        [
            pipeline.clone(),
            piece.clone(),
            piece.clone(),
            frame(DATA, END_STREAM, 1, &[]),
        ]
        .concat(),
        [
            pipeline,
            piece,
            frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()),
        ]
        .concat(),
        [
            headers(1, "/soloist.v1.State/Write", more),
            frame(DATA, 0, 1, &[0, 0, 0, 0, 9, 10]),
        ]
        .concat(),
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &headers(1, "/soloist.v1.State/Read", more)[9..],
        ),
        // What belongs to the connection.
        settings(&[(1, 0), (2, 0), (3, 7), (4, 0), (5, 20_000), (6, 1_000)]),
        [
            frame(PING, 0, 0, &[7; 8]),
            frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]),
        ]
        .concat(),
        [
            frame(WINDOW_UPDATE, 0, 0, &70_000_u32.to_be_bytes()),
            frame(GOAWAY, 0, 0, &[0; 8]),
        ]
        .concat(),
        call(1, "/soloist.v1.State/Nothing", more, &[]),
    ]);
    all.into_iter()
        .map(|frames| [begin.clone(), frames].concat())
        .collect()
}

/// Names of header fields and methods.
pub(crate) fn words() -> Vec<Vec<u8>> {
    let paths = requests()
        .into_iter()
        .map(|(path, _)| path.as_bytes().to_vec());
    let names = [
        "authorization",
        "Bearer ",
        "grpc-timeout",
        "grpc-encoding",
        "gzip",
        "content-length",
        "connection",
        "transfer-encoding",
        ":path",
        ":method",
        "99999999H",
        "1n",
        "HEAD",
        "*",
    ];
    paths
        .chain(names.map(|name| name.as_bytes().to_vec()))
        .collect()
}
