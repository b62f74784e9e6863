//! A connection to a server.

use std::time::Duration;

use soloist::v1::Info;
use soloist::v1::state_client::StateClient;
use tonic::transport::Channel;

use crate::connection::{Connection, connect};
use crate::machine::{DefineMachine, DeleteMachine, GetMachine, ListMachines};
use crate::session::{CloseSession, ListSessions, OpenSession, RenewSession};
use crate::{
    Add, Batch, Call, Delete, Error, KeepAlive, List, Machine, PipelineCall, Read, Retry, Session,
    Transition, Value, WatchCall, Write,
};

/// How long to wait for a connection, unless told otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take, unless told otherwise: what servers allow by default.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to one server. Cloning is cheap, and clones share the connection. A lost connection is made anew by the
/// next call.
///
/// A connection carries as many calls, watches and pipelines at once as its server allows, 256 unless told otherwise; more
/// calls wait, also beyond their timeout if the others stay. For more, connect more than once.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
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
        Call::new(&self.connection, Read::new(key))
    }

    /// Creates or replaces one value. Without a condition, the last writer wins. Await it; see [`Call`].
    pub fn write(&self, key: impl Into<String>, value: impl Into<Value>) -> Call<'_, Write> {
        Call::new(&self.connection, Write::new(key, value))
    }

    /// Adds to an int in one step, and tells the sum; a missing key counts from 0. Await it; see [`Call`].
    pub fn add(&self, key: impl Into<String>, delta: i64) -> Call<'_, Add> {
        Call::new(&self.connection, Add::new(key, delta))
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
        Call::new(&self.connection, Write::touch(key))
    }

    /// Moves a key to another state of its [machine](Machine). Await it; see [`Call`].
    pub fn transition(
        &self,
        key: impl Into<String>,
        to: impl Into<String>,
    ) -> Call<'_, Transition> {
        Call::new(&self.connection, Transition::new(key, to))
    }

    /// Deletes one key, and tells what was there. Await it; see [`Call`].
    pub fn delete(&self, key: impl Into<String>) -> Call<'_, Delete> {
        Call::new(&self.connection, Delete::new(key))
    }

    /// Does all operations, in order and at one revision, or none. Await it; see [`Call`].
    pub fn batch(&self, batch: Batch) -> Call<'_, Batch> {
        Call::new(&self.connection, batch)
    }

    /// Lists the keys that begin with `prefix`, a page at a time. Await it; see [`Call`].
    pub fn list(&self, prefix: impl Into<String>) -> Call<'_, List> {
        Call::new(&self.connection, List::new(prefix))
    }

    /// Watches one key: sends each of its changes as it happens. Await it, and then its messages; see
    /// [`Watch`](crate::Watch).
    pub fn watch_key(&self, key: impl Into<String>) -> WatchCall<'_> {
        WatchCall::key(&self.connection, key)
    }

    /// Watches all keys that begin with `prefix`; every key if it is empty. Await it, and then its messages; see
    /// [`Watch`](crate::Watch).
    pub fn watch_prefix(&self, prefix: impl Into<String>) -> WatchCall<'_> {
        WatchCall::prefix(&self.connection, prefix)
    }

    /// Creates or replaces a [`Machine`], and tells it with its revision. To define what is there already changes
    /// nothing. Await it; see [`Call`].
    ///
    /// Keys that are there keep their states: FAILED_PRECONDITION (ENTRIES_IN_STATE) if the new definition would leave
    /// one of those out, and (PREFIX_TAKEN) for a prefix that begins with another machine's.
    pub fn define_machine(&self, machine: Machine) -> Call<'_, DefineMachine> {
        Call::new(&self.connection, DefineMachine::new(machine))
    }

    /// Shows one machine; NOT_FOUND if there is none of that name. Await it; see [`Call`].
    pub fn get_machine(&self, name: impl Into<String>) -> Call<'_, GetMachine> {
        Call::new(&self.connection, GetMachine::new(name))
    }

    /// Lists the machines, a page at a time. Await it; see [`Call`].
    pub fn list_machines(&self) -> Call<'_, ListMachines> {
        Call::new(&self.connection, ListMachines::default())
    }

    /// Deletes a machine; the keys under it stay, without a state. FAILED_PRECONDITION (ENTRIES_IN_STATE) while one is
    /// in a state that is not final. Await it; see [`Call`].
    pub fn delete_machine(&self, name: impl Into<String>) -> Call<'_, DeleteMachine> {
        Call::new(&self.connection, DeleteMachine::new(name))
    }

    /// Begins a session that lives for `ttl`, 1 s to 24 h, unless it is renewed. Await it; see [`Call`].
    ///
    /// ALREADY_EXISTS (SESSION_EXISTS) if there is a living one of the same id, unless it is told to take over.
    pub fn open_session(&self, ttl: Duration) -> Call<'_, OpenSession> {
        Call::new(&self.connection, OpenSession::new(ttl))
    }

    /// Proves that the session's client is still there: its ttl counts anew from now. Await it; see [`Call`].
    ///
    /// NOT_FOUND (SESSION_NOT_FOUND) if it has ended, ABORTED (SESSION_TAKEN_OVER) if another one of its id has begun.
    /// [`keep_alive`](Self::keep_alive) does this by itself.
    pub fn renew_session(&self, session: &Session) -> Call<'_, RenewSession> {
        Call::new(&self.connection, RenewSession::new(session))
    }

    /// Ends a session, and its keys with it. Errors as for [`renew_session`](Self::renew_session). Await it; see
    /// [`Call`].
    pub fn close_session(&self, session: &Session) -> Call<'_, CloseSession> {
        Call::new(&self.connection, CloseSession::new(session))
    }

    /// Lists the living sessions, a page at a time. Await it; see [`Call`].
    pub fn list_sessions(&self) -> Call<'_, ListSessions> {
        Call::new(&self.connection, ListSessions::default())
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
        KeepAlive::start(&self.connection, session).await
    }

    /// Opens a pipeline: frames of operations, many in flight, answered in order. The cheapest way to do many.
    ///
    /// Await what this returns; see [`Pipeline`](crate::Pipeline).
    pub fn pipeline(&self) -> PipelineCall<'_> {
        PipelineCall::new(&self.connection)
    }

    /// Tells what the server is, how full it is, and its limits, all of one moment.
    ///
    /// Waits for the answer, at most the client's timeout.
    ///
    /// # Errors
    ///
    /// As for [`Call`]. UNIMPLEMENTED if what answers is not a Soloist.
    pub async fn info(&self) -> Result<Info, Error> {
        self.connection.info(self.connection.timeout).await
    }

    /// The generated client of `soloist.v1.State`, on this connection: for messages as they are on the wire.
    ///
    /// It knows nothing of this client's timeout and retries. [`Error::from_status`] converts what it fails with.
    #[must_use]
    pub fn state_client(&self) -> StateClient<Channel> {
        self.connection.state.clone()
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
        let channel = connect(&self.url, self.connect_timeout).await?;
        Ok(Client {
            connection: Connection::new(channel, self.timeout, self.retry),
        })
    }
}
