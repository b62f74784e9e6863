//! Shared by the tests: a server on a free port, clients, requests, and checks of errors.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, PipelineRequest, PipelineResponse, ReadRequest, WriteRequest};
use soloist_server::config::{Config, Transport};
use soloist_server::{Listener, Node, Server, Store};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The configuration of a server of a test: the defaults, with few threads.
fn config() -> Config {
    let mut config = Config::default();
    config.transport.threads = 2;
    config.transport.transport = transport();
    config
}

/// The transport that the tests are run over: the default, unless SOLOIST_TRANSPORT names another.
pub(crate) fn transport() -> Transport {
    let name = std::env::var("SOLOIST_TRANSPORT");
    name.map_or_else(
        |_| Transport::Own,
        |name| Transport::of_name(&name).unwrap(),
    )
}

/// A server for one test, which keeps its store in memory.
pub(crate) struct TestServer {
    server: Server,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, &config).unwrap();
        Self { server }
    }

    /// A server that listens for HTTP, too. It serves already, so that `/readyz` says so.
    pub(crate) fn with_http(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_http_on(TcpListener::bind("127.0.0.1:0").unwrap(), change)
    }

    /// The same, which listens for calls on `listener`.
    pub(crate) fn with_http_on(
        listener: impl Into<Listener>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config();
        change(&mut config);
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let prepared = Server::prepare(&config, Some(http.into())).unwrap();
        let store = Store::open(&config).unwrap();
        let server = prepared.serve(listener, store).unwrap();
        let pulse = server.pulse();
        // On a thread of its own: the test's may not be blocked.
        let serves = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(pulse.beat())
        });
        assert!(serves.join().unwrap(), "the owner has ended");
        Self { server }
    }

    /// A standby `b`, which is told that the owner `a` is at this address.
    pub(crate) fn standby(owner: Option<&str>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::standing_by(owner, &config, None)
    }

    /// A standby that listens for HTTP, too.
    pub(crate) fn standby_with_http(owner: &str) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::standing_by(Some(owner), &config(), Some(http.into()))
    }

    fn standing_by(owner: Option<&str>, config: &Config, http: Option<Listener>) -> Self {
        let prepared = Server::prepare(config, http).unwrap();
        let node = Node::standing_by("b", owner.map(|owner| ("a", owner))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = prepared.stand_by(listener, node).unwrap();
        Self { server }
    }

    pub(crate) fn http_addr(&self) -> SocketAddr {
        self.server.http_addr().unwrap().tcp().unwrap()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr().tcp().unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.addr()).await
    }

    pub(crate) async fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel().await)
    }

    pub(crate) async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel().await)
    }

    /// Makes the server use files that have changed.
    pub(crate) async fn reload(&self) {
        let outcome = self.reloaded().await;
        assert_eq!(outcome, Ok(true), "the files have changed");
    }

    /// Makes the server look at files that it cannot use. Returns why not.
    pub(crate) async fn reload_refused(&self) -> String {
        self.reloaded().await.unwrap_err()
    }

    async fn reloaded(&self) -> Result<bool, String> {
        let reload = self.server.reload_handle();
        let looked = tokio::task::spawn_blocking(move || reload.now());
        looked.await.unwrap().expect("the server has files")
    }

    pub(crate) fn drain(&self) {
        self.server.drain();
    }

    /// Waits until the server has shut down.
    pub(crate) async fn stopped(self) {
        tokio::task::spawn_blocking(|| self.server.wait())
            .await
            .unwrap()
            .unwrap();
    }
}

pub(crate) async fn channel(addr: SocketAddr) -> Channel {
    connect(format!("http://{addr}")).await
}

/// A channel to a server that listens on a Unix socket.
pub(crate) async fn unix_channel(path: &Path) -> Channel {
    connect(format!("unix:{}", path.display())).await
}

async fn connect(url: String) -> Channel {
    let endpoint = Endpoint::from_shared(url).unwrap();
    endpoint.connect().await.unwrap()
}

pub(crate) fn int(int: i64) -> v1::Value {
    v1::Value {
        kind: Some(v1::value::Kind::Int(int)),
    }
}

pub(crate) fn text(text: impl Into<String>) -> v1::Value {
    v1::Value {
        kind: Some(v1::value::Kind::Text(text.into())),
    }
}

pub(crate) fn read(key: impl Into<String>) -> ReadRequest {
    ReadRequest {
        key: key.into(),
        expect: None,
    }
}

pub(crate) fn write(key: impl Into<String>, value: v1::Value) -> WriteRequest {
    WriteRequest {
        key: key.into(),
        value: Some(value),
        ..WriteRequest::default()
    }
}

pub(crate) fn expect(test: v1::condition::Test) -> Option<v1::Condition> {
    Some(v1::Condition { test: Some(test) })
}

pub(crate) fn read_op(key: &str) -> v1::Op {
    v1::Op {
        op: Some(v1::op::Op::Read(read(key))),
    }
}

pub(crate) fn write_op(request: WriteRequest) -> v1::Op {
    v1::Op {
        op: Some(v1::op::Op::Write(request)),
    }
}

pub(crate) fn frame(ops: impl IntoIterator<Item = v1::Op>) -> PipelineRequest {
    PipelineRequest {
        ops: ops.into_iter().collect(),
        ..PipelineRequest::default()
    }
}

pub(crate) fn atomic(ops: impl IntoIterator<Item = v1::Op>) -> PipelineRequest {
    PipelineRequest {
        atomic: true,
        ..frame(ops)
    }
}

/// Opens a Pipeline. Returns where to put frames, and the answers to them.
pub(crate) async fn pipeline(
    client: &mut StateClient<Channel>,
) -> (mpsc::Sender<PipelineRequest>, Streaming<PipelineResponse>) {
    let (sender, mut frames) = mpsc::channel(1024);
    let stream = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx));
    let answers = client.pipeline(stream).await.unwrap().into_inner();
    (sender, answers)
}

/// Checks that an error has this code, this reason and exactly this metadata.
#[track_caller]
pub(crate) fn assert_refused(
    status: &Status,
    code: Code,
    reason: &str,
    metadata: &[(&str, &str)],
) -> ErrorDetails {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.check_error_details().unwrap();
    assert_details(&details, reason, metadata);
    details
}

#[track_caller]
pub(crate) fn assert_details(details: &ErrorDetails, reason: &str, metadata: &[(&str, &str)]) {
    let info = details
        .error_info()
        .expect("every error of Soloist has an ErrorInfo");
    assert_eq!(
        (info.domain.as_str(), info.reason.as_str()),
        ("soloist.v1", reason)
    );
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    assert_eq!(info.metadata, metadata, "{reason}");
}

/// [`assert_refused`] for an error in the answer of a stream.
#[track_caller]
pub(crate) fn assert_rpc_refused(
    status: &tonic_types::pb::Status,
    code: Code,
    reason: &str,
    metadata: &[(&str, &str)],
) {
    use tonic_types::RpcStatusExt as _;
    assert_eq!(Code::from(status.code), code, "{status:?}");
    assert_details(&status.check_error_details().unwrap(), reason, metadata);
}
