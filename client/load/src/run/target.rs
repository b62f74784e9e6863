//! The server under load: one that is running already, or one that this process starts.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use soloist::v1::Limits;
use soloist_server::Server;
use soloist_server::config::Config;
use tonic::Code;

use crate::connect::destination::Destination;
use crate::descriptors::{self, NoDescriptor, origin::Origin};
use crate::engines::owner::find_owner;
use crate::plan::call::CallPlan;
use crate::plan::choices::Engine;
use crate::plan::settings::Settings;
use crate::run::error::RunError;
use crate::workload::call::program::CallProgram;
use soloist_client::{Client, Error, Info};

/// How long the server may take to say its CPU time or its revision. A run must not end with waiting for a server that is
/// gone.
const INFO_TIMEOUT: Duration = Duration::from_millis(500);

/// The server under load, with a connection beside the measured ones to ask it about itself.
#[derive(Debug)]
pub(crate) struct Target {
    /// As reports name it.
    pub(crate) address: Arc<str>,
    pub(crate) destination: Arc<Destination>,
    pub(crate) version: String,
    pub(crate) limits: Limits,
    /// `None` if the server is asked nothing about itself, because it may be any gRPC server.
    client: Option<Client>,
    /// What the workers call, if the user names a method.
    pub(crate) call: Option<Arc<CallProgram>>,
    embedded: Option<Server>,
}

impl Target {
    /// Connects to `address` or, without one, starts a server on a free port of the loopback interface. If the user names a
    /// method, only asks the server to describe it, unless a file does.
    ///
    /// # Errors
    /// If the server cannot be started or reached within the connect timeout, or is no Soloist. The text names the address.
    /// If the user names a method, also if there is none, or if it takes other messages.
    pub(crate) async fn open(address: Option<&str>, settings: &Settings) -> Result<Self, RunError> {
        let (address, embedded) = match address {
            Some(address) => (address.to_owned(), None),
            None => {
                let server = TcpListener::bind("127.0.0.1:0")
                    .and_then(|listener| Server::start(listener, &Config::default()))
                    .map_err(|error| failed(format!("cannot start a server: {error}")))?;
                (server.local_addr().to_string(), Some(server))
            }
        };
        let destination = Destination::new(&address, &settings.security);
        let destination = Arc::new(destination.map_err(RunError::Arguments)?);
        find_owner(&destination, &settings.metadata, settings.connect_timeout).await;
        if let Some(plan) = &settings.call {
            return Ok(Self {
                call: Some(Arc::new(program(plan, &destination, settings).await?)),
                address: address.into(),
                destination,
                version: String::new(),
                limits: Limits::default(),
                client: None,
                embedded,
            });
        }
        let (client, info) = match connect(&destination, settings).await {
            Ok(connected) => connected,
            Err(error) => return Err(failed(destination.explain(error).await)),
        };
        Ok(Self {
            address: address.into(),
            destination,
            version: info.version,
            limits: info.limits.unwrap_or_default(),
            client: Some(client),
            call: None,
            embedded,
        })
    }

    /// Returns the client on the connection beside the measured ones. There is none if the user names a method.
    pub(crate) fn client(&self) -> &Client {
        self.client
            .as_ref()
            .expect("only workloads of Soloist ask the server for anything")
    }

    /// Checks the settings against the limits of the server, if they are known.
    ///
    /// # Errors
    /// If a limit is exceeded. The text names the flag, its value and the limit.
    pub(crate) fn check(&self, settings: &Settings) -> Result<(), RunError> {
        match self.client {
            Some(_) => settings.check(&self.limits).map_err(RunError::Arguments),
            None => Ok(()),
        }
    }

    /// Returns the revision of the store, or `None` if the server does not answer.
    pub(crate) async fn revision(&self) -> Option<i64> {
        Some(self.info().await?.revision)
    }

    /// Returns whether this process has started the server.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Returns the CPU time that the server has used so far, or `None` if it does not answer.
    pub(crate) async fn cpu_time(&self) -> Option<Duration> {
        match &self.embedded {
            Some(server) => Some(server.cpu_time()),
            None => self.info().await?.cpu_time?.try_into().ok(),
        }
    }

    async fn info(&self) -> Option<Info> {
        let client = self.client.as_ref()?;
        let info = tokio::time::timeout(INFO_TIMEOUT, client.info()).await;
        info.ok()?.ok()
    }

    /// Disconnects. If this process has started the server, also ends it, and waits until it has ended: for as long as
    /// its drain timeout if connections are still open.
    ///
    /// # Errors
    /// If the server has failed.
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

fn failed(error: String) -> RunError {
    RunError::Failed(error)
}

/// Connects the client beside the measured connections, and asks the server about itself.
async fn connect(destination: &Destination, settings: &Settings) -> Result<(Client, Info), String> {
    let client = destination
        .client(&settings.metadata)
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.connect_timeout)
        .connect()
        .await
        .map_err(|error| error.message().to_owned())?;
    let info = client.info().await;
    let info = info.map_err(|error| explain(destination.address(), &error))?;
    Ok((client, info))
}

/// Finds out what the method of the plan takes, and reads the messages for it.
async fn program(
    plan: &CallPlan,
    destination: &Destination,
    settings: &Settings,
) -> Result<CallProgram, RunError> {
    let origin = Origin {
        destination,
        metadata: &settings.metadata,
        timeout: settings.connect_timeout,
    };
    let method = descriptors::method(plan, origin).await;
    let method = method.map_err(|error| match error {
        NoDescriptor::Arguments(error) => RunError::Arguments(error),
        NoDescriptor::Unreachable(error) => RunError::Failed(error),
    })?;
    let program = CallProgram::new(plan, method).map_err(RunError::Arguments)?;
    if settings.engine == Engine::Raw && !program.is_unary() {
        return Err(RunError::Arguments(format!(
            "--engine raw: {} is {}, and this engine makes unary calls only; use --engine unary",
            plan.method,
            program.kind()
        )));
    }
    Ok(program)
}

/// Explains why GetInfo failed on a server that accepts connections.
fn explain(address: &str, error: &Error) -> String {
    // Messages of tonic for an answer that is no gRPC answer. Its code is derived from the HTTP status and says nothing.
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
        Code::Unauthenticated => format!(
            "{address} does not know this caller: {}; set --token-file, or show it a certificate by --tls-cert",
            error.message()
        ),
        Code::Unimplemented => format!("{address} is a gRPC server, but not a Soloist"),
        _ => format!("{address} does not answer as a Soloist: {error}"),
    }
}
