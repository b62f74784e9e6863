//! Which message has which revision, across all restarts.

use std::collections::HashMap;

use soloist_verify::{Action, Watch, WatchUpdate};

use super::Checked;
use super::call::{Call, Step};
use super::keys::keys;

/// The message of each revision that an answer or an error named.
#[derive(Debug, Default)]
pub(super) struct Revisions(HashMap<i64, u64>);

impl Revisions {
    /// Claims the revisions of these calls: those of answered changes; and those that an error with an unknown outcome named,
    /// which belong to the call even if it was never done.
    pub(super) fn claim_all(&mut self, calls: &[Call]) -> Checked<()> {
        for call in calls {
            for (step, outcome) in call.each() {
                if let Some((revision, _)) = step.change(outcome) {
                    self.claim(revision, call)?;
                }
            }
            // A step that may be refused, or change nothing, may have an error that names the revision of another change.
            let changes_surely = |step: &Step| {
                matches!(step.action, Action::Write(_) | Action::Add(_)) && step.expect.is_none()
            };
            if let Some(revision) = call.named_revision
                && call.steps.iter().all(changes_surely)
            {
                self.claim(revision, call)?;
            }
        }
        Ok(())
    }

    /// Checks that the watch was told of no change by one message with the revision of another. The calls are those that the
    /// watch was told of, with their revisions claimed.
    pub(super) fn check_events(&self, calls: &[Call], watch: &Watch) -> Checked<()> {
        let names: Vec<String> = keys().collect();
        for (_, update) in &watch.updates {
            let WatchUpdate::Event { key, revision, .. } = update else {
                continue;
            };
            let Some(message) = self.0.get(revision) else {
                continue;
            };
            let name = &names[*key as usize];
            let changes_key = |call: &Call| {
                call.message == *message && call.steps.iter().any(|step| step.key == *name)
            };
            if !calls.iter().any(changes_key) {
                return Err(format!(
                    "key {name:?}: the watch was told of a change with revision {revision}, which belongs to message {message}"
                ));
            }
        }
        Ok(())
    }

    fn claim(&mut self, revision: i64, call: &Call) -> Checked<()> {
        let owner = *self.0.entry(revision).or_insert(call.message);
        match owner == call.message {
            true => Ok(()),
            false => Err(format!(
                "revision {revision} belongs to message {owner}, and to {call:?}"
            )),
        }
    }
}
