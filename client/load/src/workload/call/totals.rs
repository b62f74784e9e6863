//! What a run with `--call` counts beside its operations: the sizes of messages, and the messages of streams.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::histogram::{add, histogram, record};
use crate::workload::call::sizes::Sizes;

/// The messages of one worker or, in the end, of all workers.
#[derive(Clone, Debug)]
pub(crate) struct CallTotals {
    /// All messages that were made to be sent, also those of the warm-up.
    pub(crate) requests: Sizes,
    /// All messages of answers, also those of the warm-up.
    pub(crate) responses: Sizes,
    /// Only of methods whose server streams.
    pub(crate) streams: StreamTotals,
}

/// The messages of the streams that began in the measured time and ended well.
#[derive(Clone, Debug)]
pub(crate) struct StreamTotals {
    /// Those of streams that ended in the measured time too.
    pub(crate) messages: u64,
    /// From the intended start of a stream to its first message, and to its last one, in nanoseconds. Streams without
    /// messages are left out.
    pub(crate) first: Histogram<u64>,
    pub(crate) last: Histogram<u64>,
}

/// A stream that has ended with status OK, or was read as far as it was to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamAnswer {
    pub(crate) sizes: Sizes,
    /// When the first message and the last one arrived.
    pub(crate) arrived: Option<(Instant, Instant)>,
}

impl CallTotals {
    pub(crate) fn new() -> Self {
        Self {
            requests: Sizes::default(),
            responses: Sizes::default(),
            streams: StreamTotals {
                messages: 0,
                first: histogram(),
                last: histogram(),
            },
        }
    }

    /// Counts a stream that was meant to start at `intended`, in the measured time. `is_late` if it ended after it.
    pub(crate) fn stream(&mut self, stream: &StreamAnswer, intended: Instant, is_late: bool) {
        if !is_late {
            self.streams.messages += stream.sizes.messages;
        }
        if let Some((first, last)) = stream.arrived {
            let after = |at: Instant| -> Duration { at.saturating_duration_since(intended) };
            record(&mut self.streams.first, after(first), 1);
            record(&mut self.streams.last, after(last), 1);
        }
    }

    /// Adds the messages of another worker.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests.add(&other.requests);
        self.responses.add(&other.responses);
        self.streams.messages += other.streams.messages;
        add(&mut self.streams.first, &other.streams.first);
        add(&mut self.streams.last, &other.streams.last);
    }
}
