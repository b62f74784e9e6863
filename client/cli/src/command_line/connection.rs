//! The flags of every command: the server, and the form of answers.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::command_line::parse::positive;
use crate::connect::Target;

/// Where the server is, and how to show its answers.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Connection {
    /// HOST:PORT, https://HOST:PORT or unix:PATH.
    ///
    /// Several addresses with commas in between are the nodes of one store, of which one owns it: http://a:50051,b:50051,c:50051.
    /// The owner is found from the first that can be reached, and looked for again when it is lost.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "SOLOIST_SERVER",
        hide_env = true,
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) server: String,
    /// How answers look: text, json or value.
    ///
    /// `text` is for people. `json` is what grpcurl prints: a message, or several after each other. `value` is what scripts want: the
    /// value alone, exactly as it is stored.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) output: Form,
    /// How long a call may take, with its retries.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "SOLOIST_CLIENT_TIMEOUT",
        hide_env = true,
        default_value = "10s",
        value_parser = positive
    )]
    pub(crate) timeout: Duration,
    /// CAs for the server's certificate, in PEM [default: the system's].
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_CA",
        hide_env = true
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    /// The certificate to show the server, with its chain, in PEM form.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_CERT",
        hide_env = true,
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, in PEM form.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_KEY",
        hide_env = true,
        requires = "tls_cert"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// The name in the server's certificate [default: the host of --server].
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "SOLOIST_CLIENT_TLS_SERVER_NAME",
        hide_env = true
    )]
    pub(crate) tls_server_name: Option<String>,
    /// A file with the token to show the server.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TOKEN_FILE",
        hide_env = true
    )]
    pub(crate) token_file: Option<PathBuf>,
}

/// How answers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Form {
    Text,
    Json,
    Value,
}

impl Connection {
    pub(crate) fn target(&self) -> Target {
        Target {
            server: self.server.clone(),
            ca: self.tls_ca.clone(),
            identity: self.tls_cert.clone().zip(self.tls_key.clone()),
            server_name: self.tls_server_name.clone(),
            token_file: self.token_file.clone(),
            timeout: self.timeout,
        }
    }
}
