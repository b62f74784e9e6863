//! Checks a history: finds the violations, and shrinks the evidence of each.

use crate::history::History;
use crate::judge::judge;
use crate::options::{Limits, Options};
use crate::shrink;
use crate::verdict::{InvalidHistory, Report, Verdict, Violation};

/// Checks whether a history is linearizable.
///
/// What is checked, in this order:
///
/// 1. Across keys: revisions grow in real time, each belongs to one message, and an atomic message has one.
/// 2. Each key: the order of its revisions explains every answer; or a search finds an order that does. A List and an
///    atomic message are true at one revision, so keys that are right one by one at their revisions are right together.
///    An atomic message of unknown outcome was done on all of its keys or on none.
/// 3. Each watch: it was told every change of its keys once, in the order of revisions, and nothing else.
///
/// What is not checked:
///
/// - the order of unknown outcomes on *different* keys, beyond what the revisions answered before and after each say;
/// - whether two messages of unknown outcome were given one revision, where no unique value tells which was;
/// - the value of a key before its first answer, if the key has no [`Initial`](crate::Initial);
/// - lifetimes, sessions and timeouts of states.
///
/// A right history never fails for one of these, except for the last: keys that have a lifetime, a session or a timeout
/// must not be recorded.
///
/// # Time and memory
///
/// With revisions in the answers, a million operations take seconds, also with hundreds of unknown outcomes. Without
/// revisions, the search has to try the orders of all changes in flight: see [`Limits`]. Besides the history, a check takes
/// 24 bytes an operation, 350 bytes for each operation on the key that has the most, and what a search may take.
///
/// # Errors
///
/// [`InvalidHistory`] if the history contradicts itself, for example by an operation that ends before it starts. It says
/// nothing about the server.
pub fn check(history: &History, options: Options<'_>) -> Result<Report, InvalidHistory> {
    history.validate().map_err(InvalidHistory)?;
    let judgement = judge(history, options);
    let deadline = options.limits.deadline.restart(options.shrink_timeout);
    let limits = Limits {
        deadline,
        ..options.limits
    };
    let options = Options { limits, ..options };
    let violations: Vec<Violation> = (judgement.findings.iter())
        .map(|finding| shrink::violation(history, finding, options))
        .collect();
    let mut report = judgement.report;
    if !violations.is_empty() {
        report.verdict = Verdict::NotLinearizable(violations);
    }
    Ok(report)
}
