//! Calls to a Soloist server, over sockets.

use std::net::TcpListener;
use std::time::Duration;

use prost::Message as _;
use soloist::v1::{self, ReadRequest, ReadResponse, WriteRequest, WriteResponse, value};
use soloist_server::Server;
use soloist_server::config::Config as ServerConfig;
use tonic_types::StatusExt;

use crate::http2::failure::CallFailure;
use crate::http2::tests::*;
use crate::http2::{Endpoint, Place, Poller, READ_BYTES, SendError};

/// A connection to a server, and all else that a thread of the engine has.
struct Worker {
    poller: Poller,
    endpoint: Endpoint,
    read: Method,
    write: Method,
    buffer: Vec<u8>,
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start(listener, &ServerConfig::default()).unwrap()
}

impl Worker {
    fn new(server: &Server) -> Self {
        let address = server.local_addr().tcp().unwrap();
        let poller = Poller::new().unwrap();
        let timeout = Duration::from_secs(10);
        let endpoint = Endpoint::connect(
            &Place::Tcp(address),
            None,
            timeout,
            Config::default(),
            &poller,
            3,
        )
        .unwrap();
        let method =
            |path| Method::new("http", &address.to_string(), path, &[], Some(timeout)).unwrap();
        Self {
            poller,
            endpoint,
            read: method("/soloist.v1.State/Read"),
            write: method("/soloist.v1.State/Write"),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Writes, waits and reads once.
    fn turn(&mut self, mut on_event: impl FnMut(&mut Connection, Event<'_>)) {
        self.endpoint.flush(&self.poller).unwrap();
        self.poller.wait(Some(Duration::from_secs(60))).unwrap();
        let ready: Vec<_> = self.poller.ready().collect();
        assert!(!ready.is_empty(), "nothing arrived for a minute");
        for ready in ready {
            assert_eq!(ready.key, 3);
            if ready.readable {
                self.endpoint
                    .read(&mut self.buffer, |connection, event, _| {
                        on_event(connection, event)
                    });
            }
        }
    }

    /// Makes one call, and returns its result.
    fn call(&mut self, method: &Method, message: &[u8]) -> Result<Vec<u8>, CallFailure> {
        self.endpoint
            .connection()
            .send(method, 77, message)
            .unwrap();
        let mut result = None;
        while result.is_none() {
            self.turn(|_, event| {
                result = Some(match event {
                    Event::Response { tag: 77, message } => Ok(message.to_vec()),
                    Event::Failed { tag: 77, failure } => Err(failure),
                    event => panic!("{event:?}"),
                });
            });
        }
        result.unwrap()
    }
}

fn bytes(length: usize, seed: u64) -> v1::Value {
    let bytes = (0..length as u64)
        .map(|at| (at * 31 + seed) as u8)
        .collect();
    v1::Value {
        kind: Some(value::Kind::Bytes(bytes)),
    }
}

fn write(key: &str, value: v1::Value) -> Vec<u8> {
    let request = WriteRequest {
        key: key.to_owned(),
        value: Some(value),
        ..WriteRequest::default()
    };
    request.encode_to_vec()
}

fn read(key: &str) -> Vec<u8> {
    let request = ReadRequest {
        key: key.to_owned(),
        ..ReadRequest::default()
    };
    request.encode_to_vec()
}

#[test]
fn thousands_of_calls_have_the_right_responses() {
    const CALLS: u64 = 20_000;
    const KEYS: u64 = 50;
    let server = server();
    let mut worker = Worker::new(&server);
    let (read_method, write_method) = (worker.read.clone(), worker.write.clone());
    let (mut begun, mut ended, mut open_most) = (0, 0, 0);
    while ended < CALLS {
        // First a Write of each key, then Reads and Writes of the same values.
        while begun < CALLS {
            let key = begun % KEYS;
            let name = format!("key-{key}");
            let connection = worker.endpoint.connection();
            let sent = match begun < KEYS || begun % 3 == 0 {
                true => connection.send(
                    &write_method,
                    begun,
                    &write(&name, bytes(key as usize * 20, key)),
                ),
                false => connection.send(&read_method, begun, &read(&name)),
            };
            match sent {
                Ok(_) => begun += 1,
                Err(SendError::StreamLimit) => break,
                Err(why) => panic!("{why:?}"),
            }
            if begun == KEYS {
                break;
            }
        }
        open_most = open_most.max(worker.endpoint.connection().open_calls());
        worker.turn(|_, event| {
            let Event::Response { tag, message } = event else {
                panic!("{event:?}");
            };
            ended += 1;
            if tag < KEYS || tag % 3 == 0 {
                assert!(WriteResponse::decode(message).unwrap().revision > 0);
                return;
            }
            let entry = ReadResponse::decode(message)
                .unwrap()
                .entry
                .expect("every key was written");
            let key = tag % KEYS;
            assert_eq!(entry.value, Some(bytes(key as usize * 20, key)));
        });
    }
    assert_eq!(
        (begun, ended, worker.endpoint.connection().open_calls()),
        (CALLS, CALLS, 0)
    );
    assert_eq!(open_most, 256, "as many as the server allows");
}

#[test]
fn large_values_pass_the_windows_in_both_directions() {
    let server = server();
    let mut worker = Worker::new(&server);
    let (read_method, write_method) = (worker.read.clone(), worker.write.clone());
    // The server allows values of 1 MiB, and its window has 64 KiB.
    let sizes = [1 << 20, 700_000, 16_384, 65_536, 16_379, 1];
    let mut results = vec![None; sizes.len()];
    for (tag, size) in sizes.into_iter().enumerate() {
        let message = write(&format!("large-{tag}"), bytes(size, 5));
        worker
            .endpoint
            .connection()
            .send(&write_method, tag as u64, &message)
            .unwrap();
    }
    let mut ended = 0;
    while ended < 2 * sizes.len() {
        worker.turn(|connection, event| {
            let Event::Response { tag, message } = event else {
                panic!("{event:?}");
            };
            ended += 1;
            // The value is read as soon as it is written.
            match tag.checked_sub(100) {
                None => {
                    connection
                        .send(&read_method, tag + 100, &read(&format!("large-{tag}")))
                        .unwrap();
                }
                Some(tag) => results[tag as usize] = Some(ReadResponse::decode(message).unwrap()),
            }
        });
    }
    for (result, size) in results.into_iter().zip(sizes) {
        let value = result.unwrap().entry.unwrap().value;
        assert!(value == Some(bytes(size, 5)), "{size}");
    }
}

#[test]
fn errors_have_their_details() {
    let server = server();
    let mut worker = Worker::new(&server);
    let (method, address) = (worker.read.clone(), server.local_addr().to_string());
    // Twice, with a success between: an error is never taken for remembered headers.
    for _ in 0..2 {
        let failure = worker.call(&method, &read("")).unwrap_err();
        assert_eq!(
            (failure.processed, failure.code),
            (Processed::Answered, Code::InvalidArgument)
        );
        assert!(failure.message.contains("key"), "{}", failure.message);
        let status =
            tonic::Status::with_details(failure.code, failure.message, failure.details.into());
        assert!(status.get_details_error_info().is_some(), "{status:?}");
        assert!(worker.call(&method, &read("some")).is_ok());
    }
    let unknown = Method::new("http", &address, "/soloist.v1.State/Nothing", &[], None).unwrap();
    let failure = worker.call(&unknown, b"").unwrap_err();
    assert_eq!(
        (failure.processed, failure.code),
        (Processed::Answered, Code::Unimplemented)
    );
    let garbled = worker.call(&method, &[0xff; 9]).unwrap_err();
    assert_eq!(garbled.processed, Processed::Answered);
    // Longer than the server accepts: it responds before it has the whole request.
    let long = worker
        .call(&worker.write.clone(), &write("k", bytes(6 << 20, 1)))
        .unwrap_err();
    assert_eq!(long.processed, Processed::Answered, "{long:?}");
    assert!(worker.call(&method, &read("some")).is_ok());
}

#[test]
fn every_call_ends_when_the_server_drains() {
    let server = server();
    let mut worker = Worker::new(&server);
    let method = worker.read.clone();
    let (mut begun, mut answered, mut not_begun) = (0, 0, 0);
    while worker.endpoint.connection().closed().is_none() {
        // As many calls as allowed are always open.
        let refused = loop {
            match worker
                .endpoint
                .connection()
                .send(&method, begun, &read("some"))
            {
                Ok(_) => begun += 1,
                Err(refused) => break refused,
            }
        };
        if answered > 2_000 && refused == SendError::StreamLimit {
            server.drain();
        }
        worker.turn(|_, event| match event {
            Event::Response { .. } => answered += 1,
            Event::Failed { failure, .. } => {
                assert_eq!(failure.processed, Processed::No, "{failure:?}");
                not_begun += 1;
            }
        });
    }
    let connection = worker.endpoint.connection();
    assert!(connection.is_draining());
    assert_eq!(answered + not_begun, begun);
    assert!(connection.closed().unwrap().0.contains("GOAWAY: NO_ERROR"));
    worker.endpoint.remove(&worker.poller).unwrap();
    server.wait().unwrap();
}

#[test]
fn the_end_of_the_socket_ends_its_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut poller = Poller::new().unwrap();
    let timeout = Duration::from_secs(10);
    let mut endpoint = Endpoint::connect(
        &Place::Tcp(address),
        None,
        timeout,
        Config::default(),
        &poller,
        0,
    )
    .unwrap();
    let method = Method::new("http", "host", "/s.S/M", &[], None).unwrap();
    endpoint.connection().send(&method, 1, b"").unwrap();
    let (peer, _) = listener.accept().unwrap();
    drop((peer, listener));
    let mut events: Vec<OwnedEvent> = Vec::new();
    while endpoint.connection().closed().is_none() {
        endpoint.flush(&poller).unwrap();
        poller.wait(Some(timeout)).unwrap();
        assert!(poller.ready().any(|ready| ready.readable));
        endpoint.read(&mut [0; 100], |_, event, _| events.push(event.into()));
    }
    assert!(
        matches!(
            &events[..],
            [OwnedEvent::Failed(
                1,
                Processed::Unknown,
                Code::Unavailable,
                _
            )]
        ),
        "{events:?}"
    );
    assert!(
        Endpoint::connect(
            &Place::Tcp(address),
            None,
            timeout,
            Config::default(),
            &poller,
            0
        )
        .is_err()
    );
}

/// The server does not read until the socket is full. Writing goes on when it has room.
#[test]
fn a_full_socket_is_written_when_it_has_room_again() {
    use std::io::Read;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut poller = Poller::new().unwrap();
    let mut endpoint = Endpoint::connect(
        &Place::Unix(path),
        None,
        Duration::from_secs(10),
        Config::default(),
        &poller,
        5,
    )
    .unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    // With such windows only the socket limits what is sent.
    let wide = [
        settings(&[(soloist_http2::frame::setting::INITIAL_WINDOW_SIZE, 1 << 30)]),
        window_update(0, 1 << 30),
    ];
    std::io::Write::write_all(&mut peer, &wide.concat()).unwrap();
    poller.wait(None).unwrap();
    endpoint.read(&mut [0; 1_000], |_, _, _| {});
    let method = Method::new("http", "host", "/s.S/M", &[], None).unwrap();
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| at as u8).collect();
    endpoint.connection().send(&method, 1, &body).unwrap();
    endpoint.flush(&poller).unwrap();
    assert!(
        !endpoint.connection().output().is_empty(),
        "the socket took 3 MB at once"
    );
    poller.wait(Some(Duration::ZERO)).unwrap();
    assert!(poller.ready().next().is_none());

    let mut arrived = Vec::new();
    let mut buffer = vec![0; 100_000];
    while !endpoint.connection().output().is_empty() {
        let count = peer.read(&mut buffer).unwrap();
        arrived.extend_from_slice(&buffer[..count]);
        poller.wait(Some(Duration::ZERO)).unwrap();
        if poller.ready().any(|ready| ready.writable && ready.key == 5) {
            endpoint.flush(&poller).unwrap();
        }
    }
    // Nothing is left to write, so the poller does not report room any more.
    peer.set_nonblocking(true).unwrap();
    while let Ok(count @ 1..) = peer.read(&mut buffer) {
        arrived.extend_from_slice(&buffer[..count]);
    }
    peer.set_nonblocking(false).unwrap();
    poller.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!(poller.ready().count(), 0);
    drop(endpoint);
    peer.read_to_end(&mut arrived).unwrap();
    let sent: Vec<u8> = frames(&arrived)
        .into_iter()
        .filter(|frame| frame.kind == kind::DATA)
        .flat_map(|frame| frame.payload)
        .collect();
    assert!(sent == message(&body));
}
