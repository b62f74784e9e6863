//! The parts of a report that say what became of every operation, and what happened to the connections.

use std::time::{Duration, Instant};

use crate::plan::kind::Kind;
use crate::record::gaps::{Completed, Gap, longest};
use crate::record::links::Outage;
use crate::report::faults::{AccountReport, ConnectionsReport, GapEdge, GapReport, OutageReport};
use crate::run::measured::{Measured, seconds_after};

/// How long before a connection is found to be lost its operations may be.
const SLACK: Duration = Duration::from_millis(5);

/// Returns what became of the operations that were due.
pub(crate) fn account(measured: &Measured) -> AccountReport {
    let recorder = &measured.recorder;
    let operations = || {
        let kinds = recorder.kinds().iter();
        let kinds = kinds.filter(|(kind, _)| **kind != Kind::Event);
        kinds.map(|(_, stats)| stats)
    };
    let failed: u64 = operations().map(|of| of.failed_ops()).sum();
    let open_loop = measured.open_loop.as_ref();
    let account = AccountReport {
        due: open_loop.map_or(recorder.taken(), |open_loop| open_loop.offered),
        completed: operations().map(|of| of.completed).sum(),
        late: operations().map(|of| of.late).sum(),
        failed: failed.saturating_sub(recorder.warmup.failed),
        dropped: open_loop.map_or(0, |open_loop| open_loop.all_dropped()),
        unanswered: recorder.unanswered(),
        missing: 0,
    };
    account.balanced()
}

pub(crate) fn connections(measured: &Measured) -> ConnectionsReport {
    let of = measured.links;
    ConnectionsReport {
        all: of.all,
        lost: of.lost,
        goaways: of.goaways,
        made_again: of.made_again,
        attempts_failed: of.attempts_failed,
        outages_more: of.outages_more,
        streams_refused: of.refused,
        owner_changes: of.owner_changes,
    }
}

pub(crate) fn outages(measured: &Measured) -> Vec<OutageReport> {
    let outage = |of: &Outage| {
        let end = of.end.unwrap_or(measured.window_end.max(of.start));
        // A connection and its operations are found to be lost one after the other.
        let first = of.start.checked_sub(SLACK).unwrap_or(of.start);
        let (failed, dropped) = measured.recorder.losses().within(first, end);
        OutageReport {
            start_seconds: seconds_after(measured.window_start, of.start),
            seconds: end.saturating_duration_since(of.start).as_secs_f64(),
            ended: of.end.is_some(),
            failed,
            dropped,
        }
    };
    measured.outages.iter().map(outage).collect()
}

/// Returns the longest time in which no thread completed anything.
pub(crate) fn longest_gap(measured: &Measured) -> Option<GapReport> {
    let Gap {
        start,
        end,
        before,
        after,
    } = longest(measured.recorder.thread_gaps())?;
    let (failed, dropped) = measured.recorder.losses().within(start, end);
    let edge = |of: Completed| edge(of, measured.window_start);
    Some(GapReport {
        start_seconds: seconds_after(measured.window_start, start),
        seconds: end.saturating_duration_since(start).as_secs_f64(),
        before: before.map(edge),
        after: after.map(edge),
        failed,
        dropped,
    })
}

fn edge(of: Completed, window_start: Instant) -> GapEdge {
    let response = of.at.saturating_duration_since(of.intended);
    GapEdge {
        kind: of.kind.name().to_owned(),
        due_seconds: seconds_after(window_start, of.intended),
        response_us: response.as_secs_f64() * 1e6,
    }
}
