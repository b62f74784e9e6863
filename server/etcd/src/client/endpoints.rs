//! The endpoints of etcd: one is current, and one that fails is left for the next.
//!
//! Each has a channel of its own. A channel that balances goes on calling a member that is dead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tonic::transport::{Channel, Endpoint as ChannelOptions};

use super::connector::Connector;
use crate::{Error, ErrorKind, Options};

/// How often to ask a connection whether it lives, and how long to wait. etcd closes connections that ask more often than every 5
/// seconds, and those that ask while there is no call on them.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer, and of all answers, may be under way: as much as 8 answers of a follower that catches up.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    /// Counts up; modulo the number of endpoints it is the current one.
    current: AtomicUsize,
}

/// A member of etcd.
#[derive(Debug)]
pub(super) struct Endpoint {
    index: usize,
    name: String,
    options: ChannelOptions,
    connector: Connector,
    channel: Mutex<Option<Channel>>,
    /// Held by the one who logs in.
    login: tokio::sync::Mutex<()>,
}

impl Endpoints {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        if options.endpoints.is_empty() {
            return Err(Error::new(
                ErrorKind::Refused,
                "etcd",
                "no endpoint is named",
            ));
        }
        let connector = |url: &str, uri: &Uri| {
            let connector = Connector::new(uri, options.tls.as_ref(), options.timeout);
            connector.map_err(|why| Error::new(ErrorKind::Refused, url, why))
        };
        let mut all = Vec::new();
        for (index, url) in options.endpoints.iter().enumerate() {
            let uri = parse(url).map_err(|why| Error::new(ErrorKind::Refused, url, why))?;
            all.push(Endpoint {
                index,
                name: url.clone(),
                connector: connector(url, &uri)?,
                options: ChannelOptions::from(uri)
                    .connect_timeout(options.timeout)
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                    .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                    .keep_alive_while_idle(false),
                channel: Mutex::new(None),
                login: tokio::sync::Mutex::new(()),
            });
        }
        Ok(Self {
            all,
            current: AtomicUsize::new(0),
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.all.iter()
    }

    pub(super) fn get(&self, index: usize) -> &Endpoint {
        &self.all[index]
    }

    pub(super) fn current(&self) -> &Endpoint {
        &self.all[self.current.load(Ordering::Relaxed) % self.all.len()]
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Goes on with an endpoint that has answered while the current one was silent.
    pub(super) fn go_on_with(&self, endpoint: &Endpoint) {
        let current = self.current.load(Ordering::Relaxed);
        let count = self.all.len();
        let steps = (endpoint.index + count - current % count) % count;
        let (set, fail) = (Ordering::Relaxed, Ordering::Relaxed);
        // Who was faster has left it, too.
        let to = current.wrapping_add(steps);
        let _ = self.current.compare_exchange(current, to, set, fail);
    }

    /// Goes on to the next endpoint, unless somebody else has done so.
    pub(super) fn leave(&self, endpoint: &Endpoint) {
        let current = self.current.load(Ordering::Relaxed);
        if current % self.all.len() == endpoint.index {
            let next = current.wrapping_add(1);
            let (set, fail) = (Ordering::Relaxed, Ordering::Relaxed);
            // Who was faster has left it, too.
            let _ = self.current.compare_exchange(current, next, set, fail);
        }
    }
}

impl Endpoint {
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The channel, which connects when it is used.
    pub(super) fn channel(&self) -> Channel {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let connect = || {
            let connector = self.connector.clone();
            self.options.connect_with_connector_lazy(connector)
        };
        channel.get_or_insert_with(connect).clone()
    }

    /// Waits for its turn to log in.
    pub(super) async fn login_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.login.lock().await
    }

    /// Connects anew for the next request: on a connection whose peer is gone without a word TCP waits long.
    pub(super) fn hang_up(&self) {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        *channel = None;
    }
}

fn parse(url: &str) -> Result<Uri, String> {
    const FORM: &str = "it must have the form http://HOST:PORT or https://HOST:PORT";
    let uri: Uri = url.parse().map_err(|_| format!("not a URL; {FORM}"))?;
    let is_plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match uri.scheme_str() {
        Some("http" | "https") if uri.port_u16().is_some() && is_plain => Ok(uri),
        _ => Err(FORM.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(urls: &[&str]) -> Result<Endpoints, Error> {
        Endpoints::new(&Options {
            endpoints: urls.iter().copied().map(str::to_owned).collect(),
            tls: None,
            user: None,
            timeout: Duration::from_secs(1),
        })
    }

    #[test]
    fn one_failure_is_left_once() {
        let endpoints = endpoints(&["http://a:1", "http://b:1", "http://c:1"]).unwrap();
        let first = endpoints.current();
        endpoints.leave(first);
        endpoints.leave(first);
        assert_eq!(endpoints.current().name(), "http://b:1");
        endpoints.leave(endpoints.current());
        endpoints.leave(endpoints.current());
        assert_eq!(endpoints.current().name(), "http://a:1");
    }

    #[test]
    fn who_answers_is_the_next_to_be_asked() {
        let endpoints = endpoints(&["http://a:1", "http://b:1", "http://c:1"]).unwrap();
        for index in [2, 0, 0, 1] {
            endpoints.go_on_with(endpoints.get(index));
            assert_eq!(endpoints.current().index(), index);
        }
        endpoints.leave(endpoints.current());
        assert_eq!(endpoints.current().name(), "http://c:1");
    }

    #[test]
    fn urls() {
        for url in ["http://127.0.0.1:2379", "https://[::1]:2379/"] {
            assert!(endpoints(&[url]).is_ok(), "{url}");
        }
        for url in [
            "127.0.0.1:2379",
            "http://host",
            "ftp://host:1",
            "http://host:1/v3",
            "",
        ] {
            let error = endpoints(&[url]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused);
            assert!(error.to_string().contains("http://HOST:PORT"), "{error}");
        }
        assert!(endpoints(&[]).is_err());
    }
}
