//! A connection's socket, as HTTP/2 is shown it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::TURN_BYTES;

/// Two halves of a socket, of which the reading one takes turns with others on its thread.
///
/// HTTP/2 reads as long as there is something to read, which with a window of a megabyte is thousands of calls, and all that
/// time the answers of other connections wait. So after some bytes it is told that there is no more for now, and woken at once.
///
/// h2 asks once, when it begins, whether writes are vectored, and if so hands every answer from 256 bytes on to the socket by
/// itself, a system call for each; if not, it copies them together up to 1 KiB each. Whether to write a larger answer with what
/// is in front of it in one system call, it asks each time. So writes are vectored from the second on.
#[derive(Debug)]
pub(super) struct InTurns<R, W> {
    reader: R,
    writer: W,
    /// Bytes that were read in this turn.
    taken: usize,
    /// Whether something was written.
    begun: bool,
}

impl<R, W> InTurns<R, W> {
    pub(super) fn new(reader: R, writer: W) -> Self {
        Self {
            reader,
            writer,
            taken: 0,
            begun: false,
        }
    }
}

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for InTurns<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.taken >= TURN_BYTES {
            this.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.reader).poll_read(cx, buf);
        match polled {
            Poll::Ready(_) => this.taken += buf.filled().len() - before,
            Poll::Pending => this.taken = 0,
        }
        polled
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for InTurns<R, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begun = true;
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.begun && self.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_turn_ends_after_some_bytes_and_the_next_one_comes() {
        let endless = tokio::io::repeat(7);
        let mut socket = InTurns::new(endless, tokio::io::sink());
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        for turn in 1..=3 {
            let mut read = 0;
            loop {
                let mut space = [0; 1000];
                let mut buf = ReadBuf::new(&mut space);
                let polled = Pin::new(&mut socket).poll_read(&mut cx, &mut buf);
                if polled.is_pending() {
                    break;
                }
                read += buf.filled().len();
            }
            assert!((TURN_BYTES..TURN_BYTES + 1000).contains(&read), "{read}");
            assert_eq!(woken.0.load(Ordering::Relaxed), turn);
        }
    }

    #[tokio::test]
    async fn writes_are_vectored_from_the_second_on() {
        let (writer, _peer) = tokio::net::UnixStream::pair().unwrap();
        let mut socket = InTurns::new(tokio::io::empty(), writer);
        assert!(!socket.is_write_vectored());
        socket.write_all(b"settings").await.unwrap();
        assert!(socket.is_write_vectored());
    }
}
