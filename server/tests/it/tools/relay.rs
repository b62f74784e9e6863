//! Between clients and a server: passes all bytes on, and counts the pings that the server has answered.

use std::net::SocketAddr;

use soloist_http2::frame::{ACK, FRAME_HEADER_BYTES, FrameHeader, kind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// See the [module](self). It ends when it is dropped.
pub(super) struct Relay {
    addr: SocketAddr,
    /// How many pings the server has answered.
    answered: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, answered) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                connections.spawn(pass(from_client, to_server, |_| ()));
                let sender = sender.clone();
                let mut frames = Frames::default();
                connections.spawn(pass(from_server, to_client, move |bytes| {
                    let pongs = frames.pongs(bytes);
                    sender.send_modify(|answered| *answered += pongs);
                }));
            }
        });
        Self {
            addr,
            answered,
            _tasks: tasks,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until the server has answered so many pings more.
    pub(super) async fn pongs(&self, count: usize) {
        let mut answered = self.answered.clone();
        let wanted = *answered.borrow() + count;
        answered.wait_for(|now| *now >= wanted).await.unwrap();
    }
}

/// Passes bytes on until either side has ended.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        look(&buffer[..len]);
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
    // The other side learns of the end.
    let _ = to.shutdown().await;
}

/// Where the frames begin in the bytes of a server.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    /// What is left of the payload behind the last header.
    payload_left: usize,
}

impl Frames {
    /// How many answers to pings begin in these bytes.
    fn pongs(&mut self, mut bytes: &[u8]) -> usize {
        let mut pongs = 0;
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (FRAME_HEADER_BYTES - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if let Ok(whole) = self.header[..].try_into() {
                let frame = FrameHeader::parse(whole);
                self.payload_left = frame.length;
                self.header.clear();
                pongs += usize::from(frame.kind == kind::PING && frame.has(ACK));
            }
        }
        pongs
    }
}
