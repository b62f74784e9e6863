//! A server for a test. The tests of the load generator use this file, too.

use std::net::TcpListener;

use soloist_client::Client;
use soloist_server::Server;
use soloist_server::config::{Config, Transport};

/// A server of its own for a test, on a free port. It shuts down when it is dropped.
pub(crate) struct TestServer(Option<Server>);

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    /// Over the transport that SOLOIST_TRANSPORT names, or the default.
    pub(crate) fn with(mut config: Config) -> Self {
        if let Ok(name) = std::env::var("SOLOIST_TRANSPORT") {
            config.transport.transport = Transport::of_name(&name).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self(Some(Server::start(listener, &config).unwrap()))
    }

    /// The address as HOST:PORT.
    pub(crate) fn address(&self) -> String {
        self.0.as_ref().unwrap().local_addr().to_string()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(format!("http://{}", self.address()))
            .await
            .unwrap()
    }

    pub(crate) fn drain(&self) {
        self.0.as_ref().unwrap().drain();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let server = self.0.take().unwrap();
        server.drain();
        // The shutdown is not awaited: clients of the test may still be connected.
    }
}
