//! Fairness among the connections of a thread: a connection reads in turns of limited length.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use super::placement::Seat;
use super::settings::SettingsCount;
use super::socket::Socket;
use super::without_call::WithoutCall;
use crate::config::{
    SHARED_FOR, SHARED_TURN, SHARED_TURN_BYTES_MAX, SHARED_TURN_BYTES_MIN, TURN_BYTES,
};

/// The socket of a connection: reading takes turns with other connections.
///
/// An HTTP/2 connection reads as long as there is data. With a window of a megabyte that may be thousands of calls,
/// and the responses of other connections on the same thread wait meanwhile. So after some bytes this socket pretends that there
/// is no more data for now, and wakes the connection at once: its next turn comes after the other tasks have run.
pub(super) struct FairIo<S> {
    socket: S,
    /// The place of the thread whose runtime waits for the socket.
    attached: usize,
    turn: Turn,
    polls: PollCount,
    /// The poll of the connection in which the current turn began.
    poll: u64,
    /// Limits what the peer sends besides its calls: without any call, and by changes of its settings.
    limits: Option<(WithoutCall, SettingsCount)>,
}

impl<S> FairIo<S> {
    /// `attached` is the place of the thread whose runtime waits for the socket. `thread` is what the connections of the thread
    /// share that reads it.
    pub(super) fn new(
        socket: S,
        attached: usize,
        thread: Arc<ThreadShare>,
        polls: PollCount,
    ) -> Self {
        Self {
            socket,
            attached,
            turn: Turn::new(thread),
            polls,
            poll: 0,
            limits: None,
        }
    }

    /// Whether other connections read on this thread, too.
    pub(super) fn is_shared(&self) -> bool {
        self.turn.shared_until.is_some()
    }

    /// Notes that the connection does not read, whatever there is: it waits for its client, and not for a turn.
    pub(super) fn pause(&mut self) {
        self.turn.drained();
    }

    /// The same socket, which fails when too much is read without a call, or too many SETTINGS.
    pub(super) fn limited_by(self, without_call: WithoutCall) -> Self {
        Self {
            limits: Some((without_call, SettingsCount::new())),
            ..self
        }
    }
}

impl FairIo<Socket> {
    /// Lets the current thread, that of the seat, read the socket, if another one did.
    pub(super) fn sit_down(&mut self, seat: &Seat) {
        let thread = seat.at();
        if thread == self.attached {
            return;
        }
        self.attached = thread;
        self.turn = Turn::new(Arc::clone(&seat.worker().share));
        if let Err(error) = self.socket.attach_here() {
            debug!(%error, "the thread before goes on waiting for a socket");
        }
    }
}

/// Counts the polls of a connection: each poll is a turn.
///
/// Once a turn is over, every read must say "no more for now" until the poll ends, because a connection tries to read again
/// within the poll (hyper with each call that it takes out).
#[derive(Clone, Debug, Default)]
pub(super) struct PollCount(Arc<AtomicU64>);

impl PollCount {
    /// Drives a connection to its end, and counts its polls. Its socket must have a clone of this counter.
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
    /// The number of the newest connection: numbers count up.
    newest: AtomicU64,
    /// The number of the connection that read last.
    last_reader: AtomicU64,
    /// How many connections had more to read when their last turn was over.
    waiting: AtomicUsize,
}

/// How many bytes a connection may read before it lets others go on.
///
/// While no other connection reads on its thread, that is a great deal. While others do, it is few enough to keep rounds short: a
/// round is the time from one turn of a connection to its next, and every other call waits for several rounds. How much work a
/// byte makes cannot be known beforehand, and most of the work is done by other tasks. So the length of turns is adapted by
/// measuring rounds.
#[derive(Debug)]
struct Turn {
    thread: Arc<ThreadShare>,
    /// The number of this connection on its thread.
    number: u64,
    /// Whether this connection has ever read.
    has_read: bool,
    /// Most bytes of a turn.
    bytes: usize,
    /// Bytes that were read in this turn.
    taken: usize,
    /// Whether the end of this turn was noted.
    over: bool,
    /// Whether this connection counts as waiting: there was more to read when its last turn ended.
    waiting: bool,
    /// When the turn before ended, if there was more to read.
    ended: Option<Instant>,
    /// Until then other connections are assumed to read on this thread. None if this one is assumed to be alone.
    shared_until: Option<Instant>,
}

