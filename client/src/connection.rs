//! The connection to a server: the channel, and the defaults of all calls on it.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use http::Uri;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, Info};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::error::root_cause;
#[cfg(feature = "tls")]
use crate::files::shutting_down;
use crate::retry::until_seen;
use crate::tcp;
use crate::timeout::{request_with_timeout, within};
#[cfg(feature = "tls")]
use crate::tls;
use crate::transport::{Transport, UnixConnector};
use crate::{Error, Outcome, Retry};

/// How often to ping the peer, and how long to wait for its acknowledgement. A dead peer is noticed within their sum,
/// and all calls on its connection fail.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many unread bytes one stream may have, and all streams of a connection together: as many streams as servers
/// allow by default have room. So streams that nobody reads do not hold up the replies on others. (With the defaults of
/// the HTTP/2 library three such streams would.)
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

/// The largest response message taken. Well above what a Soloist server sends: it guards against other peers.
pub(crate) const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A channel with the clients of all services on it, and the default timeout and retries of calls.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) state: StateClient<Transport>,
    pub(crate) machines: MachinesClient<Transport>,
    pub(crate) sessions: SessionsClient<Transport>,
    pub(crate) admin: AdminClient<Transport>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<Retry>,
}

impl Connection {
    pub(crate) fn new(channel: Transport, timeout: Duration, retry: Option<Retry>) -> Self {
        Self {
            state: StateClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX),
            machines: MachinesClient::new(channel.clone())
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            sessions: SessionsClient::new(channel.clone())
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            admin: AdminClient::new(channel.clone()),
            transport: channel,
            timeout,
            retry,
        }
    }

    pub(crate) async fn info(&self, timeout: Duration) -> Result<Info, Error> {
        until_seen(timeout, |left| {
            let mut admin = self.admin.clone();
            let request = request_with_timeout(GetInfoRequest {}, left);
            async move { within(left, Outcome::NotApplied, admin.get_info(request)).await }
        })
        .await
    }
}

/// Where a server is.
enum Target {
    Plain(Uri),
    #[cfg(feature = "tls")]
    Tls(Uri),
    Unix(PathBuf),
}

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
    let (address, uri) = match &target {
        Target::Unix(path) => (
            format!("unix:{}", path.display()),
            Uri::from_static("http://localhost"),
        ),
        Target::Plain(uri) => (authority(uri), uri.clone()),
        #[cfg(feature = "tls")]
        Target::Tls(uri) => (format!("https://{}", authority(uri)), uri.clone()),
    };
    let unreachable = |why: &dyn std::fmt::Display| {
        Error::new(
            Code::Unavailable,
            format!("cannot reach {address}: {why}"),
            Outcome::NotApplied,
        )
    };
    let failed = |error: tonic::transport::Error| unreachable(&Cause(root_cause(&error)));

    let endpoint = endpoint(uri, timeout);
    let connecting = async {
        match target {
            Target::Plain(_) => {
                let connector = tcp::Connector::new(timeout);
                let accepted = connector.accepted();
                let channel = endpoint.connect_with_connector(connector).await;
                let channel = channel.map_err(failed)?;
                match tokio::time::timeout(FIRST_BYTES_TIMEOUT, accepted).await {
                    Ok(Err(why)) => Err(unreachable(&why)),
                    Ok(Ok(())) | Err(_) => Ok(channel),
                }
            }
            Target::Unix(path) => {
                let connector = UnixConnector(path);
                let channel = endpoint.connect_with_connector(connector).await;
                channel.map_err(failed)
            }
            #[cfg(feature = "tls")]
            Target::Tls(_) => {
                let connector = tls::Connector::new(security.files.clone(), timeout).await;
                let connector = connector.map_err(|error| shutting_down(&error))??;
                let accepted = connector.accepted();
                let channel = endpoint.connect_with_connector(connector).await;
                let channel = channel.map_err(failed)?;
                accepted.await.map_err(|why| unreachable(&why))?;
                Ok(channel)
            }
        }
    };
    // The endpoint's own timeout is for later connections. Its error would not say that the time ran out.
    tokio::time::timeout(timeout, connecting)
        .await
        .map_err(|_| unreachable(&format_args!("no connection within {timeout:?}")))?
}

fn endpoint(uri: Uri, timeout: Duration) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
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
    fn check(&self, url: &str, target: &Target) -> Result<(), Error> {
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
    fn check(&self, _: &str, _: &Target) -> Result<(), Error> {
        Ok(())
    }
}

fn bad_url(url: &str, why: &str) -> Error {
    Error::bad_argument(format!("cannot use {url:?}: {why}"))
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
