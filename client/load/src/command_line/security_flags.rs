//! The flags of connections with TLS, and of tokens.

use std::path::PathBuf;

use crate::plan::security::Security;

/// Whom to trust, and how to present oneself. The files are read again for each connection, on the machine that makes it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SecurityFlags {
    /// The CAs that the server's certificate may come from, in PEM form. Default: those of the system. For
    /// https://HOST:PORT, as all flags of TLS.
    #[arg(long, value_name = "FILE", env = "SOLOIST_CLIENT_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// The certificate to show the server, and the chain above it, in PEM form.
    #[arg(
        long,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_CERT",
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, in PEM form.
    #[arg(
        long,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_KEY",
        requires = "tls_cert"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// The name that the server's certificate must have. Default: the host of https://HOST:PORT.
    #[arg(long, value_name = "NAME", env = "SOLOIST_CLIENT_TLS_SERVER_NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// A file with the bearer token for every call, as `soloist-server token` prints it. Read again every second.
    #[arg(long, value_name = "FILE", env = "SOLOIST_CLIENT_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A bearer token for every call. Reports do not show it, but the list of processes does: --token-file is safer.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SOLOIST_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// Connect without TLS. HOST:PORT means that anyway.
    #[arg(long)]
    pub(crate) plaintext: bool,
}

impl SecurityFlags {
    /// Returns what the flags say about connections to `address`.
    ///
    /// # Errors
    /// If they contradict each other, or the address.
    pub(crate) fn resolve(&self, address: Option<&str>) -> Result<Security, String> {
        if self.token.is_some() && self.token_file.is_some() {
            return Err(
                "--token and --token-file (or SOLOIST_TOKEN and SOLOIST_CLIENT_TOKEN_FILE): set one of them"
                    .to_owned(),
            );
        }
        let security = Security {
            ca: self.tls_ca.clone(),
            identity: self.tls_cert.clone().zip(self.tls_key.clone()),
            server_name: self.tls_server_name.clone(),
            token_file: self.token_file.clone(),
        };
        match (self.plaintext, security.flag_of_tls(), address) {
            (true, Some(flag), _) => Err(format!(
                "--plaintext with {flag} (or its environment variable): leave one of them out"
            )),
            (true, None, Some(address)) if address.starts_with("https://") => Err(format!(
                "--plaintext with {address}: type http instead of https"
            )),
            (_, Some(flag), None) => Err(format!(
                "{flag} (or its environment variable) needs https://HOST:PORT: without it, the server is one that this \
                 tool starts, which has no TLS"
            )),
            _ => Ok(security),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command_line::resolve::tests::settings;

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for (line, part) in [
            ("a:1 --token x --token-file y", "set one of them"),
            ("https://a:1 --plaintext", "type http instead"),
            (
                "https://a:1 --plaintext --tls-ca f",
                "--plaintext with --tls-ca",
            ),
            (
                "--tls-server-name b",
                "--tls-server-name (or its environment variable) needs https",
            ),
        ] {
            let error = settings(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        let security = settings("https://a:1 --tls-cert c --tls-key k")
            .unwrap()
            .security;
        assert_eq!(security.identity, Some(("c".into(), "k".into())));
    }
}
