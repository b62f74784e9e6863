//! Giving the store to another node, in order.
//!
//! The owner takes no more messages, has the journal commit everything, and has it hand off the store. If that is done, the owner
//! ends; whoever still waits is told who the owner is, or that this one has ended, and nothing was applied for it. Otherwise it
//! goes on with the messages that have come meanwhile.

use super::clock::Now;
use super::error::{HandOffError, JournalLost};
use super::state::Owner;
use super::successor::HandOff;

impl Owner {
    /// Notes that the store is to be handed off after this batch of messages.
    pub(super) fn begin_hand_off(&mut self, hand_off: HandOff) {
        let refusal = match (&self.commits, &self.hand_off) {
            (None, _) => "the store is in the memory of this process alone",
            (_, Some(_)) => "the store is about to be handed off already",
            _ => {
                self.hand_off = Some(hand_off);
                return;
            }
        };
        // A failed send means that nobody waits any more.
        let _ = hand_off
            .done
            .send(Err(HandOffError::Refused(refusal.into())));
    }

    /// Hands off the store. Returns the address of the node that owns it now. None if that was refused.
    ///
    /// # Errors
    /// [`JournalLost`] if the journal has failed.
    pub(super) async fn hand_off(
        &mut self,
        HandOff { to, done }: HandOff,
        now: Now,
    ) -> Result<Option<Box<str>>, JournalLost> {
        let Some(commits) = &mut self.commits else {
            return Ok(None);
        };
        let handed_off = commits.hand_off(to, &mut self.machine, now.time).await;
        let handed_off = handed_off.map_err(JournalLost)?;
        let successor = handed_off.as_deref().ok().map(Box::from);
        let _ = done.send(handed_off.map_err(HandOffError::Refused));
        Ok(successor)
    }
}
