//! TLS: which certificates the server shows and accepts, and when it reads them again.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ConfigError;
use super::parse::duration;

/// Files of certificates, and how strict the server is with its clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsConfig {
    /// The server's certificate and the chain above it, in PEM form. With it and --tls-key the server speaks TLS.
    #[arg(long = "tls-cert", value_name = "FILE", env = "SOLOIST_TLS_CERT")]
    pub cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM form (PKCS #8, PKCS #1 or SEC 1).
    #[arg(long = "tls-key", value_name = "FILE", env = "SOLOIST_TLS_KEY")]
    pub key: Option<PathBuf>,
    /// Certificates of the authorities whose clients are accepted, in PEM form. Without it clients show no certificate.
    #[arg(
        long = "tls-client-ca",
        value_name = "FILE",
        env = "SOLOIST_TLS_CLIENT_CA"
    )]
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate of --tls-client-ca. One that is shown is always checked.
    #[arg(
        long = "tls-client-auth",
        value_name = "WHEN",
        env = "SOLOIST_TLS_CLIENT_AUTH",
        default_value = "required"
    )]
    pub client_auth: ClientAuth,
    /// Certificates that are not accepted any more: lists of the authorities of --tls-client-ca, in PEM form.
    #[arg(
        long = "tls-client-crl",
        value_name = "FILE",
        env = "SOLOIST_TLS_CLIENT_CRL"
    )]
    pub client_crl: Option<PathBuf>,
    /// Certificates of the authorities that the certificates of the cluster's other nodes come from, in PEM form: a standby
    /// sends calls on only to those. [default: those of --tls-client-ca]
    #[arg(long = "tls-node-ca", value_name = "FILE", env = "SOLOIST_TLS_NODE_CA")]
    pub node_ca: Option<PathBuf>,
    /// The oldest version of TLS that clients may speak.
    #[arg(
        long = "tls-min-version",
        value_name = "VERSION",
        env = "SOLOIST_TLS_MIN_VERSION",
        default_value = "1.3"
    )]
    pub min_version: TlsVersion,
    /// How often the files are looked at for new contents. SIGHUP makes the server look at once. New files are taken all
    /// together, or not at all if one of them is wrong.
    #[arg(long = "reload-interval", value_name = "TIME", env = "SOLOIST_RELOAD_INTERVAL", default_value = "10s",
          value_parser = duration)]
    pub reload_interval: Duration,
    /// Listen without TLS on an address that other computers can reach: they can read and change what travels.
    #[arg(long = "plaintext", env = "SOLOIST_PLAINTEXT")]
    pub plaintext: bool,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    /// Every client must.
    Required,
    /// A client may.
    Optional,
    /// The server asks for none.
    Off,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            client_ca: None,
            client_auth: ClientAuth::Required,
            client_crl: None,
            node_ca: None,
            min_version: TlsVersion::Tls13,
            reload_interval: Duration::from_secs(10),
            plaintext: false,
        }
    }
}

impl TlsConfig {
    /// Whether the server speaks TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.cert.is_some()
    }

    /// Checks that the flags fit together.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let needs = |flag: &str, other: &str| {
            Err(ConfigError(format!(
                "{flag} is set, but {other} is not: they go together"
            )))
        };
        match (&self.cert, &self.key) {
            (Some(_), None) => return needs("--tls-cert", "--tls-key"),
            (None, Some(_)) => return needs("--tls-key", "--tls-cert"),
            (Some(_), Some(_)) if self.plaintext => {
                return Err(ConfigError(
                    "--plaintext and --tls-cert are set, but a server speaks one of the two".into(),
                ));
            }
            _ => {}
        }
        if self.client_ca.is_some() && self.cert.is_none() {
            return needs("--tls-client-ca", "--tls-cert");
        }
        if self.client_crl.is_some() && self.client_ca.is_none() {
            return needs("--tls-client-crl", "--tls-client-ca");
        }
        if self.node_ca.is_some() && self.cert.is_none() {
            return needs("--tls-node-ca", "--tls-cert");
        }
        Ok(())
    }
}
