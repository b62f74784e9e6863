//! The client: connects to a server and makes calls.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use soloist::v1::Info;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;

use crate::connecting::Security;
use crate::connection::Connection;
use crate::election::leader;
use crate::machine::{DefineMachine, DeleteMachine, GetMachine, ListMachines};
use crate::routes::connect;
use crate::session::{CloseSession, ListSessions, OpenSession, RenewSession};
use crate::token::Token;
use crate::transport::Transport;
use crate::{
    Add, Batch, Call, Delete, DeletePrefix, ElectCall, Error, KeepAlive, Leader, List, LockCall,
    Machine, Observe, PipelineCall, Read, Retry, Session, Transition, Value, WatchCall, Write,
};

/// How long to wait for a connection, unless told otherwise: 5 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take, unless told otherwise: 10 s, the default limit of servers (`Limits.max_deadline`).
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to one server, or to the nodes of one store. Cloning is cheap, and clones share the connection. After a connection is lost, the next
/// call connects again.
///
/// A connection carries as many calls, watches and pipelines at once as its server allows, 256 by default. Further
/// calls wait until one of these ends, at most for their timeout. To have more at once, connect more than once.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to `http://HOST:PORT`, or `HOST:PORT` for short, to `https://HOST:PORT`, which trusts the CAs of the
    /// system, or to the Unix socket `unix:PATH`. [`builder`](Self::builder) has more settings.
    ///
    /// Several addresses, with commas in between, are the nodes of one store: `http://a:50051,b:50051,c:50051`. A client connects
    /// to the first that it can reach, and finds the owner of the store from there: a node that is not the owner says which is.
    /// A call that no owner has seen is sent again at once, at each address and where a node says that the owner is. It goes on
    /// with the next address when a connection is lost, and when a call is given up after a second or more without an answer. The
    /// owner may be at an address that is not in the list; it is connected to in the same way, with the same files. At most 32.
    ///
    /// Waits until the connection is made, at most [`CONNECT_TIMEOUT`] for each address. Over TLS it also waits for the server's first bytes,
    /// which tell whether the server accepts the client's certificate; without TLS it waits half a second for them. Whether a
    /// Soloist server answers there is not checked before the first call. If the future is dropped, the connection is closed.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT for a URL that cannot be used, and for a file that cannot; then
    /// [`metadata("field")`](Error::metadata) names the method of [`ClientBuilder`] that was given the file, and the message
    /// begins with that name. Mend the cause before a retry. UNAVAILABLE if no connection can be made; the message names the
    /// address and says what to do: about a certificate that one side does not accept, or a server that speaks TLS where the
    /// client does not, or the reverse. Nothing was applied, and it is safe to retry.
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a client with other settings than the defaults.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            retry: None,
            security: Security::default(),
            token_file: None,
            headers: Vec::new(),
        }
    }

    /// Reads one key. A missing key is no error: `entry` is `None` then.
    ///
    /// Returns a [`Call`] to await.
    pub fn read(&self, key: impl Into<String>) -> Call<'_, Read> {
        Call::new(&self.connection, Read::new(key))
    }

    /// Creates or replaces one value. Without a condition the last writer wins. Returns a [`Call`] to await.
    pub fn write(&self, key: impl Into<String>, value: impl Into<Value>) -> Call<'_, Write> {
        Call::new(&self.connection, Write::new(key, value))
    }

    /// Adds to an int in one step and returns the sum. A missing key counts as 0 and is created. Returns a [`Call`] to
    /// await.
    pub fn add(&self, key: impl Into<String>, delta: i64) -> Call<'_, Add> {
        Call::new(&self.connection, Add::new(key, delta))
    }

    /// Sets the lifetime of a key, or removes it if none is given, and leaves its value as it is. NOT_FOUND for a
    /// missing key. Returns a [`Call`] to await.
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

    /// Moves a key to another state of its [machine](Machine). FAILED_PRECONDITION (TRANSITION_REFUSED) if the machine
    /// does not allow the move. Returns a [`Call`] to await.
    pub fn transition(
        &self,
        key: impl Into<String>,
        to: impl Into<String>,
    ) -> Call<'_, Transition> {
        Call::new(&self.connection, Transition::new(key, to))
    }

    /// Deletes one key and returns what was stored. A missing key is no error. Returns a [`Call`] to await.
    pub fn delete(&self, key: impl Into<String>) -> Call<'_, Delete> {
        Call::new(&self.connection, Delete::new(key))
    }

    /// Applies all operations in order and at one store revision, or none of them. Returns a [`Call`] to await.
    pub fn batch(&self, batch: Batch) -> Call<'_, Batch> {
        Call::new(&self.connection, batch)
    }

    /// Lists the keys that begin with `prefix`, one page at a time. Returns a [`Call`] to await.
    pub fn list(&self, prefix: impl Into<String>) -> Call<'_, List> {
        Call::new(&self.connection, List::new(prefix))
    }

    /// Watches one key: streams each of its changes as it happens. Await the returned call to get the
    /// [`Watch`](crate::Watch).
    pub fn watch_key(&self, key: impl Into<String>) -> WatchCall<'_> {
        WatchCall::key(&self.connection, key)
    }

    /// Deletes keys that begin with `prefix`, up to `Limits.max_page_size` of them at one revision. Keys in a state of
    /// their machine that is not final are kept and counted. Send the `next_page_token` of the reply to go on, until
    /// there is none. Returns a [`Call`] to await.
    pub fn delete_prefix(&self, prefix: impl Into<String>) -> Call<'_, DeletePrefix> {
        Call::new(&self.connection, DeletePrefix::new(prefix))
    }

    /// Watches all keys that begin with `prefix`, or every key if it is empty. Await the returned call to get the
    /// [`Watch`](crate::Watch).
    pub fn watch_prefix(&self, prefix: impl Into<String>) -> WatchCall<'_> {
        WatchCall::prefix(&self.connection, prefix)
    }

    /// Creates or replaces a [`Machine`] and returns it with its revision. A definition that is equal to the present
    /// one changes nothing. Returns a [`Call`] to await.
    ///
    /// Existing keys keep their states. FAILED_PRECONDITION (ENTRIES_IN_STATE) if the new definition lacks the state of
    /// a key, and (PREFIX_TAKEN) if its prefix overlaps with that of another machine.
    pub fn define_machine(&self, machine: Machine) -> Call<'_, DefineMachine> {
        Call::new(&self.connection, DefineMachine::new(machine))
    }

    /// Returns one machine. NOT_FOUND if there is none of that name. Returns a [`Call`] to await.
    pub fn get_machine(&self, name: impl Into<String>) -> Call<'_, GetMachine> {
        Call::new(&self.connection, GetMachine::new(name))
    }

    /// Lists the machines, one page at a time. Returns a [`Call`] to await.
    pub fn list_machines(&self) -> Call<'_, ListMachines> {
        Call::new(&self.connection, ListMachines::default())
    }

    /// Deletes a machine. The keys under it stay and have no state from then on. FAILED_PRECONDITION (ENTRIES_IN_STATE)
    /// while a key is in a state that is not final, unless the call is forced. Returns a [`Call`] to await.
    pub fn delete_machine(&self, name: impl Into<String>) -> Call<'_, DeleteMachine> {
        Call::new(&self.connection, DeleteMachine::new(name))
    }

    /// Opens a session that lives for `ttl`, 1 s to 24 h, unless it is renewed. Returns a [`Call`] to await.
    ///
    /// ALREADY_EXISTS (SESSION_EXISTS) if there is a live session of the same id, unless the call takes it over.
    pub fn open_session(&self, ttl: Duration) -> Call<'_, OpenSession> {
        Call::new(&self.connection, OpenSession::new(ttl))
    }

    /// Renews a session: its ttl counts from now again. Returns a [`Call`] to await. [`keep_alive`](Self::keep_alive)
    /// renews a session in the background.
    ///
    /// NOT_FOUND (SESSION_NOT_FOUND) if the session has ended, ABORTED (SESSION_TAKEN_OVER) if another session of the
    /// same id has begun since.
    pub fn renew_session(&self, session: &Session) -> Call<'_, RenewSession> {
        Call::new(&self.connection, RenewSession::new(session))
    }

    /// Ends a session and deletes its keys. Errors as for [`renew_session`](Self::renew_session). Returns a [`Call`] to
    /// await.
    pub fn close_session(&self, session: &Session) -> Call<'_, CloseSession> {
        Call::new(&self.connection, CloseSession::new(session))
    }

    /// Lists the live sessions, one page at a time. Returns a [`Call`] to await.
    pub fn list_sessions(&self) -> Call<'_, ListSessions> {
        Call::new(&self.connection, ListSessions::default())
    }

    /// Renews a session now, and then in the background until the returned [`KeepAlive`] is dropped.
    ///
    /// Waits for the first renewal, at most the client's timeout. If the future is dropped before, nothing is renewed
    /// in the background.
    ///
    /// # Errors
    ///
    /// Those of [`renew_session`](Self::renew_session). NOT_FOUND and ABORTED mean that the session is lost. After any
    /// other error it is safe to retry.
    pub async fn keep_alive(&self, session: &Session) -> Result<KeepAlive, Error> {
        KeepAlive::start(&self.connection, session).await
    }

    /// Takes a lock, when it is free and everybody who asked before has had it. Await the returned call to get the
    /// [`Lock`](crate::Lock). The keys `NAME/…` without a further slash belong to the lock.
    pub fn lock(&self, name: impl Into<String>) -> LockCall<'_> {
        LockCall::new(&self.connection, name)
    }

    /// Stands in an election with a value that tells others who this is. Await the returned call to get the
    /// [`Leadership`](crate::Leadership), when everybody who stood before has led. The keys `NAME/…` without a further slash
    /// belong to the election.
    pub fn elect(&self, name: impl Into<String>, value: impl Into<Value>) -> ElectCall<'_> {
        ElectCall::new(&self.connection, name, value)
    }

    /// Observes an election, or a lock: returns who leads now, and then each change. Unlike a look with
    /// [`leader`](Self::leader), it leaves out no change that lasts until the next [`next`](Observe::next).
    ///
    /// Nothing is sent before [`Observe::next`] is called. The client needs the right to read `NAME/*`.
    pub fn observe(&self, name: impl Into<String>) -> Observe {
        Observe::new(&self.connection, name.into())
    }

    /// Returns who leads, or who holds a lock. `None` if nobody does. It may have changed by the time of the return.
    ///
    /// Waits for the reply, at most the client's timeout, and retries.
    ///
    /// # Errors
    ///
    /// As for [`Call`]. DEADLINE_EXCEEDED if the server was away for so long.
    pub async fn leader(&self, name: impl AsRef<str>) -> Result<Option<Leader>, Error> {
        leader(&self.connection, name.as_ref()).await
    }

    /// Opens a pipeline: a stream with many frames of operations in flight, answered in order. This is the cheapest way
    /// to do many operations.
    ///
    /// Await the returned call to get the [`Pipeline`](crate::Pipeline).
    pub fn pipeline(&self) -> PipelineCall<'_> {
        PipelineCall::new(&self.connection)
    }

    /// Returns what the server is, how full it is, and its limits, all of one moment.
    ///
    /// Waits for the reply, at most the client's timeout. Never retried.
    ///
    /// # Errors
    ///
    /// As for [`Call`]. UNIMPLEMENTED if the peer is no Soloist server.
    pub async fn info(&self) -> Result<Info, Error> {
        self.connection.info(self.connection.timeout).await
    }

    /// Makes a call in the messages of the wire, such as `soloist::v1::ReadRequest`, which is answered with a
    /// `soloist::v1::ReadResponse`. Unlike those of [`state_client`](Self::state_client), it has the timeout and the retries of
    /// this client, and its errors. Returns a [`Call`] to await.
    ///
    /// ```
    /// # use soloist_client::{Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// use soloist::v1::{ReadRequest, ReadResponse};
    ///
    /// let request = ReadRequest { key: "greeting".into(), expect: None };
    /// let response: ReadResponse = client.call(request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<R>(&self, request: R) -> Call<'_, R> {
        Call::new(&self.connection, request)
    }

    /// Returns the connection itself, for the generated clients of other services, such as that of `grpc.health.v1`.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.connection.transport.clone()
    }

    /// Returns the generated client of `soloist.v1.State` on this connection, for calls in the messages of the wire.
    ///
    /// The timeout and the retries of this client do not apply to it. [`Error::from_status`] converts its errors.
    #[must_use]
    pub fn state_client(&self) -> StateClient<Transport> {
        self.connection.state.clone()
    }

    /// Returns the generated client of `soloist.v1.Admin` on this connection, as [`state_client`](Self::state_client) does.
    #[must_use]
    pub fn admin_client(&self) -> AdminClient<Transport> {
        self.connection.admin.clone()
    }
}

