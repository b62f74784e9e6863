//! TLS. The only file that knows rustls.
//!
//! Tickets are off as soon as clients show certificates. On resumption rustls takes the client's certificates from the
//! ticket and does not check them again, so a revoked client could come back with one.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_cert::der::Decode as _;

use crate::config::{ClientAuth, TlsConfig, TlsVersion};
use crate::metrics::Certificate;

/// A TLS connection of a client.
pub(super) type TlsSocket = tokio_rustls::server::TlsStream<TcpStream>;

/// The name of HTTP/2 in the handshake. Source: RFC 9113, section 3.1.
const ALPN_HTTP2: &[u8] = b"h2";

/// The name of HTTP/1.1 in the handshake. Source: RFC 7301, section 6.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// How the server presents itself, and whom it accepts.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    /// For the clients of the HTTP listener.
    http1: TlsAcceptor,
    /// None if clients show no certificates.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// For connections to other nodes of the cluster. None if it is not known which authority theirs come from.
    nodes: Option<TlsConnector>,
    /// When the certificates in use end.
    certificates: Vec<Certificate>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes the handshake with a client.
    ///
    /// # Errors
    /// The reason why the client is not accepted, or does not accept the server.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsSocket> {
        let socket = self.acceptor.accept(stream).await?;
        if socket.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            // rustls refuses only clients that name other protocols, not those that name none.
            let error = "the client does not ask for HTTP/2: ALPN must name h2";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(socket)
    }

    /// Makes the handshake with a client of the HTTP listener. It need not show a certificate, because probes have none: what
    /// is not for everybody asks for it.
    ///
    /// # Errors
    /// The reason why the client is not accepted, or does not accept the server.
    pub(super) async fn accept_http1(&self, stream: TcpStream) -> io::Result<TlsSocket> {
        self.http1.accept(stream).await
    }

    /// Makes the handshake with another node, as its client, and shows it the certificate of this server.
    ///
    /// # Errors
    /// The reason why the node is not accepted, or does not accept this one.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<ClientStream<TcpStream>> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
        let nodes = self.nodes.as_ref().ok_or_else(|| {
            invalid("neither --tls-node-ca nor --tls-client-ca says whom to trust".into())
        })?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| invalid(error.to_string()))?;
        nodes.connect(name, stream).await
    }

    /// When the certificates in use end.
    pub(crate) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether a client that has shown `certificates` would be accepted now.
    pub(super) fn accepts(&self, certificates: &ClientCertificates) -> bool {
        let Some(clients) = &self.clients else {
            return true;
        };
        match certificates.0.as_slice() {
            [] => !clients.client_auth_mandatory(),
            [own, above @ ..] => clients
                .verify_client_cert(own, above, UnixTime::now())
                .is_ok(),
        }
    }
}

/// The certificates that a client has shown: its own, and those above it. None if it has shown none.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientCertificates(Vec<CertificateDer<'static>>);

impl ClientCertificates {
    pub(super) fn of(socket: &TlsSocket) -> Self {
        let certificates = socket.get_ref().1.peer_certificates();
        Self(certificates.map(<[_]>::to_vec).unwrap_or_default())
    }

    /// The client's own certificate, encoded.
    pub(crate) fn own(&self) -> Option<&[u8]> {
        self.0.first().map(|own| &**own)
    }
}

/// Why the files of the TLS flags cannot be used.
#[derive(Debug)]
pub(crate) struct TlsError {
    flag: &'static str,
    path: PathBuf,
    why: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.flag, self.path.display(), self.why)
    }
}

impl std::error::Error for TlsError {}

/// A file of the TLS flags, read.
#[derive(PartialEq, Eq)]
struct PemFile {
    flag: &'static str,
    path: PathBuf,
    contents: Vec<u8>,
}

/// The files of the TLS flags as they were last read, to notice when they change.
#[derive(PartialEq, Eq)]
pub(crate) struct TlsFiles {
    cert: PemFile,
    key: PemFile,
    client_ca: Option<PemFile>,
    client_crl: Option<PemFile>,
    node_ca: Option<PemFile>,
}

