//! Certificates, keys and tokens of a test, in files.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use soloist_client::Client;
use soloist_server::Server;
use soloist_server::config::Config;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// "slst_" and 43 times a letter, and the hash of that.
const TOKENS: [(&str, &str); 2] = [
    (
        "A",
        "99c9b5cfa2a6d7dcb3c912da43068604a5eb58111bb94ec4f144ccc3ea920fad",
    ),
    (
        "B",
        "b5a17f1621da130465497cb5256c7e9c115f9f3da46f90bcd9358ae22fb10d0a",
    ),
];

/// The files of a server and its clients. All names are relative to the folder.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    /// A CA in `ca.pem`, and certificates of it: `server` for "localhost", and `client`.
    pub(crate) fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.issue_all();
        files.write("other-ca.pem", &authority("another").pem());
        for (token, _) in TOKENS {
            files.write(token, &format!("slst_{}\n", token.repeat(43)));
        }
        files
    }

    /// Writes a new CA with new certificates in place of those that are there.
    pub(crate) fn issue_all(&self) {
        let authority = authority("an authority");
        self.write("ca.pem", &authority.pem());
        self.issue(&authority, "server", "localhost", |_| ());
        self.issue(&authority, "client", "billing", |_| ());
        self.issue(&authority, "elsewhere", "example.org", |_| ());
        self.issue(&authority, "expired", "localhost", |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
    }

    fn issue(
        &self,
        authority: &Authority,
        file: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{file}.pem"), &certificate.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Settings of a server that shows this certificate. `mutual` if clients must show one.
    pub(crate) fn config(&self, certificate: &str, mutual: bool) -> Config {
        let mut config = Config::default();
        config.tls.cert = Some(self.path(&format!("{certificate}.pem")));
        config.tls.key = Some(self.path(&format!("{certificate}.key")));
        config.tls.client_ca = mutual.then(|| self.path("ca.pem"));
        config
    }

    /// Makes the server know the tokens A, which may do everything, and B, which may only read.
    pub(crate) fn know_tokens(&self, config: &mut Config) {
        let [(_, a), (_, b)] = TOKENS;
        let access = format!(
            "[identities.a]\ntokens = ['sha256:{a}']\nroles = ['all']\n\
             [identities.b]\ntokens = ['sha256:{b}']\nroles = ['reader']\n\
             [roles.all]\nread = ['*']\nwrite = ['*']\nsessions = ['*']\ndefine = ['*']\n\
             [roles.reader]\nread = ['*']\n"
        );
        self.write("access.toml", &access);
        config.access.file = Some(self.path("access.toml"));
    }

    /// The flags that trust the server.
    pub(crate) fn trust(&self) -> String {
        format!("--tls-ca {}", self.shown("ca.pem"))
    }

    /// The flags that show a certificate, too.
    pub(crate) fn mutual(&self) -> String {
        let (cert, key) = (self.shown("client.pem"), self.shown("client.key"));
        format!("{} --tls-cert {cert} --tls-key {key}", self.trust())
    }

    /// A client with all of that.
    pub(crate) async fn client(&self, url: &str) -> Client {
        let client = Client::builder(url).ca_file(self.path("ca.pem"));
        let client = client.identity_files(self.path("client.pem"), self.path("client.key"));
        client.connect().await.unwrap()
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Starts a server on a port of this computer, or on the one that has just become free.
pub(crate) fn serve(config: &Config, port: Option<u16>) -> Server {
    // A client that tries to connect may have the port for a moment, as its own.
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", port.unwrap_or(0))) {
            Ok(listener) => break listener,
            Err(error) => assert!(port.is_some(), "{error}"),
        }
        std::thread::yield_now();
    };
    Server::start(listener, config).unwrap()
}

/// Returns the address for clients with TLS.
pub(crate) fn https(server: &Server) -> String {
    format!(
        "https://localhost:{}",
        server.local_addr().tcp().unwrap().port()
    )
}
