//! A server that gets anything on its sockets, and must stay well.

use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use soloist::v1;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist_fuzz::Shape;
use soloist_server::Server;
use soloist_server::access::Token;
use soloist_server::config::{Config, Transport};
use tokio::runtime::Runtime;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// The first bytes of every HTTP/2 connection. Source: RFC 9113, section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that is not closed so long after its client has ended its side hangs. Answers take milliseconds.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// Every so many inputs the server must answer well-formed calls.
const CALLS_EVERY: u64 = 16;

/// Most memory that the process may ever have taken, with all the servers in it.
const MEMORY_MAX: usize = 512 << 20;

/// Every panic of a thread of a server. The panics of a test's own thread end the test.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if !thread.name().is_some_and(|name| name.contains("no_harm")) {
                let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                panics.push(panic.to_string());
            }
            before(panic);
        }));
    });
}

pub(crate) struct Attacked {
    server: Server,
    addr: SocketAddr,
    runtime: Runtime,
    channel: Channel,
    /// The header of calls, if the server has an access file.
    authorization: Option<String>,
    attacks: Cell<u64>,
}

impl Attacked {
    pub(crate) fn start() -> Self {
        Self::with(Config::default(), None)
    }

    /// A server whose access file has one identity, which may read everything.
    pub(crate) fn of_readers() -> Self {
        let token = Token::random();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "[identities.reader]\ntokens = ['{}']\nroles = ['reader']\n[roles.reader]\nread = ['*']\n",
            token.hash()
        )
        .unwrap();
        let mut config = Config::default();
        config.access.file = Some(file.path().into());
        // The file is gone by then.
        config.tls.reload_interval = Duration::from_secs(3600);
        Self::with(config, Some(format!("Bearer {}", token.secret())))
    }

    fn with(mut config: Config, authorization: Option<String>) -> Self {
        note_panics();
        config.transport.threads = 1;
        if let Ok(name) = std::env::var("SOLOIST_TRANSPORT") {
            config.transport.transport = Transport::of_name(&name).unwrap();
        }
        config.limits.max_store_bytes = 16 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, &config).unwrap();
        let addr = server.local_addr().tcp().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
        let channel = runtime
            .block_on(endpoint.timeout(HANGS_AFTER).connect())
            .unwrap();
        Self {
            server,
            addr,
            runtime,
            channel,
            authorization,
            attacks: Cell::new(0),
        }
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Sends these bytes on a connection of their own, and waits until the server has closed it.
    pub(crate) fn attack(&self, bytes: &[u8]) -> Shape {
        self.attack_and(bytes, |_, _| ())
    }

    /// Sends the preface and these frames as [`attack`](Self::attack) does. Ends its side only when the calls in it have reached
    /// the owner: it drops calls of a client that has left.
    pub(crate) fn attack_patiently(&self, frames: &[u8]) -> Shape {
        let bytes = [PREFACE, frames].concat();
        self.attack_and(&bytes, |stream, answer| {
            // Otherwise a PING is part of a frame, and nobody answers it.
            if are_whole(frames) {
                (0..TURNS).all(|_| turn(stream, answer));
            }
        })
    }

    fn attack_and(&self, bytes: &[u8], wait: impl FnOnce(&mut TcpStream, &mut Vec<u8>)) -> Shape {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANGS_AFTER)).unwrap();
        stream.set_write_timeout(Some(HANGS_AFTER)).unwrap();
        // The server may have closed the connection before it has taken all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        wait(&mut stream, &mut answer);
        let _ = stream.shutdown(Shutdown::Write);
        if let Err(error) = stream.read_to_end(&mut answer) {
            let hangs = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!hangs, "the server does not close the connection: {error}");
        }
        self.attacks.set(self.attacks.get() + 1);
        if self.attacks.get().is_multiple_of(CALLS_EVERY) {
            self.call();
        }
        self.check_panics();
        shape(&answer)
    }

    /// Makes calls that every server answers, whatever is in its store.
    fn call(&self) {
        let mut state = StateClient::new(self.channel.clone());
        let read = self.request(v1::ReadRequest {
            key: "k".into(),
            expect: None,
        });
        self.runtime.block_on(state.read(read)).unwrap();
        self.revision();
    }

    /// The revision of the store.
    pub(crate) fn revision(&self) -> i64 {
        let mut admin = AdminClient::new(self.channel.clone());
        let info = admin.get_info(self.request(v1::GetInfoRequest {}));
        self.runtime.block_on(info).unwrap().into_inner().revision
    }

    /// A request that shows the token.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            let authorization = authorization.parse().unwrap();
            request
                .metadata_mut()
                .insert("authorization", authorization);
        }
        request
    }

    fn check_panics(&self) {
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(panics.is_empty(), "the server panicked: {panics:?}");
    }

    /// Ends the server, which must have kept within its memory, and must end.
    pub(crate) fn end(self) {
        self.call();
        self.check_panics();
        let most = most_memory();
        assert!(most < MEMORY_MAX, "the process took {} MiB", most >> 20);
        drop(self.channel);
        self.server.drain();
        // The task of the channel ends with it.
        drop(self.runtime);
        self.server.wait().unwrap();
    }
}

/// Every PING is answered after one more turn of the server's tasks: of the connection, the call, and the owner.
const TURNS: usize = 4;

/// Whether these frames end with a whole one.
fn are_whole(mut frames: &[u8]) -> bool {
    while let Some(([a, b, c], rest)) = frames.split_first_chunk() {
        let length = 6 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(rest) = rest.get(length..) else {
            return false;
        };
        frames = rest;
    }
    frames.is_empty()
}

/// Sends a PING and waits for its answer. Returns whether there is one: otherwise the server has closed the connection.
fn turn(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    // Source: RFC 9113, section 6.7.
    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const ACK: [u8; 17] = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let begin = answer.len();
    let mut bytes = [0; 4096];
    let _ = stream.write_all(&PING);
    loop {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return false,
            Ok(len) => answer.extend_from_slice(&bytes[..len]),
        }
        if answer[begin..].windows(ACK.len()).any(|part| part == ACK) {
            return true;
        }
    }
}

/// The kinds of frames in an answer, with the codes of errors in them. Of anything else, its words.
fn shape(answer: &[u8]) -> Shape {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    let mut shape = Shape::of("frames");
    let mut rest = answer;
    while let Some((header, after)) = rest.split_first_chunk::<9>() {
        let [a, b, c, kind, flags, ..] = *header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((payload, after)) = after.split_at_checked(length) else {
            return shape.and(Shape::of(&String::from_utf8_lossy(rest)));
        };
        rest = after;
        let detail = match (kind, payload) {
            (RST_STREAM, code) => code.iter().fold(0, |sum, byte| sum + usize::from(*byte)),
            (GOAWAY, [_, _, _, _, code @ ..]) => {
                code.iter().fold(0, |sum, byte| sum + usize::from(*byte))
            }
            // Trailers have the message of a refusal in them.
            (HEADERS, block) => block.len() / 8,
            _ => 0,
        };
        shape = shape.with(kind.into()).with(flags.into()).with(detail);
    }
    shape
}

/// The most memory that this process ever had.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}
