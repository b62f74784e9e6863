//! What a connection waits for: the next step that its client owes, the answer to a ping, and the socket at the end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What pings of the server carry.
pub(super) const PING: [u8; 8] = *b"soloist?";

/// Finds peers that are gone: pings a connection that is silent.
#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: Duration,
    timeout: Duration,
    /// When anything was read last.
    heard: Instant,
    /// When a ping was sent whose answer has not come.
    pinged: Option<Instant>,
}

/// What a connection has to do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The connection has been silent for too long.
    Ping,
    /// The client has not answered a ping.
    Gone,
}

impl KeepAlive {
    pub(super) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout,
            heard: now,
            pinged: None,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn pong(&mut self) {
        self.pinged = None;
    }

    /// When to look again.
    pub(super) fn at(&self) -> Instant {
        match self.pinged {
            Some(pinged) => pinged + self.timeout,
            None => self.heard + self.interval,
        }
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if now < self.at() {
            return Due::Nothing;
        }
        match self.pinged {
            Some(_) => Due::Gone,
            None => {
                self.pinged = Some(now);
                Due::Ping
            }
        }
    }
}

/// A timer that is set anew only for an earlier time: what moves away costs nothing.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    /// Arranges that the task is woken at `at` at the latest.
    pub(super) fn set(&mut self, at: Instant, cx: &mut Context<'_>) {
        let timer = &mut self.0;
        if timer.is_elapsed() || at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        if let Poll::Ready(()) = timer.as_mut().poll(cx) {
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_pinged_and_one_that_does_not_answer_is_gone() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let second = Duration::from_secs(1);
        let mut keep_alive = KeepAlive::new(30 * second, 10 * second, start);
        assert_eq!(keep_alive.due(at(29)), Due::Nothing);
        keep_alive.heard(at(20));
        assert_eq!(keep_alive.due(at(30)), Due::Nothing);
        assert_eq!(
            (keep_alive.at(), keep_alive.due(at(50))),
            (at(50), Due::Ping)
        );
        assert_eq!(
            (keep_alive.at(), keep_alive.due(at(59))),
            (at(60), Due::Nothing)
        );
        keep_alive.heard(at(59));
        keep_alive.pong();
        assert_eq!(
            (keep_alive.at(), keep_alive.due(at(60))),
            (at(89), Due::Nothing)
        );
        assert_eq!(keep_alive.due(at(89)), Due::Ping);
        // Whatever else comes is no answer.
        keep_alive.heard(at(98));
        assert_eq!(keep_alive.due(at(99)), Due::Gone);
    }
}
