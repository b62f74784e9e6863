//! TLS. The only file that knows rustls.
//!
//! The files are read for each connection, so that certificates can be replaced while a client runs.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore,
};
use tower_service::Service;

use crate::files::{FileError, off_the_runtime, read};
use crate::socket::{Opening, Socket, Verdict};
use crate::tcp::{Failure, tcp};

/// The name of HTTP/2 in the handshake. Source: RFC 9113, section 3.1.
const ALPN_HTTP2: &[u8] = b"h2";

/// The largest file that is read: the CAs of a system take 220 KB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whom to trust, and how to present oneself.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The CAs to trust. `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// A certificate with the chain above it, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have, instead of the host of the URL.
    pub server_name: Option<String>,
}

/// The methods of the builder that name the files.
const CA_FILE: &str = "ca_file";
const IDENTITY_FILES: &str = "identity_files";

impl TlsFiles {
    /// The first method of the builder that was used, if any was.
    pub(crate) fn first_field(&self) -> Option<&'static str> {
        let ca = self.ca.is_some().then_some(CA_FILE);
        let identity = self.identity.is_some().then_some(IDENTITY_FILES);
        ca.or(identity)
            .or(self.server_name.is_some().then_some("server_name"))
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.read().map_err(|error| error.to_string())?;
        Ok(Arc::new(config))
    }

    fn read(&self) -> Result<ClientConfig, FileError> {
        let roots = self.roots()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of all versions")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(IDENTITY_FILES, cert)?;
                let secret = read(IDENTITY_FILES, key, FILE_BYTES_MAX)?;
                let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| {
                    let why = format!("no private key can be read from it: {error}");
                    FileError::new(IDENTITY_FILES, key, why)
                })?;
                let built = builder.with_client_auth_cert(chain, secret);
                built.map_err(|error| {
                    let why = format!("does not fit the key {}: {error}", key.display());
                    FileError::new(IDENTITY_FILES, cert, why)
                })?
            }
        };
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        // A resumed session would not check the certificate of the server again.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, FileError> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.ca else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return match roots.is_empty() {
                true => Err(FileError::without_path(
                    CA_FILE,
                    "is not set, and this system has no CA certificates",
                )),
                false => Ok(roots),
            };
        };
        for certificate in certificates(CA_FILE, ca)? {
            let added = roots.add(certificate);
            added.map_err(|error| FileError::new(CA_FILE, ca, error))?;
        }
        Ok(roots)
    }
}

fn certificates(
    field: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let contents = read(field, path, FILE_BYTES_MAX)?;
    let certificates = CertificateDer::pem_slice_iter(&contents)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            let why = format!("no certificate can be read from it: {error}");
            FileError::new(field, path, why)
        })?;
    match certificates.is_empty() {
        true => Err(FileError::new(
            field,
            path,
            "there is no certificate in it: it must begin with -----BEGIN CERTIFICATE-----",
        )),
        false => Ok(certificates),
    }
}

/// Connects with TLS to the host and port of a URL.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    files: TlsFiles,
    last: Arc<Mutex<Last>>,
    tcp: HttpConnector,
    verdict: Verdict,
}

/// What was last made of the files. Of a certificate and its key, one is replaced before the other: until both are there,
/// connections are made with the last ones that fit.
struct Last {
    config: Arc<ClientConfig>,
    /// No connection was made with it yet.
    is_new: bool,
}

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last")
    }
}

impl Connector {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used. The runtime is shutting down.
    pub(crate) async fn new(
        files: TlsFiles,
        timeout: Duration,
    ) -> io::Result<Result<Self, FileError>> {
        let loaded = off_the_runtime({
            let files = files.clone();
            move || files.read()
        });
        Ok(loaded.await?.map(|config| Self {
            files,
            last: Arc::new(Mutex::new(Last {
                config: Arc::new(config),
                is_new: true,
            })),
            tcp: tcp(timeout),
            verdict: Verdict::new(),
        }))
    }

    /// Waits until the server of the first connection has answered. With TLS 1.3 a client's handshake is over before the
    /// server has looked at the client's certificate.
    pub(crate) fn accepted(&self) -> impl Future<Output = Result<(), String>> + use<> {
        self.verdict.first()
    }

    /// Reads the files for a connection. Returns what to connect with, and why that is older than the files.
    async fn config(&self) -> io::Result<(Arc<ClientConfig>, Option<FileError>)> {
        let locked = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut last = locked();
            if last.is_new {
                last.is_new = false;
                return Ok((Arc::clone(&last.config), None));
            }
        }
        let files = self.files.clone();
        let loaded = off_the_runtime(move || files.read()).await?;
        let mut last = locked();
        Ok(match loaded {
            Ok(config) => {
                last.config = Arc::new(config);
                (Arc::clone(&last.config), None)
            }
            Err(why) => (Arc::clone(&last.config), Some(why)),
        })
    }

    async fn connect(mut self, uri: Uri) -> Result<TlsSocket, Failure> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.files.server_name.as_deref().unwrap_or(host).to_owned();
        let authority = uri.authority().map(ToString::to_string);
        let (config, stale) = self.config().await?;
        let opening = Tls {
            name,
            authority: authority.unwrap_or_default(),
            stale,
        };
        let stream = self.tcp.call(uri).await?.into_inner();
        Ok(opening.over(stream, config, self.verdict).await?)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsSocket>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(TokioIo::new) })
    }
}

/// What to tell about a server that has not agreed to HTTP/2 in the handshake.
pub const NO_HTTP2: &str =
    "the server does not speak HTTP/2 over TLS: check that a gRPC server answers at this address";

