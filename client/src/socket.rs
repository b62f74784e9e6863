//! A connection whose first bytes tell whether the server accepts the client, and speaks the same protocol.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// What the latest connection has read first. None: nothing yet.
#[derive(Clone, Debug)]
pub(crate) struct Verdict(watch::Sender<Option<Result<(), String>>>);

impl Verdict {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Waits until the server of the first connection has answered, and returns why it will not serve the client.
    pub(crate) fn first(&self) -> impl Future<Output = Result<(), String>> + use<> {
        let mut verdict = self.0.subscribe();
        async move {
            match verdict.wait_for(Option::is_some).await {
                Ok(verdict) => verdict.clone().unwrap_or(Ok(())),
                Err(_) => Err("the connection is closed".to_owned()),
            }
        }
    }
}

/// What the beginning of a connection tells.
pub trait Opening: Unpin {
    /// Looks at what the server has sent first.
    ///
    /// # Errors
    /// The bytes are of another protocol.
    fn first(&self, bytes: &[u8]) -> io::Result<()>;

    /// The same error, and what to do about it.
    fn explained(&self, error: io::Error) -> io::Error;
}

/// A connection that looks at what it reads first.
pub struct Socket<S, O> {
    stream: S,
    opening: O,
    /// Where the first read is told. None after it.
    verdict: Option<Verdict>,
    /// Why a write failed, while what the server has sent is awaited.
    write_error: Option<io::Error>,
}

impl<S, O> fmt::Debug for Socket<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl<S, O> Socket<S, O> {
    pub(crate) fn new(stream: S, opening: O, verdict: Verdict) -> Self {
        Self {
            stream,
            opening,
            verdict: Some(verdict),
            write_error: None,
        }
    }

    fn tell(&mut self, read: Result<(), String>) {
        if let Some(verdict) = self.verdict.take() {
            verdict.0.send_replace(Some(read));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, O: Opening> Socket<S, O> {
    fn read_first(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.opening.first(&buffer.filled()[before..]),
            Poll::Ready(Err(error)) => Err(self.opening.explained(error)),
        };
        self.tell(match &read {
            Ok(()) if buffer.filled().len() == before => Err(CLOSED.to_owned()),
            Ok(()) => Ok(()),
            Err(error) => Err(error.to_string()),
        });
        Poll::Ready(read)
    }

    /// Writes, or goes on to wait for why a write failed. A server that refuses a client says why and closes the connection,
    /// and a write may find it closed before that was read.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let error = match self.write_error.take() {
            Some(error) => error,
            None => match write(Pin::new(&mut self.stream), cx) {
                Poll::Ready(Err(error)) if self.verdict.is_some() => error,
                written => return written,
            },
        };
        // The connection is lost, so nobody else needs what is read here.
        let mut bytes = [0; 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        let error = match self.read_first(cx, &mut buffer) {
            // A closed connection can be read to its end: the runtime has not noticed yet.
            Poll::Pending => {
                self.write_error = Some(error);
                return Poll::Pending;
            }
            Poll::Ready(Err(reason)) => reason,
            Poll::Ready(Ok(())) => error,
        };
        Poll::Ready(Err(error))
    }
}

const CLOSED: &str = "the server closed the connection";

impl<S, O> Drop for Socket<S, O> {
    fn drop(&mut self) {
        self.tell(Err(CLOSED.to_owned()));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, O: Opening> AsyncRead for Socket<S, O> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.verdict {
            None => Pin::new(&mut self.stream).poll_read(cx, buffer),
            Some(_) => self.read_first(cx, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, O: Opening> AsyncWrite for Socket<S, O> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
