//! The task that owns the state, and the handle by which everyone else asks it.

mod handle;
mod message;
mod reply;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{MailboxLimits, OWNER_BATCH_MAX};
use crate::machine::StateMachine;

pub use handle::OwnerHandle;
use handle::WaitingBytes;
pub use message::CallError;
use message::{Envelope, Message};
pub use reply::{Pending, Timer};

/// Starts the owner of `machine` as a task of the current runtime. The task ends, and gives the state back, when the
/// last handle is gone and the mailbox is empty.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    machine: StateMachine,
    limits: MailboxLimits,
) -> (OwnerHandle, JoinHandle<StateMachine>) {
    let (sender, mailbox) = mpsc::channel(limits.messages);
    let waiting_bytes = WaitingBytes::default();
    let owner = Owner {
        mailbox,
        waiting_bytes: waiting_bytes.clone(),
        machine,
    };
    let handle = OwnerHandle {
        mailbox: sender,
        waiting_bytes,
        limits,
    };
    (handle, tokio::spawn(owner.run()))
}

/// Owns the state: nothing else can reach it.
struct Owner {
    mailbox: mpsc::Receiver<Envelope>,
    waiting_bytes: WaitingBytes,
    machine: StateMachine,
}

impl Owner {
    /// Takes messages in order until every handle is gone. This is the only place in which the owner waits, so an
    /// operation is never half done.
    async fn run(mut self) -> StateMachine {
        let mut batch = Vec::with_capacity(OWNER_BATCH_MAX);
        while self.mailbox.recv_many(&mut batch, OWNER_BATCH_MAX).await > 0 {
            let now = Instant::now();
            for Envelope { message, byte_len } in batch.drain(..) {
                self.waiting_bytes.remove(byte_len);
                self.handle(message, now);
            }
        }
        self.machine
    }

    fn handle(&mut self, message: Message, now: Instant) {
        let machine = &mut self.machine;
        match message {
            Message::Read { read, reply } => reply.answer(now, || machine.read(&read)),
            Message::Write { write, reply } => reply.answer(now, || machine.write(write)),
            Message::Each { operations, reply } => {
                reply.answer::<Infallible>(now, || Ok(machine.apply_each(operations)));
            }
            Message::All { operations, reply } => {
                reply.answer(now, || machine.apply_all(operations));
            }
            Message::Usage { reply } => reply.answer::<Infallible>(now, || Ok(machine.usage())),
        }
    }
}
