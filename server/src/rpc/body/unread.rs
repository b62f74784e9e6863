//! Ends a call whose answer nobody reads.
//!
//! HTTP/2 asks a body for nothing while it waits for the client to grant a window, so a body cannot end by itself then. But
//! the task of the connection, which polls the call, can drop it, which resets the stream and gives its memory back. So that is
//! told, by notes of its thread, by when the answer must have been read, and that the body has handed over bytes of it.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::UNREAD_GRACE;

/// By when the client must have read what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadBy {
    /// The call is a stream without a deadline.
    Never,
    /// At the deadline of the call.
    Deadline(Instant),
    /// So long after the answer was made; earlier, if the call has a deadline.
    Within(Duration, Option<Instant>),
}

impl ReadBy {
    fn time(self) -> Option<Instant> {
        let time = match self {
            Self::Never => return None,
            Self::Deadline(deadline) => deadline,
            Self::Within(time, deadline) => {
                let max = Instant::now() + time;
                deadline.map_or(max, |deadline| deadline.min(max))
            }
        };
        Some(time + UNREAD_GRACE)
    }
}

thread_local! {
    /// By when the answer of the call that is being polled must have been read.
    static READ_BY: Cell<Option<ReadBy>> = const { Cell::new(None) };
    /// Whether the call that is being polled has handed over bytes.
    static HANDED_OVER: Cell<bool> = const { Cell::new(false) };
}

/// Tells the task of the call by when its client must have read what is handed over from now on.
pub(in crate::rpc) fn note_read_by(read_by: ReadBy) {
    READ_BY.set(Some(read_by));
}

/// Tells the task of the call that bytes were handed over.
pub(super) fn note_handed_over() {
    HANDED_OVER.set(true);
}

/// Watches over the answer of one call.
pub(crate) struct UnreadAnswer {
    read_by: ReadBy,
    timer: Option<Pin<Box<Sleep>>>,
}

impl UnreadAnswer {
    pub(crate) const NEW: Self = Self {
        read_by: ReadBy::Never,
        timer: None,
    };

    /// To be called before the call is polled.
    pub(crate) fn begin_poll() {
        READ_BY.set(None);
        HANDED_OVER.set(false);
    }

    /// To be called after the call was polled, unless it has ended. Resolves when its answer was not read in time. `waits` says
    /// whether bytes that were handed over wait for the client.
    pub(crate) fn poll_end(&mut self, waits: bool, cx: &mut Context<'_>) -> Poll<()> {
        self.read_by = READ_BY.get().unwrap_or(self.read_by);
        // Only an answer that could not be sent at once needs a timer.
        if self.timer.is_none()
            && (waits || HANDED_OVER.get())
            && let Some(time) = self.read_by.time()
        {
            self.timer = Some(Box::pin(sleep_until(time)));
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