impl TlsFiles {
    /// Reads the files. None if the server speaks no TLS.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub(crate) fn read(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let (Some(cert), Some(key)) = (&config.cert, &config.key) else {
            return Ok(None);
        };
        let read_if = |flag, path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| PemFile::read(flag, path)).transpose()
        };
        Ok(Some(Self {
            cert: PemFile::read("--tls-cert", cert)?,
            key: PemFile::read("--tls-key", key)?,
            client_ca: match config.client_auth {
                ClientAuth::Off => None,
                _ => read_if("--tls-client-ca", &config.client_ca)?,
            },
            client_crl: read_if("--tls-client-crl", &config.client_crl)?,
            node_ca: read_if("--tls-node-ca", &config.node_ca)?,
        }))
    }

    /// Makes of the files what connections need.
    ///
    /// # Errors
    /// The first file whose contents are wrong.
    pub(crate) fn load(&self, config: &TlsConfig) -> Result<Tls, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = self.clients(config.client_auth, &provider)?;
        let optional = match config.client_auth {
            ClientAuth::Required => ClientAuth::Optional,
            auth => auth,
        };
        let http1 = self.server(
            config,
            self.clients(optional, &provider)?,
            &provider,
            ALPN_HTTP1,
        )?;
        let server = self.server(config, clients.clone(), &provider, ALPN_HTTP2)?;
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            http1: TlsAcceptor::from(Arc::new(http1)),
            clients,
            nodes: self.nodes(config, &provider)?,
            certificates: self.ends()?,
        })
    }

    /// How the server presents itself to those who speak `alpn`, and whom of them it accepts.
    fn server(
        &self,
        config: &TlsConfig,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        provider: &Arc<CryptoProvider>,
        alpn: &[u8],
    ) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions(config))
            .expect("the provider has suites of all versions");
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder
            .with_single_cert(self.cert.all("certificate")?, self.private_key()?)
            .map_err(|error| self.key.error(format!("does not fit --tls-cert: {error}")))?;
        server.alpn_protocols = vec![alpn.into()];
        if clients.is_some() {
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok(server)
    }

    /// How the server presents itself to other nodes of its cluster, and which of them it trusts.
    fn nodes(
        &self,
        config: &TlsConfig,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<TlsConnector>, TlsError> {
        let Some(file) = self.node_ca.as_ref().or(self.client_ca.as_ref()) else {
            return Ok(None);
        };
        let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions(config))
            .expect("the provider has suites of all versions")
            .with_root_certificates(file.authorities()?)
            .with_client_auth_cert(self.cert.all("certificate")?, self.private_key()?)
            .map_err(|error| self.key.error(format!("does not fit --tls-cert: {error}")))?;
        client.alpn_protocols = vec![ALPN_HTTP2.into()];
        Ok(Some(TlsConnector::from(Arc::new(client))))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(&self.key.contents);
        key.map_err(|error| self.key.wrong("private key", error))
    }

    /// When the certificates end: those of the server, and those of the authorities of clients.
    fn ends(&self) -> Result<Vec<Certificate>, TlsError> {
        let mut ends = vec![self.cert.ends("server")?];
        if let Some(authorities) = &self.client_ca {
            ends.push(authorities.ends("client_ca")?);
        }
        Ok(ends)
    }

    /// What checks the certificates of clients.
    fn clients(
        &self,
        auth: ClientAuth,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(file) = &self.client_ca else {
            return Ok(None);
        };
        let mut builder = WebPkiClientVerifier::builder_with_provider(
            Arc::new(file.authorities()?),
            Arc::clone(provider),
        );
        if let Some(file) = &self.client_crl {
            let lists = file.all::<CertificateRevocationListDer<'static>>("revocation list")?;
            // An authority without a list has revoked nothing.
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        if auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let file = self.client_crl.as_ref().unwrap_or(file);
        let built = builder.build();
        built
            .map(Some)
            .map_err(|error| file.error(error.to_string()))
    }
}

fn versions(config: &TlsConfig) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match config.min_version {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

impl PemFile {
    fn read(flag: &'static str, path: &Path) -> Result<Self, TlsError> {
        let path = path.to_path_buf();
        match fs::read(&path) {
            Ok(contents) => Ok(Self {
                flag,
                path,
                contents,
            }),
            Err(error) => Err(TlsError {
                flag,
                path,
                why: error.to_string(),
            }),
        }
    }

    /// All of one kind that the file has, at least one.
    fn all<T: PemObject>(&self, kind: &str) -> Result<Vec<T>, TlsError> {
        let all: Result<Vec<T>, _> = T::pem_slice_iter(&self.contents).collect();
        match all {
            Ok(all) if all.is_empty() => Err(self.wrong(kind, pem::Error::NoItemsFound)),
            Ok(all) => Ok(all),
            Err(error) => Err(self.wrong(kind, error)),
        }
    }

    /// The certificates in the file, to trust what they have signed.
    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut authorities = RootCertStore::empty();
        for certificate in self.all("certificate")? {
            let added = authorities.add(certificate);
            added.map_err(|error| self.error(error.to_string()))?;
        }
        Ok(authorities)
    }

    /// When the first of the certificates in the file ends.
    fn ends(&self, used_as: &'static str) -> Result<Certificate, TlsError> {
        let all = self.all::<CertificateDer<'static>>("certificate")?;
        let end = |der: &CertificateDer<'_>| -> Option<i64> {
            let certificate = x509_cert::Certificate::from_der(der).ok()?;
            let end = certificate.tbs_certificate().validity().not_after;
            i64::try_from(end.to_unix_duration().as_secs()).ok()
        };
        // rustls has read them all; one whose end cannot be read has ended, as far as anybody can tell.
        let ends = all.iter().map(|der| end(der).unwrap_or(0)).min();
        Ok(Certificate {
            used_as,
            ends: ends.unwrap_or(0),
        })
    }

    fn wrong(&self, kind: &str, error: pem::Error) -> TlsError {
        self.error(match error {
            pem::Error::NoItemsFound => {
                format!("there is no {kind} in it: it must begin with -----BEGIN …-----")
            }
            error => format!("no {kind} can be read from it: {error}"),
        })
    }

    fn error(&self, why: String) -> TlsError {
        TlsError {
            flag: self.flag,
            path: self.path.clone(),
            why,
        }
    }
}
