//! The server, and how to reach it.

use std::path::PathBuf;
use std::time::Duration;

use soloist_client::{CONNECT_TIMEOUT, Client, ClientBuilder, Error, Retry};

use crate::failure::{Failure, UNAVAILABLE};

/// The longest pause before another attempt to connect.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Where the server is, and what to show it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) server: String,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) server_name: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    /// How long a call may take, with its retries.
    pub(crate) timeout: Duration,
}

impl Target {
    fn builder(&self) -> ClientBuilder {
        let mut builder = Client::builder(&self.server)
            .timeout(self.timeout)
            .connect_timeout(self.timeout.min(CONNECT_TIMEOUT))
            .retry(Retry::default());
        if let Some(ca) = &self.ca {
            builder = builder.ca_file(ca);
        }
        if let Some((cert, key)) = &self.identity {
            builder = builder.identity_files(cert, key);
        }
        if let Some(name) = &self.server_name {
            builder = builder.server_name(name);
        }
        if let Some(token) = &self.token_file {
            builder = builder.token_file(token);
        }
        builder
    }

    /// Connects at once or not at all.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        self.builder()
            .connect()
            .await
            .map_err(|error| self.explained(&error))
    }

    /// Connects to a server that may be starting: tries for as long as a call may take. `say` is told why it waits.
    pub(crate) async fn connect_patiently(&self, say: impl Fn(&str)) -> Result<Client, Failure> {
        let end = tokio::time::Instant::now() + self.timeout;
        let mut pause = Duration::from_millis(20);
        let mut is_told = false;
        loop {
            let error = match self.builder().connect().await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            if !error.is_retryable() || tokio::time::Instant::now() + pause > end {
                return Err(self.explained(&error));
            }
            if !std::mem::replace(&mut is_told, true) {
                let timeout = humantime::format_duration(self.timeout);
                say(&format!("{}; trying for {timeout}", error.message()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Says what to do about a server that cannot be reached. The client library names files by the methods of its builder.
    fn explained(&self, error: &Error) -> Failure {
        let why = error.message();
        if let Some(field) = error.metadata("field") {
            let flag = match field {
                "ca_file" => "--tls-ca",
                "identity_files" => "--tls-cert and --tls-key:",
                "server_name" => "--tls-server-name",
                "token_file" => "--token-file",
                other => other,
            };
            return Failure::Arguments(why.replacen(field, flag, 1));
        }
        if !error.is_retryable() {
            return Failure::Arguments(format!("--server {}: {why}", self.server));
        }
        let hint =
            "start one: soloist-server\n  or name another: --server HOST:PORT, or SOLOIST_SERVER";
        Failure::Other(format!("{why}\n  {hint}"), UNAVAILABLE)
    }
}
