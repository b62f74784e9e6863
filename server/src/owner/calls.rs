//! What the owner does for each message.

use std::convert::Infallible;

use crate::config::{COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopyId, CopySlice, DefineMachine, Delete,
    DeleteOutcome, EachOutcome, List, ListOutcome, Machine, Name, OpenOutcome, OpenSession,
    Operation, Page, Read, ReadOutcome, RejectedAt, Rejection, RequestId, Revision, Session,
    SessionLife, Transition, TransitionOutcome, Write, WriteOutcome,
};

use super::backups::CopyBegun;
use super::clock::Now;
use super::commit::Settled;
use super::error::CallError;
use super::message::{AllFrame, EachFrame, PageRequest, Usage};
use super::quota::{Held, Unread};
use super::reply::{Begun, Reply};
use super::state::Owner;
use super::watches::{NewWatch, Next, WatchId, Watching};

impl Owner {
    /// Answers a read: with what is on disk, where what there is now is not.
    pub(super) fn read(&mut self, reply: Reply<ReadOutcome>, read: &Read, now: Now) {
        let Some(begun) = reply.begin(now.instant) else {
            return;
        };
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

    pub(super) fn write(
        &mut self,
        reply: Reply<WriteOutcome>,
        write: Write,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(reply, request_id.as_deref(), now, |machine, request_id| {
            machine.write(write, request_id, now.time)
        });
    }

    pub(super) fn add(
        &mut self,
        reply: Reply<AddOutcome>,
        add: Add,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(reply, request_id.as_deref(), now, |machine, request_id| {
            machine.add(add, request_id, now.time)
        });
    }

    pub(super) fn transition(
        &mut self,
        reply: Reply<TransitionOutcome>,
        transition: Transition,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(reply, request_id.as_deref(), now, |machine, request_id| {
            machine.transition(transition, request_id, now.time)
        });
    }

    pub(super) fn delete(
        &mut self,
        reply: Reply<DeleteOutcome>,
        delete: Delete,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(reply, request_id.as_deref(), now, |machine, request_id| {
            machine.delete(delete, request_id, now.time)
        });
    }

    /// Answers a list: at once if nothing that it could show is changing.
    pub(super) fn list(&mut self, reply: Reply<ListOutcome>, list: &List, now: Now) {
        let Some(begun) = reply.begin(now.instant) else {
            return;
        };
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

    pub(super) fn apply_each(
        &mut self,
        reply: Reply<Vec<(EachOutcome, Held)>>,
        frames: Vec<EachFrame>,
        unread: &Unread,
        now: Now,
    ) {
        let machine = &self.machine;
        let remembered = frames.iter().all(|frame| frame.is_remembered(machine));
        let operations = || frames.iter().flat_map(|frame| &frame.operations);
        let Some(begun) = self.begin_frame(reply, operations(), remembered, now) else {
            return;
        };
        let forgotten = frames.iter().all(|frame| frame.request_ids.is_empty());
        let settled = self.settled(operations(), forgotten);
        let answers = frames.into_iter().map(
            |EachFrame {
                 operations,
                 request_ids,
             }| {
                let room = unread.room().min(self.answer_bytes_max);
                let machine = &mut self.machine;
                let mut answer = machine.apply_each(operations, &request_ids, room, now.time);
                if let Some(revision) = settled {
                    answer.set_revision(revision);
                }
                let held = unread.clone().hold(answer.answer_bytes);
                (answer, held)
            },
        );
        let answers = answers.collect();
        self.send_frame::<_, Infallible>(begun, settled, Ok(answers));
    }

    pub(super) fn apply_all(
        &mut self,
        reply: Reply<(AllOutcome, Held)>,
        frame: AllFrame,
        unread: Unread,
        now: Now,
    ) {
        let AllFrame {
            operations,
            request_id,
        } = frame;
        let remembered = self.is_replay(request_id.as_deref());
        let Some(begun) = self.begin_frame(reply, &operations, remembered, now) else {
            return;
        };
        let settled = self.settled(&operations, request_id.is_none());
        let room = unread.room().min(self.answer_bytes_max);
        let machine = &mut self.machine;
        let answer = machine.apply_all(operations, request_id.as_deref(), room, now.time);
        let answer = answer.map(|mut answer| {
            if let Some(revision) = settled {
                answer.set_revision(revision);
            }
            let held = unread.hold(answer.answer_bytes);
            (answer, held)
        });
        self.send_frame::<_, RejectedAt>(begun, settled, answer);
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

    /// Sends the answer to a frame: at once if all that it shows is on disk.
    fn send_frame<T, E>(&mut self, begun: Begun<T>, settled: Option<Revision>, result: Result<T, E>)
    where
        T: Send + 'static,
        CallError: From<E>,
    {
        match settled {
            Some(_) => begun.send(result),
            None => self.send(begun, result),
        }
    }

    pub(super) fn open_session(
        &mut self,
        reply: Reply<OpenOutcome>,
        open: OpenSession,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        if let Some(begun) = self.begin_with_id(reply, request_id.as_deref(), now) {
            let opened = self
                .machine
                .open_session(open, request_id.as_deref(), now.time);
            let ended = opened.as_ref().ok().and_then(|opened| opened.taken_over);
            self.send_when_ended(ended, begun, opened);
        }
    }

    pub(super) fn renew_session(&mut self, reply: Reply<Session>, life: &SessionLife, now: Now) {
        self.answer(reply, now, |this| {
            this.machine.renew_session(life, now.time)
        });
    }

    pub(super) fn close_session(
        &mut self,
        reply: Reply<CloseOutcome>,
        life: &SessionLife,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        if let Some(begun) = self.begin_with_id(reply, request_id.as_deref(), now) {
            let closed = self
                .machine
                .close_session(life, request_id.as_deref(), now.time);
            let ended = closed.as_ref().ok().map(|closed| closed.create_revision);
            self.send_when_ended(ended, begun, closed);
        }
    }

    pub(super) fn list_sessions(
        &mut self,
        reply: Reply<Page<Session>>,
        page: &PageRequest,
        now: Now,
    ) {
        self.answer::<_, Infallible>(reply, now, |this| {
            let after = page.after.as_deref();
            Ok(this.machine.list_sessions(after, page.page_size))
        });
    }

    pub(super) fn define_machine(
        &mut self,
        reply: Reply<Machine>,
        define: DefineMachine,
        now: Now,
    ) {
        self.once(reply, None, now, |machine, _| {
            machine.define_machine(define)
        });
    }

    pub(super) fn get_machine(&mut self, reply: Reply<Machine>, name: &Name, now: Now) {
        self.answer(reply, now, |this| this.machine.get_machine(name));
    }

    pub(super) fn list_machines(
        &mut self,
        reply: Reply<Page<Machine>>,
        page: &PageRequest,
        now: Now,
    ) {
        self.answer::<_, Infallible>(reply, now, |this| {
            let after = page.after.as_deref();
            Ok(this.machine.list_machines(after, page.page_size))
        });
    }

    pub(super) fn delete_machine(&mut self, reply: Reply<Revision>, name: &Name, now: Now) {
        self.once(reply, None, now, |machine, _| machine.delete_machine(name));
    }

    pub(super) fn watch(&mut self, reply: Reply<Watching>, watch: NewWatch, now: Now) {
        self.answer(reply, now, |this| this.watches.begin(watch, &this.machine));
    }

    pub(super) fn next(&mut self, reply: Reply<Next>, watch: WatchId, unread: Unread, now: Now) {
        let Some(begun) = reply.begin(now.instant) else {
            return;
        };
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

    pub(super) fn begin_copy(&mut self, reply: Reply<CopyBegun>, now: Now) {
        self.answer(reply, now, |this| {
            this.copies.begin(&mut this.machine, now.time)
        });
    }

    /// Sends at once: it is of what was on disk when it began.
    pub(super) fn next_slice(&mut self, reply: Reply<CopySlice>, copy: CopyId, now: Now) {
        let machine = &mut self.machine;
        reply.answer(now.instant, || {
            machine.next_copy_slice(copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES)
        });
    }

    pub(super) fn usage(&mut self, reply: Reply<Usage>, now: Now) {
        self.answer::<_, Infallible>(reply, now, |this| {
            Ok(Usage {
                state: this.machine.usage(),
                watch_count: this.watches.len(),
            })
        });
    }
}
