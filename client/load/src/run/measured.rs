//! What a run has measured, before it becomes a report.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use soloist_verify::History;
use tokio::signal::unix::SignalKind;

use crate::engines::thread::ThreadResult;
use crate::pace::open_loop::OpenLoopTotals;
use crate::pace::stop::Stop;
use crate::record::history::ThreadHistory;
use crate::record::links::{LinkTotals, Outage};
use crate::record::recorder::Recorder;
use crate::record::timeline::Timeline;
use crate::workload::call::totals::CallTotals;

/// Everything that a run has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Of all threads.
    pub(crate) recorder: Recorder,
    pub(crate) timeline: Timeline,
    /// When the measured time began.
    pub(crate) started_at: SystemTime,
    pub(crate) window_start: Instant,
    pub(crate) window_end: Instant,
    /// How long the measured time was.
    pub(crate) elapsed: Duration,
    /// From the end of the measured time until the last answer.
    pub(crate) drain: Duration,
    /// CPU time of the threads and the pacer.
    pub(crate) client_cpu: Duration,
    /// `None` if the server does not tell.
    pub(crate) server_cpu: Option<Duration>,
    /// Workers and watches whose stream or connection was gone before the end.
    pub(crate) workers_lost: u64,
    /// When the first of them was lost, in seconds after the end of the warm-up; negative if it was before.
    pub(crate) first_lost_seconds: Option<f64>,
    pub(crate) links: LinkTotals,
    pub(crate) outages: Vec<Outage>,
    /// Why the run was given up before its end, if it was.
    pub(crate) gave_up: Option<String>,
    /// The signal that ended the run early.
    pub(crate) interrupted: Option<SignalKind>,
    /// `None` in a closed loop.
    pub(crate) open_loop: Option<OpenLoopTotals>,
    /// The messages of a method that the user names.
    pub(crate) call: Option<CallTotals>,
    /// `None` if the run records no history. The error says why the history is not complete.
    pub(crate) history: Option<Result<History, String>>,
}

impl Measured {
    /// Returns what the threads and the open loop have measured. What only others know is left empty: the CPU time of the
    /// server, the signal and the history.
    pub(crate) fn new(
        totals: ThreadTotals,
        stop: &Stop,
        started_at: SystemTime,
        timeline: Timeline,
        open_loop: Option<OpenLoopTotals>,
    ) -> Self {
        let (start, end) = (stop.window_start(), totals.window_end);
        let (workers_lost, first_lost) = totals.recorder.lost();
        let pacer_cpu = open_loop.as_ref().map(|open_loop| open_loop.cpu);
        Self {
            recorder: totals.recorder,
            timeline,
            started_at,
            window_start: start,
            window_end: end,
            elapsed: end.saturating_duration_since(start),
            drain: totals.finished.saturating_duration_since(end),
            client_cpu: totals.cpu + pacer_cpu.unwrap_or_default(),
            server_cpu: None,
            workers_lost,
            first_lost_seconds: first_lost.map(|first| seconds_after(start, first)),
            links: LinkTotals::default(),
            outages: Vec::new(),
            gave_up: None,
            interrupted: None,
            open_loop,
            call: None,
            history: None,
        }
    }
}

/// The results of all threads together.
#[derive(Debug)]
pub(crate) struct ThreadTotals {
    pub(crate) recorder: Recorder,
    pub(crate) cpu: Duration,
    /// When the last worker was done.
    pub(crate) finished: Instant,
    /// When the measured time ended.
    pub(crate) window_end: Instant,
    pub(crate) history: Option<ThreadHistory>,
}

impl ThreadTotals {
    pub(crate) fn of(results: Vec<ThreadResult>, stop: &Stop) -> Self {
        let mut totals = Self {
            recorder: Recorder::new(Arc::default(), Duration::from_secs(1)),
            cpu: Duration::ZERO,
            finished: stop.window_start(),
            window_end: stop.window_start(),
            history: None,
        };
        for result in &results {
            totals.finished = totals.finished.max(result.finished);
        }
        // The measured time ends early only if the count is used up. It does not end with the last operation: at a low rate
        // nothing may be due for long.
        totals.window_end = match (stop.end(), stop.is_spent()) {
            (Some(end), true) => end.min(totals.finished),
            (Some(end), false) => end,
            (None, _) => totals.finished,
        };
        for mut result in results {
            let window = (stop.window_start(), totals.window_end);
            result.recorder.end_window(window.0, window.1);
            totals.recorder.add(&result.recorder);
            totals.cpu += result.cpu;
            match (&mut totals.history, result.history) {
                (Some(history), Some(more)) => history.add(more),
                (none, more) => *none = more,
            }
        }
        totals
    }
}

/// Returns the seconds from `start` to `instant`; negative if `instant` is before.
pub(crate) fn seconds_after(start: Instant, instant: Instant) -> f64 {
    let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    seconds(start, instant) - seconds(instant, start)
}
