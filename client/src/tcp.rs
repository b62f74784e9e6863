//! Connections over TCP, without TLS.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::socket::{Opening, Socket, Verdict};

/// What a connector fails with: its innermost cause says what happened.
pub(crate) type Failure = Box<dyn StdError + Send + Sync>;

/// The first byte of a TLS record with an alert: what most servers with TLS answer to a client without. Source: RFC 8446,
/// section 5.1. HTTP/2 begins with the length of a frame, whose first byte is far smaller.
const TLS_ALERT: u8 = 21;

/// Connects to the host and port of a URL: to each of its addresses, until one accepts.
pub(crate) fn tcp(timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    tcp
}

/// Connects without TLS.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    verdict: Verdict,
}

impl Connector {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            tcp: tcp(timeout),
            verdict: Verdict::new(),
        }
    }

    /// Waits until the server of the first connection has said its first bytes.
    pub(crate) fn accepted(&self) -> impl Future<Output = Result<(), String>> + use<> {
        self.verdict.first()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket<TcpStream, Plaintext>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let verdict = self.verdict.clone();
        let authority = uri.authority().map(ToString::to_string);
        let connecting = self.tcp.call(uri);
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            let opening = Plaintext {
                authority: authority.unwrap_or_default(),
            };
            Ok(TokioIo::new(Socket::new(stream, opening, verdict)))
        })
    }
}

/// Looks whether a server answers a client without TLS in another protocol than HTTP/2.
pub(crate) struct Plaintext {
    authority: String,
}

impl Opening for Plaintext {
    fn first(&self, bytes: &[u8]) -> io::Result<()> {
        let authority = &self.authority;
        let is_text = bytes.starts_with(b"HTTP/1.");
        let text = String::from_utf8_lossy(bytes);
        let why = if bytes.first() == Some(&TLS_ALERT)
            // That of a Soloist, of Go, and of nginx.
            || is_text && (text.contains("TLS") || text.contains("HTTPS"))
        {
            format!("the server speaks TLS: use https://{authority}")
        } else if is_text {
            format!(
                "the server answers in HTTP/1, not in HTTP/2 as gRPC servers do: check that {authority} is the port for gRPC"
            )
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn explained(&self, error: io::Error) -> io::Error {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_servers_to_a_client_without_tls() {
        let opening = Plaintext {
            authority: "host:1".to_owned(),
        };
        // Settings without a parameter. Source: RFC 9113, section 6.5.
        opening.first(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let cases: [(&[u8], &str); 5] = [
            (&[21, 3, 1, 0, 2, 2, 70], "use https://host:1"),
            (b"HTTP/1.1 505 \r\n\r\nThis is a gRPC server: it speaks TLS", "use https://"),
            (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.", "use https://"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n<title>400 The plain HTTP request was sent to HTTPS port", "use https://"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", "host:1 is the port for gRPC"),
        ];
        for (answer, what_to_do) in cases {
            let error = opening.first(answer).unwrap_err().to_string();
            assert!(error.contains(what_to_do), "{error}");
        }
    }
}
