//! TLS. The only file that knows rustls.
//!
//! The files are read for each connection, so that certificates can be replaced while a client runs.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore,
};
use tower_service::Service;

/// The name of HTTP/2 in the handshake. Source: RFC 9113, section 3.1.
const ALPN_HTTP2: &[u8] = b"h2";

/// What to tell about a server that has not agreed to HTTP/2 in the handshake.
pub const NO_HTTP2: &str =
    "the server does not speak HTTP/2 over TLS: check that a gRPC server answers at this address";

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

impl TlsFiles {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.identity.is_none() && self.server_name.is_none()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let roots = self.roots()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert)?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("key {}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| {
                        let (cert, key) = (cert.display(), key.display());
                        format!("certificate {cert} with key {key}: {error}")
                    })?
            }
        };
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.ca else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return match roots.is_empty() {
                true => Err("this system has no CA certificates: name a CA file".to_owned()),
                false => Ok(roots),
            };
        };
        for certificate in certificates(ca)? {
            roots
                .add(certificate)
                .map_err(|error| format!("CA {}: {error}", ca.display()))?;
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("certificate file {}: {error}", path.display()))?;
    match certificates.is_empty() {
        true => Err(format!(
            "certificate file {}: no certificate in it",
            path.display()
        )),
        false => Ok(certificates),
    }
}

/// Connects with TLS to the host and port of a URL.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    files: TlsFiles,
    verdict: Verdict,
}

/// What the latest connection has read first. None: nothing yet.
type Verdict = watch::Sender<Option<Result<(), String>>>;

impl Connector {
    pub(crate) fn new(files: TlsFiles) -> Self {
        let verdict = watch::Sender::new(None);
        Self { files, verdict }
    }

    /// Waits until the server of the first connection has answered. With TLS 1.3 a client's handshake is over before the
    /// server has looked at the client's certificate.
    pub(crate) fn accepted(&self) -> impl Future<Output = Result<(), String>> + use<> {
        let mut verdict = self.verdict.subscribe();
        async move {
            match verdict.wait_for(Option::is_some).await {
                Ok(verdict) => verdict.clone().unwrap_or(Ok(())),
                Err(_) => Err("the connection is closed".to_owned()),
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { files, verdict } = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or_default();
            let stream = connect(&files, host, port).await?;
            Ok(TokioIo::new(Socket::new(stream, Some(verdict))))
        })
    }
}

/// Connects with TLS. The server may still refuse the client's certificate, which the first read tells.
///
/// # Errors
/// Why there is no connection, and what to do about it.
pub async fn open(files: &TlsFiles, host: &str, port: u16) -> io::Result<Socket> {
    let stream = connect(files, host, port).await?;
    Ok(Socket::new(stream, None))
}

async fn connect(files: &TlsFiles, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
    let config = files.load().map_err(io::Error::other)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = files.server_name.as_deref().unwrap_or(host);
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::other(format!("{name:?} is no name of a server: {error}")))?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let handshake = TlsConnector::from(config).connect(server_name, stream);
    let stream = handshake
        .await
        .map_err(|error| not_connected(error, name))?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
        return Err(io::Error::other(NO_HTTP2));
    }
    Ok(stream)
}

/// A failed handshake, and what to do about it. `name` is the name that the server's certificate must have.
pub fn not_connected(error: io::Error, name: &str) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionReset | BrokenPipe => {
            let why = "the server ended the TLS handshake: check that it speaks TLS on this port, \
                 and connect with http if it does not";
            io::Error::new(error.kind(), why)
        }
        _ => explained(error, name),
    }
}

/// The same error, and what to do about it.
pub fn explained(error: io::Error, name: &str) -> io::Error {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<TlsError>());
    let Some(why) = cause.and_then(|cause| explanation(cause, name)) else {
        return error;
    };
    io::Error::new(error.kind(), why)
}

fn explanation(error: &TlsError, name: &str) -> Option<String> {
    use CertificateError as Bad;
    Some(match error {
        TlsError::InvalidCertificate(why) => match why {
            Bad::UnknownIssuer => "the server's certificate comes from a CA that is not trusted: \
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
            _ => format!("the server's certificate cannot be accepted: {why}"),
        },
        TlsError::InvalidMessage(_) => {
            "the server does not speak TLS: connect with http, not https".to_owned()
        }
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
        Alert::UnknownCA => "the server does not trust the CA of the client's certificate: \
             use a certificate from the CA that the server names"
            .to_owned(),
        Alert::CertificateExpired => {
            "the server says that the client's certificate has expired: renew it".to_owned()
        }
        Alert::CertificateRevoked => {
            "the server says that the client's certificate is revoked: get another one".to_owned()
        }
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate
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

/// A TLS connection. With TLS 1.3 a server refuses a client's certificate only after the handshake: the first read
/// tells.
pub struct Socket {
    stream: TlsStream<TcpStream>,
    /// Where the first read is told. None after it.
    verdict: Option<Verdict>,
    /// Why a write failed, while what the server has sent is awaited.
    write_error: Option<io::Error>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    fn new(stream: TlsStream<TcpStream>, verdict: Option<Verdict>) -> Self {
        Self {
            stream,
            verdict,
            write_error: None,
        }
    }

    fn tell(&mut self, read: Result<(), String>) {
        if let Some(verdict) = self.verdict.take() {
            verdict.send_replace(Some(read));
        }
    }

    /// Ends a write. After a failed one it waits for what the server has sent before it closed the connection, which tells
    /// why.
    fn written<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let error = match written {
            Poll::Ready(Err(error)) => error,
            written => return written,
        };
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let error = match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            // A closed connection can be read to its end: the runtime has not noticed yet.
            Poll::Pending => {
                self.write_error = Some(error);
                return Poll::Pending;
            }
            Poll::Ready(Err(reason)) if is_tls(&reason) => explained(reason, ""),
            Poll::Ready(_) => error,
        };
        self.tell(Err(error.to_string()));
        Poll::Ready(Err(error))
    }
}

/// Whether TLS says what went wrong, and not only that the connection ended.
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<TlsError>())
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.tell(Err("the server closed the connection".to_owned()));
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = read.map_err(|error| explained(error, ""));
        if let (Poll::Ready(read), true) = (&read, self.verdict.is_some()) {
            self.tell(match read {
                Ok(()) => Ok(()),
                Err(error) => Err(error.to_string()),
            });
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match self.write_error.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        };
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.write_error.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        };
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = match self.write_error.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        };
        self.written(written, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
