//! A handle for whoever looks at the owner, and must not keep it from ending.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::HandOffError;
use super::handle::OwnerHandle;
use super::mailbox::WeakMailboxSender;
use super::message::{Envelope, KeysInStates, Message};
use super::successor::HandOff;
use crate::config::OWNER_ALIVE_WITHIN;
use crate::machine::MachineNow;

/// Looks at the owner. The owner ends when the last [`OwnerHandle`] is gone, whoever has one of these.
#[derive(Clone, Debug)]
pub struct WeakOwner(WeakMailboxSender);

impl OwnerHandle {
    /// Returns a handle that does not keep the owner from ending.
    #[must_use]
    pub fn downgrade(&self) -> WeakOwner {
        WeakOwner(self.mailbox().weak())
    }
}

impl WeakOwner {
    /// Returns whether the owner has ended, or is about to because nobody can call it any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mailbox = self.0.upgrade();
        mailbox.is_none_or(|mailbox| mailbox.is_closed())
    }

    /// Gives the store to the node `to`, or to any. Returns the address of the node that owns it then; the owner of this process has
    /// ended. Waits for room in the mailbox, and until every change is committed. If the returned future is dropped early, the store
    /// may be handed off or not.
    ///
    /// # Errors
    /// [`HandOffError::Refused`] if no node can take the store, and [`HandOffError::OwnerLost`] if the owner ends first.
    pub async fn hand_off(&self, to: Option<String>) -> Result<String, HandOffError> {
        let mailbox = self.0.upgrade().ok_or(HandOffError::OwnerLost)?;
        let (done, is_done) = oneshot::channel();
        let envelope = Envelope::new(Message::HandOff(HandOff { to, done }));
        match mailbox.put_when_room(envelope).await {
            true => is_done.await.unwrap_or(Err(HandOffError::OwnerLost)),
            false => Err(HandOffError::OwnerLost),
        }
    }

    /// Has the log tell the owner's time, for whoever follows it. Waits for room in the mailbox.
    pub async fn tell_time(&self) {
        if let Some(mailbox) = self.0.upgrade() {
            // If the owner has ended there is nothing to tell.
            mailbox
                .put_when_room(Envelope::new(Message::TellTime))
                .await;
        }
    }

    /// Returns how many messages wait in the mailbox, and the bytes that they count. `None` once nobody can send any.
    #[must_use]
    pub fn mailbox_level(&self) -> Option<(usize, usize)> {
        Some(self.0.upgrade()?.level())
    }

    /// Returns the first machines by name, at most `most`, with how their keys are spread over their states. The answer does not
    /// wait for the disk. `None` if the owner has ended, or takes longer than [`OWNER_ALIVE_WITHIN`].
    pub async fn machines_now(&self, most: usize) -> Option<Vec<MachineNow>> {
        let mailbox = self.0.upgrade()?;
        let deadline = Instant::now() + OWNER_ALIVE_WITHIN;
        let machines =
            mailbox.ask_when_room(None, deadline, |reply| Message::MachinesNow(most, reply));
        machines.await.ok()
    }

    /// Returns how many keys are in each state of each machine, in the order of the names, for `states_max` states at most.
    /// The answer does not wait for the disk. Empty if the owner has ended.
    pub async fn keys_in_states(&self, states_max: usize) -> KeysInStates {
        let Some(mailbox) = self.0.upgrade() else {
            return KeysInStates::new();
        };
        let deadline = Instant::now() + OWNER_ALIVE_WITHIN;
        let keys = mailbox.ask_when_room(None, deadline, |reply| {
            Message::KeysInStates(states_max, reply)
        });
        keys.await.unwrap_or_default()
    }
}
