//! A connection to a server.

use std::time::Duration;

use http::Uri;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, Info};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::call::{with_timeout, within};
use crate::error::root_cause;
use crate::machine::{DefineMachine, DeleteMachine, GetMachine, ListMachines};
use crate::session::{CloseSession, ListSessions, OpenSession, RenewSession};
use crate::{
    Add, Batch, Call, Delete, Error, KeepAlive, List, Machine, Outcome, PipelineCall, Read, Retry,
    Session, Transition, Value, WatchCall, Write,
};

/// How long to wait for a connection, unless told otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take, unless told otherwise: what servers allow by default.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How often to ask whether the other side is still there, and how long to wait for its answer. A dead peer is
/// noticed within their sum, and calls on its connection fail.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes a watch or pipeline may leave unread, and all streams of a connection together: as many streams as
/// servers allow by default have room, so that those which are not read do not hold up the answers to the others. (With
/// the defaults of the HTTP/2 library three of them would.)
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

/// The largest answer taken. Well above what a server of ours sends; a guard against one that is not.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection to one server. Cloning is cheap, and clones share the connection. A lost connection is made anew by the
/// next call.
///
/// A connection carries as many calls, watches and pipelines at once as its server allows, 256 unless told otherwise; more
/// calls wait, also beyond their timeout if the others stay. For more, connect more than once.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) state: StateClient<Channel>,
    pub(crate) machines: MachinesClient<Channel>,
    pub(crate) sessions: SessionsClient<Channel>,
    admin: AdminClient<Channel>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<Retry>,
}

impl Client {
    /// Connects to `http://HOST:PORT`, or `HOST:PORT` for short. See [`builder`](Self::builder) for more to say.
    ///
    /// Waits until the connection is made, at most [`CONNECT_TIMEOUT`]. What answers there is found out by the
    /// first call.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT for a URL that cannot be used, UNAVAILABLE if nothing can be reached there; the message
    /// names the address.
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// A client to be, with its settings: for timeouts other than the defaults.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            retry: None,
        }
    }

    /// Reads one key. A missing key is an answer: `entry` is `None`.
    ///
    /// Await what this returns; [`Call`] says what may come before that, and what errors there are.
    pub fn read(&self, key: impl Into<String>) -> Call<'_, Read> {
        Call::new(self, Read::new(key))
    }

    /// Creates or replaces one value. Without a condition, the last writer wins. Await it; see [`Call`].
    pub fn write(&self, key: impl Into<String>, value: impl Into<Value>) -> Call<'_, Write> {
        Call::new(self, Write::new(key, value))
    }

    /// Adds to an int in one step, and tells the sum; a missing key counts from 0. Await it; see [`Call`].
    pub fn add(&self, key: impl Into<String>, delta: i64) -> Call<'_, Add> {
        Call::new(self, Add::new(key, delta))
    }

    /// Gives a key another lifetime, the one that is set or none, and leaves its value. Await it; see [`Call`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use soloist_client::{Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// client.touch("cache/1").ttl(Duration::from_secs(60)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn touch(&self, key: impl Into<String>) -> Call<'_, Write> {
        Call::new(self, Write::touch(key))
    }

    /// Moves a key to another state of its [machine](Machine). Await it; see [`Call`].
    pub fn transition(
        &self,
        key: impl Into<String>,
        to: impl Into<String>,
    ) -> Call<'_, Transition> {
        Call::new(self, Transition::new(key, to))
    }

    /// Deletes one key, and tells what was there. Await it; see [`Call`].
    pub fn delete(&self, key: impl Into<String>) -> Call<'_, Delete> {
        Call::new(self, Delete::new(key))
    }

    /// Does all operations, in order and at one revision, or none. Await it; see [`Call`].
    pub fn batch(&self, batch: Batch) -> Call<'_, Batch> {
        Call::new(self, batch)
    }

    /// Lists the keys that begin with `prefix`, a page at a time. Await it; see [`Call`].
    pub fn list(&self, prefix: impl Into<String>) -> Call<'_, List> {
        Call::new(self, List::new(prefix))
    }

    /// Watches one key: sends each of its changes as it happens. Await it, and then its messages; see
    /// [`Watch`](crate::Watch).
    pub fn watch_key(&self, key: impl Into<String>) -> WatchCall<'_> {
        WatchCall::key(self, key)
    }

    /// Watches all keys that begin with `prefix`; every key if it is empty. Await it, and then its messages; see
    /// [`Watch`](crate::Watch).
    pub fn watch_prefix(&self, prefix: impl Into<String>) -> WatchCall<'_> {
        WatchCall::prefix(self, prefix)
    }

    /// Creates or replaces a [`Machine`], and tells it with its revision. To define what is there already changes
    /// nothing. Await it; see [`Call`].
    ///
    /// Keys that are there keep their states: FAILED_PRECONDITION (ENTRIES_IN_STATE) if the new definition would leave
    /// one of those out, and (PREFIX_TAKEN) for a prefix that begins with another machine's.
    pub fn define_machine(&self, machine: Machine) -> Call<'_, DefineMachine> {
        Call::new(self, DefineMachine::new(machine))
    }

    /// Shows one machine; NOT_FOUND if there is none of that name. Await it; see [`Call`].
    pub fn get_machine(&self, name: impl Into<String>) -> Call<'_, GetMachine> {
        Call::new(self, GetMachine::new(name))
    }

    /// Lists the machines, a page at a time. Await it; see [`Call`].
    pub fn list_machines(&self) -> Call<'_, ListMachines> {
        Call::new(self, ListMachines::default())
    }

    /// Deletes a machine; the keys under it stay, without a state. FAILED_PRECONDITION (ENTRIES_IN_STATE) while one is
    /// in a state that is not final. Await it; see [`Call`].
    pub fn delete_machine(&self, name: impl Into<String>) -> Call<'_, DeleteMachine> {
        Call::new(self, DeleteMachine::new(name))
    }

    /// Begins a session that lives for `ttl`, 1 s to 24 h, unless it is renewed. Await it; see [`Call`].
    ///
    /// ALREADY_EXISTS (SESSION_EXISTS) if there is a living one of the same id, unless it is told to take over.
    pub fn open_session(&self, ttl: Duration) -> Call<'_, OpenSession> {
        Call::new(self, OpenSession::new(ttl))
    }

    /// Proves that the session's client is still there: its ttl counts anew from now. Await it; see [`Call`].
    ///
    /// NOT_FOUND (SESSION_NOT_FOUND) if it has ended, ABORTED (SESSION_TAKEN_OVER) if another one of its id has begun.
    /// [`keep_alive`](Self::keep_alive) does this by itself.
    pub fn renew_session(&self, session: &Session) -> Call<'_, RenewSession> {
        Call::new(self, RenewSession::new(session))
    }

    /// Ends a session, and its keys with it. Errors as for [`renew_session`](Self::renew_session). Await it; see
    /// [`Call`].
    pub fn close_session(&self, session: &Session) -> Call<'_, CloseSession> {
        Call::new(self, CloseSession::new(session))
    }

    /// Lists the living sessions, a page at a time. Await it; see [`Call`].
    pub fn list_sessions(&self) -> Call<'_, ListSessions> {
        Call::new(self, ListSessions::default())
    }

    /// Renews a session now, and in the background from then on, until what this returns is dropped.
    ///
    /// Waits for the first renewal, at most the client's timeout. Dropped midway, nothing goes on.
    ///
    /// # Errors
    ///
    /// Those of [`renew_session`](Self::renew_session): NOT_FOUND and ABORTED mean that the session is lost, and
    /// otherwise it is safe to retry.
    pub async fn keep_alive(&self, session: &Session) -> Result<KeepAlive, Error> {
        KeepAlive::start(self, session).await
    }

    /// Opens a pipeline: frames of operations, many in flight, answered in order. The cheapest way to do many.
    ///
    /// Await what this returns; see [`Pipeline`](crate::Pipeline).
    pub fn pipeline(&self) -> PipelineCall<'_> {
        PipelineCall::new(&self.state, self.timeout)
    }

    /// Tells what the server is, how full it is, and its limits, all of one moment.
    ///
    /// Waits for the answer, at most the client's timeout.
    ///
    /// # Errors
    ///
    /// As for [`Call`]. UNIMPLEMENTED if what answers is not a Soloist.
    pub async fn info(&self) -> Result<Info, Error> {
        self.info_within(self.timeout).await
    }

    pub(crate) async fn info_within(&self, timeout: Duration) -> Result<Info, Error> {
        let mut admin = self.admin.clone();
        let request = with_timeout(GetInfoRequest {}, timeout);
        within(timeout, Outcome::NotApplied, admin.get_info(request)).await
    }
}

