//! Followers: the log and the copies, which are told of every change.

use super::change::ChangeRef;
use super::copies::Copies;
use super::effect::Effect;

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
        self.copies.preserve(change.key, change.previous);
        if let Some(effects) = &mut self.effects {
            effects.push(Effect::Changed(change.to_change()));
        }
    }
}
