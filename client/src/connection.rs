//! The connection to a server: the channel, and the defaults of all calls on it.

use std::time::Duration;

use http::Uri;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, Info};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::error::root_cause;
use crate::timeout::{request_with_timeout, within};
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
    pub(crate) state: StateClient<Channel>,
    pub(crate) machines: MachinesClient<Channel>,
    pub(crate) sessions: SessionsClient<Channel>,
    admin: AdminClient<Channel>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<Retry>,
}

impl Connection {
    pub(crate) fn new(channel: Channel, timeout: Duration, retry: Option<Retry>) -> Self {
        Self {
            state: StateClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX),
            machines: MachinesClient::new(channel.clone())
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            sessions: SessionsClient::new(channel.clone())
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            admin: AdminClient::new(channel),
            timeout,
            retry,
        }
    }

    pub(crate) async fn info(&self, timeout: Duration) -> Result<Info, Error> {
        let mut admin = self.admin.clone();
        let request = request_with_timeout(GetInfoRequest {}, timeout);
        within(timeout, Outcome::NotApplied, admin.get_info(request)).await
    }
}

/// Connects to a server, at most within `timeout`.
pub(crate) async fn connect(url: &str, timeout: Duration) -> Result<Channel, Error> {
    let uri = parse_url(url)?;
    let address = uri
        .authority()
        .map(|authority| authority.to_string())
        .unwrap_or_default();
    let unreachable = |why: &dyn std::fmt::Display| {
        Error::new(
            Code::Unavailable,
            format!("cannot reach {address}: {why}"),
            Outcome::NotApplied,
        )
    };

    let connecting = Endpoint::from(uri)
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    // The endpoint's own timeout is for later connections. Its error would not say that the time ran out.
    tokio::time::timeout(timeout, connecting.connect())
        .await
        .map_err(|_| unreachable(&format_args!("no connection within {timeout:?}")))?
        .map_err(|error| unreachable(root_cause(&error)))
}

/// Accepts `http://HOST:PORT` and `HOST:PORT`.
fn parse_url(url: &str) -> Result<Uri, Error> {
    let bad = |why: &str| {
        Error::new(
            Code::InvalidArgument,
            format!("cannot use {url:?}: {why}; it must have the form http://HOST:PORT"),
            Outcome::NotApplied,
        )
    };
    let full = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let uri: Uri = full
        .parse()
        .map_err(|_| bad("not a URL (an IPv6 address must be in brackets)"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(bad("TLS is not supported yet")),
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
            ("https://example.org:443", Err("TLS")),
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
