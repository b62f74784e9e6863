//! A connection's socket, as HTTP/2 is shown it.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{
    SHARED_FOR, SHARED_TURN, SHARED_TURN_BYTES_MAX, SHARED_TURN_BYTES_MIN, TURN_BYTES,
};

/// Two halves of a socket, of which the reading one takes turns with others on its thread.
///
/// HTTP/2 reads as long as there is something to read, which with a window of a megabyte is thousands of calls, and all that
/// time the answers of other connections wait. So after some bytes it is told that there is no more for now, and woken at once.
///
/// h2 asks once, when it begins, whether writes are vectored, and if so hands every answer from 256 bytes on to the socket by
/// itself, a system call for each; if not, it copies them together up to 1 KiB each. Whether to write a larger answer with what
/// is in front of it in one system call, it asks each time. So writes are vectored from the second on.
#[derive(Debug)]
pub(super) struct FairIo<R, W> {
    reader: R,
    writer: W,
    turn: Turn,
    polls: PollCount,
    /// In which of them the present turn began.
    poll: u64,
    /// Whether something was written.
    begun: bool,
}

impl<R, W> FairIo<R, W> {
    pub(super) fn new(reader: R, writer: W, thread: Arc<ThreadShare>, polls: PollCount) -> Self {
        Self {
            reader,
            writer,
            turn: Turn::new(thread),
            polls,
            poll: 0,
            begun: false,
        }
    }
}

/// Counts how often a connection is polled: each poll is a turn. hyper asks for more with every call that it takes out of
/// a connection, so that what was told "no more for now" once has to be told so until the others were polled.
#[derive(Clone, Debug, Default)]
pub(super) struct PollCount(Arc<AtomicU64>);

impl PollCount {
    /// Drives a connection whose socket has these polls.
    pub(super) async fn count<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| {
            self.0.fetch_add(1, Ordering::Relaxed);
            connection.as_mut().poll(cx)
        })
        .await
    }
}

/// What the connections of a thread know of each other.
#[derive(Debug, Default)]
pub(super) struct ThreadShare {
    /// The last number that a connection was given.
    numbers: AtomicU64,
    /// Which connection read last.
    last: AtomicU64,
    /// Connections that had more to read when their turn was over.
    waiting: AtomicUsize,
}

/// How much a connection may read before it lets the others go on.
///
/// While it is the only one to read on its thread, that is a great deal. While it is not, it is as much as keeps the time
/// from turn to turn short: all others wait for that several times in each call. How much work is in a byte cannot be told
/// beforehand, and most of it is done by other tasks, so what is measured is the time until all of them have run.
#[derive(Debug)]
struct Turn {
    thread: Arc<ThreadShare>,
    /// By which its neighbours know it.
    number: u64,
    has_read: bool,
    /// Bytes that may be read in a turn.
    bytes: usize,
    /// Bytes that were read in this turn.
    taken: usize,
    /// Whether this turn has ended.
    over: bool,
    /// Whether there was more to read when the last turn ended.
    waiting: bool,
    /// When the turn before ended, if there was more to read.
    ended: Option<Instant>,
    /// Until when it is taken for granted that others read on this thread.
    shared_until: Option<Instant>,
}

impl Turn {
    fn new(thread: Arc<ThreadShare>) -> Self {
        let number = thread.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Self {
            thread,
            number,
            has_read: false,
            bytes: TURN_BYTES,
            taken: 0,
            over: false,
            waiting: false,
            ended: None,
            shared_until: None,
        }
    }

    fn begin(&mut self) {
        self.taken = 0;
        self.over = false;
    }

    fn is_over(&self) -> bool {
        self.taken >= self.bytes
    }

    /// Most bytes that the next read may give. One that is alone may read what comes in one go.
    fn most(&self) -> usize {
        match self.shared_until {
            Some(_) => self.bytes.saturating_sub(self.taken),
            None => usize::MAX,
        }
    }

    fn read(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.taken += bytes;
        let last = &self.thread.last;
        if last.load(Ordering::Relaxed) == self.number {
            return;
        }
        last.store(self.number, Ordering::Relaxed);
        // Who read before this one's first read may be gone.
        if mem::replace(&mut self.has_read, true) {
            self.shared_until = Some(now() + SHARED_FOR);
            self.bytes = self.bytes.min(SHARED_TURN_BYTES_MAX);
        }
    }

