//! TLS, Unix sockets and tokens: what works, and what an error tells people to do.

mod rotation;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use soloist_client::{Client, ClientBuilder, Code, Error};
use soloist_server::Server;
use soloist_server::access::Token;
use soloist_server::config::{Config, TlsVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::examples::run_example;
use crate::support::TestServer;

struct Files {
    directory: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Files {
    /// A CA, and a certificate of the server for "localhost".
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: authority("an authority"),
        };
        files.write("ca.pem", &files.authority.pem());
        files.write("other-ca.pem", &authority("another").pem());
        files.issue("server", "localhost", |_| ());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn issue(&self, file: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        issue(self, &self.authority, file, name, change);
    }

    /// A certificate that nobody but itself vouches for.
    fn issue_self_signed(
        &self,
        file: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        self.write(
            &format!("{file}.pem"),
            &params.self_signed(&key).unwrap().pem(),
        );
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// The list of a certificate that the authority has revoked.
    fn revoke(&self, file: &str, serial: u64) {
        let revoked = RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.authority).unwrap();
        self.write(file, &list.pem().unwrap());
    }

    /// A server with a certificate, which asks clients for one.
    fn config(&self, certificate: &str) -> Config {
        let mut config = Config::default();
        config.tls.cert = Some(self.path(&format!("{certificate}.pem")));
        config.tls.key = Some(self.path(&format!("{certificate}.key")));
        config.tls.client_ca = Some(self.path("ca.pem"));
        config
    }

    fn server(&self, certificate: &str, mutual: bool) -> TestServer {
        let mut config = self.config(certificate);
        config.tls.client_ca = config.tls.client_ca.filter(|_| mutual);
        TestServer::with(config)
    }

    fn builder(&self, server: &TestServer) -> ClientBuilder {
        Client::builder(url(server)).ca_file(self.path("ca.pem"))
    }

    /// Shows the server a certificate.
    fn builder_as(&self, server: &TestServer, file: &str) -> ClientBuilder {
        let [cert, key] = ["pem", "key"].map(|end| self.path(&format!("{file}.{end}")));
        self.builder(server).identity_files(cert, key)
    }
}

fn issue(
    files: &Files,
    authority: &CertifiedIssuer<'static, KeyPair>,
    file: &str,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, authority).unwrap();
    files.write(&format!("{file}.pem"), &certificate.pem());
    files.write(&format!("{file}.key"), &key.serialize_pem());
}

fn url(server: &TestServer) -> String {
    let address = server.address();
    let port = address.rsplit(':').next().unwrap();
    format!("https://localhost:{port}")
}

/// Connects and makes a call.
async fn call(builder: ClientBuilder) -> Result<(), Error> {
    let client = builder.timeout(Duration::from_secs(5)).connect().await?;
    client.read("key").await.map(drop)
}

#[tokio::test]
async fn a_client_with_the_right_ca_and_a_certificate_is_served() {
    let files = Files::new();
    let server = files.server("server", true);
    files.issue("client", "billing", |_| ());
    call(files.builder_as(&server, "client")).await.unwrap();
}

#[tokio::test]
async fn a_new_connection_reads_the_files_again() {
    let files = Files::new();
    files.issue("client", "billing", |_| ());
    let first = files.server("server", true);
    let builder = files.builder(&first);
    let builder = builder.identity_files(files.path("client.pem"), files.path("client.key"));
    let builder = builder.timeout(Duration::from_secs(5));
    builder
        .clone()
        .connect()
        .await
        .unwrap()
        .read("key")
        .await
        .unwrap();

    // Both sides move to another CA.
    let other = authority("the next authority");
    files.write("ca.pem", &other.pem());
    issue(&files, &other, "server", "localhost", |_| ());
    let second = files.server("server", true);
    let moved = files.builder(&second);
    let moved = moved.identity_files(files.path("client.pem"), files.path("client.key"));
    let refused = call(moved.clone()).await.unwrap_err();
    assert!(
        refused.message().contains("client's certificate"),
        "{refused}"
    );
    issue(&files, &other, "client", "billing", |_| ());
    call(moved).await.unwrap();
}

fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2020, 1, 1);
}

fn early(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2100, 1, 1);
}