impl Turn {
    fn new(thread: Arc<ThreadShare>) -> Self {
        let number = thread.newest.fetch_add(1, Ordering::Relaxed) + 1;
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

    /// Most bytes that the next read may return. A connection that is alone may read as much as arrives at once.
    fn most(&self) -> usize {
        match self.shared_until {
            Some(_) => self.bytes.saturating_sub(self.taken),
            None => usize::MAX,
        }
    }

    /// Notes that bytes were read, and whether another connection has read in between.
    fn read(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.taken += bytes;
        let last = &self.thread.last_reader;
        if last.load(Ordering::Relaxed) == self.number {
            return;
        }
        last.store(self.number, Ordering::Relaxed);
        // Not at the first read: the connection that read before it may be gone.
        if mem::replace(&mut self.has_read, true) {
            self.shared_until = Some(now() + SHARED_FOR);
            self.bytes = self.bytes.min(SHARED_TURN_BYTES_MAX);
        }
    }

    /// Ends the turn, while there is more to read.
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

    /// Makes turns shorter if the last round was too long, and longer if it was short. A round may take longer the more
    /// connections wait for their next turn.
    fn adapt(&mut self, round: Duration) {
        let waiting = self.thread.waiting.load(Ordering::Relaxed);
        let fair = SHARED_TURN.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
        if round > fair {
            self.bytes = (self.bytes / 2).max(SHARED_TURN_BYTES_MIN);
        } else if round < fair / 2 {
            self.bytes = (self.bytes + SHARED_TURN_BYTES_MIN).min(SHARED_TURN_BYTES_MAX);
        }
    }

    /// Notes that there is no more to read, or that it is not to be read now.
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

impl<S: AsyncRead + Unpin> AsyncRead for FairIo<S> {
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
            let polled = Pin::new(&mut this.socket).poll_read(cx, buf);
            polled.map_ok(|()| buf.filled().len() - before)
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            let polled = Pin::new(&mut this.socket).poll_read(cx, &mut part);
            let read = part.filled().len();
            buf.advance(read);
            polled.map_ok(|()| read)
        };
        if polled.is_pending() {
            this.turn.drained();
        }
        let read = ready!(polled)?;
        this.turn.read(read, Instant::now);
        if let Some((without_call, settings)) = &mut this.limits {
            without_call.read(read)?;
            let filled = buf.filled();
            settings.read(&filled[filled.len() - read..])?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FairIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net as unix;
    use std::pin::pin;

    use tokio::io::{AsyncReadExt as _, Join, Sink, join, sink};
    use tokio::net::UnixStream;
    use tokio::runtime::Builder;

    use super::super::Worker;
    use super::super::placement::Threads;
    use super::super::socket::Kind;
    use super::*;
    use crate::rpc::body::counting_waker::Woken;

    /// A socket from which `reader` is read, and which drops what is written.
    fn socket<R: AsyncRead>(reader: R, polls: &PollCount) -> FairIo<Join<R, Sink>> {
        FairIo::new(join(reader, sink()), 0, Arc::default(), polls.clone())
    }

    /// Reads until there is no more for now. Returns how many bytes it was.
    fn read_all<S: AsyncRead + Unpin>(socket: &mut FairIo<S>, cx: &mut Context<'_>) -> usize {
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
    async fn a_turn_ends_after_some_bytes_and_the_next_one_begins_with_the_next_poll() {
        let polls = PollCount::default();
        let mut socket = socket(tokio::io::repeat(7), &polls);
        let (woken, waker) = Woken::waker();
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
            assert!(woken.times() >= turn);
        }
    }

    #[tokio::test]
    async fn a_connection_that_does_not_read_does_not_wait_for_a_turn() {
        let polls = PollCount::default();
        let mut socket = socket(tokio::io::repeat(7), &polls);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let thread = Arc::clone(&socket.turn.thread);
        let waiting = || thread.waiting.load(Ordering::Relaxed);
        for _ in 0..2 {
            polls
                .count(pin!(async { read_all(&mut socket, &mut cx) }))
                .await;
            assert_eq!(waiting(), 1);
            socket.pause();
            assert_eq!((waiting(), socket.turn.ended), (0, None));
            socket.pause();
            assert_eq!(waiting(), 0);
        }
    }

    #[tokio::test]
    async fn beside_others_a_turn_ends_at_its_exact_length() {
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
        // Already the turn in which the other connection is noticed is as short as a shared one.
        let read = polls
            .count(pin!(async { read_all(&mut socket, &mut cx) }))
            .await;
        assert_eq!(read, SHARED_TURN_BYTES_MAX);
    }

    #[test]
    fn a_connection_takes_its_socket_along_wherever_that_was_attached() {
        let runtime = || {
            let builder = &mut Builder::new_current_thread();
            builder.enable_io().build().unwrap()
        };
        let (before, here) = (runtime(), runtime());
        let workers = [&before, &here].map(|runtime| Worker::new(runtime.handle().clone()));
        let threads = Arc::new(Threads::new(workers.into()));
        let (other, seat) = (threads.place(), threads.place());
        let (mut client, server) = unix::UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let attached = before.block_on(async { UnixStream::from_std(server).unwrap() });
        let share = Arc::clone(&seat.worker().share);
        let socket = Socket::from(Kind::Unix(attached));
        let mut socket = FairIo::new(socket, other.at(), share, PollCount::default());
        here.block_on(async { socket.sit_down(&seat) });
        // A socket that it waits for would fail.
        drop(before);
        client.write_all(b"here").unwrap();
        let mut read = [0; 4];
        here.block_on(socket.read_exact(&mut read)).unwrap();
        assert_eq!(&read, b"here");
    }

    /// A turn that ends with more to read, at `now`.
    fn full(turn: &mut Turn, now: Instant) {
        turn.begin();
        turn.read(turn.bytes, || now);
        assert!(turn.is_over());
        turn.end(|| now);
    }

    /// A connection whose turns are full, and another one that has read beside it.
    fn beside_another(now: Instant) -> (Turn, Turn) {
        let thread = Arc::default();
        let (mut turn, mut other) = (Turn::new(Arc::clone(&thread)), Turn::new(thread));
        full(&mut turn, now);
        other.read(1, || now);
        full(&mut turn, now);
        (turn, other)
    }

    #[test]
    fn a_connection_that_reads_alone_has_long_turns() {
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
    fn turns_are_short_until_no_other_connection_has_read_for_some_time() {
        let now = Instant::now();
        let (mut turn, _other) = beside_another(now);
        assert_eq!(turn.bytes, SHARED_TURN_BYTES_MAX);
        full(&mut turn, now + SHARED_FOR);
        assert!(turn.bytes <= SHARED_TURN_BYTES_MAX);
        full(&mut turn, now + SHARED_FOR + Duration::from_millis(1));
        assert_eq!(turn.bytes, TURN_BYTES);
    }

    /// Checks how many bytes a turn has after `rounds`, while `waiting` connections wait.
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
    fn turns_adapt_to_the_length_of_rounds() {
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
        // With two connections that wait, a round may take twice as long.
        check(2, &[long], MAX);
        check(2, &[long * 2], MAX / 2);
    }

    #[test]
    fn time_without_anything_to_read_does_not_count_as_a_round() {
        let now = Instant::now();
        let (mut turn, _other) = beside_another(now);
        turn.drained();
        full(&mut turn, now + SHARED_TURN * 9);
        assert_eq!(turn.bytes, SHARED_TURN_BYTES_MAX);
    }

    #[test]
    fn a_dropped_connection_no_longer_counts_as_waiting() {
        let thread = Arc::default();
        let mut turn = Turn::new(Arc::clone(&thread));
        full(&mut turn, Instant::now());
        assert_eq!(thread.waiting.load(Ordering::Relaxed), 1);
        drop(turn);
        assert_eq!(thread.waiting.load(Ordering::Relaxed), 0);
    }
}
