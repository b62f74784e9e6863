//! What went wrong between the load generator and the server, and what became of every operation.

use serde::{Deserialize, Serialize};

use crate::report::numbers::{counted, grouped, latency, short};

/// What became of the operations that were due in the measured window. Events of watches are not among them.
///
/// Every one has exactly one end: `due` is the sum of the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountReport {
    /// In an open loop, what the schedule offered; in a closed loop, what the workers took to send.
    pub(crate) due: u64,
    pub(crate) completed: u64,
    /// Answered after the end.
    pub(crate) late: u64,
    pub(crate) failed: u64,
    /// Never sent.
    pub(crate) dropped: u64,
    /// Given up at the end, by `--duration-stop ignore`.
    pub(crate) unanswered: u64,
    /// `due` without the others: always 0, or the load generator is at fault.
    pub(crate) missing: i64,
}

/// What happened to the connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionsReport {
    pub(crate) all: u64,
    /// How often a connection broke.
    pub(crate) lost: u64,
    /// How often the server ended a connection in order, by GOAWAY.
    pub(crate) goaways: u64,
    pub(crate) made_again: u64,
    pub(crate) attempts_failed: u64,
    /// Outages beyond those of the list.
    pub(crate) outages_more: u64,
    /// Calls whose stream the server refused (REFUSED_STREAM), and that were sent again.
    #[serde(default)]
    pub(crate) streams_refused: u64,
    /// How often another node of a cluster answered than the one before.
    #[serde(default)]
    pub(crate) owner_changes: u64,
}

/// A time without a server: from when the last connection was lost until an operation was completed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutageReport {
    /// From the end of the warm-up; negative during it.
    pub(crate) start_seconds: f64,
    /// Until the end of the run, if nothing was completed again.
    pub(crate) seconds: f64,
    /// Whether something was completed again.
    pub(crate) ended: bool,
    /// Operations that failed with UNAVAILABLE.
    pub(crate) failed: u64,
    /// Operations of an open loop that were due and not sent, because there was no connection.
    pub(crate) dropped: u64,
}

/// The longest time of the measured window in which nothing was completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GapReport {
    /// From the end of the warm-up.
    pub(crate) start_seconds: f64,
    pub(crate) seconds: f64,
    /// The operation whose completion the gap began with. Null at the beginning of the window.
    pub(crate) before: Option<GapEdge>,
    /// The operation whose completion ended the gap. Null at the end of the window.
    pub(crate) after: Option<GapEdge>,
    /// Operations that failed with UNAVAILABLE meanwhile.
    pub(crate) failed: u64,
    /// Operations that were not sent meanwhile, because there was no connection.
    pub(crate) dropped: u64,
}

/// An operation beside a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GapEdge {
    pub(crate) kind: String,
    /// When it was due, from the end of the warm-up.
    pub(crate) due_seconds: f64,
    pub(crate) response_us: f64,
}

impl AccountReport {
    /// Fills in what is missing.
    pub(crate) fn balanced(mut self) -> Self {
        let ends = self.completed + self.late + self.failed + self.dropped + self.unanswered;
        self.missing = i128::from(self.due)
            .saturating_sub(i128::from(ends))
            .try_into()
            .unwrap_or(i64::MAX);
        self
    }

    /// Says that the counts do not fit, if so.
    pub(crate) fn fault(&self) -> Option<String> {
        (self.missing != 0).then(|| {
            format!(
                "the counts do not add up: of {} operations that were due, {} have no end or more than one; this is a fault of soloist-load, and no figure of this report is to be trusted",
                grouped(self.due),
                grouped(self.missing.unsigned_abs())
            )
        })
    }
}

impl OutageReport {
    /// Describes the outage in a line.
    pub(crate) fn describe(&self) -> String {
        let when = match self.start_seconds < 0.0 {
            true => "from the warm-up on".to_owned(),
            false => format!("from {} s on", short(self.start_seconds)),
        };
        let end = match self.ended {
            true => "",
            false => ", and until the end",
        };
        format!(
            "{:.3} s without a server, {when}{end}: {}",
            self.seconds,
            lost(self.failed, self.dropped)
        )
    }
}

impl GapReport {
    /// Describes the gap in a line.
    pub(crate) fn describe(&self) -> String {
        let edge = |edge: &Option<GapEdge>, none: &str| match edge {
            None => none.to_owned(),
            Some(edge) => format!("a {} of {}", edge.kind, latency(Some(edge.response_us))),
        };
        format!(
            "{:.3} s without a completed operation, from {} s on: before it {}, after it {}; {} meanwhile",
            self.seconds,
            short(self.start_seconds),
            edge(&self.before, "the start"),
            edge(&self.after, "the end"),
            lost(self.failed, self.dropped)
        )
    }
}

impl ConnectionsReport {
    /// Describes what happened to the connections, if anything did.
    pub(crate) fn describe(&self) -> Option<String> {
        let events = [
            self.lost,
            self.goaways,
            self.attempts_failed,
            self.streams_refused,
            self.owner_changes,
        ];
        if events == [0; 5] {
            return None;
        }
        let mut text = format!(
            "{} of {} broken, {} ended by the server in order (GOAWAY), {} made again",
            grouped(self.lost),
            grouped(self.all),
            grouped(self.goaways),
            grouped(self.made_again)
        );
        if self.attempts_failed > 0 {
            text += &format!(", {} failed", counted(self.attempts_failed, "attempt"));
        }
        if self.streams_refused > 0 {
            text += &format!(
                ", {} refused and sent again (REFUSED_STREAM)",
                counted(self.streams_refused, "call")
            );
        }
        if self.owner_changes > 0 {
            text += &format!(", {}", counted(self.owner_changes, "change"));
            text += " of the owner";
        }
        if self.outages_more > 0 {
            text += &format!(
                "; {} beyond those listed",
                counted(self.outages_more, "outage")
            );
        }
        Some(text)
    }
}

fn lost(failed: u64, dropped: u64) -> String {
    format!("{} failed, {} not sent", grouped(failed), grouped(dropped))
}