    /// Ends the turn with more to read.
    fn end(&mut self, now: impl FnOnce() -> Instant) {
        if self.over {
            return;
        }
        self.over = true;
        if !self.waiting {
            self.waiting = true;
            self.thread.waiting.fetch_add(1, Ordering::Relaxed);
        }
        let Some(until) = self.shared_until else {
            return;
        };
        let now = now();
        if now > until {
            self.shared_until = None;
            self.bytes = TURN_BYTES;
            self.ended = None;
        } else if let Some(before) = self.ended.replace(now) {
            self.adapt(now.saturating_duration_since(before));
        }
    }

    /// `round` is the time of one turn of everybody: it may be longer if more of them have much to read.
    fn adapt(&mut self, round: Duration) {
        let waiting = self.thread.waiting.load(Ordering::Relaxed);
        let fair = SHARED_TURN.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
        if round > fair {
            self.bytes = (self.bytes / 2).max(SHARED_TURN_BYTES_MIN);
        } else if round < fair / 2 {
            self.bytes = (self.bytes + SHARED_TURN_BYTES_MIN).min(SHARED_TURN_BYTES_MAX);
        }
    }

    /// There is no more to read.
    fn drained(&mut self) {
        self.ended = None;
        if mem::take(&mut self.waiting) {
            self.thread.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.drained();
    }
}

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for FairIo<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let poll = this.polls.0.load(Ordering::Relaxed);
        if this.poll != poll {
            this.poll = poll;
            this.turn.begin();
        }
        if this.turn.is_over() {
            this.turn.end(Instant::now);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = this.turn.most();
        let polled = if buf.remaining() <= most {
            let before = buf.filled().len();
            let polled = Pin::new(&mut this.reader).poll_read(cx, buf);
            polled.map_ok(|()| buf.filled().len() - before)
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            let polled = Pin::new(&mut this.reader).poll_read(cx, &mut part);
            let read = part.filled().len();
            buf.advance(read);
            polled.map_ok(|()| read)
        };
        if polled.is_pending() {
            this.turn.drained();
        }
        this.turn.read(ready!(polled)?, Instant::now);
        Poll::Ready(Ok(()))
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for FairIo<R, W> {
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
    use std::pin::pin;
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

    fn socket<R>(reader: R, polls: &PollCount) -> FairIo<R, tokio::io::Sink> {
        let thread = Arc::default();
        FairIo::new(reader, tokio::io::sink(), thread, polls.clone())
    }

    /// Reads until there is no more for now, and tells how much there was.
    fn read_all<R: AsyncRead + Unpin>(
        socket: &mut FairIo<R, tokio::io::Sink>,
        cx: &mut Context<'_>,
    ) -> usize {
        let mut read = 0;
        loop {
            let mut space = [0; 1000];
            let mut buf = ReadBuf::new(&mut space);
            if Pin::new(&mut *socket).poll_read(cx, &mut buf).is_pending() {
                return read;
            }
            assert!(buf.filled().iter().all(|byte| *byte == 7));
            read += buf.filled().len();
        }
    }

    #[tokio::test]
    async fn a_turn_ends_after_some_bytes_and_the_next_one_comes_with_the_next_poll() {
        let polls = PollCount::default();
        let mut socket = socket(tokio::io::repeat(7), &polls);
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        for turn in 1..=3 {
            let (first, second) = polls
                .count(pin!(async {
                    let first = read_all(&mut socket, &mut cx);
                    (first, read_all(&mut socket, &mut cx))
                }))
                .await;
            assert!((TURN_BYTES..TURN_BYTES + 1000).contains(&first), "{first}");
            assert_eq!(second, 0, "one turn in each poll");
            assert!(woken.0.load(Ordering::Relaxed) >= turn);
        }
    }

    #[tokio::test]
    async fn beside_others_no_more_is_read_than_the_turn_has() {
        let polls = PollCount::default();
        let mut socket = socket(tokio::io::repeat(7), &polls);
        let mut other = Turn::new(Arc::clone(&socket.turn.thread));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            polls
                .count(pin!(async { read_all(&mut socket, &mut cx) }))
                .await;
            other.read(1, Instant::now);
        }
        // The turn in which it is noticed is as long as a shared one already.
        let read = polls
            .count(pin!(async { read_all(&mut socket, &mut cx) }))
            .await;
        assert_eq!(read, SHARED_TURN_BYTES_MAX);
    }

    /// A turn that ends with more to read, at `now`.
    fn full(turn: &mut Turn, now: Instant) {
        turn.begin();
        turn.read(turn.bytes, || now);
        assert!(turn.is_over());
        turn.end(|| now);
    }

    /// One whose turns are full, and another that has read beside it.
    fn beside_another(now: Instant) -> (Turn, Turn) {
        let thread = Arc::default();
        let (mut turn, mut other) = (Turn::new(Arc::clone(&thread)), Turn::new(thread));
        full(&mut turn, now);
        other.read(1, || now);
        full(&mut turn, now);
        (turn, other)
    }

    #[test]
    fn one_that_reads_alone_has_long_turns() {
        let now = Instant::now();
        let thread = Arc::default();
        let mut gone = Turn::new(Arc::clone(&thread));
        full(&mut gone, now);
        drop(gone);
        let mut turn = Turn::new(thread);
        for _ in 0..3 {
            full(&mut turn, now);
            assert_eq!((turn.bytes, turn.most()), (TURN_BYTES, usize::MAX));
        }
    }

    #[test]
    fn turns_are_short_until_nobody_else_has_read_for_some_time() {
        let now = Instant::now();
        let (mut turn, _other) = beside_another(now);
        assert_eq!(turn.bytes, SHARED_TURN_BYTES_MAX);
        full(&mut turn, now + SHARED_FOR);
        assert!(turn.bytes <= SHARED_TURN_BYTES_MAX);
        full(&mut turn, now + SHARED_FOR + Duration::from_millis(1));
        assert_eq!(turn.bytes, TURN_BYTES);
    }

    /// How long turns are after these rounds, with so many who wait.
    #[track_caller]
    fn check(waiting: usize, rounds: &[Duration], expected: usize) {
        let mut now = Instant::now();
        let thread = Arc::default();
        let mut others: Vec<Turn> = (0..waiting.max(2) - 1)
            .map(|_| Turn::new(Arc::clone(&thread)))
            .collect();
        let mut turn = Turn::new(thread);
        full(&mut turn, now);
        others.iter_mut().for_each(|other| full(other, now));
        if waiting == 1 {
            others.iter_mut().for_each(Turn::drained);
        }
        full(&mut turn, now);
        for round in rounds {
            now += *round;
            full(&mut turn, now);
        }
        assert_eq!(turn.bytes, expected);
    }

    #[test]
    fn turns_are_as_long_as_rounds_allow() {
        const MIN: usize = SHARED_TURN_BYTES_MIN;
        const MAX: usize = SHARED_TURN_BYTES_MAX;
        let (long, good, short) = (SHARED_TURN * 2, SHARED_TURN * 3 / 4, SHARED_TURN / 4);
        check(1, &[], MAX);
        check(1, &[good], MAX);
        check(1, &[long], MAX / 2);
        check(1, &[long, good], MAX / 2);
        check(1, &[long, short], MAX / 2 + MIN);
        check(1, &[long; 20], MIN);
        check(1, &[short; 20], MAX);
        // Two of them take twice as long.
        check(2, &[long], MAX);
        check(2, &[long * 2], MAX / 2);
    }

    #[test]
    fn time_without_anything_to_read_is_no_round() {
        let now = Instant::now();
        let (mut turn, _other) = beside_another(now);
        turn.drained();
        full(&mut turn, now + SHARED_TURN * 9);
        assert_eq!(turn.bytes, SHARED_TURN_BYTES_MAX);
    }

    #[test]
    fn who_is_gone_waits_no_more() {
        let thread = Arc::default();
        let mut turn = Turn::new(Arc::clone(&thread));
        full(&mut turn, Instant::now());
        assert_eq!(thread.waiting.load(Ordering::Relaxed), 1);
        drop(turn);
        assert_eq!(thread.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn writes_are_vectored_from_the_second_on() {
        let (writer, _peer) = tokio::net::UnixStream::pair().unwrap();
        let thread = Arc::default();
        let mut socket = FairIo::new(tokio::io::empty(), writer, thread, PollCount::default());
        assert!(!socket.is_write_vectored());
        socket.write_all(b"settings").await.unwrap();
        assert!(socket.is_write_vectored());
    }
}
