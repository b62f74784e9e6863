//! Followers: the log and the copies, which are told of every change.

use super::change::{ChangeCause, ChangeRef};
use super::copies::Copies;
use super::effect::Effect;
use crate::mutants::mutant;

/// The log and the copies that are being made. (Watches are not told: they look into the history when they wake.)
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// The effects since the owner last took them; `None` if there is no log.
    pub(super) effects: Option<Vec<Effect>>,
    pub(super) copies: Copies,
}

impl Followers {
    /// Tells both of a change of a key. Called before the entry is replaced.
    pub(super) fn changed(&mut self, change: ChangeRef<'_>) {
        let ChangeRef {
            key,
            cause,
            previous,
            ..
        } = change;
        self.copies.preserve(key, previous);
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
