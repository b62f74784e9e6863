//! What is driven: a server of our own, or one that is there already.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use soloist::v1::Limits;
use soloist::v1::state_client::StateClient;
use soloist_server::Server;
use soloist_server::config::Config;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::grpc::{ANSWER_BYTES_MAX, root_cause};
use crate::plan::settings::Settings;
use soloist_client::{Client, Error};

/// How long a server may take to tell its CPU time: a run must not end with waiting for one that is gone.
const CPU_TIME_TIMEOUT: Duration = Duration::from_millis(500);

/// The server under load, and a connection beside the measured ones to ask it about itself.
#[derive(Debug)]
pub(crate) struct Target {
    /// HOST:PORT.
    pub(crate) address: Arc<str>,
    pub(crate) version: String,
    pub(crate) limits: Limits,
    client: Client,
    embedded: Option<Server>,
}

impl Target {
    /// Connects to `address`, or starts a server. The error says why that failed.
    pub(crate) async fn open(address: Option<&str>, settings: &Settings) -> Result<Self, String> {
        let (address, embedded) = match address {
            Some(address) => (address.to_owned(), None),
            None => {
                let server = TcpListener::bind("127.0.0.1:0")
                    .and_then(|listener| Server::start(listener, &Config::default()))
                    .map_err(|error| format!("cannot start a server: {error}"))?;
                (server.local_addr().to_string(), Some(server))
            }
        };
        let client = Client::builder(&address)
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.connect_timeout)
            .connect()
            .await
            .map_err(|error| error.message().to_owned())?;
        let info = client
            .info()
            .await
            .map_err(|error| not_a_server(&address, &error))?;
        Ok(Self {
            address: address.into(),
            version: info.version,
            limits: info.limits.unwrap_or_default(),
            client,
            embedded,
        })
    }

    /// The connection beside the measured ones.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The generated client of states, on a connection of its own beside the measured ones. The error says why it
    /// cannot connect.
    pub(crate) async fn state(&self, timeout: Duration) -> Result<StateClient<Channel>, String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        let endpoint = endpoint.map_err(|error| root_cause(&error).to_string())?;
        let channel = endpoint.connect_timeout(timeout).connect().await;
        let channel = channel.map_err(|error| root_cause(&error).to_string())?;
        Ok(StateClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// The store revision, if the server tells.
    pub(crate) async fn revision(&self) -> Option<i64> {
        let info = tokio::time::timeout(CPU_TIME_TIMEOUT, self.client.info()).await;
        Some(info.ok()?.ok()?.revision)
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// CPU time that the server has used so far; `None` if it does not tell, or is gone.
    pub(crate) async fn cpu_time(&self) -> Option<Duration> {
        match &self.embedded {
            Some(server) => Some(server.cpu_time()),
            None => {
                let info = tokio::time::timeout(CPU_TIME_TIMEOUT, self.client.info()).await;
                info.ok()?.ok()?.cpu_time?.try_into().ok()
            }
        }
    }

    /// Ends the server, if it is ours, and waits until it has: at most its drain timeout, if connections to it are
    /// still open.
    pub(crate) fn close(self) -> Result<(), String> {
        drop(self.client);
        match self.embedded {
            Some(server) => {
                server.drain();
                server
                    .wait()
                    .map_err(|error| format!("the embedded server failed: {error}"))
            }
            None => Ok(()),
        }
    }
}

/// It accepts connections, but GetInfo fails: say what that means.
fn not_a_server(address: &str, error: &Error) -> String {
    // What tonic says where it is missing what every gRPC answer has; its codes are those of the HTTP status.
    let not_grpc = [
        "grpc-status header missing",
        "Missing response message",
        "invalid compression flag",
    ];
    if not_grpc.iter().any(|words| error.message().contains(words)) {
        return format!("{address} answers HTTP/2, but is not a Soloist");
    }
    match error.code() {
        Code::DeadlineExceeded => {
            format!(
                "{address} accepts connections but does not answer: {}",
                error.message()
            )
        }
        Code::Unimplemented => format!("{address} is a gRPC server, but not a Soloist"),
        _ => format!("{address} does not answer as a Soloist: {error}"),
    }
}
