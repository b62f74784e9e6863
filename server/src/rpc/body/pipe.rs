//! The body of a request that the server's own transport takes from the socket. The transport feeds it, and the call reads it,
//! often in another task.
//!
//! What is fed is bounded by the windows of HTTP/2: they are given back as the body is read, which the transport finds out by
//! [`take_read`](PipeFeed::take_read).

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};

/// The end that is read.
#[derive(Debug)]
pub(crate) struct PipedBody(Arc<Pipe>);

/// The end that is fed. Dropping it breaks a body that is not whole.
#[derive(Debug)]
pub(crate) struct PipeFeed(Arc<Pipe>);

/// The body will not become whole: its client has given the call up, or the connection has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokenBody;

impl fmt::Display for BrokenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was broken off")
    }
}

impl std::error::Error for BrokenBody {}

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    /// Woken when bytes were read.
    transport: Waker,
}

#[derive(Debug, Default)]
struct State {
    /// What has arrived and was not read.
    arrived: BytesMut,
    end: Option<End>,
    /// Waits for more.
    reader: Option<Waker>,
    /// Bytes that were read, or never will be, and of which the transport was not told.
    read: usize,
    /// Whether nobody reads any more.
    is_dropped: bool,
}

#[derive(Debug)]
enum End {
    /// The body is whole. Its trailers come last.
    Whole(Option<HeaderMap>),
    /// The client does not need the call any more.
    Canceled,
    Broken,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the two ends. `transport` is woken when bytes were read.
pub(crate) fn pipe(transport: Waker) -> (PipeFeed, PipedBody) {
    let pipe = Arc::new(Pipe {
        state: Mutex::default(),
        transport,
    });
    (PipeFeed(Arc::clone(&pipe)), PipedBody(pipe))
}

impl PipeFeed {
    /// Adds a part of the body. Returns whether somebody may read it.
    pub(crate) fn feed(&self, data: &[u8]) -> bool {
        let mut state = self.0.state();
        if state.is_dropped {
            return false;
        }
        state.arrived.extend_from_slice(data);
        wake_reader(state);
        true
    }

    /// Ends the body, which is whole.
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        self.end(End::Whole(trailers));
    }

    /// Ends the body, because the client does not need the call any more.
    pub(crate) fn cancel(&self) {
        self.end(End::Canceled);
    }

    fn end(&self, end: End) {
        let mut state = self.0.state();
        if state.end.is_none() {
            state.end = Some(end);
            wake_reader(state);
        }
    }

    /// How many bytes were read, or dropped, since this was last asked.
    pub(crate) fn take_read(&self) -> usize {
        std::mem::take(&mut self.0.state().read)
    }
}

impl Drop for PipeFeed {
    fn drop(&mut self) {
        self.end(End::Broken);
    }
}

/// Wakes who waits for more, once the state is free.
fn wake_reader(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl Body for PipedBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let mut state = self.0.state();
        if !state.arrived.is_empty() {
            let data = state.arrived.split().freeze();
            let was_told = state.read == 0;
            state.read += data.len();
            drop(state);
            if was_told {
                self.0.transport.wake_by_ref();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(match &mut state.end {
            Some(End::Whole(trailers)) => trailers.take().map(|fields| Ok(Frame::trailers(fields))),
            // As hyper does: such a call is dropped anyway.
            Some(End::Canceled) => None,
            Some(End::Broken) => Some(Err(BrokenBody)),
            None => {
                if !state
                    .reader
                    .as_ref()
                    .is_some_and(|reader| reader.will_wake(cx.waker()))
                {
                    state.reader = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.state();
        state.arrived.is_empty() && matches!(state.end, Some(End::Whole(None)))
    }
}

impl Drop for PipedBody {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_dropped = true;
        state.reader = None;
        let unread = std::mem::take(&mut state.arrived).len();
        let was_told = state.read == 0;
        state.read += unread;
        drop(state);
        if was_told && unread > 0 {
            self.0.transport.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::rpc::body::counting_waker::Woken;

    async fn next(body: &mut PipedBody) -> Option<Result<Frame<Bytes>, BrokenBody>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    #[tokio::test]
    async fn what_was_read_is_told_once_and_what_arrived_together_is_read_together() {
        let (woken, waker) = Woken::waker();
        let (feed, mut body) = pipe(waker);
        assert!(next(&mut body).now_or_never().is_none());
        assert!(feed.feed(b"ab") && feed.feed(b"c"));
        assert_eq!(woken.times(), 0);
        let data = next(&mut body).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "abc");
        assert_eq!(woken.times(), 1);
        assert_eq!((feed.take_read(), feed.take_read()), (3, 0));
        let mut trailers = HeaderMap::new();
        trailers.insert("a", http::HeaderValue::from_static("b"));
        feed.finish(Some(trailers.clone()));
        let last = next(&mut body).await.unwrap().unwrap();
        assert_eq!(last.into_trailers().unwrap(), trailers);
        assert!(next(&mut body).await.is_none());
        // A whole body stays whole.
        drop(feed);
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_says_so_after_what_has_arrived() {
        for is_canceled in [false, true] {
            let (feed, mut body) = pipe(Waker::noop().clone());
            feed.feed(b"abc");
            if is_canceled {
                feed.cancel();
            }
            drop(feed);
            assert!(next(&mut body).await.unwrap().unwrap().is_data());
            let end = next(&mut body).await;
            match is_canceled {
                true => assert!(end.is_none()),
                false => assert!(end.unwrap().is_err()),
            }
        }
    }

    #[test]
    fn what_nobody_will_read_counts_as_read() {
        let (woken, waker) = Woken::waker();
        let (feed, body) = pipe(waker);
        feed.feed(b"abc");
        drop(body);
        assert_eq!(woken.times(), 1);
        assert_eq!(feed.take_read(), 3);
        assert!(!feed.feed(b"d"));
        assert_eq!(feed.take_read(), 0);
    }
}
