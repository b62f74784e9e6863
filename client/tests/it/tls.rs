//! TLS, Unix sockets and tokens: what works, and what an error tells people to do.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use soloist_client::{Client, ClientBuilder, Code, Error};
use soloist_server::Server;
use soloist_server::config::Config;

use crate::support::TestServer;

struct Files {
    directory: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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

    fn server(&self, certificate: &str, mutual: bool) -> TestServer {
        let mut config = Config::default();
        config.tls.cert = Some(self.path(&format!("{certificate}.pem")));
        config.tls.key = Some(self.path(&format!("{certificate}.key")));
        config.tls.client_ca = mutual.then(|| self.path("ca.pem"));
        TestServer::with(config)
    }

    fn builder(&self, server: &TestServer) -> ClientBuilder {
        Client::builder(url(server)).ca_file(self.path("ca.pem"))
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
    let builder = files.builder(&server);
    let builder = builder.identity_files(files.path("client.pem"), files.path("client.key"));
    call(builder).await.unwrap();
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

#[tokio::test]
async fn errors_of_certificates_say_what_to_do() {
    let files = Files::new();
    files.issue("expired", "localhost", |params| {
        params.not_after = date_time_ymd(2020, 1, 1)
    });
    files.issue("early", "localhost", |params| {
        params.not_before = date_time_ymd(2100, 1, 1)
    });
    files.issue("elsewhere", "example.org", |_| ());
    let good = files.server("server", false);
    let mutual = files.server("server", true);
    let [expired, early, elsewhere] =
        ["expired", "early", "elsewhere"].map(|name| files.server(name, false));
    issue(
        &files,
        &authority("a stranger"),
        "stranger",
        "billing",
        |_| (),
    );
    let stranger = (files.path("stranger.pem"), files.path("stranger.key"));
    let plain = TestServer::start();
    let https_to_plain = files.builder(&plain);
    let cases = [
        (
            files.builder(&good).ca_file(files.path("other-ca.pem")),
            "set the CA file",
        ),
        (Client::builder(url(&good)), "CA"),
        (files.builder(&expired), "has expired: renew it there"),
        (files.builder(&early), "not valid yet: check the clocks"),
        (files.builder(&elsewhere), "not for \"localhost\""),
        (
            files.builder(&good).server_name("example.org"),
            "not for \"example.org\"",
        ),
        (
            files.builder(&mutual),
            "requires a certificate of the client",
        ),
        (
            files
                .builder(&mutual)
                .identity_files(stranger.0, stranger.1),
            "does not trust the CA of the client's certificate",
        ),
        (https_to_plain, "check that it speaks TLS"),
    ];
    for (builder, what_to_do) in cases {
        let error = call(builder).await.unwrap_err();
        assert!(
            error.message().contains(what_to_do),
            "{what_to_do}: {error}"
        );
    }
    call(files.builder(&elsewhere).server_name("example.org"))
        .await
        .unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    let server = files.server("server", false);
    let missing = files.path("missing");
    files.write("empty", "");
    let builder = || files.builder(&server);
    let cases = [
        (builder().ca_file(&missing), "missing"),
        (
            builder().ca_file(files.path("empty")),
            "no certificate in it",
        ),
        (
            builder().identity_files(&missing, files.path("server.key")),
            "missing",
        ),
        (
            builder().identity_files(files.path("server.pem"), &missing),
            "missing",
        ),
        (builder().token_file(&missing), "missing"),
        (
            builder().token_file(files.path("empty")),
            "must hold one token",
        ),
        (
            Client::builder(server.address()).ca_file(files.path("ca.pem")),
            "does not say https",
        ),
    ];
    for (builder, named) in cases {
        let error = call(builder).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(named), "{named}: {error}");
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
