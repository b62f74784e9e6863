//! TLS: who is accepted, what the others are told, and what a change of certificates does.

mod backup;
mod by_hand;
mod canary;
mod certificates;
mod forwarding;
mod handshakes;
mod identities;
mod programs;
mod replacements;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use certificates::{Authority, Files, Identity};
use http::Response;
use hyper_util::rt::TokioIo;
use rcgen::date_time_ymd;
use soloist::v1::state_client::StateClient;
use soloist_server::config::{ClientAuth, Config, TlsVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tonic::transport::{Channel, Endpoint};

use crate::metrics::Scrape;
use crate::moves::{MOVES, check_a_move};
use crate::support::{TestServer, int, read, write};

/// What a test has of certificates: one authority for servers and clients.
struct Setup {
    authority: Authority,
    files: Files,
}

impl Setup {
    fn new() -> Self {
        let setup = Self {
            authority: Authority::new("an authority"),
            files: Files::new(),
        };
        setup.files.write("ca.pem", &setup.authority.pem());
        setup.serve_as(&setup.authority.issue("localhost"));
        setup
    }

    /// Writes the certificate of the server.
    fn serve_as(&self, identity: &Identity) {
        self.files.write("cert.pem", &identity.chain_pem);
        self.files.write("key.pem", &identity.key_pem);
    }

    /// A server with TLS that asks clients for no certificate, and looks at its files when it is told to.
    fn server(&self, change: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::with(|config| {
            config.tls.cert = Some(self.files.path("cert.pem"));
            config.tls.key = Some(self.files.path("key.pem"));
            config.tls.reload_interval = Duration::from_secs(3600);
            change(config);
        })
    }

    /// A server that asks clients for certificates.
    fn mutual(&self, change: impl FnOnce(&mut Config)) -> TestServer {
        self.server(|config| {
            config.tls.client_ca = Some(self.files.path("ca.pem"));
            change(config);
        })
    }

    fn client(&self) -> Client {
        Client::of(&self.authority)
    }
}

/// How a client connects.
struct Client {
    roots: RootCertStore,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: &'static [&'static [u8]],
}

impl Client {
    /// A client that trusts `authority`.
    fn of(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        Self {
            roots,
            versions: vec![&TLS12, &TLS13],
            alpn: &[b"h2"],
        }
    }

    fn config(&self, identity: Option<&Identity>) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain(), identity.key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    async fn connect(
        &self,
        server: &TestServer,
        identity: Option<&Identity>,
    ) -> io::Result<TlsStream<TcpStream>> {
        connect(server, Arc::new(self.config(identity))).await
    }

    /// Makes a call. A client learns only with its first bytes that TLS 1.3 has refused its certificate.
    async fn call(&self, server: &TestServer, identity: Option<&Identity>) -> Result<(), String> {
        let stream = self.connect(server, identity).await;
        call(stream.map_err(|error| format!("{error:?}"))?).await
    }

    /// What operators are answered over TLS.
    async fn get(mut self, addr: SocketAddr, target: &str) -> Response<String> {
        self.alpn = &[b"http/1.1"];
        let connector = TlsConnector::from(Arc::new(self.config(None)));
        let stream = TcpStream::connect(addr).await.unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), stream);
        let start = format!("GET {target} HTTP/1.1\r\n");
        crate::http::exchange(stream.await.unwrap(), &start).await
    }
}

async fn connect(
    server: &TestServer,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.addr()).await?;
    // As real clients do: a call is two small writes, of which the second would wait for the first.
    stream.set_nodelay(true)?;
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

/// A channel over this stream. It cannot connect again.
async fn channel<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Hands out one stream.
    struct Once<S>(Option<S>);

    impl<S> tower_service::Service<http::Uri> for Once<S> {
        type Response = TokioIo<S>;
        type Error = io::Error;
        type Future = std::future::Ready<io::Result<TokioIo<S>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Uri) -> Self::Future {
            let stream = self.0.take().map(TokioIo::new);
            std::future::ready(stream.ok_or_else(|| io::Error::other("one connection only")))
        }
    }

    Endpoint::from_static("http://localhost")
        .connect_with_connector(Once(Some(stream)))
        .await
}

/// Makes a call over `stream`, and describes what went wrong.
async fn call<S>(stream: S) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let channel = channel(stream)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let written = StateClient::new(channel).write(write("k", int(1))).await;
    written.map(|_| ()).map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn calls_go_over_tls_with_the_versions_that_are_allowed() {
    let setup = Setup::new();
    let newest = setup.server(|_| ());
    let both = setup.server(|config| config.tls.min_version = TlsVersion::Tls12);
    let mut client = setup.client();
    for (version, by_newest) in [(&TLS13, true), (&TLS12, false)] {
        client.versions = vec![version];
        client.call(&both, None).await.unwrap();
        let called = client.call(&newest, None).await;
        assert_eq!(called.is_ok(), by_newest, "{version:?}: {called:?}");
    }
}

