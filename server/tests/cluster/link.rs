//! A link: a proxy of one address, which can be cut, silent, slow, or lose answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::place::free_address;

/// How much is kept of what a client sends on one connection.
const TAPE_BYTES_MAX: usize = 128 << 20;
/// A connection on which requests come again is over when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(300);

/// What a link does with bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Takes connections and keeps their bytes until it passes them again: the other side seems to stand still.
    Silent,
    /// Ends every connection.
    Cut,
    /// Keeps bytes for so long in each direction.
    Slow(Duration),
    /// Throws away one answer in so many, and ends its connection. What was asked has been done.
    LosesAnswers(u32),
}

/// A proxy of one address. Dropping it ends its connections.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    everybody: watch::Sender<Mode>,
    /// For connections of these members of etcd, as their requests name them.
    members: Mutex<HashMap<String, watch::Sender<Mode>>>,
    names_members: bool,
    /// Answers that were thrown away.
    thrown: AtomicU64,
    keeps_requests: AtomicBool,
    tapes: Mutex<Vec<Tape>>,
}

/// What a client has sent on one connection, from its beginning.
type Tape = Arc<Mutex<Vec<u8>>>;

/// Requests that were sent again, and how many of them were answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentAgain {
    pub(crate) requests: usize,
    pub(crate) answered: usize,
}

impl std::ops::AddAssign for SentAgain {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.answered += other.answered;
    }
}

impl Link {
    /// A link whose connections are all alike.
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        Self::start(upstream, false).await
    }

    /// A link between members of etcd.
    pub(crate) async fn to_member(upstream: SocketAddr) -> Self {
        Self::start(upstream, true).await
    }

    async fn start(upstream: SocketAddr, names_members: bool) -> Self {
        let listener = TcpListener::bind(free_address()).await.unwrap();
        let shared = Arc::new(Shared {
            upstream,
            everybody: watch::Sender::new(Mode::Pass),
            members: Mutex::default(),
            names_members,
            thrown: AtomicU64::new(0),
            keeps_requests: AtomicBool::new(false),
            tapes: Mutex::default(),
        });
        Self {
            address: listener.local_addr().unwrap(),
            accepting: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.everybody.send_replace(mode);
    }

    /// What the link does with connections of this member of etcd.
    pub(crate) fn set_for(&self, member: &str, mode: Mode) {
        let mut members = self.shared.members.lock().unwrap();
        let sender = members.entry(member.to_owned());
        let sender = sender.or_insert_with(|| watch::Sender::new(Mode::Pass));
        sender.send_replace(mode);
    }

    /// How many answers were thrown away.
    pub(crate) fn thrown(&self) -> u64 {
        self.shared.thrown.load(Ordering::Relaxed)
    }

    /// Keeps what comes on connections that are made from now on.
    pub(crate) fn keep_requests(&self) {
        self.shared.keeps_requests.store(true, Ordering::Relaxed);
    }

    /// Sends everything again that was kept, each connection's on one of its own: requests come late, and twice. HTTP/2 takes the
    /// same bytes again on another connection.
    pub(crate) async fn send_again(&self) -> SentAgain {
        let tapes: Vec<Tape> = self.shared.tapes.lock().unwrap().clone();
        let mut sent = SentAgain::default();
        for tape in tapes {
            let bytes = tape.lock().unwrap().clone();
            sent += send_again(self.shared.upstream, bytes).await;
        }
        sent
    }

    /// Keeps no longer what came on connections that have ended.
    pub(crate) fn forget_ended(&self) {
        let mut tapes = self.shared.tapes.lock().unwrap();
        // A connection has its tape, too.
        tapes.retain(|tape| Arc::strong_count(tape) > 1);
    }
}

