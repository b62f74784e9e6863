//! The task that owns the state, and the handle by which everyone else asks it.

mod clock;
mod handle;
mod message;
mod reply;
#[cfg(test)]
mod tests;
mod unread;
mod watches;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::{
    DUE_KEYS_BETWEEN_WAKES, DUE_KEYS_MAX, MailboxLimits, OWNER_BATCH_MAX, OWNER_MESSAGE_LARGE,
};
use crate::machine::{RejectedAt, Request, Revision, StateMachine};

pub use clock::Clock;
use clock::Now;
pub use handle::OwnerHandle;
use handle::WaitingBytes;
pub use message::CallError;
use message::{Envelope, Message};
use reply::{Begun, Reply};
pub use reply::{Pending, Timer};
pub use unread::{Held, Unread};
use watches::Watches;
pub use watches::{NewWatch, Next, WatchId, Watching};

/// What the owner is told when it starts.
#[derive(Clone, Debug)]
pub struct OwnerLimits {
    /// What may wait for it.
    pub mailbox: MailboxLimits,
    /// Most bytes of values in the answer to one frame.
    pub answer_bytes: usize,
    /// Most watches that are open at once.
    pub watches: usize,
}

/// How full the state is, and who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How full the state is.
    pub state: crate::machine::Usage,
    /// Watches that are open.
    pub watch_count: usize,
}

/// Starts the owner of `machine` as a task of the current runtime. The task ends, and gives the state back, when the
/// last handle is gone and the mailbox is empty.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    machine: StateMachine,
    clock: Clock,
    limits: OwnerLimits,
) -> (OwnerHandle, JoinHandle<StateMachine>) {
    let (sender, mailbox) = mpsc::channel(limits.mailbox.messages);
    let waiting_bytes = WaitingBytes::default();
    let owner = Owner {
        mailbox,
        waiting_bytes: waiting_bytes.clone(),
        machine,
        clock,
        answer_bytes_max: limits.answer_bytes,
        watches: Watches::new(limits.watches),
        ending: Vec::new(),
    };
    let handle = OwnerHandle {
        mailbox: sender,
        waiting_bytes,
        watch_places: watch_places(&limits.mailbox),
        limits: limits.mailbox,
    };
    (handle, tokio::spawn(owner.run()))
}

/// A quarter of the mailbox.
fn watch_places(mailbox: &MailboxLimits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((mailbox.messages / 4).max(1)))
}

/// Owns the state: nothing else can reach it.
struct Owner {
    mailbox: mpsc::Receiver<Envelope>,
    waiting_bytes: WaitingBytes,
    machine: StateMachine,
    clock: Clock,
    /// Most bytes of values in the answer to one frame.
    answer_bytes_max: usize,
    watches: Watches,
    /// Answers that wait until a session's last key is gone.
    ending: Vec<(Revision, Box<dyn FnOnce() + Send>)>,
}

