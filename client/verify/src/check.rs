//! The verdict on a history. What is checked, in this order:
//!
//! 1. *Across keys* (`store`): revisions grow in real time; each belongs to one message; an atomic message has one.
//! 2. *Each key* against its own changes at their revisions: by the order that the answers name (`witness`); where that does
//!    not do, by search (`search`), with revisions; and to say what is wrong, without them. A List, and an atomic message,
//!    are true at one revision, so keys that are right one by one at their revisions are right together.
//! 3. *Watches* (`watch`).
//!
//! An atomic message of unknown outcome was done on all of its keys or on none (`messages`).
//!
//! What is not checked: the order of unknown outcomes on *different* keys, beyond what the revisions say that were answered
//! before and after each of them; whether two messages of unknown outcome were given one revision, where no unique value
//! tells which was; the values of a key before its first answer, if nobody looked before the run; lifetimes, sessions and
//! timeouts of states. None of these makes a right history look wrong, but for the last: keys that have them must not be
//! recorded.
//!
//! Time: a million operations take seconds, with hundreds of unknown outcomes too, where answers have revisions. Without
//! them the orders of changes in flight have to be tried: see [`Patience`](super::patience::Patience).
//!
//! Memory, besides the history: 24 bytes an operation, 350 for each of the key with the most, and what a search may take.

use crate::history::History;
use crate::judge::judge;
use crate::options::{Checks, Effort};
use crate::shrink;
use crate::verdict::{BadHistory, Report, Verdict, Violation};

/// Checks a history.
///
/// # Errors
///
/// If it makes no sense in itself.
pub fn check(history: &History, checks: Checks<'_>) -> Result<Report, BadHistory> {
    history.validate().map_err(BadHistory)?;
    let judged = judge(history, checks);
    let patience = checks.effort.patience.again(checks.shrinking);
    let effort = Effort {
        patience,
        ..checks.effort
    };
    let checks = Checks { effort, ..checks };
    let violations: Vec<Violation> = (judged.wrong.iter())
        .map(|wrong| shrink::violation(history, wrong, checks))
        .collect();
    let mut report = judged.report;
    if !violations.is_empty() {
        report.verdict = Verdict::Violation(violations);
    }
    Ok(report)
}