/// Makes the same requests on a new connection.
async fn send_again(to: SocketAddr, bytes: Vec<u8>) -> SentAgain {
    let Ok(server) = TcpStream::connect(to).await else {
        return SentAgain::default();
    };
    let mut again = SentAgain {
        // After the preface.
        requests: count_headers(bytes.get(24..).unwrap_or(&[]), 0),
        answered: 0,
    };
    let (mut answers, mut requests) = server.into_split();
    let sending = tokio::spawn(async move {
        let _ = requests.write_all(&bytes).await;
        requests
    });
    let (mut received, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    let mut sent_at = None;
    loop {
        let read = tokio::time::timeout(QUIET, answers.read(&mut chunk)).await;
        if sending.is_finished() {
            sent_at = sent_at.or_else(|| Some(Instant::now()));
        }
        match read {
            Ok(Ok(count @ 1..)) => received.extend_from_slice(&chunk[..count]),
            Ok(_) => break,
            Err(_) if sent_at.is_some() => break,
            Err(_) => {}
        }
        // A watch that was begun again goes on for ever.
        if sent_at.is_some_and(|at| at.elapsed() > 3 * QUIET) {
            break;
        }
    }
    sending.abort();
    again.answered = count_headers(&received, END_STREAM);
    again
}

/// A flag of HTTP/2: the headers are the last of their stream.
const END_STREAM: u8 = 1;

/// How many frames of headers with these flags there are.
fn count_headers(mut frames: &[u8], flags: u8) -> usize {
    let mut count = 0;
    while let [a, b, c, kind, has, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        count += usize::from(*kind == 1 && has & flags == flags);
        frames = rest.get(length..).unwrap_or(&[]);
    }
    count
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Mode::Cut);
        for member in self.shared.members.lock().unwrap().values() {
            member.send_replace(Mode::Cut);
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = serve(client, &shared).await;
        });
    }
}

async fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut first = Vec::new();
    let mut mode = shared.everybody.subscribe();
    if shared.names_members {
        let Some(member) = read_member(&mut client, &mut first).await? else {
            return Ok(());
        };
        let mut members = shared.members.lock().unwrap();
        let sender = members.entry(member);
        mode = sender
            .or_insert_with(|| watch::Sender::new(Mode::Pass))
            .subscribe();
    }
    let passes = |mode: &Mode| *mode != Mode::Silent;
    if !matches!(mode.wait_for(passes).await.map(|mode| *mode), Ok(mode) if mode != Mode::Cut) {
        return Ok(());
    }
    let mut server = TcpStream::connect(shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    server.write_all(&first).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = mode.clone();
    let tape = shared.keeps_requests.load(Ordering::Relaxed).then(|| {
        let tape = Tape::default();
        shared.tapes.lock().unwrap().push(Arc::clone(&tape));
        tape
    });
    tokio::select! {
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
        () = pass(from_client, to_server, mode.clone(), Way::Requests(tape)) => {}
        () = pass(from_server, to_client, mode, Way::Answers(&shared.thrown)) => {}
    }
    Ok(())
}

/// Reads the head of the first request. Returns the member of etcd that it comes from, or "" if it does not say so.
async fn read_member(
    client: &mut TcpStream,
    head: &mut Vec<u8>,
) -> std::io::Result<Option<String>> {
    let mut chunk = [0; 4_096];
    while !head.windows(4).any(|it| it == b"\r\n\r\n") {
        let count = client.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(head);
    let from = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-server-from")
            .then(|| value.trim().to_owned())
    });
    Ok(Some(from.unwrap_or_default()))
}

/// Which way bytes go.
enum Way<'a> {
    /// With a tape that keeps them, if they are kept.
    Requests(Option<Tape>),
    /// With the count of those that were thrown away.
    Answers(&'a AtomicU64),
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    way: Way<'_>,
) {
    let mut chunk = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut chunk).await else {
            return;
        };
        let now = mode.wait_for(|mode| *mode != Mode::Silent).await;
        let Ok(now) = now.map(|mode| *mode) else {
            return;
        };
        match (now, &way) {
            (Mode::Slow(time), _) => tokio::time::sleep(time).await,
            (Mode::LosesAnswers(of), Way::Answers(thrown)) if rand::random_ratio(1, of) => {
                thrown.fetch_add(1, Ordering::Relaxed);
                return;
            }
            _ => {}
        }
        if let Way::Requests(Some(tape)) = &way {
            let mut tape = tape.lock().unwrap();
            let room = TAPE_BYTES_MAX - tape.len();
            tape.extend_from_slice(&chunk[..count.min(room)]);
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
