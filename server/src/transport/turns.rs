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
/// Writes are not vectored. h2 hands every answer from 256 bytes on to a vectored socket by itself, a system call for each;
/// to another one it copies them together up to 1 KiB each.
#[derive(Debug)]
pub(super) struct InTurns<R, W> {
    reader: R,
    writer: W,
    /// Bytes that were read in this turn.
    taken: usize,
}

impl<R, W> InTurns<R, W> {
    pub(super) fn new(reader: R, writer: W) -> Self {
        Self {
            reader,
            writer,
            taken: 0,
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
        Pin::new(&mut self.writer).poll_write(cx, buf)
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
        assert!(!socket.is_write_vectored());
    }
}
