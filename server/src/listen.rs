//! The address to listen on, and what an operator should know of it.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::geteuid;
use soloist_server::config::{ClientAuth, Config, TlsConfig};
use soloist_server::{ListenAddress, Listener};
use tracing::{info, warn};

/// Where to listen: a host and a port, such as `127.0.0.1:50051`, `[::1]:0` or `localhost:50051`; or `unix:` and a path.
#[derive(Clone, Debug)]
pub(crate) enum Listen {
    Port(String),
    Path(PathBuf),
}

const UNIX: &str = "unix:";

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return match path {
                "" => Err("must name a path after unix:, such as unix:/run/soloist.sock".into()),
                path => Ok(Self::Path(path.into())),
            };
        }
        let host_and_port = text.rsplit_once(':').filter(|(host, port)| {
            let is_bracketed = host.starts_with('[') && host.ends_with(']');
            !host.is_empty() && (is_bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
        });
        match host_and_port {
            Some(_) => Ok(Self::Port(text.into())),
            None => Err("must be HOST:PORT, such as 127.0.0.1:50051, [::1]:50051 or localhost:50051; or unix:PATH".into()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(text) => f.write_str(text),
            Self::Path(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Removes the path of a Unix socket when it is dropped.
pub(crate) struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What to listen on: a socket that a supervisor has opened goes before the address of `--listen`.
pub(crate) enum Place {
    Passed(Listener),
    Named(Listen),
}

impl Place {
    pub(crate) fn new(passed: Option<Listener>, listen: Listen) -> Self {
        passed.map_or(Self::Named(listen), Self::Passed)
    }

    /// Checks that the server may listen here: without TLS only where no other computer can reach it, or if the operator says so.
    ///
    /// # Errors
    /// What to set, for the operator.
    pub(crate) fn check(&self, tls: &TlsConfig) -> Result<(), String> {
        let listener = match self {
            Self::Passed(listener) => listener,
            Self::Named(listen) => return listen.check(tls),
        };
        let address = listener.address().map_err(|error| error.to_string())?;
        let listen = match &address {
            ListenAddress::Tcp(address) => Listen::Port(address.to_string()),
            ListenAddress::Unix(path) => Listen::Path(path.clone()),
        };
        listen.check_as("the passed socket", tls)
    }

    /// Listens: see [`Listen::bind`]. The path of a socket that was passed is the supervisor's to remove.
    ///
    /// # Errors
    /// Why that is not possible, for the operator.
    pub(crate) fn bind(self) -> Result<(Listener, Option<SocketPath>), String> {
        match self {
            Self::Passed(listener) => {
                info!("using the socket that was passed, whatever --listen says");
                Ok((listener, None))
            }
            Self::Named(listen) => {
                let cannot = |error| format!("cannot listen on {listen}: {error}");
                listen.bind().map_err(cannot)
            }
        }
    }
}

impl Listen {
    /// Checks that the server may listen here: without TLS only where no other computer can reach it, or if the operator says so.
    ///
    /// # Errors
    /// What to set, for the operator.
    pub(crate) fn check(&self, tls: &TlsConfig) -> Result<(), String> {
        self.check_as("--listen", tls)
    }

    /// Checks that operators may be answered here, which is `--http-listen`. A Unix socket has no TLS, whatever others have.
    ///
    /// # Errors
    /// What to set, for the operator.
    pub(crate) fn check_http(&self, tls: &TlsConfig) -> Result<(), String> {
        match self {
            Self::Port(_) => self.check_as("--http-listen", tls),
            Self::Path(_) => Ok(()),
        }
    }

    /// Like [`check`](Self::check), for an address that was given as `given` says.
    fn check_as(&self, given: &str, tls: &TlsConfig) -> Result<(), String> {
        let Self::Port(text) = self else {
            return match tls.is_on() {
                true => Err(format!(
                    "{given} {self} and --tls-cert are set, but a Unix socket has no TLS: the system itself keeps others away"
                )),
                false => Ok(()),
            };
        };
        if tls.is_on() || tls.plaintext {
            return Ok(());
        }
        // A name that cannot be resolved is an error of its own, later.
        let addresses = text.to_socket_addrs().into_iter().flatten();
        match addresses.into_iter().all(|address| is_loopback(&address)) {
            true => Ok(()),
            false => Err(format!(
                "{given} {self} can be reached by others: set --tls-cert and --tls-key, or --plaintext"
            )),
        }
    }

    /// Listens on one address of the host: the first that can be used, IPv4 before IPv6, as clients expect of localhost. Or on
    /// the path, which is removed when the returned guard is dropped.
    ///
    /// # Errors
    /// The system's error if the name cannot be resolved, or none of its addresses can be used.
    fn bind(&self) -> io::Result<(Listener, Option<SocketPath>)> {
        match self {
            Self::Port(text) => {
                let mut addresses: Vec<SocketAddr> = text.to_socket_addrs()?.collect();
                addresses.sort_by_key(SocketAddr::is_ipv6);
                Ok((TcpListener::bind(addresses.as_slice())?.into(), None))
            }
            Self::Path(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                Ok((listener.into(), Some(SocketPath(path.clone()))))
            }
        }
    }
}

/// Removes a socket on which nobody listens any more: a killed server leaves its socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Warns if more people than the operator may think can reach or harm the store.
pub(crate) fn warn_of_exposure(address: &ListenAddress, config: &Config) {
    let user = geteuid();
    let data_dir = config.storage.data_dir.as_deref();
    let owner = data_dir
        .and_then(|path| fs::metadata(path).ok())
        .map(|metadata| metadata.uid());
    let has_access_file = config.access.file.is_some();
    for warning in exposures(address, &config.tls, has_access_file, user.as_raw(), owner) {
        warn!("{warning}");
    }
}

fn exposures(
    address: &ListenAddress,
    tls: &TlsConfig,
    has_access_file: bool,
    user: u32,
    owner: Option<u32>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let knows_clients =
        has_access_file || tls.client_ca.is_some() && tls.client_auth == ClientAuth::Required;
    if address.tcp().is_some_and(|tcp| !is_loopback(&tcp)) && !knows_clients {
        let lacks = match tls.is_on() {
            true => {
                "it asks clients for no certificate. Set --tls-client-ca, or put it behind a firewall"
            }
            false => "it has neither TLS nor authentication. Put it behind a firewall or a proxy",
        };
        warnings.push(format!(
            "{address} can be reached from other computers: whoever can connect may read and change everything, because {lacks}"
        ));
    }
    if address.tcp().is_some_and(|tcp| !is_loopback(&tcp)) && has_access_file && !tls.is_on() {
        warnings.push(format!(
            "{address} can be reached from other computers, and has no TLS: whoever can listen to the network gets the tokens of \
             --access-file. Set --tls-cert and --tls-key, or let a proxy do TLS"
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
            "unix:soloist.sock",
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
            "unix:",
        ] {
            text.parse::<Listen>().unwrap_err();
        }
        let (listener, _) = "localhost:0".parse::<Listen>().unwrap().bind().unwrap();
        assert!(is_loopback(&listener.address().unwrap().tcp().unwrap()));
    }

    #[test]
    fn exposures_are_told() {
        let told = |address: &str, user, owner| {
            let address = ListenAddress::Tcp(address.parse().unwrap());
            exposures(&address, &TlsConfig::default(), false, user, owner).len()
        };
        assert_eq!(told("127.0.0.1:1", 7, None), 0);
        assert_eq!(told("[::1]:1", 7, Some(7)), 0);
        assert_eq!(told("[::ffff:127.0.0.1]:1", 7, None), 0);
        assert_eq!(told("0.0.0.0:1", 7, None), 1);
        assert_eq!(told("[::]:1", 7, Some(8)), 2);
        assert_eq!(told("192.0.2.1:1", 0, Some(8)), 3);
        let unix = ListenAddress::Unix("a".into());
        assert_eq!(
            exposures(&unix, &TlsConfig::default(), false, 7, None).len(),
            0
        );
        let mut tls = TlsConfig {
            cert: Some("c".into()),
            ..TlsConfig::default()
        };
        let address = ListenAddress::Tcp("0.0.0.0:1".parse().unwrap());
        assert!(exposures(&address, &tls, false, 7, None)[0].contains("--tls-client-ca"));
        assert_eq!(exposures(&address, &tls, true, 7, None).len(), 0);
        let plain = TlsConfig::default();
        assert!(exposures(&address, &plain, true, 7, None)[0].contains("gets the tokens"));
        tls.client_ca = Some("ca".into());
        assert_eq!(exposures(&address, &tls, false, 7, None).len(), 0);
    }

    #[test]
    fn off_loopback_needs_tls_or_consent() {
        let check = |listen: &str, tls: &TlsConfig| listen.parse::<Listen>().unwrap().check(tls);
        let plain = TlsConfig::default();
        for loopback in ["127.0.0.1:0", "[::1]:0", "localhost:1", "unix:a"] {
            check(loopback, &plain).unwrap();
        }
        let error = check("0.0.0.0:50051", &plain).unwrap_err();
        assert_eq!(
            error,
            "--listen 0.0.0.0:50051 can be reached by others: set --tls-cert and --tls-key, or --plaintext"
        );
        check("[::]:1", &plain).unwrap_err();
        let consent = TlsConfig {
            plaintext: true,
            ..TlsConfig::default()
        };
        check("0.0.0.0:1", &consent).unwrap();
        let tls = TlsConfig {
            cert: Some("c".into()),
            ..TlsConfig::default()
        };
        check("0.0.0.0:1", &tls).unwrap();
        check("unix:a", &tls).unwrap_err();
    }

    #[test]
    fn the_socket_of_a_killed_server_is_replaced_and_that_of_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("soloist.sock");
        let listen = Listen::Path(path.clone());
        // A listener that is dropped leaves its path, as a killed server does.
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, guard) = listen.bind().unwrap();
        assert!(listen.bind().is_err(), "somebody listens");
        drop(guard);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert!(listen.bind().is_err(), "a file is not replaced");
    }
}
