//! A link: a proxy of one address, which can be cut, silent, slow, or lose answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::place::free_address;

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
    tokio::select! {
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
        () = pass(from_client, to_server, mode.clone(), false) => {}
        () = pass(from_server, to_client, mode, true) => {}
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

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_answer: bool,
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
        match now {
            Mode::Slow(time) => tokio::time::sleep(time).await,
            Mode::LosesAnswers(of) if is_answer && rand::random_ratio(1, of) => return,
            _ => {}
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