/// The settings of a [`Client`] before it is connected.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClientBuilder {
    url: String,
    connect_timeout: Duration,
    timeout: Duration,
    retry: Option<Retry>,
    security: Security,
    token_file: Option<PathBuf>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ClientBuilder {
    /// Trusts the CAs in this PEM file, of at most 16 MiB, and no others. Default: the CAs of the system.
    ///
    /// Read again for each connection, so that CAs can be exchanged while the client runs: first both, then the new one
    /// alone. Replace the file by renaming another to its name: a file that is read while it is written may lack CAs. For
    /// `https` URLs only: [`connect`](Self::connect) refuses it with any other.
    #[cfg(feature = "tls")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.security.files.ca = Some(path.into());
        self
    }

    /// Shows the server a certificate: the PEM file of the certificate and the chain above it, and that of its key (PKCS
    /// #8, PKCS #1 or SEC 1), of at most 16 MiB each. Default: none.
    ///
    /// Read again for each connection. If the files cannot be used then, because only one of them has been replaced so far,
    /// the connection is made with the last ones that could. A server that accepts the old certificate no longer ends the
    /// connection in order, and calls go on over a new one. For `https` URLs only, as [`ca_file`](Self::ca_file).
    #[cfg(feature = "tls")]
    pub fn identity_files(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.security.files.identity = Some((cert.into(), key.into()));
        self
    }

    /// The name that the server's certificate must have: a DNS name, or an IP address. Default: the host of the URL. For
    /// `https` URLs only, as [`ca_file`](Self::ca_file).
    #[cfg(feature = "tls")]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.security.files.server_name = Some(name.into());
        self
    }

    /// Sends the token in this file, of at most 16 KiB, with each call: its one line, without the space around it. Default:
    /// none.
    ///
    /// Read again by the first call after a second, so that a token can be replaced while the client runs: let the server
    /// know both for some seconds. While the file cannot be read, the last token is sent. Without TLS everybody on the way
    /// can read the token.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Sends a header with each call. For `soloist-load`.
    #[doc(hidden)]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// How long to wait for a connection, each time one is made. Default: [`CONNECT_TIMEOUT`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take if the call has no timeout of its own. Default: [`TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Retries failed calls where that is safe, unless a call has its own setting. Default: no retries.
    ///
    /// Does not apply to [`Client::info`], to frames of a pipeline, and to watches, which [resume](WatchCall::resume)
    /// instead.
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
        let token = match self.token_file {
            Some(path) => Some(Token::open(path).await?),
            None => None,
        };
        let (channel, routes) = connect(&self.url, &self.security, self.connect_timeout).await?;
        let transport = Transport::new(channel, routes, token, self.headers);
        Ok(Client {
            connection: Connection::new(transport, self.timeout, self.retry),
        })
    }
}
