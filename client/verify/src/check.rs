//! Checks a history: finds the violations, and shrinks the evidence of each.

use crate::history::History;
use crate::judge::{self, Judgement};
use crate::options::{Limits, Options, Stage, ValueSearch};
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
    Ok(judge(history, options)?.prove())
}

/// Checks a history like [`check`], but does not make the proof of a violation small yet, which may take as long again.
///
/// # Errors
///
/// As of [`check`].
pub fn judge<'a>(history: &'a History, options: Options<'a>) -> Result<Judged<'a>, InvalidHistory> {
    history.validate().map_err(InvalidHistory)?;
    if options.value_search != ValueSearch::Only && history.lacks_revisions() {
        let why = "some answers have no revision, so only its values can be checked";
        return Err(InvalidHistory(why.to_owned()));
    }
    let judgement = judge::judge(history, options);
    Ok(Judged {
        history,
        options,
        judgement,
    })
}

/// A history on which the verdict is known.
pub struct Judged<'a> {
    history: &'a History,
    options: Options<'a>,
    judgement: Judgement,
}

impl std::fmt::Debug for Judged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let violations: Vec<_> = self.violations().collect();
        f.debug_struct("Judged")
            .field("violations", &violations)
            .finish()
    }
}

impl Judged<'_> {
    /// What is wrong, in words: one text for each violation, and none for a history that is linearizable or undecided.
    pub fn violations(&self) -> impl Iterator<Item = String> {
        let findings = self.judgement.findings.iter();
        findings.map(|finding| match finding.key {
            Some(key) => {
                let name = &self.history.keys[key as usize].name;
                format!("key {name:?}: {}", finding.description)
            }
            None => finding.description.clone(),
        })
    }

    /// Makes the proof of each violation small, for [`Options::shrink_timeout`] at most. Returns the verdict.
    pub fn prove(self) -> Report {
        let options = self.options;
        let deadline = options.limits.deadline.restart(options.shrink_timeout);
        let limits = Limits {
            deadline,
            ..options.limits
        };
        let options = Options { limits, ..options };
        let findings = &self.judgement.findings;
        let shrink = |(index, finding)| {
            options.observer.tell(Stage::Shrink, index, findings.len());
            shrink::violation(self.history, finding, options)
        };
        let violations: Vec<Violation> = findings.iter().enumerate().map(shrink).collect();
        let mut report = self.judgement.report;
        if !violations.is_empty() {
            report.verdict = Verdict::NotLinearizable(violations);
        }
        report
    }
}
