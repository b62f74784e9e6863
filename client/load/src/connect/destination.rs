//! The server to connect to.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use soloist_client::shared::{self, Security as ClientSecurity, TlsFiles, unix_error};
use soloist_client::{Client, ClientBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;

use crate::connect::nodes::{DIRECT, Kind, Node, Nodes};
use crate::connect::route::{Route, Stop};
use crate::connect::socket::Socket;
use crate::connect::token::Token;
use crate::connect::words::with_flags;
use crate::http2::{self, Place, Tls};
use crate::plan::security::Security;
use crate::plan::settings::TOKEN_METADATA;

/// How long to wait for what a server that gives no sense answers to plain HTTP/2.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server, or the nodes of one store, and everything that is needed to connect to it. Files are read for each connection.
#[derive(Debug)]
pub(crate) struct Destination {
    /// As the user and the reports name it.
    address: String,
    nodes: Nodes,
    files: TlsFiles,
    token: Option<Token>,
}

impl Destination {
    /// Takes `HOST:PORT`, `https://HOST:PORT`, several of either with commas in between, or `unix:PATH`. Reads the files once, to
    /// find out that they can be used.
    ///
    /// # Errors
    /// If the flags do not fit the address, or a file cannot be used. The text names it.
    pub(crate) fn new(address: &str, security: &Security) -> Result<Self, String> {
        let nodes = Nodes::new(address);
        let node = nodes.current();
        let files = TlsFiles {
            ca: security.ca.clone(),
            identity: security.identity.clone(),
            server_name: security.server_name.clone(),
        };
        match (&node.kind, security.flag_of_tls()) {
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
            nodes,
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

    /// The nodes of the store; one, if there is one address.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Returns whether there are several addresses, so that calls look for the owner of the store.
    pub(crate) fn is_searched(&self) -> bool {
        self.nodes.count() > 1
    }

    /// Adds the headers of every call: the token, and that a node is to say who the owner is.
    pub(crate) fn authorize(&self, metadata: &mut MetadataMap) {
        if let Some(token) = &self.token {
            metadata.insert(TOKEN_METADATA, token.header());
        }
        if self.is_searched() {
            let (name, value) = DIRECT;
            metadata.insert(name, AsciiMetadataValue::from_static(value));
        }
    }

    /// Returns a client of the library, whose calls bear `headers` and the token.
    pub(crate) fn client(&self, headers: &[(String, String)]) -> ClientBuilder {
        let mut client = Client::builder(self.nodes.addresses());
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
        let node = self.nodes.current();
        let connected = shared::connect(node.name(), &security, timeout).await;
        connected.map_err(|error| with_flags(error.message()))
    }

    /// Connects to one of the nodes.
    ///
    /// # Errors
    /// Why there is no connection, and what to do about it.
    pub(crate) async fn socket(&self, node: &Node) -> io::Result<Socket> {
        match &node.kind {
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

    /// Returns whether the [route](Self::route) can change: a name may get other addresses, a file other contents, and a store
    /// another owner.
    pub(super) fn may_move(&self) -> bool {
        match &self.nodes.current().kind {
            _ if self.is_searched() => true,
            Kind::Plain(authority) => authority.parse::<SocketAddr>().is_err(),
            Kind::Tls(_) => true,
            Kind::Unix(_) => false,
        }
    }

    /// Looks up the addresses, and reads the files: first of the node in use, and then of the others. A name that cannot be looked
    /// up now has the addresses that it had `before`.
    ///
    /// # Errors
    /// If no name has an address, or a file cannot be used.
    pub(super) fn route(&self, before: Option<&Route>) -> Result<Route, String> {
        let mut places = Vec::new();
        let mut why = None;
        for node in self.nodes.in_order() {
            match self.stops(&node, before) {
                Ok(stops) => places.extend(stops),
                Err(error) => drop(why.get_or_insert(error)),
            }
        }
        match why {
            Some(why) if places.is_empty() => Err(why),
            _ => Ok(Route { places }),
        }
    }

    /// Looks up the addresses of one node.
    fn stops(&self, node: &Arc<Node>, before: Option<&Route>) -> Result<Vec<Stop>, String> {
        let stop = |place, tls: &Option<Tls>| Stop {
            place,
            tls: tls.clone(),
            node: Arc::clone(node),
        };
        let (authority, tls) = match &node.kind {
            Kind::Unix(path) => return Ok(vec![stop(Place::Unix(path.clone()), &None)]),
            Kind::Plain(authority) => (authority, None),
            Kind::Tls(authority) => {
                let tls = Tls::load(&self.files, host_and_port(authority).0);
                (authority, Some(tls.map_err(|error| with_flags(&error))?))
            }
        };
        let found: io::Result<Vec<_>> = authority
            .to_socket_addrs()
            .map(|found| found.map(|at| stop(Place::Tcp(at), &tls)).collect());
        let known = before.into_iter().flat_map(|before| &before.places);
        let known = known.filter(|known| known.node == *node);
        let known: Vec<_> = known.map(|known| stop(known.place.clone(), &tls)).collect();
        match found {
            Ok(stops) if !stops.is_empty() => Ok(stops),
            _ if !known.is_empty() => Ok(known),
            Ok(_) => Err("the name has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Adds to an error that the server speaks TLS, if it does and this address does not.
    pub(crate) async fn explain(&self, error: String) -> String {
        let node = self.nodes.current();
        let Kind::Plain(authority) = &node.kind else {
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
