//! Connects to a server: what a URL says, and how a connection is made.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use http::Uri;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::error::root_cause;
#[cfg(feature = "tls")]
use crate::files::shutting_down;
use crate::tcp;
#[cfg(feature = "tls")]
use crate::tls;
use crate::unix::UnixConnector;
use crate::{Error, Outcome};

/// How many unread bytes one stream may have, and all streams of a connection together: as many streams as servers
/// allow by default have room. So streams that nobody reads do not hold up the replies on others. (With the defaults of
/// the HTTP/2 library three such streams would.)
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Plain(Uri),
    #[cfg(feature = "tls")]
    Tls(Uri),
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Plain(uri) => f.write_str(&authority(uri)),
            #[cfg(feature = "tls")]
            Self::Tls(uri) => write!(f, "https://{}", authority(uri)),
        }
    }
}

impl Target {
    /// Another server, `HOST:PORT`, that is connected to in the same way.
    pub(crate) fn at(&self, address: &str) -> Option<Self> {
        match self {
            Self::Plain(_) => parse_url(&format!("http://{address}"))
                .ok()
                .map(Self::Plain),
            #[cfg(feature = "tls")]
            Self::Tls(_) => parse_url(&format!("https://{address}")).ok().map(Self::Tls),
            Self::Unix(_) => None,
        }
    }

    fn uri(&self) -> Uri {
        match self {
            Self::Unix(_) => Uri::from_static("http://localhost"),
            Self::Plain(uri) => uri.clone(),
            #[cfg(feature = "tls")]
            Self::Tls(uri) => uri.clone(),
        }
    }
}

/// What makes the connections to servers.
#[derive(Clone, Debug)]
pub(crate) enum Connector {
    Plain(tcp::Connector),
    #[cfg(feature = "tls")]
    Tls(tls::Connector),
    Unix(UnixConnector),
}

impl Connector {
    /// A channel that connects when it is used.
    pub(crate) fn connect_when_used(
        &self,
        to: &Target,
        keep_alive: Keep,
        timeout: Duration,
    ) -> Channel {
        let endpoint = endpoint(to.uri(), keep_alive, timeout);
        match self.clone() {
            Self::Plain(connector) => endpoint.connect_with_connector_lazy(connector),
            #[cfg(feature = "tls")]
            Self::Tls(connector) => endpoint.connect_with_connector_lazy(connector),
            Self::Unix(connector) => endpoint.connect_with_connector_lazy(connector),
        }
    }
}

/// How often to ping the peer, and how long to wait for its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    interval: Duration,
    timeout: Duration,
}

/// A dead peer is noticed within 30 s, and all calls on its connection fail.
pub(crate) const ONE_ADDRESS: Keep = Keep {
    interval: Duration::from_secs(20),
    timeout: Duration::from_secs(10),
};

/// Where other nodes can go on, a node that stands still is left sooner: in about the time after which they take its place, 5 s
/// unless told otherwise (`--owner-ttl`).
pub(crate) const SEVERAL_ADDRESSES: Keep = Keep {
    interval: Duration::from_secs(3),
    timeout: Duration::from_secs(3),
};

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Whom to trust, and how to present oneself.
    #[cfg(feature = "tls")]
    pub files: tls::TlsFiles,
}

/// How long to wait for the first bytes of a server without TLS. One that speaks another protocol says so within a round
/// trip, also around the world. One that is silent is left to the timeouts of calls: it may have to start first.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_millis(500);

/// Connects to a server, at most within `timeout`.
///
/// # Errors
/// INVALID_ARGUMENT for a URL or files that cannot be used, UNAVAILABLE if no connection can be made.
pub async fn connect(url: &str, security: &Security, timeout: Duration) -> Result<Channel, Error> {
    let target = parse_target(url)?;
    security.check(url, &target)?;
    let (channel, _) = connect_to(&target, security, ONE_ADDRESS, timeout).await?;
    Ok(channel)
}

