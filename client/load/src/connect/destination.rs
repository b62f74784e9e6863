//! The server to connect to.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use soloist_client::shared::{self, Security as ClientSecurity, TlsFiles, unix_error};
use soloist_client::{Client, ClientBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use crate::connect::route::Route;
use crate::connect::socket::Socket;
use crate::connect::token::Token;
use crate::connect::words::with_flags;
use crate::http2::{self, Place, Tls};
use crate::plan::security::Security;
use crate::plan::settings::TOKEN_METADATA;

/// How long to wait for what a server that gives no sense answers to plain HTTP/2.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server, and everything that is needed to connect to it. Files are read for each connection.
#[derive(Debug)]
pub(crate) struct Destination {
    /// As the user and the reports name it.
    address: String,
    kind: Kind,
    files: TlsFiles,
    token: Option<Token>,
}

/// HOST:PORT, or the path of a socket.
#[derive(Debug)]
enum Kind {
    Plain(String),
    Tls(String),
    Unix(PathBuf),
}

impl Destination {
    /// Takes `HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. Reads the files once, to find out that they can be used.
    ///
    /// # Errors
    /// If the flags do not fit the address, or a file cannot be used. The text names it.
    pub(crate) fn new(address: &str, security: &Security) -> Result<Self, String> {
        let kind = match (
            address.strip_prefix("unix:"),
            address.strip_prefix("https://"),
        ) {
            (Some(path), _) => Kind::Unix(path.into()),
            (None, Some(authority)) => Kind::Tls(authority.to_owned()),
            (None, None) => Kind::Plain(address.to_owned()),
        };
        let files = TlsFiles {
            ca: security.ca.clone(),
            identity: security.identity.clone(),
            server_name: security.server_name.clone(),
        };
        match (&kind, security.flag_of_tls()) {
            (Kind::Tls(_), _) => drop(files.load().map_err(|error| with_flags(&error))?),
            (_, None) => {}
            (Kind::Plain(authority), Some(flag)) => {
                return Err(format!(
                    "{flag} (or its environment variable) is set, and {authority} means a connection without TLS: \
                     type https://{authority}"
                ));
            }
            (Kind::Unix(_), Some(flag)) => {
                return Err(format!(
                    "{flag} (or its environment variable) is set, and {address} has no TLS: leave it out"
                ));
            }
        }
        let token = security
            .token_file
            .as_deref()
            .map(Token::open)
            .transpose()?;
        Ok(Self {
            address: address.to_owned(),
            kind,
            files,
            token,
        })
    }

    /// The address, as the user and the reports name it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Adds the token to the headers of a call.
    pub(crate) fn authorize(&self, metadata: &mut MetadataMap) {
        if let Some(token) = &self.token {
            metadata.insert(TOKEN_METADATA, token.header());
        }
    }

    /// The host and the port, which every call names.
    pub(crate) fn authority(&self) -> &str {
        match &self.kind {
            Kind::Plain(authority) | Kind::Tls(authority) => authority,
            // As gRPC's clients do.
            Kind::Unix(_) => "localhost",
        }
    }

    /// The scheme of every call.
    pub(crate) fn scheme(&self) -> &'static str {
        match &self.kind {
            Kind::Tls(_) => "https",
            Kind::Plain(_) | Kind::Unix(_) => "http",
        }
    }

    /// The URI of the server.
    pub(crate) fn origin(&self) -> Uri {
        Uri::builder()
            .scheme(self.scheme())
            .authority(self.authority())
            .path_and_query("/")
            .build()
            .expect("the address of an open connection is a URI authority")
    }

    /// Returns a client of the library, whose calls bear `headers` and the token.
    pub(crate) fn client(&self, headers: &[(String, String)]) -> ClientBuilder {
        let mut client = Client::builder(&self.address);
        let files = &self.files;
        if let Some(ca) = &files.ca {
            client = client.ca_file(ca);
        }
        if let Some((cert, key)) = &files.identity {
            client = client.identity_files(cert, key);
        }
        if let Some(name) = &files.server_name {
            client = client.server_name(name);
        }
        if let Some(token) = &self.token {
            client = client.token_file(token.path());
        }
        for (name, value) in headers {
            if let (Ok(name), Ok(mut value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                value.set_sensitive(name == TOKEN_METADATA);
                client = client.header(name, value);
            }
        }
        client
    }

    /// Connects within `timeout`, for calls of any service.
    ///
    /// # Errors
    /// Why there is no connection, and what to do about it.
    pub(crate) async fn channel(&self, timeout: Duration) -> Result<Channel, String> {
        let security = ClientSecurity {
            files: self.files.clone(),
        };
        let connected = shared::connect(&self.address, &security, timeout).await;
        connected.map_err(|error| with_flags(error.message()))
    }

    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection, and what to do about it.
    pub(crate) async fn socket(&self) -> io::Result<Socket> {
        match &self.kind {
            Kind::Plain(authority) => {
                let stream = TcpStream::connect(authority).await?;
                // While nobody listens on a port of this machine, the system may choose it as the source, and the socket
                // connects to itself.
                if stream.local_addr()? == stream.peer_addr()? {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Kind::Tls(authority) => {
                let (host, port) = host_and_port(authority);
                let opened = shared::open(&self.files, host, port).await;
                let opened = opened.map_err(in_words)?;
                Ok(Socket::Tls(Box::new(opened)))
            }
            Kind::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                stream.map(Socket::Unix).map_err(unix_error)
            }
        }
    }

    /// Returns whether the [route](Self::route) can change: a name may get other addresses, and a file other contents.
    pub(super) fn may_move(&self) -> bool {
        match &self.kind {
            Kind::Plain(authority) => authority.parse::<SocketAddr>().is_err(),
            Kind::Tls(_) => true,
            Kind::Unix(_) => false,
        }
    }

    /// Looks up the addresses, and reads the files. A name that cannot be looked up now has the addresses that it had
    /// `before`.
    ///
    /// # Errors
    /// If the name has no address, or a file cannot be used.
    pub(super) fn route(&self, before: Option<&Route>) -> Result<Route, String> {
        let (authority, tls) = match &self.kind {
            Kind::Unix(path) => {
                return Ok(Route {
                    places: vec![Place::Unix(path.clone())],
                    tls: None,
                });
            }
            Kind::Plain(authority) => (authority, None),
            Kind::Tls(authority) => {
                let tls = Tls::load(&self.files, host_and_port(authority).0);
                (authority, Some(tls.map_err(|error| with_flags(&error))?))
            }
        };
        let found: io::Result<Vec<_>> = authority
            .to_socket_addrs()
            .map(|found| found.map(Place::Tcp).collect());
        let places = match (found, before) {
            (Ok(places), _) if !places.is_empty() => places,
            (_, Some(before)) => before.places.clone(),
            (Ok(_), None) => return Err("the name has no address".to_owned()),
            (Err(error), None) => return Err(error.to_string()),
        };
        Ok(Route { places, tls })
    }

    /// Adds to an error that the server speaks TLS, if it does and this address does not.
    pub(crate) async fn explain(&self, error: String) -> String {
        let Kind::Plain(authority) = &self.kind else {
            return with_flags(&error);
        };
        let asked = async {
            let mut stream = TcpStream::connect(authority).await?;
            stream.write_all(http2::PREFACE).await?;
            let mut answer = [0; 1024];
            let count = stream.read(&mut answer).await?;
            io::Result::Ok(http2::speaks_tls(&answer[..count]))
        };
        match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
            Ok(Ok(true)) => format!("{authority} speaks TLS: type https://{authority}"),
            _ => error,
        }
    }

    /// Returns an error of a connection in the words of this tool.
    pub(crate) fn in_words(error: &str) -> String {
        with_flags(error)
    }
}

fn in_words(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), with_flags(&error.to_string()))
}

/// Splits HOST:PORT. The brackets of an IPv6 address stay.
fn host_and_port(authority: &str) -> (&str, u16) {
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    (host, port.parse().unwrap_or_default())
}
