//! What carries calls: a channel, and the token that goes with each call. Sockets with TLS and Unix sockets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

/// How often the file of a token is looked at, while there are calls.
const TOKEN_INTERVAL: Duration = Duration::from_secs(1);

/// A channel to a server whose calls bear the client's token. What the generated clients run on.
#[derive(Clone, Debug)]
pub struct Transport {
    channel: Channel,
    token: Option<Arc<TokenFile>>,
    /// Other headers of every call.
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl Transport {
    pub(crate) fn new(
        channel: Channel,
        token: Option<Arc<TokenFile>>,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        let headers = headers.into();
        Self {
            channel,
            token,
            headers,
        }
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        for (name, value) in &*self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        self.channel.call(request)
    }
}

/// A file with a token, which may be replaced at any time.
pub(crate) struct TokenFile {
    path: PathBuf,
    last: Mutex<(Instant, HeaderValue)>,
}

impl TokenFile {
    /// Reads the file.
    pub(crate) fn open(path: PathBuf) -> Result<Self, String> {
        let header =
            read_token(&path).map_err(|error| format!("token file {}: {error}", path.display()))?;
        let last = Mutex::new((Instant::now(), header));
        Ok(Self { path, last })
    }

    /// The header with the token. A file that cannot be read leaves the last token in use.
    fn header(&self) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0.elapsed() >= TOKEN_INTERVAL {
            last.0 = Instant::now();
            if let Ok(header) = read_token(&self.path) {
                last.1 = header;
            }
        }
        last.1.clone()
    }
}

/// Without the token.
impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFile({})", self.path.display())
    }
}

/// Reads the header with the token of a file.
///
/// # Errors
/// If the file cannot be read, or has no token.
pub fn read_token(path: &Path) -> io::Result<HeaderValue> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    let bad = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    if token.is_empty() {
        return Err(bad("the file is empty: it must hold one token"));
    }
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut header = header.map_err(|_| bad("not a token: it must be one line of text"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Connects to a Unix socket, whatever the URI says.
#[derive(Clone, Debug)]
pub(crate) struct UnixConnector(pub(crate) PathBuf);

impl Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            let connected = UnixStream::connect(&path).await;
            connected.map(TokioIo::new).map_err(unix_error)
        })
    }
}

/// Why a Unix socket cannot be connected to, and what to do about it.
pub fn unix_error(error: io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket: check the path, and that the server runs"
        }
        io::ErrorKind::ConnectionRefused => "nobody listens on the socket: start the server",
        io::ErrorKind::PermissionDenied => {
            "the permissions of the socket do not allow this user to connect"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}
