//! A way to a server that can be cut: what comes between a client and its server.

use std::net::SocketAddr;

use soloist_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::TestServer;

/// Passes bytes on to a server, as long as it is told to.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    refused: watch::Receiver<u64>,
}

#[derive(Clone, Debug)]
struct Way {
    /// Where to; nowhere, if connections are closed at once.
    server: Option<String>,
    /// Whether what the server says is swallowed.
    silent: bool,
    /// How often all connections were closed.
    cuts: u64,
}

impl Proxy {
    pub(crate) async fn to(server: &TestServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, _) = watch::channel(Way {
            server: Some(server.address()),
            silent: false,
            cuts: 0,
        });
        let (refusals, refused) = watch::channel(0);
        let watched = way.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = watched.borrow().server.clone();
                match server {
                    Some(server) => drop(tokio::spawn(carry(client, server, watched.clone()))),
                    None => refusals.send_modify(|count| *count += 1),
                }
            }
        });
        Self {
            address,
            way,
            refused,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await.unwrap()
    }

    /// From now on answers are swallowed.
    pub(crate) fn silence(&self) {
        self.way.send_modify(|way| way.silent = true);
    }

    /// Closes all connections; new ones go to this server, if to any, and are answered again.
    pub(crate) fn cut(&self, server: Option<&TestServer>) {
        self.way.send_modify(|way| {
            *way = Way {
                server: server.map(TestServer::address),
                silent: false,
                cuts: way.cuts + 1,
            };
        });
    }

    /// Waits until a connection was closed at once.
    pub(crate) async fn refused(&self) {
        let mut refused = self.refused.clone();
        refused.wait_for(|&count| count > 0).await.unwrap();
    }
}

/// Carries bytes both ways until one side ends or all is cut.
async fn carry(client: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let cuts = way.borrow().cuts;
    let mut cut = way.clone();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let silent = way.borrow_and_update().silent;
            if !silent && to_client.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        () = answers => {}
        _ = cut.wait_for(|way| way.cuts != cuts) => {}
    }
}
