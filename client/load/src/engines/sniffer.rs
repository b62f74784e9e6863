//! Tells what the server does with a connection, from the headers of its frames.
//!
//! Hyper shows neither that the SETTINGS of a server have arrived, nor a GOAWAY before the next call fails. Both must be known
//! at once: a connection counts as made when the server has said something, and one that the server ends in order must
//! be replaced before it is used again.
//!
//! Source: RFC 9113, sections 4.1, 6.5 and 6.8.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::connect::socket::Socket;
use crate::http2::{SPEAKS_TLS, speaks_tls};

const HEADER_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Signals {
    ready: AtomicBool,
    goaway: AtomicBool,
    closed: AtomicBool,
    /// The server does not own the store.
    left: AtomicBool,
    /// Why the connection has ended.
    why: OnceLock<String>,
    /// How often something was read.
    reads: AtomicU64,
    changed: Notify,
}

impl Signals {
    /// Whether the SETTINGS of the server have arrived.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the server has sent GOAWAY: it finishes what it has taken, and takes no more.
    pub(super) fn is_draining(&self) -> bool {
        self.goaway.load(Ordering::Acquire)
    }

    /// Whether the server has said that it does not own the store: it is asked nothing any more.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Notes that the server does not own the store.
    pub(super) fn leave(&self) {
        self.set(&self.left);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns how often something was read so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Notes that the connection has ended. The first reason is kept.
    pub(super) fn close(&self, why: String) {
        let _ = self.why.set(why);
        self.set(&self.closed);
    }

    /// Returns why the connection has ended.
    pub(super) fn why(&self) -> String {
        self.why.get().cloned().unwrap_or_default()
    }

    /// Waits until something changes. One task may wait; it misses nothing that happens between two waits.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn set(&self, signal: &AtomicBool) {
        signal.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// A socket that signals what arrives on it.
#[derive(Debug)]
pub(super) struct SniffedStream {
    stream: Socket,
    frames: FrameHeaders,
    signals: Arc<Signals>,
}

impl SniffedStream {
    pub(super) fn new(stream: Socket, signals: Arc<Signals>) -> Self {
        Self {
            stream,
            frames: FrameHeaders::default(),
            signals,
        }
    }
}

/// Finds the headers of frames in the bytes that arrive.
#[derive(Debug, Default)]
struct FrameHeaders {
    /// The part of a header that has arrived.
    header: [u8; HEADER_BYTES],
    length: usize,
    /// The bytes before the next header.
    skip: usize,
}

impl FrameHeaders {
    /// Takes bytes that follow those before. Calls `on_frame` with the type of each frame that begins in them.
    fn take(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(u8)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let count = (HEADER_BYTES - self.length).min(bytes.len());
            if count == 0 {
                return;
            }
            let (head, rest) = bytes.split_at(count);
            self.header[self.length..][..count].copy_from_slice(head);
            self.length += count;
            bytes = rest;
            if self.length < HEADER_BYTES {
                return;
            }
            let [a, b, c, kind, ..] = self.header;
            self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
            self.length = 0;
            on_frame(kind);
        }
    }
}

impl AsyncRead for SniffedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let Self {
            frames, signals, ..
        } = &mut *self;
        let is_first = signals.reads.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && speaks_tls(&buffer.filled()[before..]) {
            signals.close(SPEAKS_TLS.to_owned());
            return Poll::Ready(Err(io::Error::other(SPEAKS_TLS)));
        }
        frames.take(&buffer.filled()[before..], |kind| match kind {
            SETTINGS if !signals.is_ready() => signals.set(&signals.ready),
            GOAWAY => signals.set(&signals.goaway),
            _ => {}
        });
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SniffedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        let kinds = [SETTINGS, 1, 0, 0, GOAWAY, 8];
        for (kind, length) in kinds.into_iter().zip([18_u8, 3, 0, 200, 8, 4]) {
            bytes.extend([0, 0, length, kind, 0, 0, 0, 0, 1]);
            bytes.extend(vec![GOAWAY; length.into()]);
        }
        for step in 1..bytes.len() {
            let mut frames = FrameHeaders::default();
            let mut found = Vec::new();
            for part in bytes.chunks(step) {
                frames.take(part, |kind| found.push(kind));
            }
            assert_eq!(found, kinds, "{step}");
        }
    }
}