/// Connects as [`connect`] does. Returns what makes the connections, too.
#[cfg_attr(
    not(feature = "tls"),
    allow(unused_variables, reason = "only TLS has files")
)]
pub(crate) async fn connect_to(
    target: &Target,
    security: &Security,
    keep_alive: Keep,
    timeout: Duration,
) -> Result<(Channel, Connector), Error> {
    let unreachable = |why: &dyn std::fmt::Display| {
        Error::new(
            Code::Unavailable,
            format!("cannot reach {target}: {why}"),
            Outcome::NotApplied,
        )
    };
    let failed = |error: tonic::transport::Error| unreachable(&Cause(root_cause(&error)));

    let endpoint = endpoint(target.uri(), keep_alive, timeout);
    let connecting = async {
        match target {
            Target::Plain(_) => {
                let connector = tcp::Connector::new(timeout);
                let accepted = connector.accepted();
                let channel = endpoint.connect_with_connector(connector.clone()).await;
                let channel = channel.map_err(failed)?;
                match tokio::time::timeout(FIRST_BYTES_TIMEOUT, accepted).await {
                    Ok(Err(why)) => Err(unreachable(&why)),
                    Ok(Ok(())) | Err(_) => Ok((channel, Connector::Plain(connector))),
                }
            }
            Target::Unix(path) => {
                let connector = UnixConnector(path.clone());
                let channel = endpoint.connect_with_connector(connector.clone()).await;
                let channel = channel.map_err(failed)?;
                Ok((channel, Connector::Unix(connector)))
            }
            #[cfg(feature = "tls")]
            Target::Tls(_) => {
                let connector = tls::Connector::new(security.files.clone(), timeout).await;
                let connector = connector.map_err(|error| shutting_down(&error))??;
                let accepted = connector.accepted();
                let channel = endpoint.connect_with_connector(connector.clone()).await;
                let channel = channel.map_err(failed)?;
                accepted.await.map_err(|why| unreachable(&why))?;
                Ok((channel, Connector::Tls(connector)))
            }
        }
    };
    // The endpoint's own timeout is for later connections. Its error would not say that the time ran out.
    tokio::time::timeout(timeout, connecting)
        .await
        .map_err(|_| unreachable(&format_args!("no connection within {timeout:?}")))?
}

fn endpoint(uri: Uri, keep_alive: Keep, timeout: Duration) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(keep_alive.interval)
        .keep_alive_timeout(keep_alive.timeout)
        .keep_alive_while_idle(true)
}

/// Why there is no connection, and what to do about it.
struct Cause<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let io = self.0.downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            // Not the one for Unix sockets, which says more.
            Some(io::ErrorKind::ConnectionRefused)
                if io.is_some_and(|io| io.get_ref().is_none()) =>
            {
                write!(f, "{}: is a server running there?", self.0)
            }
            _ => fmt::Display::fmt(self.0, f),
        }
    }
}

fn authority(uri: &Uri) -> String {
    let authority = uri.authority();
    authority.map(ToString::to_string).unwrap_or_default()
}

impl Security {
    /// Refuses files for a connection without TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn check(&self, url: &str, target: &Target) -> Result<(), Error> {
        match (target, self.files.first_field()) {
            (Target::Tls(_), _) | (_, None) => Ok(()),
            (_, Some(field)) => {
                let why = format!(
                    "{field} is set, which is for TLS, but {url:?} does not begin with https"
                );
                Err(Error::bad_argument(why).with("field", field))
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, reason = "as with TLS")]
    pub(crate) fn check(&self, _: &str, _: &Target) -> Result<(), Error> {
        Ok(())
    }
}

fn bad_url(url: &str, why: &str) -> Error {
    Error::bad_argument(format!("cannot use {url:?}: {why}"))
}

/// Most addresses of one store: far more than there are nodes.
const ADDRESSES_MAX: usize = 32;

/// Accepts what [`parse_target`] accepts, and several URLs with commas in between. Those without a scheme have that of the first.
pub(crate) fn parse_targets(url: &str) -> Result<Vec<Target>, Error> {
    let mut urls = url.split(',').map(str::trim);
    if url.contains(',') && !url.starts_with("unix:") && urls.clone().any(str::is_empty) {
        return Err(bad_url(url, "one of the addresses is empty"));
    }
    let first = urls.next().unwrap_or_default();
    // A path may have commas.
    if first.starts_with("unix:") || first.len() == url.len() {
        return Ok(vec![parse_target(url)?]);
    }
    let scheme = first.split_once("://").map_or("http", |(scheme, _)| scheme);
    let mut targets = vec![parse_target(first)?];
    for another in urls {
        let target = match another.split_once("://") {
            None => parse_target(&format!("{scheme}://{another}"))?,
            Some((other, _)) if other == scheme => parse_target(another)?,
            Some(_) => {
                let why = format!(
                    "all addresses of one store begin alike, and the first with {scheme}://"
                );
                return Err(bad_url(another, &why));
            }
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.len() > ADDRESSES_MAX {
        let why = format!(
            "it has {} addresses, and {ADDRESSES_MAX} are the most",
            targets.len()
        );
        return Err(bad_url(url, &why));
    }
    Ok(targets)
}

/// Accepts `unix:PATH`, `unix:///PATH`, and what [`parse_url`] accepts.
fn parse_target(url: &str) -> Result<Target, Error> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path.is_empty() {
            true => Err(bad_url(url, "no path; it must have the form unix:PATH")),
            false => Ok(Target::Unix(PathBuf::from(path))),
        };
    }
    let uri = parse_url(url)?;
    match uri.scheme_str() {
        #[cfg(feature = "tls")]
        Some("https") => Ok(Target::Tls(uri)),
        #[cfg(not(feature = "tls"))]
        Some("https") => Err(bad_url(
            url,
            "this program was built without the feature \"tls\" of soloist-client",
        )),
        _ => Ok(Target::Plain(uri)),
    }
}

