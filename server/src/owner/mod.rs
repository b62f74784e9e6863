//! The task that owns the state, and the handle by which everyone else asks it.

mod clock;
mod copies;
mod handle;
mod kept;
mod message;
mod reply;
#[cfg(test)]
mod tests;
mod unread;
mod unsettled;
mod watches;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::{
    COPY_ENTRIES_MAX, COPY_SLICE_BYTES, DUE_KEYS_BETWEEN_WAKES, DUE_KEYS_MAX, MailboxLimits,
    OWNER_BATCH_MAX, OWNER_MESSAGE_LARGE,
};
use crate::journal::{Event, Journal};
use crate::machine::{
    List, ListOutcome, Operation, Read, ReadOutcome, RejectedAt, Rejection, Request, Revision,
    StateMachine, Time,
};

use crate::mutants::mutant;
pub use clock::Clock;
use clock::Now;
use copies::Copies;
pub use copies::CopyBegun;
pub use handle::OwnerHandle;
use handle::WaitingBytes;
use kept::Settled;
pub(crate) use kept::{Answer, Kept};
pub use message::{CallError, EachFrame, Unknown};
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

/// The journal has ended before the owner: what had not been acknowledged may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLost(pub String);

/// Starts the owner of `machine` as a task of the current runtime, in memory only. The task ends, and gives the state
/// back, when the last handle is gone and the mailbox is empty.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    machine: StateMachine,
    clock: Clock,
    limits: OwnerLimits,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    spawn_with(machine, None, clock, limits)
}

