//! The task of a connection.

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use soloist_http2::{Connection, ConnectionError, ErrorCode, Event, Route, Routes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::alarm::{Alarm, Due, KeepAlive, PING};
use super::calls::Calls;
use super::limits::limits;
use super::request;
use crate::config::{SHARED_TURN_CALLS, TURN_BYTES, TransportLimits, WRITE_TURN_BYTES};
use crate::rpc::services::{ClientServices, ConnectionQuota, QuotaGuard, UNARY_METHODS};
use crate::transport::fairness::FairIo;
use crate::transport::placement::Seat;
use crate::transport::socket::Socket;

thread_local! {
    /// Where the connections of a thread read to, one after the other: none keeps it from one poll to the next.
    static INPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The methods with a path of their own through the server, numbered by their places in the table.
static ROUTES: LazyLock<Arc<Routes>> = LazyLock::new(|| {
    let methods = (0..).zip(&UNARY_METHODS);
    Arc::new(Routes::new(
        methods.map(|(at, method)| (method.path, Route(at))),
    ))
});

/// How a connection ended. The error is for the debug log.
pub(in crate::transport) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// A connection that is served. Resolves when it has ended.
pub(in crate::transport) struct OwnConnection {
    socket: FairIo<Socket>,
    seat: Seat,
    core: Connection,
    calls: Calls,
    quota: ConnectionQuota,
    /// What was read while the output was full, and not taken.
    rest: Vec<u8>,
    /// Bytes of output above which nothing is read.
    output_max: usize,
    /// What waits to be written is charged to the connection until it is.
    unwritten: Option<QuotaGuard>,
    /// Whether the socket may keep bytes that were written to it.
    needs_flush: bool,
    begun: Instant,
    keep_alive: KeepAlive,
    alarm: Alarm,
    /// Why the connection has ended, while its last bytes are written, and until when that may take.
    failed: Option<(ConnectionError, Instant)>,
    keepalive_timeout: std::time::Duration,
}

impl OwnConnection {
    /// Serves the client of `socket`, whose preface is still to be read.
    pub(in crate::transport) fn new(
        socket: FairIo<Socket>,
        seat: Seat,
        services: ClientServices,
        quota: ConnectionQuota,
        transport: &TransportLimits,
    ) -> Self {
        let now = Instant::now();
        let limits = limits(transport);
        let keep_alive = KeepAlive::new(
            transport.keepalive_interval,
            transport.keepalive_timeout,
            now,
        );
        Self {
            socket,
            seat,
            calls: Calls::new(services, quota.clone()),
            quota,
            rest: Vec::new(),
            output_max: limits.output_bytes_max,
            unwritten: None,
            needs_flush: false,
            begun: now,
            alarm: Alarm::new(keep_alive.at()),
            keep_alive,
            failed: None,
            keepalive_timeout: transport.keepalive_timeout,
            core: Connection::new(limits, Arc::clone(&ROUTES), std::time::Duration::ZERO),
        }
    }

    /// Says goodbye: calls that are open, and those that are under way, are answered.
    pub(in crate::transport) fn drain(&mut self) {
        self.core.drain();
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.calls.register(cx.waker());
        self.socket.sit_down(&self.seat);
        let now = Instant::now();
        self.check_time(now)?;
        let mut written = 0;
        loop {
            let mut has_more = self.take_rest(now);
            match self.read(now, cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => has_more = true,
                Poll::Pending => {}
            }
            let most = match self.socket.is_shared() {
                true => SHARED_TURN_CALLS,
                false => usize::MAX,
            };
            let has_due = self.calls.poll_due(&mut self.core, most);
            let was_full = self.is_full();
            written += self.write(cx)?;
            if self.core.output().is_empty() && !self.needs_flush && self.is_ending() {
                // Nothing waits any more, also if the end of TLS does.
                self.charge_unwritten();
                return self.end(now, cx);
            }
            if has_due || written > WRITE_TURN_BYTES {
                // Others have their turn, whatever a client reads.
                cx.waker().wake_by_ref();
                break;
            }
            // With room for output again, what was read and not taken goes on.
            let has_room_again = was_full && !self.is_full();
            if !has_more && !has_room_again {
                break;
            }
        }
        self.charge_unwritten();
        self.set_alarm(now, cx);
        Poll::Pending
    }

    /// Whether there is nothing left to do but to write what there is.
    fn is_ending(&self) -> bool {
        self.failed.is_some() || self.core.is_drained()
    }

    /// Whether so much waits to be written that nothing is read.
    fn is_full(&self) -> bool {
        self.core.output().len() >= self.output_max
    }

    /// Does what is due at this time.
    fn check_time(&mut self, now: Instant) -> Ended {
        self.core.tick(now - self.begun);
        if let Some((error, until)) = &self.failed
            && now >= *until
        {
            return Err(error.clone().into());
        }
        match self.keep_alive.due(now) {
            Due::Nothing => {}
            Due::Ping => self.core.ping(PING),
            Due::Gone => return Err("the client does not answer a ping".into()),
        }
        Ok(())
    }

    fn set_alarm(&mut self, now: Instant, cx: &mut Context<'_>) {
        let mut at = self.keep_alive.at();
        if let Some(due) = self.core.due() {
            at = at.min(self.begun + due);
        }
        if let Some((_, until)) = &self.failed {
            at = at.min(*until);
        }
        self.alarm.set(at.max(now), cx);
    }

    /// Reads once, and handles what was read. Returns how many bytes that was: none at the end.
    fn read(&mut self, now: Instant, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        if self.is_full() || !self.rest.is_empty() {
            // What is full is written first, and then the connection is woken.
            self.socket.pause();
            return Ok(Poll::Pending);
        }
        let mut input = INPUT.take();
        input.resize(TURN_BYTES, 0);
        let mut buf = ReadBuf::new(&mut input);
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut buf);
        let read = buf.filled().len();
        let polled = match polled {
            Poll::Ready(Ok(())) => {
                if read > 0 {
                    self.seat.read(read);
                    self.keep_alive.heard(now);
                    self.handle(&input[..read], now);
                }
                Ok(Poll::Ready(read))
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(Poll::Pending),
        };
        INPUT.set(input);
        polled
    }

    /// Goes on with what was not taken when it was read. Returns whether anything came of it.
    fn take_rest(&mut self, now: Instant) -> bool {
        let rest = mem::take(&mut self.rest);
        self.handle(&rest, now) || self.rest.len() < rest.len()
    }

    /// Hands bytes to the protocol, and does what its events say. Returns whether there were any.
    fn handle(&mut self, mut input: &[u8], now: Instant) -> bool {
        let at = now - self.begun;
        let mut has_events = false;
        while let Some(event) = self.core.next(&mut input, at) {
            has_events = true;
            match event {
                Event::Request { stream, head, then } => {
                    if self.calls.begin(stream, &head, then).is_err() {
                        let code = ErrorCode::PROTOCOL_ERROR;
                        self.core.reset_at_fault(stream, code, at);
                    }
                }
                Event::Data { stream, data, then } => {
                    let unread = self.calls.data(stream, data, then);
                    if unread > 0 {
                        self.core.consumed(stream, unread);
                    }
                }
                Event::Trailers { stream, fields } => match request::trailers(fields) {
                    Ok(trailers) => self.calls.trailers(stream, trailers),
                    Err(request::Malformed) => {
                        let code = ErrorCode::PROTOCOL_ERROR;
                        self.calls.reset(stream, code);
                        self.core.reset_at_fault(stream, code, at);
                    }
                },
                Event::Reset { stream, code, .. } => self.calls.reset(stream, code),
                Event::Writable { stream } => self.calls.writable(&mut self.core, stream),
                Event::Pong { payload } if payload == PING => self.keep_alive.pong(),
                Event::Pong { .. } | Event::GoAway { .. } => {}
                Event::Failed(error) => {
                    self.calls.clear();
                    self.failed = Some((error, now + self.keepalive_timeout));
                }
            }
        }
        if !input.is_empty() {
            self.rest = input.to_vec();
        }
        has_events
    }

    /// Writes what the socket takes. Returns how much that was.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut written = 0;
        while !self.core.output().is_empty() && written <= WRITE_TURN_BYTES {
            let polled = Pin::new(&mut self.socket).poll_write(cx, self.core.output());
            let Poll::Ready(count) = polled? else {
                break;
            };
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.core.wrote(count);
            self.seat.wrote(count);
            written += count;
            self.needs_flush = true;
        }
        if self.needs_flush && Pin::new(&mut self.socket).poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(written)
    }

    /// Charges what waits to be written: the answers that it is of have given their own charges back.
    fn charge_unwritten(&mut self) {
        // How much the socket keeps is not known, but that there is something is.
        let kept = usize::from(self.needs_flush);
        match (self.core.output().len() + kept, &mut self.unwritten) {
            (0, unwritten) => *unwritten = None,
            (bytes, Some(charged)) => charged.change(bytes),
            (bytes, unwritten) => *unwritten = Some(self.quota.clone().charge(bytes)),
        }
    }

    /// Closes the socket, when everything is written.
    fn end(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Ended> {
        // An error means that the client is gone already. One that does not read must not hold this up for ever.
        if Pin::new(&mut self.socket).poll_shutdown(cx).is_pending() {
            self.set_alarm(now, cx);
            return Poll::Pending;
        }
        Poll::Ready(match self.failed.take() {
            Some((error, _)) => Err(error.into()),
            None => Ok(()),
        })
    }
}

impl Future for OwnConnection {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        // Many calls are polled at once, each of which would count against the share of a task. Turns are limited by bytes.
        let mut polled = unconstrained(poll_fn(|cx| self.poll_once(cx)));
        Pin::new(&mut polled).poll(cx)
    }
}