/// Each builder fails, and its error says what to do.
async fn assert_errors(cases: impl IntoIterator<Item = (ClientBuilder, &str)>) {
    for (builder, what_to_do) in cases {
        let error = call(builder.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(
            error.message().contains(what_to_do),
            "{what_to_do}: {error}"
        );
    }
}

#[tokio::test]
async fn errors_about_the_certificate_of_a_server_say_what_to_do() {
    let files = Files::new();
    files.issue("expired", "localhost", expired);
    files.issue("early", "localhost", early);
    files.issue("elsewhere", "example.org", |_| ());
    files.issue("for clients", "localhost", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    files.issue_self_signed("self-signed", "localhost", |_| ());
    // As `openssl req -x509` makes them.
    files.issue_self_signed("its own ca", "localhost", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let good = files.server("server", false);
    let servers = [
        "expired",
        "early",
        "elsewhere",
        "for clients",
        "self-signed",
        "its own ca",
    ]
    .map(|name| files.server(name, false));
    let [
        expired,
        early,
        elsewhere,
        for_clients,
        self_signed,
        its_own_ca,
    ] = &servers;
    let trusting = |server, ca: &str| {
        files
            .builder(server)
            .ca_file(files.path(&format!("{ca}.pem")))
    };
    assert_errors([
        (trusting(&good, "other-ca"), "set the CA file"),
        (Client::builder(url(&good)), "set the CA file"),
        (files.builder(self_signed), "self-signed, or comes from"),
        (
            trusting(its_own_ca, "its own ca"),
            "issue one for the server from this CA",
        ),
        (files.builder(for_clients), "issue one for serverAuth"),
        (files.builder(expired), "has expired: renew it there"),
        (files.builder(early), "not valid yet: check the clocks"),
        (files.builder(elsewhere), "not for \"localhost\""),
        (
            files.builder(&good).server_name("example.org"),
            "not for \"example.org\"",
        ),
    ])
    .await;
    call(files.builder(elsewhere).server_name("example.org"))
        .await
        .unwrap();
    call(trusting(self_signed, "self-signed")).await.unwrap();
}

/// With TLS 1.3 the server refuses after the client's handshake has ended well, so only what the client reads first tells.
#[tokio::test]
async fn errors_about_the_certificate_of_a_client_say_what_to_do() {
    let files = Files::new();
    files.issue("client", "billing", |_| ());
    files.issue("expired", "billing", expired);
    files.issue("early", "billing", early);
    files.issue("for servers", "billing", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    files.issue("revoked", "billing", |params| {
        params.serial_number = Some(7.into())
    });
    files.revoke("crl.pem", 7);
    files.issue_self_signed("self-signed", "billing", |_| ());
    let stranger = authority("a stranger");
    issue(&files, &stranger, "stranger", "billing", |_| ());
    for version in [TlsVersion::Tls13, TlsVersion::Tls12] {
        let mut config = files.config("server");
        config.tls.client_crl = Some(files.path("crl.pem"));
        config.tls.min_version = version;
        let server = TestServer::with(config);
        let showing = |file| files.builder_as(&server, file);
        assert_errors([
            (
                files.builder(&server),
                "requires a certificate of the client: set the certificate and key files",
            ),
            (showing("stranger"), "use a certificate from a CA that"),
            (showing("self-signed"), "or it is self-signed"),
            (showing("expired"), "has expired or is not valid yet"),
            (showing("early"), "check the clocks"),
            (showing("revoked"), "is revoked: get another one"),
            (showing("for servers"), "issue one for clientAuth"),
        ])
        .await;
        call(showing("client")).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_and_a_server_of_which_one_speaks_tls_are_told_apart() {
    let files = Files::new();
    let plain = TestServer::start();
    let plain_port = plain.address().rsplit(':').next().unwrap().to_owned();
    let use_http = format!("does not speak TLS: use http://localhost:{plain_port}");
    assert_errors([(files.builder(&plain), use_http.as_str())]).await;
    for mutual in [false, true] {
        let server = files.server("server", mutual);
        let use_https = format!("speaks TLS: use https://{}", server.address());
        assert_errors([(Client::builder(server.address()), use_https.as_str())]).await;
    }
}

#[tokio::test]
async fn a_peer_that_is_no_grpc_server_is_told_apart() {
    for (answer, over_tls, what_to_do) in [
        // An alert: unexpected_message.
        (&[21, 3, 1, 0, 2, 2, 10][..], false, "use https://"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            false,
            "is the port for gRPC",
        ),
        (b"", false, "cannot reach"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", true, "use http://"),
        // The settings with which a server of HTTP/2 begins.
        (&[0, 0, 0, 4, 0, 0, 0, 0, 0], true, "use http://"),
        (b"", true, "use http://"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0];
            stream.read_exact(&mut first).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        let scheme = if over_tls { "https" } else { "http" };
        let builder = Client::builder(format!("{scheme}://{address}"));
        assert_errors([(builder, what_to_do)]).await;
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    let server = files.server("server", false);
    files.write("empty", "");
    files.write("two lines", "slst_1\nslst_2\n");
    files.write("long", &"x".repeat(20_000));
    files.issue("client", "billing", |_| ());
    let identity = |cert: &str, key: &str| {
        let builder = files.builder(&server);
        builder.identity_files(files.path(cert), files.path(key))
    };
    let ca = |file: &str| files.builder(&server).ca_file(files.path(file));
    let token = |file: &str| files.builder(&server).token_file(files.path(file));
    let cases = [
        (ca("missing"), "ca_file", "missing", "No such file"),
        (ca("empty"), "ca_file", "empty", "no certificate in it"),
        (ca("."), "ca_file", ".", "directory"),
        (
            identity("missing", "client.key"),
            "identity_files",
            "missing",
            "No such file",
        ),
        (
            identity("client.pem", "missing"),
            "identity_files",
            "missing",
            "No such file",
        ),
        (
            identity("client.pem", "client.pem"),
            "identity_files",
            "client.pem",
            "no private key",
        ),
        (
            identity("client.pem", "server.key"),
            "identity_files",
            "client.pem",
            "does not fit the key",
        ),
        (token("missing"), "token_file", "missing", "No such file"),
        (token("empty"), "token_file", "empty", "must hold one token"),
        (token("two lines"), "token_file", "two lines", "one line"),
        (token("long"), "token_file", "long", "longer than 16384"),
    ];
    for (builder, field, file, why) in cases {
        let error = call(builder).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert_eq!(error.metadata("field"), Some(field), "{error}");
        let named = format!("{field} {}: ", files.path(file).display());
        assert!(error.message().starts_with(&named), "{named}: {error}");
        assert!(error.message().contains(why), "{why}: {error}");
    }
    let without_tls = || Client::builder(server.address());
    for (builder, field) in [
        (without_tls().ca_file(files.path("ca.pem")), "ca_file"),
        (
            without_tls().identity_files(files.path("client.pem"), files.path("client.key")),
            "identity_files",
        ),
        (without_tls().server_name("localhost"), "server_name"),
    ] {
        let error = call(builder).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert_eq!(error.metadata("field"), Some(field), "{error}");
        assert!(
            error.message().contains("does not begin with https"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_unix_socket_that_is_not_there_is_told_from_one_where_nobody_listens() {
    let files = Files::new();
    let path = files.path("socket");
    let url = format!("unix:{}", path.display());
    let missing = Client::connect(&url).await.unwrap_err();
    assert!(
        missing.message().contains("there is no such socket"),
        "{missing}"
    );
    drop(UnixListener::bind(&path).unwrap());
    let deserted = Client::connect(&url).await.unwrap_err();
    assert!(deserted.message().contains("nobody listens"), "{deserted}");
}

#[tokio::test]
async fn calls_over_a_unix_socket_are_served() {
    let files = Files::new();
    let path = files.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::start(listener, &Config::default()).unwrap();
    for url in [
        format!("unix:{}", path.display()),
        format!("unix://{}", path.display()),
    ] {
        call(Client::builder(url)).await.unwrap();
    }
    server.drain();
}

#[tokio::test]
async fn calls_bear_the_token_of_the_file() {
    let files = Files::new();
    // The hash of "slst_" and 43 times the letter A.
    let token = format!("slst_{}", "A".repeat(43));
    let hash = "99c9b5cfa2a6d7dcb3c912da43068604a5eb58111bb94ec4f144ccc3ea920fad";
    let access = format!(
        "[identities.billing]\ntokens = ['sha256:{hash}']\nroles = ['all']\n[roles.all]\nread = ['*']\n"
    );
    files.write("access.toml", &access);
    let mut config = Config::default();
    config.access.file = Some(files.path("access.toml"));
    let server = TestServer::with(config);
    let nobody = call(Client::builder(server.address())).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    files.write("token", &format!("{token}\n"));
    let builder = Client::builder(server.address()).token_file(files.path("token"));
    assert!(!format!("{builder:?}").contains(&token));
    let client = builder.connect().await.unwrap();
    assert!(!format!("{client:?}").contains(&token));
    client.read("key").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_shows_a_certificate_and_a_token() {
    let files = Files::new();
    files.issue("client", "billing", |_| ());
    let token = Token::random();
    let access = format!(
        "[identities.billing]\ntokens = ['{}']\nroles = ['all']\n[roles.all]\nwrite = ['*']\n",
        token.hash()
    );
    files.write("access.toml", &access);
    let mut config = files.config("server");
    config.access.file = Some(files.path("access.toml"));
    let server = TestServer::with(config);
    let run = || {
        let (url, certs) = (url(&server), files.path(""));
        let run = move || run_example("tls", &[&url, certs.to_str().unwrap()]);
        tokio::task::spawn_blocking(run)
    };
    // Its main returns the error.
    let said = String::from_utf8(run().await.unwrap().stderr).unwrap();
    assert!(
        said.contains("token_file") && said.contains("No such file"),
        "{said}"
    );
    files.write("token", token.secret());
    let printed = run().await.unwrap();
    assert_eq!(printed.stdout, b"written at revision 1\n", "{printed:?}");
}