/// Accepts `http://HOST:PORT`, `https://HOST:PORT`, and `HOST:PORT`, which is without TLS.
fn parse_url(url: &str) -> Result<Uri, Error> {
    let bad = |why: &str| {
        let form = "it must have the form http://HOST:PORT, https://HOST:PORT or unix:PATH";
        bad_url(url, &format!("{why}; {form}"))
    };
    let full = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let uri: Uri = full
        .parse()
        .map_err(|_| bad("not a URL (an IPv6 address must be in brackets)"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(bad("unknown scheme")),
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(bad("a user name is not supported"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("no host"));
    }
    if uri.port_u16().is_none() {
        return Err(bad("no port"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad("a path is not supported"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses() {
        for (url, expected) in [
            ("a:1", Ok(&["a:1"][..])),
            ("a:1,b:2", Ok(&["a:1", "b:2"])),
            ("http://a:1, b:2 ,a:1", Ok(&["a:1", "b:2"])),
            ("unix:/a,b", Ok(&["unix:/a,b"])),
            ("a:1,", Err("is empty")),
            (",a:1", Err("is empty")),
            ("a:1,https://b:2", Err("begin alike")),
            ("a:1,unix:/b", Err("no port")),
        ] {
            let targets = parse_targets(url);
            match (targets, expected) {
                (Ok(targets), Ok(expected)) => {
                    let targets: Vec<_> = targets.iter().map(Target::to_string).collect();
                    assert_eq!(targets, expected, "{url}");
                }
                (Err(error), Err(why)) => {
                    assert_eq!(error.code(), Code::InvalidArgument);
                    assert!(error.message().contains(why), "{url:?}: {error}");
                }
                (targets, _) => panic!("{url:?}: {targets:?}"),
            }
        }
        let many: Vec<_> = (1..=33).map(|port| format!("a:{port}")).collect();
        let error = parse_targets(&many.join(",")).unwrap_err();
        assert!(error.message().contains("33 addresses"), "{error}");
        #[cfg(feature = "tls")]
        {
            let targets = parse_targets("https://a:1,b:2").unwrap();
            let other = targets[1].at("c:3").unwrap();
            assert_eq!(
                (targets[1].to_string(), other.to_string()),
                ("https://b:2".into(), "https://c:3".into())
            );
        }
    }

    #[test]
    fn urls() {
        let cases = [
            ("http://127.0.0.1:50051", Ok("127.0.0.1:50051")),
            ("http://127.0.0.1:50051/", Ok("127.0.0.1:50051")),
            ("localhost:50051", Ok("localhost:50051")),
            ("[::1]:50051", Ok("[::1]:50051")),
            ("https://example.org:443", Ok("example.org:443")),
            ("https://example.org", Err("no port")),
            ("ftp://example.org:21", Err("unknown scheme")),
            ("example.org", Err("no port")),
            ("http://:50051", Err("no host")),
            ("::1:50051", Err("in brackets")),
            ("user@localhost:50051", Err("a user")),
            ("http://example.org:50051/state", Err("a path")),
            ("http://example.org:99999", Err("no port")),
            ("", Err("not a URL")),
        ];
        for (url, expected) in cases {
            match (parse_url(url), expected) {
                (Ok(uri), Ok(authority)) => {
                    assert_eq!(uri.authority().unwrap().as_str(), authority);
                }
                (Err(error), Err(why)) => {
                    assert_eq!(error.code(), Code::InvalidArgument);
                    assert!(error.message().contains(why), "{url:?}: {error}");
                }
                (outcome, _) => panic!("{url:?}: {outcome:?}"),
            }
        }
    }
}
