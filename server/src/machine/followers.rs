//! Who is told of every change beside watches.

use super::change::{ChangeCause, ChangeRef};
use super::copies::Copies;
use super::effect::Effect;
use crate::mutants::mutant;

/// Those who are told what happens, beside watches: who keeps a log, and who makes a copy.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// What happened since it was last taken, if somebody takes it.
    pub(super) effects: Option<Vec<Effect>>,
    pub(super) copies: Copies,
}

impl Followers {
    /// A key changes.
    pub(super) fn changed(&mut self, change: ChangeRef<'_>) {
        let ChangeRef {
            key,
            cause,
            previous,
            ..
        } = change;
        self.copies.changes(key, previous);
        if mutant("expiry-not-kept") && cause == ChangeCause::Expired
            || mutant("deletes-not-kept") && cause == ChangeCause::Deleted
        {
            return;
        }
        if let Some(effects) = &mut self.effects {
            effects.push(Effect::Changed(change.to_change()));
        }
    }
}
