//! When to send.

use std::time::Instant;

/// Says when each operation of a worker is to start, whatever becomes of the ones before. Response time is counted
/// from there: a server that stalls must not hide the operations that would have been sent meanwhile.
pub(crate) trait Schedule {
    /// The intended start of the next operation (frame). `free` is when the worker could first send it.
    fn next_start(&mut self, free: Instant) -> Instant;
}

/// The next operation starts as soon as the worker is free: the server sets the pace.
#[derive(Debug)]
pub(crate) struct ClosedLoop;

impl Schedule for ClosedLoop {
    fn next_start(&mut self, free: Instant) -> Instant {
        free
    }
}
