//! A proxy between the load generator and a server, which breaks connections in every way.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const GOAWAY: u8 = 7;

/// What the proxy does with the bytes of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Keeps the bytes until it passes them again.
    Stall,
    /// Accepts connections and bytes, and says nothing: not even that a connection has ended.
    Silent,
}

/// A proxy to one server. Dropping it ends it.
pub(crate) struct Proxy {
    runtime: Runtime,
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    upstream: String,
    mode: watch::Sender<Mode>,
    connections: Mutex<Vec<Connection>>,
    /// Connections that were accepted so far.
    accepted: AtomicU64,
    /// Requests that clients have sent so far: each message of a call or stream is one frame, if it is short.
    requests: AtomicU64,
}

struct Connection {
    task: JoinHandle<()>,
    streams: Arc<Streams>,
}

/// The streams of one connection.
struct Streams {
    /// The highest stream that the client has begun and the server was told of.
    highest: AtomicU32,
    is_deaf: AtomicBool,
    /// The last stream that the client may begin, once it was told so.
    last: watch::Sender<Option<u32>>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            runtime,
            shared: Arc::new(Shared {
                upstream: upstream.to_owned(),
                mode: watch::Sender::new(Mode::Pass),
                connections: Mutex::default(),
                accepted: AtomicU64::new(0),
                requests: AtomicU64::new(0),
            }),
            accepting: Mutex::new(None),
        };
        proxy.accept(listener);
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many requests clients have sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Returns how many connections were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Lets the connections that there are be silent for ever.
    pub(crate) fn deafen(&self) {
        for connection in &*self.shared.connections.lock().unwrap() {
            connection.streams.is_deaf.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Cuts the newest connections, at most so many. Returns how many.
    pub(crate) fn cut(&self, count: usize) -> usize {
        let mut connections = self.shared.connections.lock().unwrap();
        connections.retain(|connection| !connection.task.is_finished());
        let kept = connections.len().saturating_sub(count);
        let cut = connections.split_off(kept);
        cut.iter().for_each(|connection| connection.task.abort());
        cut.len()
    }

    /// Ends the newest connections in order, at most so many: what the server was told of goes on, anything else does not.
    pub(crate) fn go_away(&self, count: usize) {
        let connections = self.shared.connections.lock().unwrap();
        for connection in connections.iter().rev().take(count) {
            let streams = &connection.streams;
            let highest = streams.highest.load(Ordering::SeqCst);
            streams.last.send_replace(Some(highest));
        }
    }

    /// Cuts every connection, and refuses further ones.
    pub(crate) fn refuse(&self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
            // Once the task has ended its socket is closed.
            let _ = self.runtime.block_on(accepting);
        }
        self.cut(usize::MAX);
    }

    /// Accepts connections again.
    pub(crate) fn serve_again(&self) {
        // A client that tries to connect may have the port for a moment, as its own.
        loop {
            if let Ok(listener) = StdListener::bind(self.address) {
                return self.accept(listener);
            }
            std::thread::yield_now();
        }
    }

    fn accept(&self, listener: StdListener) {
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::clone(&self.shared);
        let accepting = self.runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let streams = Arc::new(Streams {
                    highest: AtomicU32::new(0),
                    is_deaf: AtomicBool::new(false),
                    last: watch::Sender::new(None),
                });
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let task = tokio::spawn(serve(client, Arc::clone(&shared), Arc::clone(&streams)));
                let mut connections = shared.connections.lock().unwrap();
                connections.retain(|connection| !connection.task.is_finished());
                connections.push(Connection { task, streams });
            }
        });
        *self.accepting.lock().unwrap() = Some(accepting);
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>, streams: Arc<Streams>) {
    let mut mode = shared.mode.subscribe();
    let passes = mode.wait_for(|mode| *mode == Mode::Pass).await.is_ok();
    let Ok(server) = TcpStream::connect(&shared.upstream).await else {
        return;
    };
    if !passes || client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pass_requests(from_client, to_server, &shared, &streams);
    let answers = pass_answers(from_server, to_client, &shared, &streams);
    let _ = tokio::join!(requests, answers);
}

/// One frame, with its header.
async fn frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 9];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
    frame.resize(9 + length, 0);
    from.read_exact(&mut frame[9..]).await?;
    Ok(frame)
}

fn stream_of(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) & 0x7fff_ffff
}

/// Writes a frame as the mode says.
async fn write(to: &mut OwnedWriteHalf, frame: &[u8], shared: &Shared) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let now = mode
        .wait_for(|mode| *mode != Mode::Stall)
        .await
        .map(|mode| *mode);
    match now {
        Ok(Mode::Silent) => Ok(()),
        _ => to.write_all(frame).await,
    }
}

/// Nothing more comes from one side. Tells the other, unless the mode is to be silent.
async fn end(to: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let _ = mode.wait_for(|mode| *mode == Mode::Pass).await;
    to.shutdown().await
}

async fn pass_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    streams: &Streams,
) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    while let Ok(frame) = frame(&mut from).await {
        let stream = stream_of(&frame);
        // Under the lock of the watch, so that a GOAWAY names every stream that the server is told of.
        let is_taken = {
            let last = streams.last.borrow();
            let is_taken = last.is_none_or(|last| stream <= last);
            if is_taken {
                streams.highest.fetch_max(stream, Ordering::SeqCst);
            }
            is_taken
        };
        if frame[3] == DATA {
            shared.requests.fetch_add(1, Ordering::Relaxed);
        }
        if is_taken && !streams.is_deaf.load(Ordering::SeqCst) {
            write(&mut to, &frame, shared).await?;
        }
    }
    end(&mut to, shared).await
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    streams: &Streams,
) -> io::Result<()> {
    let mut last = streams.last.subscribe();
    let mut has_said = false;
    loop {
        // A frame is never read in part: only between two frames is there time for a GOAWAY.
        tokio::select! {
            readable = from.readable() => readable?,
            Ok(_) = last.wait_for(Option::is_some), if !has_said => {}
        }
        let said = *last.borrow();
        if let (false, Some(last)) = (has_said, said) {
            let mut goaway = vec![0, 0, 8, GOAWAY, 0, 0, 0, 0, 0];
            goaway.extend(last.to_be_bytes());
            goaway.extend([0; 4]);
            write(&mut to, &goaway, shared).await?;
            has_said = true;
            continue;
        }
        match frame(&mut from).await {
            Ok(_) if streams.is_deaf.load(Ordering::SeqCst) => {}
            Ok(frame) => write(&mut to, &frame, shared).await?,
            Err(_) => return end(&mut to, shared).await,
        }
    }
}
