//! The address to listen on, and what an operator should know of it.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;

use nix::unistd::geteuid;
use tracing::warn;

/// A host and a port, such as `127.0.0.1:50051`, `[::1]:0` or `localhost:50051`.
#[derive(Clone, Debug)]
pub(crate) struct Listen(String);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host_and_port = text.rsplit_once(':').filter(|(host, port)| {
            let is_bracketed = host.starts_with('[') && host.ends_with(']');
            !host.is_empty() && (is_bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
        });
        match host_and_port {
            Some(_) => Ok(Self(text.into())),
            None => Err(
                "must be HOST:PORT, such as 127.0.0.1:50051, [::1]:50051 or localhost:50051".into(),
            ),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Listen {
    /// Listens on one address of the host: the first that can be used, IPv4 before IPv6, as clients expect of localhost.
    ///
    /// # Errors
    /// The system's error if the name cannot be resolved, or none of its addresses can be used.
    pub(crate) fn bind(&self) -> io::Result<TcpListener> {
        let mut addresses: Vec<SocketAddr> = self.0.to_socket_addrs()?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(addresses.as_slice())
    }
}

/// Warns if more people than the operator may think can reach or harm the store.
pub(crate) fn warn_of_exposure(address: SocketAddr, data_dir: Option<&Path>) {
    let user = geteuid();
    let owner = data_dir
        .and_then(|path| fs::metadata(path).ok())
        .map(|metadata| metadata.uid());
    for warning in exposures(address, user.as_raw(), owner) {
        warn!("{warning}");
    }
}

fn exposures(address: SocketAddr, user: u32, owner: Option<u32>) -> Vec<String> {
    let mut warnings = Vec::new();
    if !address.ip().to_canonical().is_loopback() {
        warnings.push(format!(
            "{address} can be reached from other computers: whoever can connect may read and change everything, because this server \
             has neither TLS nor authentication. Put it behind a firewall or a proxy"
        ));
    }
    if user == 0 {
        warnings.push("running as root: a user of its own is enough for this server".into());
    }
    if let Some(owner) = owner.filter(|owner| *owner != user) {
        warnings.push(format!(
            "the data directory belongs to user {owner}, and this server runs as user {user}: that user can change the store, or \
             may not be able to open the files that this server creates"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_host_may_be_a_name() {
        for text in [
            "127.0.0.1:0",
            "localhost:50051",
            "[::1]:1",
            "0.0.0.0:65535",
            "a.example:80",
        ] {
            text.parse::<Listen>().unwrap();
        }
        for text in [
            "",
            "nowhere",
            "localhost:",
            ":50051",
            "::1:50051",
            "localhost:65536",
            "a:b:1",
        ] {
            text.parse::<Listen>().unwrap_err();
        }
        let listener = "localhost:0".parse::<Listen>().unwrap().bind().unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }

    #[test]
    fn exposures_are_told() {
        let told =
            |address: &str, user, owner| exposures(address.parse().unwrap(), user, owner).len();
        assert_eq!(told("127.0.0.1:1", 7, None), 0);
        assert_eq!(told("[::1]:1", 7, Some(7)), 0);
        assert_eq!(told("[::ffff:127.0.0.1]:1", 7, None), 0);
        assert_eq!(told("0.0.0.0:1", 7, None), 1);
        assert_eq!(told("[::]:1", 7, Some(8)), 2);
        assert_eq!(told("192.0.2.1:1", 0, Some(8)), 3);
    }
}
