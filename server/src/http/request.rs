//! What a request asks for, and who asks.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use crate::access::{Credential, certificate_names};

/// Who can reach the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It listens on a loopback address.
    ThisMachine,
    Any,
}

/// A request without its body, and what its connection shows.
pub(super) struct Request<'a> {
    pub(super) parts: &'a Parts,
    /// The client's own certificate, encoded, if its connection has shown one. It was verified.
    pub(super) certificate: Option<&'a [u8]>,
    /// Who has connected, for the log.
    pub(super) peer: &'a str,
}

impl Request<'_> {
    pub(super) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Whether the host that was asked for is `localhost` or an address, or none. A name means that somebody's web page has
    /// resolved a name of its own to a loopback address, so that a browser lets it read what is here (DNS rebinding).
    pub(super) fn names_this_machine(&self) -> bool {
        let Some(host) = self.parts.headers.get(HOST) else {
            return true;
        };
        let Ok(authority) = Authority::try_from(host.as_bytes()) else {
            return false;
        };
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
    }

    /// Whether the query has this word, such as `verbose` in `/readyz?verbose`.
    pub(super) fn asks(&self, word: &str) -> bool {
        let query = self.parts.uri.query().unwrap_or_default();
        query.split('&').any(|part| {
            let name = part.split_once('=').map_or(part, |(name, _)| name);
            name == word
        })
    }

    /// The number in the query under this name.
    pub(super) fn number(&self, wanted: &str) -> Option<u64> {
        let query = self.parts.uri.query()?;
        let mut pairs = query.split('&').filter_map(|part| part.split_once('='));
        let (_, number) = pairs.find(|(name, _)| *name == wanted)?;
        number.parse().ok()
    }

    /// The names in the client's certificate, as a caller shows them.
    pub(super) fn certificate_credential(&self) -> Option<Credential> {
        let names = self.certificate.map(certificate_names);
        names.map(|names| Credential::Certificate(names.into()))
    }
}