/// A connection with TLS. With TLS 1.3 a server refuses a client's certificate only after the handshake: the first read tells.
pub type TlsSocket = Socket<TlsStream<TcpStream>, Tls>;

/// Connects with TLS, and with what is in the files now. The server may still refuse the client's certificate, which the first
/// read tells.
///
/// # Errors
/// Why there is no connection, and what to do about it.
pub async fn open(files: &TlsFiles, host: &str, port: u16) -> io::Result<TlsSocket> {
    let files = files.clone();
    let config = off_the_runtime(move || (files.load(), files)).await?;
    let (config, files) = config;
    let config = config.map_err(io::Error::other)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = files.server_name.as_deref().unwrap_or(host).to_owned();
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let opening = Tls {
        name,
        authority: format!("{host}:{port}"),
        stale: None,
    };
    opening.over(stream, config, Verdict::new()).await
}

/// A failed handshake, and what to do about it. `name` is the name that the server's certificate must have.
pub fn not_connected(error: io::Error, name: &str) -> io::Error {
    Tls::of(name).failed(error)
}

/// The same error, and what to do about it.
pub fn explained(error: io::Error, name: &str) -> io::Error {
    Tls::of(name).explained(error)
}

/// What people need to know about a connection with TLS that fails.
pub struct Tls {
    /// The name that the server's certificate must have.
    name: String,
    authority: String,
    /// Why the connection was not made with what is in the files now.
    stale: Option<FileError>,
}

impl Opening for Tls {
    fn first(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn explained(&self, error: io::Error) -> io::Error {
        let cause = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<TlsError>());
        match cause.and_then(|cause| explanation(cause, &self.name)) {
            Some(why) => self.error(error.kind(), why),
            None => error,
        }
    }
}

impl Tls {
    /// For a server of which only the name is known.
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            authority: "HOST:PORT".to_owned(),
            stale: None,
        }
    }

    /// Makes the handshake.
    async fn over(
        self,
        stream: TcpStream,
        config: Arc<ClientConfig>,
        verdict: Verdict,
    ) -> io::Result<TlsSocket> {
        let name = &self.name;
        let server_name = ServerName::try_from(name.clone()).map_err(|error| {
            io::Error::other(format!("{name:?} is no name of a server: {error}"))
        })?;
        let handshake = TlsConnector::from(config).connect(server_name, stream);
        let stream = handshake.await.map_err(|error| self.failed(error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(io::Error::other(NO_HTTP2));
        }
        Ok(Socket::new(stream, self, verdict))
    }

    /// A failed handshake, and what to do about it.
    fn failed(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let authority = &self.authority;
        let is_no_tls = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<TlsError>())
            .is_some_and(|cause| matches!(cause, TlsError::InvalidMessage(_)));
        match error.kind() {
            _ if is_no_tls => {
                let why = format!("the server does not speak TLS: use http://{authority}");
                self.error(error.kind(), why)
            }
            UnexpectedEof | ConnectionReset | BrokenPipe => {
                let why = format!(
                    "the server ended the TLS handshake without a reason: check that it speaks TLS on this port, \
                     and use http://{authority} if it does not"
                );
                self.error(error.kind(), why)
            }
            _ => self.explained(error),
        }
    }

    fn error(&self, kind: io::ErrorKind, why: impl fmt::Display) -> io::Error {
        let why = match &self.stale {
            None => why.to_string(),
            Some(stale) => {
                format!("{why} (with the files as they were before, because of {stale})")
            }
        };
        io::Error::new(kind, why)
    }
}

fn explanation(error: &TlsError, name: &str) -> Option<String> {
    use CertificateError as Bad;
    Some(match error {
        TlsError::InvalidCertificate(why) => match why {
            Bad::UnknownIssuer => "the server's certificate is self-signed, or comes from a CA that is not trusted: \
                 set the CA file to the CA of this server"
                .to_owned(),
            Bad::Expired | Bad::ExpiredContext { .. } => {
                format!("the server's certificate has expired: renew it there ({why})")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => format!(
                "the server's certificate is not valid yet: check the clocks of both machines ({why})"
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => format!(
                "the server's certificate is not for {name:?}: connect by a name that it has, or set the server name ({why})"
            ),
            Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => format!(
                "the server's certificate is not meant for servers: issue one for serverAuth ({why})"
            ),
            Bad::Other(why) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
                "the server shows the certificate of a CA as its own: issue one for the server from this CA".to_owned()
            }
            _ => format!("the server's certificate cannot be accepted: {why}"),
        },
        TlsError::AlertReceived(alert) => alert_explanation(*alert),
        _ => return None,
    })
}

fn alert_explanation(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            "the server requires a certificate of the client: set the certificate and key files".to_owned()
        }
        Alert::UnknownCA => "the server does not trust the CA of the client's certificate, or it is self-signed: \
             use a certificate from a CA that the server accepts clients of"
            .to_owned(),
        Alert::CertificateExpired => {
            "the server says that the client's certificate has expired or is not valid yet: renew it, \
             or check the clocks of both machines"
                .to_owned()
        }
        Alert::CertificateRevoked => {
            "the server says that the client's certificate is revoked: get another one".to_owned()
        }
        Alert::UnsupportedCertificate => {
            "the server says that the client's certificate is not meant for clients: issue one for clientAuth".to_owned()
        }
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::DecryptError
        | Alert::AccessDenied => {
            format!("the server refuses the client's certificate ({alert:?}): check the certificate and key files")
        }
        Alert::NoApplicationProtocol => NO_HTTP2.to_owned(),
        Alert::ProtocolVersion => {
            "the server and this client have no version of TLS in common: both must allow 1.2 or 1.3".to_owned()
        }
        alert => format!("the server ended TLS: {alert:?}"),
    }
}
