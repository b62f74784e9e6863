//! A proxy between a client and its server that can cut their connections.

use std::net::SocketAddr;

use soloist_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::TestServer;

/// Forwards connections to a server until it is told otherwise.
pub(crate) struct Proxy {
    address: SocketAddr,
    route: watch::Sender<Route>,
    refused: watch::Receiver<u64>,
}

#[derive(Clone, Debug)]
struct Route {
    /// The server to forward to. `None`: new connections are closed at once.
    server: Option<String>,
    /// Whether bytes from the server are thrown away.
    swallow_replies: bool,
    /// How often all connections were closed.
    cuts: u64,
}

impl Proxy {
    pub(crate) async fn to(server: &TestServer) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), server).await
    }

    pub(crate) async fn at(address: SocketAddr, server: &TestServer) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (route, _) = watch::channel(Route {
            server: Some(server.address()),
            swallow_replies: false,
            cuts: 0,
        });
        let (refusals, refused) = watch::channel(0);
        let watched = route.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Route { server, cuts, .. } = watched.borrow().clone();
                match server {
                    Some(server) => {
                        drop(tokio::spawn(forward(client, server, cuts, watched.clone())));
                    }
                    None => refusals.send_modify(|count| *count += 1),
                }
            }
        });
        Self {
            address,
            route,
            refused,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await.unwrap()
    }

    /// Throws away every reply from now on.
    pub(crate) fn silence(&self) {
        self.route.send_modify(|route| route.swallow_replies = true);
    }

    /// Closes all connections. New ones are forwarded to `server`, replies included; without a server they are closed
    /// at once.
    pub(crate) fn cut(&self, server: Option<&TestServer>) {
        self.route.send_modify(|route| {
            *route = Route {
                server: server.map(TestServer::address),
                swallow_replies: false,
                cuts: route.cuts + 1,
            };
        });
    }

    /// Waits until the first connection was closed at once.
    pub(crate) async fn wait_for_refusal(&self) {
        let mut refused = self.refused.clone();
        refused.wait_for(|&count| count > 0).await.unwrap();
    }
}

/// Forwards bytes in both directions until one side closes the connection or all connections are cut once more than
/// `cuts` times.
async fn forward(client: TcpStream, server: String, cuts: u64, mut route: watch::Receiver<Route>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let mut cut = route.clone();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let replies = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            // A reply that is read after the cut belongs to a connection that is closed, whatever the new route says.
            let forwards = {
                let route = route.borrow_and_update();
                route.cuts == cuts && !route.swallow_replies
            };
            if forwards && to_client.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        () = replies => {}
        _ = cut.wait_for(|route| route.cuts != cuts) => {}
    }
}