/// The same, with a journal that keeps what happens.
pub(crate) fn spawn_with(
    mut machine: StateMachine,
    journal: Option<Journal>,
    clock: Clock,
    limits: OwnerLimits,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    let (sender, mailbox) = mpsc::channel(limits.mailbox.messages);
    let waiting_bytes = WaitingBytes::default();
    let kept = journal.map(|journal| Box::new(Kept::new(journal, &mut machine)));
    let owner = Owner {
        mailbox,
        waiting_bytes: waiting_bytes.clone(),
        machine,
        kept,
        clock,
        answer_bytes_max: limits.answer_bytes,
        watches: Watches::new(limits.watches),
        copies: Copies::new(),
        ending: Vec::new(),
        before: 0,
        only_reads: true,
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
    /// What is done and not on disk yet, if there is a disk.
    kept: Option<Box<Kept>>,
    clock: Clock,
    /// Most bytes of values in the answer to one frame.
    answer_bytes_max: usize,
    watches: Watches,
    copies: Copies,
    /// Answers that wait until a session's last key is gone.
    ending: Vec<(Revision, Box<dyn Answer>)>,
    /// The store revision before the message that is being done.
    before: Revision,
    /// Whether that message asks for no change.
    only_reads: bool,
}

impl Owner {
    /// Takes messages in order until every handle is gone, and lets time do its work in between. This is the only place
    /// in which the owner waits, so an operation is never half done.
    async fn run(mut self) -> Result<StateMachine, JournalLost> {
        let mut batch = Vec::with_capacity(OWNER_BATCH_MAX);
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            let due = self.next_due().map(|time| self.clock.at(time));
            if let Some(due) = due
                && due != alarm.deadline()
            {
                alarm.as_mut().reset(due);
            }
            // Biased: messages that are there cost no look at the alarm, and what is due is done after them all the same.
            // What the journal tells comes first: many wait for it.
            let taken = tokio::select! {
                biased;
                event = event(&mut self.kept), if self.kept.is_some() => Taken::Event(event),
                taken = self.mailbox.recv_many(&mut batch, OWNER_BATCH_MAX) => Taken::Messages(taken),
                () = alarm.as_mut(), if due.is_some() => Taken::Alarm,
            };
            let mut now = self.clock.now();
            if !self.cannot_keep() {
                self.advance(now);
            }
            match taken {
                Taken::Messages(0) => return self.end(now).await,
                Taken::Messages(_) => {}
                Taken::Event(event) => self.journal_says(event)?,
                // A great many that are due must not keep everybody else on this thread waiting.
                Taken::Alarm => tokio::task::yield_now().await,
            }
            for Envelope { message, byte_len } in batch.drain(..) {
                self.waiting_bytes.remove(byte_len);
                if let Some(unread) = message.unread() {
                    unread.take(byte_len);
                }
                self.handle(message, now);
                if byte_len > OWNER_MESSAGE_LARGE {
                    now = self.clock.now();
                    // Before so much has changed that it is not kept for those who sleep.
                    self.wake();
                }
            }
            self.answer_ended();
            self.copies.forget_ended(&mut self.machine);
            if let Some(kept) = &mut self.kept {
                kept.send(&mut self.machine, now.time);
            }
            self.wake();
        }
    }

    /// When time has something to do. While nothing can be kept, it has to wait.
    fn next_due(&self) -> Option<Time> {
        let due = self.machine.next_due()?;
        (!self.cannot_keep()).then_some(due)
    }

    fn cannot_keep(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.refusal().is_some())
    }

    /// Up to where everything may be shown.
    fn horizon(&self) -> Revision {
        match &self.kept {
            Some(kept) => kept.horizon(&self.machine),
            None => self.machine.revision(),
        }
    }

    fn wake(&mut self) {
        let horizon = self.horizon();
        self.watches.wake(&self.machine, horizon);
    }

    /// Ends in order: everything is kept, and noted to be all.
    async fn end(mut self, now: Now) -> Result<StateMachine, JournalLost> {
        if let Some(kept) = &mut self.kept {
            kept.close(&mut self.machine, now.time)
                .await
                .map_err(JournalLost)?;
        }
        Ok(self.machine)
    }

    fn journal_says(&mut self, event: Option<Event>) -> Result<(), JournalLost> {
        let kept = self.kept.as_mut().expect("only a journal says something");
        let said = match event {
            Some(event) => kept.handle(event, &mut self.machine),
            None => Err("the journal's thread has ended".into()),
        };
        said.map_err(|why| {
            kept.fail(&CallError::OutcomeUnknown {
                revision: None,
                why: Unknown::OwnerEnded,
            });
            JournalLost(why)
        })
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
            self.wake();
        }
    }

    /// Answers those who waited for the last key of a session, if it is gone: with the last slice, or by somebody else.
    fn answer_ended(&mut self) {
        if self.ending.is_empty() {
            return;
        }
        let machine = &mut self.machine;
        let ended = self
            .ending
            .extract_if(.., |(life, _)| !machine.is_ending(*life));
        for (_, answer) in ended.collect::<Vec<_>>() {
            let held = self.kept.as_mut();
            match held.and_then(|kept| Some((kept.hold(machine)?, kept))) {
                Some((seq, kept)) => kept.keep(seq, answer),
                None => answer.send(Ok(())),
            }
        }
    }

    fn handle(&mut self, message: Message, now: Now) {
        self.before = self.machine.revision();
        self.only_reads = true;
        match message {
            Message::Read { read, reply } => {
                if let Some(begun) = reply.begin(now.instant) {
                    self.read(begun, &read);
                }
            }
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
                if let Some(begun) = reply.begin(now.instant) {
                    self.list(begun, &list);
                }
            }
            Message::Each {
                frames,
                unread,
                reply,
            } => {
                let machine = &self.machine;
                let remembered = frames.iter().all(|frame| frame.is_remembered(machine));
                let operations = || frames.iter().flat_map(|frame| &frame.operations);
                if let Some(begun) = self.begin_frame(reply, operations(), remembered, now) {
                    let forgotten = frames.iter().all(|frame| frame.named.is_empty());
                    let settled = self.settled(operations(), forgotten);
                    let answers = frames.into_iter().map(|EachFrame { operations, named }| {
                        let room = unread.room().min(self.answer_bytes_max);
                        let machine = &mut self.machine;
                        let mut answer = machine.apply_each(operations, &named, room, now.time);
                        if let Some(revision) = settled {
                            answer.show_at(revision);
                        }
                        let held = unread.clone().hold(answer.answer_bytes);
                        (answer, held)
                    });
                    let answers: Vec<_> = answers.collect();
                    match settled {
                        Some(_) => begun.send::<Infallible>(Ok(answers)),
                        None => self.send::<_, Infallible>(begun, Ok(answers)),
                    }
                }
            }
            Message::All {
                operations,
                named,
                unread,
                reply,
            } => {
                let remembered = self.remembers(named.as_deref());
                if let Some(begun) = self.begin_frame(reply, &operations, remembered, now) {
                    let settled = self.settled(&operations, named.is_none());
                    let room = unread.room().min(self.answer_bytes_max);
                    let machine = &mut self.machine;
                    let answer = machine.apply_all(operations, named.as_deref(), room, now.time);
                    let answer = answer.map(|mut answer| {
                        if let Some(revision) = settled {
                            answer.show_at(revision);
                        }
                        let held = unread.hold(answer.answer_bytes);
                        (answer, held)
                    });
                    match settled {
                        Some(_) => begun.send::<RejectedAt>(answer),
                        None => self.send(begun, answer),
                    }
                }
            }
            Message::OpenSession { open, named, reply } => {
                if let Some(begun) = self.begin_named(reply, named.as_deref(), now) {
                    let opened = self.machine.open_session(open, named.as_deref(), now.time);
                    let ended = opened.as_ref().ok().and_then(|opened| opened.taken_over);
                    self.send_when_ended(ended, begun, opened);
                }
            }
            Message::RenewSession { life, reply } => {
                self.answer(reply, now, |machine| machine.renew_session(&life, now.time));
            }
            Message::CloseSession { life, named, reply } => {
                if let Some(begun) = self.begin_named(reply, named.as_deref(), now) {
                    let closed = self
                        .machine
                        .close_session(&life, named.as_deref(), now.time);
                    let ended = closed.as_ref().ok().map(|closed| closed.create_revision);
                    self.send_when_ended(ended, begun, closed);
                }
            }
            Message::ListSessions {
                after,
                page_size,
                reply,
            } => self.answer::<_, Infallible>(reply, now, |machine| {
                Ok(machine.list_sessions(after.as_deref(), page_size))
            }),
            Message::DefineMachine { define, reply } => {
                if let Some(begun) = self.begin_named(reply, None, now) {
                    let defined = self.machine.define_machine(*define);
                    self.send(begun, defined);
                }
            }
            Message::GetMachine { name, reply } => {
                self.answer(reply, now, |machine| machine.get_machine(&name));
            }
            Message::ListMachines {
                after,
                page_size,
                reply,
            } => self.answer::<_, Infallible>(reply, now, |machine| {
                Ok(machine.list_machines(after.as_deref(), page_size))
            }),
            Message::DeleteMachine { name, reply } => {
                if let Some(begun) = self.begin_named(reply, None, now) {
                    let deleted = self.machine.delete_machine(&name);
                    self.send(begun, deleted);
                }
            }
            Message::Watch { watch, reply } => {
                if let Some(begun) = reply.begin(now.instant) {
                    let watching = self.watches.begin(watch, &self.machine);
                    self.send(begun, watching);
                }
            }
            Message::Next {
                watch,
                unread,
                reply,
            } => {
                if let Some(begun) = reply.begin(now.instant) {
                    // What this very batch has changed is no news to those who sleep yet.
                    self.wake();
                    let horizon = self.horizon();
                    let next = self.watches.next(watch, unread, &self.machine, horizon);
                    let machine = &mut self.machine;
                    let kept = self.kept.as_mut();
                    if kept.is_some_and(|kept| kept.machine_changes(machine)) {
                        self.send(begun, next);
                    } else {
                        begun.send(next);
                    }
                }
            }
            Message::BeginCopy { reply } => {
                if let Some(begun) = reply.begin(now.instant) {
                    let copy = self.copies.begin(&mut self.machine, now.time);
                    self.send(begun, copy);
                }
            }
            // It is of what was on disk when it began.
            Message::NextSlice { copy, reply } => reply.answer(now.instant, || {
                let machine = &mut self.machine;
                machine.next_of_copy(copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES)
            }),
            Message::Usage { reply } => {
                if let Some(begun) = reply.begin(now.instant) {
                    let usage = Usage {
                        state: self.machine.usage(),
                        watch_count: self.watches.len(),
                    };
                    self.send::<_, Infallible>(begun, Ok(usage));
                }
            }
        }
    }

    /// Answers a read: with what is on disk, where what there is now is not.
    fn read(&mut self, begun: Begun<ReadOutcome>, read: &Read) {
        let Some(kept) = &mut self.kept else {
            return begun.send(self.machine.read(read));
        };
        let answer = match kept.settled(&read.key, &mut self.machine) {
            (Settled::Before(entry), revision) => self.machine.read_before(read, entry, revision),
            (Settled::Present, revision) => self
                .machine
                .read(read)
                .map(|answer| ReadOutcome { revision, ..answer }),
            (Settled::Not, _) => {
                let answer = self.machine.read(read);
                return self.send::<_, Box<Rejection>>(begun, answer);
            }
        };
        begun.send(answer);
    }

    /// Answers a list: at once if nothing that it could show is changing.
    fn list(&mut self, begun: Begun<ListOutcome>, list: &List) {
        let answer = self.machine.list(list);
        let settled = match &mut self.kept {
            None => return begun.send::<Infallible>(Ok(answer)),
            Some(kept) => kept.settled_below(&list.prefix, &mut self.machine),
        };
        match settled {
            (true, revision) => begun.send::<Infallible>(Ok(ListOutcome { revision, ..answer })),
            (false, _) => self.send::<_, Infallible>(begun, Ok(answer)),
        }
    }

    /// As of which revision a frame can be answered at once, where it reads only, nothing that is changing, and its answer
    /// is forgotten: one that is remembered has to be on disk itself.
    fn settled<'a>(
        &mut self,
        operations: impl IntoIterator<Item = &'a Operation>,
        forgotten: bool,
    ) -> Option<Revision> {
        let kept = self.kept.as_mut().filter(|_| forgotten)?;
        let mut at = kept.horizon(&self.machine);
        for operation in operations {
            match operation {
                Operation::Read(read) => match kept.settled(&read.key, &mut self.machine) {
                    (Settled::Present, revision) => at = revision,
                    _ => return None,
                },
                _ => return None,
            }
        }
        Some(at)
    }

    /// Answers a message that may have come before. What has been answered is answered again, however late it is.
    fn once<T, E>(
        &mut self,
        reply: Reply<T>,
        request: Option<&Request>,
        now: Now,
        apply: impl FnOnce(&mut StateMachine, Option<&Request>) -> Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(begun) = self.begin_named(reply, request, now) {
            let result = apply(&mut self.machine, request);
            self.send(begun, result);
        }
    }

    /// Answers a message.
    fn answer<T, E>(
        &mut self,
        reply: Reply<T>,
        now: Now,
        apply: impl FnOnce(&mut StateMachine) -> Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(begun) = reply.begin(now.instant) {
            let result = apply(&mut self.machine);
            self.send(begun, result);
        }
    }

    fn remembers(&self, request: Option<&Request>) -> bool {
        request.is_some_and(|request| self.machine.remembers(request))
    }

    /// Begins what may change something, unless that could not be kept. What has been answered is answered again.
    fn begin_change<T>(&mut self, reply: Reply<T>, remembered: bool, now: Now) -> Option<Begun<T>> {
        self.only_reads = false;
        if !remembered
            && let Some(kept) = &self.kept
            && let Some(error) = kept.refusal()
        {
            reply.refuse(error, now.instant);
            return None;
        }
        begin(reply, remembered, now)
    }

    fn begin_named<T>(
        &mut self,
        reply: Reply<T>,
        request: Option<&Request>,
        now: Now,
    ) -> Option<Begun<T>> {
        let remembered = self.remembers(request);
        self.begin_change(reply, remembered, now)
    }

    fn begin_frame<'a, T>(
        &mut self,
        reply: Reply<T>,
        operations: impl IntoIterator<Item = &'a Operation>,
        remembered: bool,
        now: Now,
    ) -> Option<Begun<T>> {
        let mut operations = operations.into_iter();
        if operations.all(|operation| matches!(operation, Operation::Read(_))) {
            return begin(reply, remembered, now);
        }
        self.begin_change(reply, remembered, now)
    }

    /// Sends an answer once everything is on disk that it may tell of.
    fn send<T, E>(&mut self, begun: Begun<T>, result: Result<T, E>)
    where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(kept) = &mut self.kept
            && !(mutant("refuse-early") && result.is_err())
            && let Some(seq) = kept.hold(&mut self.machine)
        {
            let revision = self.machine.revision();
            // Another's change is nothing that it could be told by.
            let own = (revision > self.before).then_some(revision);
            if self.only_reads
                && let Some(full) = kept.full()
            {
                // It would wait for what does not come.
                return begun.send::<CallError>(Err(full));
            }
            begun.hold(own);
            kept.keep(seq, held_answer(begun, result));
        } else {
            begun.send(result);
        }
    }

    /// Sends an answer once the keys of the session that began at `ended` are gone.
    fn send_when_ended<T, E>(
        &mut self,
        ended: Option<Revision>,
        begun: Begun<T>,
        result: Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        match ended {
            Some(life) if self.machine.is_ending(life) => {
                if self.kept.is_some() {
                    begun.hold(Some(self.machine.revision()));
                }
                self.ending.push((life, held_answer(begun, result)));
            }
            _ => self.send(begun, result),
        }
    }
}

/// What became of the wait.
enum Taken {
    Messages(usize),
    /// None: the journal's thread is gone.
    Event(Option<Event>),
    Alarm,
}

async fn event(kept: &mut Option<Box<Kept>>) -> Option<Event> {
    match kept {
        Some(kept) => kept.event().await,
        None => std::future::pending().await,
    }
}

/// An answer for later.
fn held_answer<T, E>(begun: Begun<T>, result: Result<T, E>) -> Box<dyn Answer>
where
    T: Send + 'static,
    CallError: From<E>,
{
    Box::new(HeldAnswer {
        begun,
        result: result.map_err(CallError::from),
    })
}

struct HeldAnswer<T> {
    begun: Begun<T>,
    result: Result<T, CallError>,
}

impl<T: Send> Answer for HeldAnswer<T> {
    fn is_abandoned(&self) -> bool {
        self.begun.is_abandoned()
    }

    fn send(self: Box<Self>, kept: Result<(), CallError>) {
        let Self { begun, result } = *self;
        begun.send::<CallError>(kept.and(result));
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
