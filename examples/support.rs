//! A server to connect to, shared by the examples.

use std::net::TcpListener;

use soloist_client::Client;
use soloist_server::Server;

/// A result with whatever error an example can have.
pub(crate) type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> =
    std::result::Result<T, E>;

/// Connects to the URL in the first argument. Without one, starts a server of its own, which ends when it is dropped.
pub(crate) async fn connect() -> Result<(Client, Option<Server>)> {
    if let Some(url) = std::env::args().nth(1) {
        return Ok((Client::connect(url).await?, None));
    }
    let server = Server::start(TcpListener::bind("127.0.0.1:0")?, &Default::default())?;
    let client = Client::connect(server.local_addr().to_string()).await?;
    Ok((client, Some(server)))
}
