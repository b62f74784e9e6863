//! The task that owns the state, and the handle by which everyone else asks it.

mod handle;
mod message;
mod reply;
#[cfg(test)]
mod tests;
mod unread;

use std::convert::Infallible;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{MailboxLimits, OWNER_BATCH_MAX, OWNER_MESSAGE_LARGE};
use crate::machine::{RejectedAt, StateMachine};

pub use handle::OwnerHandle;
use handle::WaitingBytes;
pub use message::CallError;
use message::{Envelope, Message};
pub use reply::{Pending, Timer};
pub use unread::{Held, Unread};

/// Starts the owner of `machine` as a task of the current runtime. The task ends, and gives the state back, when the
/// last handle is gone and the mailbox is empty. The answer to one frame shows at most `answer_bytes_max` bytes of
/// values.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    machine: StateMachine,
    limits: MailboxLimits,
    answer_bytes_max: usize,
) -> (OwnerHandle, JoinHandle<StateMachine>) {
    let (sender, mailbox) = mpsc::channel(limits.messages);
    let waiting_bytes = WaitingBytes::default();
    let owner = Owner {
        mailbox,
        waiting_bytes: waiting_bytes.clone(),
        machine,
        answer_bytes_max,
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
    /// Most bytes of values in the answer to one frame.
    answer_bytes_max: usize,
}

impl Owner {
    /// Takes messages in order until every handle is gone. This is the only place in which the owner waits, so an
    /// operation is never half done.
    async fn run(mut self) -> StateMachine {
        let mut batch = Vec::with_capacity(OWNER_BATCH_MAX);
        while self.mailbox.recv_many(&mut batch, OWNER_BATCH_MAX).await > 0 {
            let mut now = Instant::now();
            for Envelope { message, byte_len } in batch.drain(..) {
                self.waiting_bytes.remove(byte_len);
                self.handle(message, now);
                if byte_len > OWNER_MESSAGE_LARGE {
                    now = Instant::now();
                }
            }
        }
        self.machine
    }

    fn handle(&mut self, message: Message, now: Instant) {
        let machine = &mut self.machine;
        let answer_bytes_max = self.answer_bytes_max;
        match message {
            Message::Read { read, reply } => reply.answer(now, || machine.read(&read)),
            Message::Write { write, reply } => reply.answer(now, || machine.write(write)),
            Message::Add { add, reply } => reply.answer(now, || machine.add(add)),
            Message::Delete { delete, reply } => reply.answer(now, || machine.delete(delete)),
            Message::List { list, reply } => {
                reply.answer::<Infallible>(now, || Ok(machine.list(&list)));
            }
            Message::Each {
                operations,
                unread,
                reply,
            } => reply.answer::<Infallible>(now, || {
                let answer = machine.apply_each(operations, unread.room().min(answer_bytes_max));
                let held = unread.hold(answer.answer_bytes);
                Ok((answer, held))
            }),
            Message::All {
                operations,
                unread,
                reply,
            } => reply.answer(now, || {
                let answer = machine.apply_all(operations, unread.room().min(answer_bytes_max))?;
                let held = unread.hold(answer.answer_bytes);
                Ok::<_, RejectedAt>((answer, held))
            }),
            Message::Usage { reply } => reply.answer::<Infallible>(now, || Ok(machine.usage())),
        }
    }
}
