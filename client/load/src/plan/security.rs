//! Whom to trust, and how to present oneself: names of files, which are read whenever a connection is made.

use std::path::PathBuf;

use serde_json::{Value, json};

/// The files and names of the flags about TLS and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// The CAs to trust. `None` for those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// A certificate with the chain above it, and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have, instead of the host of the address.
    pub(crate) server_name: Option<String>,
    /// The file with the token that every call bears.
    pub(crate) token_file: Option<PathBuf>,
}

impl Security {
    /// Returns a flag that only makes sense with TLS, if there is one.
    pub(crate) fn flag_of_tls(&self) -> Option<&'static str> {
        let flags = [
            (self.ca.is_some(), "--tls-ca"),
            (self.identity.is_some(), "--tls-cert"),
            (self.server_name.is_some(), "--tls-server-name"),
        ];
        let set = flags.iter().find(|(is_set, _)| *is_set);
        set.map(|(_, flag)| *flag)
    }

    /// Says the flags with their values.
    pub(super) fn flags(&self, say: &mut impl FnMut(&'static str, Value)) {
        let mut path = |flag, path: Option<&PathBuf>| {
            say(flag, json!(path.map(|path| path.display().to_string())));
        };
        path("tls-ca", self.ca.as_ref());
        path("tls-cert", self.identity.as_ref().map(|(cert, _)| cert));
        path("tls-key", self.identity.as_ref().map(|(_, key)| key));
        path("token-file", self.token_file.as_ref());
        say("tls-server-name", json!(self.server_name));
    }
}