/// The settings of a [`Client`] to be.
#[derive(Clone, Debug)]
#[must_use = "connects when told to"]
pub struct ClientBuilder {
    url: String,
    connect_timeout: Duration,
    timeout: Duration,
    retry: Option<Retry>,
}

impl ClientBuilder {
    /// How long to wait for a connection, each time one is made. Default: [`CONNECT_TIMEOUT`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long each call may take that does not say otherwise itself. Default: [`TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends each call again that fails where that is safe, unless the call says otherwise itself. Default: no retries.
    ///
    /// Not for [`Client::info`], frames of a pipeline, and watches, which have their own way to
    /// [resume](WatchCall::resume).
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Connects, as [`Client::connect`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Client::connect`].
    pub async fn connect(self) -> Result<Client, Error> {
        let uri = parse_url(&self.url)?;
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
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        // The endpoint's own timeout is for later connections, and its error does not say so.
        let channel = tokio::time::timeout(self.connect_timeout, connecting.connect())
            .await
            .map_err(|_| {
                unreachable(&format_args!(
                    "no connection within {:?}",
                    self.connect_timeout
                ))
            })?
            .map_err(|error| unreachable(root_cause(&error)))?;

        Ok(Client {
            state: StateClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            machines: MachinesClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            sessions: SessionsClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            admin: AdminClient::new(channel),
            timeout: self.timeout,
            retry: self.retry,
        })
    }
}

/// Accepts `http://HOST:PORT` and `HOST:PORT`.
fn parse_url(url: &str) -> Result<Uri, Error> {
    let bad = |why: &str| {
        Error::new(
            Code::InvalidArgument,
            format!("cannot use {url:?}: {why}; it has the form http://HOST:PORT"),
            Outcome::NotApplied,
        )
    };
    let full = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let uri: Uri = full
        .parse()
        .map_err(|_| bad("not a URL (an IPv6 address stands in brackets)"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(bad("TLS is not supported yet")),
        _ => return Err(bad("unknown scheme")),
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(bad("a user has no meaning"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("no host"));
    }
    if uri.port_u16().is_none() {
        return Err(bad("no port"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad("a path has no meaning"));
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
