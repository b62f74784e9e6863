//! Whether the owner takes messages.

use tokio::sync::mpsc::WeakSender;
use tokio::sync::oneshot;

use super::message::{Envelope, Message};

/// Finds out whether the owner takes messages. Cheap to clone. The owner may end while there is one.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    mailbox: WeakSender<Envelope>,
}

impl Heartbeat {
    pub(super) fn new(mailbox: WeakSender<Envelope>) -> Self {
        Self { mailbox }
    }

    /// Sends a message, and returns true when the owner has taken it; false if the owner has ended. Waits as long as the owner
    /// takes no messages: give it a time limit. The owner answers without waiting for the disk, and a full mailbox is waited
    /// for, so neither a slow disk nor many calls look like an owner that hangs.
    pub async fn beat(&self) -> bool {
        let (taken, is_taken) = oneshot::channel();
        {
            let Some(mailbox) = self.mailbox.upgrade() else {
                return false;
            };
            let Ok(room) = mailbox.reserve().await else {
                return false;
            };
            room.send(Envelope::new(Message::Heartbeat(taken)));
        }
        is_taken.await.is_ok()
    }
}