impl Owner {
    /// Takes messages in order until every handle is gone, and lets time do its work in between. This is the only place
    /// in which the owner waits, so an operation is never half done.
    async fn run(mut self) -> StateMachine {
        let mut batch = Vec::with_capacity(OWNER_BATCH_MAX);
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            let due = self.machine.next_due().map(|time| self.clock.at(time));
            if let Some(due) = due
                && due != alarm.deadline()
            {
                alarm.as_mut().reset(due);
            }
            // Biased: messages that are there cost no look at the alarm, and what is due is done after them all the same.
            let taken = tokio::select! {
                biased;
                taken = self.mailbox.recv_many(&mut batch, OWNER_BATCH_MAX) => Some(taken),
                () = alarm.as_mut(), if due.is_some() => None,
            };
            let mut now = self.clock.now();
            self.advance(now);
            match taken {
                Some(0) => return self.machine,
                Some(_) => {}
                // A great many that are due must not keep everybody else on this thread waiting.
                None => tokio::task::yield_now().await,
            }
            for Envelope { message, byte_len } in batch.drain(..) {
                self.waiting_bytes.remove(byte_len);
                self.handle(message, now);
                if byte_len > OWNER_MESSAGE_LARGE {
                    now = self.clock.now();
                    // Before so much has changed that it is not kept for those who sleep.
                    self.watches.wake(&self.machine);
                }
            }
            self.answer_ended();
            self.watches.wake(&self.machine);
        }
    }

    /// Lets time do what is due, or a slice of it.
    fn advance(&mut self, now: Now) {
        let mut done = 0;
        while done < DUE_KEYS_MAX {
            if self.machine.next_due().is_none_or(|due| due > now.time) {
                return;
            }
            done += self
                .machine
                .advance(now.time, DUE_KEYS_BETWEEN_WAKES)
                .max(1);
            // Before so much has ended that it is not kept for those who sleep.
            self.watches.wake(&self.machine);
        }
    }

    /// Answers those who waited for the last key of a session, if it is gone: with the last slice, or by somebody else.
    fn answer_ended(&mut self) {
        if self.ending.is_empty() {
            return;
        }
        let machine = &self.machine;
        for (_, answer) in self
            .ending
            .extract_if(.., |(life, _)| !machine.is_ending(*life))
        {
            answer();
        }
    }

    fn handle(&mut self, message: Message, now: Now) {
        let machine = &mut self.machine;
        let answer_bytes_max = self.answer_bytes_max;
        let at = now.instant;
        match message {
            Message::Read { read, reply } => reply.answer(at, || machine.read(&read)),
            Message::Write {
                write,
                named,
                reply,
            } => self.once(reply, named.as_deref(), now, |machine, request| {
                machine.write(write, request, now.time)
            }),
            Message::Add { add, named, reply } => {
                self.once(reply, named.as_deref(), now, |machine, request| {
                    machine.add(add, request, now.time)
                });
            }
            Message::Transition {
                transition,
                named,
                reply,
            } => self.once(reply, named.as_deref(), now, |machine, request| {
                machine.transition(transition, request, now.time)
            }),
            Message::Delete {
                delete,
                named,
                reply,
            } => self.once(reply, named.as_deref(), now, |machine, request| {
                machine.delete(delete, request, now.time)
            }),
            Message::List { list, reply } => {
                reply.answer::<Infallible>(at, || Ok(machine.list(&list)));
            }
            Message::Each {
                operations,
                named,
                unread,
                reply,
            } => {
                let remembered = !named.is_empty()
                    && named.len() == operations.len()
                    && named.iter().all(|(_, request)| machine.remembers(request));
                if let Some(begun) = begin(reply, remembered, now) {
                    let room = unread.room().min(answer_bytes_max);
                    let answer = machine.apply_each(operations, &named, room, now.time);
                    let held = unread.hold(answer.answer_bytes);
                    begun.send::<Infallible>(Ok((answer, held)));
                }
            }
            Message::All {
                operations,
                named,
                unread,
                reply,
            } => self.once(reply, named.as_deref(), now, |machine, request| {
                let room = unread.room().min(answer_bytes_max);
                let answer = machine.apply_all(operations, request, room, now.time)?;
                let held = unread.hold(answer.answer_bytes);
                Ok::<_, RejectedAt>((answer, held))
            }),
            Message::OpenSession { open, named, reply } => {
                if let Some(begun) = self.begin(reply, named.as_deref(), now) {
                    let opened = self.machine.open_session(open, named.as_deref(), now.time);
                    let ended = opened.as_ref().ok().and_then(|opened| opened.taken_over);
                    self.answer_when_ended(ended, move || begun.send(opened));
                }
            }
            Message::RenewSession { life, reply } => {
                reply.answer(at, || machine.renew_session(&life, now.time));
            }
            Message::CloseSession { life, named, reply } => {
                if let Some(begun) = self.begin(reply, named.as_deref(), now) {
                    let closed = self
                        .machine
                        .close_session(&life, named.as_deref(), now.time);
                    let ended = closed.as_ref().ok().map(|closed| closed.create_revision);
                    self.answer_when_ended(ended, move || begun.send(closed));
                }
            }
            Message::ListSessions {
                after,
                page_size,
                reply,
            } => reply.answer::<Infallible>(at, || {
                Ok(machine.list_sessions(after.as_deref(), page_size))
            }),
            Message::DefineMachine { define, reply } => {
                reply.answer(at, || machine.define_machine(*define));
            }
            Message::GetMachine { name, reply } => {
                reply.answer(at, || machine.get_machine(&name));
            }
            Message::ListMachines {
                after,
                page_size,
                reply,
            } => reply.answer::<Infallible>(at, || {
                Ok(machine.list_machines(after.as_deref(), page_size))
            }),
            Message::DeleteMachine { name, reply } => {
                reply.answer(at, || machine.delete_machine(&name));
            }
            Message::Watch { watch, reply } => {
                reply.answer(at, || self.watches.begin(watch, machine));
            }
            Message::Next {
                watch,
                unread,
                reply,
            } => reply.answer(at, || {
                // What this very batch has changed is no news to those who sleep yet.
                self.watches.wake(machine);
                self.watches.next(watch, unread, machine)
            }),
            Message::Usage { reply } => reply.answer::<Infallible>(at, || {
                Ok(Usage {
                    state: machine.usage(),
                    watch_count: self.watches.len(),
                })
            }),
        }
    }

    /// Answers a message that may have come before. What has been answered is answered again, however late it is.
    fn once<T, E>(
        &mut self,
        reply: Reply<T>,
        request: Option<&Request>,
        now: Now,
        apply: impl FnOnce(&mut StateMachine, Option<&Request>) -> Result<T, E>,
    ) where
        CallError: From<E>,
    {
        if let Some(begun) = self.begin(reply, request, now) {
            begun.send(apply(&mut self.machine, request));
        }
    }

    fn begin<T>(&self, reply: Reply<T>, request: Option<&Request>, now: Now) -> Option<Begun<T>> {
        let remembered = request.is_some_and(|request| self.machine.remembers(request));
        begin(reply, remembered, now)
    }

    /// Answers once the keys of the session that began at `ended` are gone.
    fn answer_when_ended(
        &mut self,
        ended: Option<Revision>,
        answer: impl FnOnce() + Send + 'static,
    ) {
        match ended {
            Some(life) if self.machine.is_ending(life) => {
                self.ending.push((life, Box::new(answer)));
            }
            _ => answer(),
        }
    }
}

/// Begins a message. One of which everything is `remembered` is answered again, however late it is.
fn begin<T>(reply: Reply<T>, remembered: bool, now: Now) -> Option<Begun<T>> {
    if remembered {
        reply.begin_late()
    } else {
        reply.begin(now.instant)
    }
}
