//! Ends a call whose answer nobody reads.
//!
//! hyper asks a body for nothing while HTTP/2 waits for the client to grant a window, so a body cannot end by itself then. But
//! hyper runs each call as a task, and a task can be dropped, which resets the stream and gives its memory back. So the body
//! notes, whenever it hands over bytes, by when its client must have read them; and the task, which polled the body, takes
//! the note.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::UNREAD_GRACE;
use crate::owner::CallGuard;

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
    static NOTE: Cell<Option<ReadBy>> = const { Cell::new(None) };
}

/// Notes for the task that polls this body that bytes were handed over.
pub(super) fn note(read_by: ReadBy) {
    NOTE.set(Some(read_by));
}

/// Runs the task of a call. `counted` counts the call for as long as it runs. Ends it if its answer is not read in time.
pub(crate) async fn run(call: impl Future<Output = ()>, counted: CallGuard) {
    let mut call = pin!(call);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        NOTE.set(None);
        if call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Only an answer that could not be sent at once needs a timer.
        if timer.is_none()
            && let Some(time) = NOTE.take().and_then(ReadBy::time)
        {
            timer = Some(Box::pin(sleep_until(time)));
        }
        match &mut timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
    drop(counted);
}