#[tokio::test]
async fn clients_show_a_certificate_if_they_must() {
    let setup = Setup::new();
    let identity = setup.authority.issue("client");
    let client = setup.client();
    for (auth, with, without) in [
        (ClientAuth::Required, true, false),
        (ClientAuth::Optional, true, true),
        (ClientAuth::Off, true, true),
    ] {
        let server = setup.mutual(|config| config.tls.client_auth = auth);
        let called = client.call(&server, Some(&identity)).await;
        assert_eq!(called.is_ok(), with, "{auth:?} with: {called:?}");
        let called = client.call(&server, None).await;
        assert_eq!(called.is_ok(), without, "{auth:?} without: {called:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_shown_must_be_right() {
    let setup = Setup::new();
    let ours = &setup.authority;
    let revoked = ours.issue("revoked");
    setup.files.write("crl.pem", &ours.revokes(&[&revoked]));
    let between = ours.below("between");
    let expired = ours.issue_with("expired", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = ours.issue_with("early", |params| {
        params.not_before = date_time_ymd(2098, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
    });
    // The chain is longer than one record's worth of small messages: 100 names of 40 bytes.
    let long = ours.issue_with("long", |params| {
        let names = (0..100).map(|n| format!("{n:030}.example.org").try_into().unwrap());
        params.subject_alt_names = names.map(rcgen::SanType::DnsName).collect();
    });
    assert!(long.chain()[0].len() > 4096);
    // Each of these authorities may be above each other, by its name, and none is below ours.
    let mut maze = between.issue("in a maze");
    for _ in 0..40 {
        maze = maze.with_above(&Authority::new("between"));
    }
    // More than a message of the handshake may have.
    let mut too_much = ours.issue("too much");
    while too_much.chain_pem.len() < 100_000 {
        too_much = too_much.with_above(&between);
    }
    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        let server = setup.mutual(|config| {
            config.tls.client_auth = auth;
            config.tls.client_crl = Some(setup.files.path("crl.pem"));
        });
        let client = setup.client();
        for (what, identity, accepted) in [
            ("right", &ours.issue("right"), true),
            ("long", &long, true),
            (
                "with a chain",
                &between.issue("b").with_above(&between),
                true,
            ),
            ("without its chain", &between.issue("b"), false),
            ("with a maze", &maze, false),
            ("with too much", &too_much, false),
            ("of another", &Authority::new("another").issue("o"), false),
            ("self-signed", &Identity::self_signed("s"), false),
            ("expired", &expired, false),
            ("early", &early, false),
            ("revoked", &revoked, false),
        ] {
            let called = client.call(&server, Some(identity)).await;
            assert_eq!(called.is_ok(), accepted, "{auth:?}, {what}: {called:?}");
        }
    }
}

#[tokio::test]
async fn a_client_must_ask_for_http2() {
    let setup = Setup::new();
    let server = setup.server(|_| ());
    let mut client = setup.client();
    for (alpn, accepted) in [
        (&[b"h2" as &[u8]][..], true),
        (&[b"http/1.1", b"h2"], true),
        (&[b"http/1.1"], false),
        (&[], false),
    ] {
        client.alpn = alpn;
        let called = client.call(&server, None).await;
        assert_eq!(called.is_ok(), accepted, "{alpn:?}: {called:?}");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_that_it_does_not_trust() {
    let setup = Setup::new();
    let ours = &setup.authority;
    let server = setup.server(|_| ());
    let client = setup.client();
    client.call(&server, None).await.unwrap();
    let expired = ours.issue_with("localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = ours.issue_with("localhost", |params| {
        params.not_before = date_time_ymd(2098, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
    });
    // Each replaces the one before, while the server runs.
    for (identity, why) in [
        (ours.issue("example.org"), "NotValidForName"),
        (expired, "Expired"),
        (early, "NotValidYet"),
        (
            Authority::new("another").issue("localhost"),
            "UnknownIssuer",
        ),
        (Identity::self_signed("localhost"), "UnknownIssuer"),
    ] {
        setup.serve_as(&identity);
        server.reload().await;
        let error = client.call(&server, None).await.unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
    setup.serve_as(&ours.issue("localhost"));
    server.reload().await;
    client.call(&server, None).await.unwrap();
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_the_server_speaks_it() {
    let setup = Setup::new();
    let server = setup.server(|_| ());
    for start in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The rest of what was sent is not read, so the system may reset the connection after the answer.
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.contains("it speaks TLS"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_client_with_tls_can_tell_that_the_server_does_not_speak_it() {
    let setup = Setup::new();
    let server = TestServer::start();
    let error = setup.client().connect(&server, None).await.unwrap_err();
    // What OpenSSL calls a wrong version number, and Go no TLS handshake.
    assert!(error.to_string().contains("InvalidContentType"), "{error}");
}

#[tokio::test]
async fn new_connections_see_the_new_certificate_and_old_ones_stay_open() {
    let setup = Setup::new();
    let server = setup.server(|_| ());
    let client = setup.client();
    let stream = client.connect(&server, None).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| {
        let certificates = stream.get_ref().1.peer_certificates();
        certificates.unwrap()[0].clone().into_owned()
    };
    let first = shown(&stream);
    let mut old = StateClient::new(channel(stream).await.unwrap());
    old.read(read("k")).await.unwrap();

    setup.serve_as(&setup.authority.issue("localhost"));
    server.reload().await;
    let second = shown(&client.connect(&server, None).await.unwrap());
    assert_ne!(first, second);
    old.write(write("k", int(1))).await.unwrap();
    old.read(read("k")).await.unwrap();
}

#[tokio::test]
async fn files_that_are_wrong_together_change_nothing() {
    let setup = Setup::new();
    let server = setup.mutual(|_| ());
    let identity = setup.authority.issue("client");
    let client = setup.client();
    // The certificate without its key; then an authority that is no certificate.
    let other = setup.authority.issue("localhost");
    setup.files.write("cert.pem", &other.chain_pem);
    server.reload_refused().await;
    client.call(&server, Some(&identity)).await.unwrap();
    setup.files.write("key.pem", &other.key_pem);
    setup.files.write("ca.pem", "nothing");
    server.reload_refused().await;
    client.call(&server, Some(&identity)).await.unwrap();
    setup.files.write("ca.pem", &setup.authority.pem());
    server.reload().await;
    client.call(&server, Some(&identity)).await.unwrap();
}

/// Makes a call on a new connection. Returns whether that resumed an earlier one.
async fn handshake_kind(server: &TestServer, config: &Arc<ClientConfig>) -> HandshakeKind {
    let stream = connect(server, Arc::clone(config)).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    // Tickets come after the handshake.
    call(stream).await.unwrap();
    kind
}

#[tokio::test]
async fn a_revoked_client_does_not_come_back_with_a_ticket() {
    let setup = Setup::new();
    let mut client = setup.client();
    for version in [&TLS12, &TLS13] {
        client.versions = vec![version];
        // One configuration for all connections: it keeps the tickets.
        let anybody = Arc::new(client.config(None));
        let open = setup.server(|config| config.tls.min_version = TlsVersion::Tls12);
        let kinds = [
            handshake_kind(&open, &anybody).await,
            handshake_kind(&open, &anybody).await,
        ];
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);

        // Whoever shows a certificate has it checked each time: a ticket would be taken without a look at it.
        setup.files.write("crl.pem", &setup.authority.revokes(&[]));
        let server = setup.mutual(|config| {
            config.tls.client_crl = Some(setup.files.path("crl.pem"));
            config.tls.min_version = TlsVersion::Tls12;
        });
        let identity = setup.authority.issue("client");
        let config = Arc::new(client.config(Some(&identity)));
        let kinds = [
            handshake_kind(&server, &config).await,
            handshake_kind(&server, &config).await,
        ];
        assert_eq!(kinds, [HandshakeKind::Full; 2], "{version:?}");
        let list = setup.authority.revokes(&[&identity]);
        setup.files.write("crl.pem", &list);
        server.reload().await;
        let again = match connect(&server, config).await {
            Ok(stream) => call(stream).await.is_ok(),
            Err(_) => false,
        };
        assert!(!again, "{version:?}");
    }
}

#[tokio::test]
async fn connections_with_tls_move_to_other_threads() {
    let setup = Setup::new();
    let server = TestServer::with_http(|config| {
        config.tls.cert = Some(setup.files.path("cert.pem"));
        config.tls.key = Some(setup.files.path("key.pem"));
    });
    let client = async || {
        let stream = setup.client().connect(&server, None).await.unwrap();
        StateClient::new(channel(stream).await.unwrap())
    };
    let _idle = client().await;
    let moves = async || {
        let answer = setup.client().get(server.http_addr(), "/metrics").await;
        Scrape::parse(answer.body()).value(MOVES)
    };
    check_a_move(moves, client().await).await;
}

#[tokio::test]
async fn operators_are_answered_over_tls_and_need_no_certificate() {
    let setup = Setup::new();
    let server = TestServer::with_http(|config| {
        config.tls.cert = Some(setup.files.path("cert.pem"));
        config.tls.key = Some(setup.files.path("key.pem"));
        config.tls.client_ca = Some(setup.files.path("ca.pem"));
    });
    let client = setup.client();
    client.call(&server, None).await.unwrap_err();
    let answer = client.get(server.http_addr(), "/metrics").await;
    for series in [
        "soloist_tls_handshake_failures_total 1",
        "soloist_certificate_expiry_timestamp_seconds{use=\"server\"} ",
        "soloist_certificate_expiry_timestamp_seconds{use=\"client_ca\"} ",
        "soloist_reload_success{what=\"certificates\"} 1",
    ] {
        assert!(answer.body().contains(series), "no {series}");
    }
    let plain = crate::http::request(server.http_addr(), "GET /livez HTTP/1.1\r\n").await;
    assert_eq!(plain.status(), 400);
    assert!(plain.body().contains("https"), "{plain:?}");
}
