//! What the owner does for each kind of message: it calls the machine, and sends or holds the answer.

use std::convert::Infallible;

use crate::config::{COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{
    Add, AddOutcome, AllOutcome, CloseOutcome, CopyId, CopySlice, DefineMachine, Delete,
    DeleteMachine, DeleteOutcome, DeletePrefix, DeletePrefixOutcome, EachOutcome, List,
    ListOutcome, Machine, MachineNow, Name, OpenOutcome, OpenSession, Operation, Page, Read,
    ReadOutcome, RejectedAt, Rejection, RequestId, Revision, Session, SessionLife, Transition,
    TransitionOutcome, Write, WriteOutcome,
};
use crate::metrics::OperationKind;
use crate::mutants::mutant;

use super::backups::OpenBackup;
use super::clock::Now;
use super::commit::{CommittedEntry, Unsent};
use super::error::CallError;
use super::message::{AllFrame, EachFrame, KeysInStates, PageRequest, Usage};
use super::quota::{ConnectionQuota, QuotaGuard};
use super::reply::{Reply, StartedReply};
use super::state::Owner;
use super::tally::Tally;
use super::watches::{NewWatch, NextBatch, OpenWatch, WatchId};

impl Owner {
    /// Reads the version of a key that is on disk, even if a later change is not.
    pub(super) fn read(&mut self, reply: Reply<ReadOutcome>, read: &Read, now: Now) {
        let Some(started) = reply.start(now.instant) else {
            return;
        };
        let Some(commits) = &mut self.commits else {
            let answer = self.machine.read(read);
            self.count(OperationKind::Read, answer.is_ok());
            return self.show(started, answer);
        };
        let answer = match commits.committed(&read.key, &mut self.machine) {
            (CommittedEntry::Before(entry), revision) => {
                self.machine.read_before(read, entry, revision)
            }
            (CommittedEntry::Current, revision) => self
                .machine
                .read(read)
                .map(|answer| ReadOutcome { revision, ..answer }),
            (CommittedEntry::Unknown, _) => {
                let answer = self.machine.read(read);
                self.count(OperationKind::Read, answer.is_ok());
                return self.send::<_, Box<Rejection>>(started, answer);
            }
        };
        self.count(OperationKind::Read, answer.is_ok());
        self.show(started, answer);
    }

    pub(super) fn write(
        &mut self,
        reply: Reply<WriteOutcome>,
        write: Write,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(
            OperationKind::Write,
            reply,
            request_id.as_deref(),
            now,
            |machine, id| machine.write(write, id, now.time),
        );
    }

    pub(super) fn add(
        &mut self,
        reply: Reply<AddOutcome>,
        add: Add,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(
            OperationKind::Add,
            reply,
            request_id.as_deref(),
            now,
            |machine, id| machine.add(add, id, now.time),
        );
    }

    pub(super) fn transition(
        &mut self,
        reply: Reply<TransitionOutcome>,
        transition: Transition,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(
            OperationKind::Transition,
            reply,
            request_id.as_deref(),
            now,
            |machine, id| machine.transition(transition, id, now.time),
        );
    }

    pub(super) fn delete(
        &mut self,
        reply: Reply<DeleteOutcome>,
        delete: Delete,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(
            OperationKind::Delete,
            reply,
            request_id.as_deref(),
            now,
            |machine, id| machine.delete(delete, id, now.time),
        );
    }

    pub(super) fn delete_prefix(
        &mut self,
        reply: Reply<DeletePrefixOutcome>,
        delete: &DeletePrefix,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        self.once(
            OperationKind::DeletePrefix,
            reply,
            request_id.as_deref(),
            now,
            |machine, id| machine.delete_prefix(delete, id, now.time),
        );
    }

    /// Lists keys. The answer is sent at once if no key with the prefix has an uncommitted change.
    pub(super) fn list(&mut self, reply: Reply<ListOutcome>, list: &List, now: Now) {
        let Some(started) = reply.start(now.instant) else {
            return;
        };
        let answer = self.machine.list(list);
        self.count(OperationKind::List, true);
        let committed = match &mut self.commits {
            None => return self.show::<_, Infallible>(started, Ok(answer)),
            Some(commits) => commits.committed_below(&list.prefix, &mut self.machine),
        };
        match committed {
            (true, revision) => {
                self.show::<_, Infallible>(started, Ok(ListOutcome { revision, ..answer }));
            }
            (false, _) => self.send::<_, Infallible>(started, Ok(answer)),
        }
    }

    /// Applies plain frames.
    pub(super) fn apply_each(
        &mut self,
        reply: Reply<Vec<(EachOutcome, QuotaGuard)>>,
        frames: Vec<EachFrame>,
        quota: &ConnectionQuota,
        now: Now,
    ) {
        let machine = &self.machine;
        let is_replay = frames.iter().all(|frame| frame.is_replay(machine));
        let operations = || frames.iter().flat_map(|frame| &frame.operations);
        let Some(started) = self.start_frame(reply, operations(), is_replay, quota, now) else {
            return;
        };
        self.machine.warm(operations().map(Operation::key));
        let has_request_ids = frames.iter().any(|frame| !frame.request_ids.is_empty());
        self.has_request_id = has_request_ids;
        let committed = self.committed_reads(operations(), has_request_ids);
        let unsent = self.unsent();
        let answers = frames.into_iter().map(|frame| {
            let room = quota.free_bytes().min(self.answer_bytes_max);
            let (operations, request_ids) = (frame.operations, &frame.request_ids);
            let tally = Tally::of(self.metrics.as_deref(), &operations);
            let machine = &mut self.machine;
            let mut answer = machine.apply_each(operations, request_ids, room, now.time);
            if let Some(tally) = tally {
                tally.count_each(&answer.results);
            }
            if let Some(revision) = committed {
                answer.set_revision(revision);
            }
            let guard = quota.clone().charge_values(answer.answer_bytes);
            (answer, guard)
        });
        let answers = answers.collect();
        self.charge(quota, unsent);
        self.send_frame::<_, Infallible>(started, committed, Ok(answers));
    }

    /// Applies an atomic frame.
    pub(super) fn apply_all(
        &mut self,
        reply: Reply<(AllOutcome, QuotaGuard)>,
        frame: AllFrame,
        quota: ConnectionQuota,
        now: Now,
    ) {
        let AllFrame {
            operations,
            request_id,
        } = frame;
        let is_replay = self.is_replay(request_id.as_deref());
        let Some(started) = self.start_frame(reply, &operations, is_replay, &quota, now) else {
            return;
        };
        self.machine.warm(operations.iter().map(Operation::key));
        self.has_request_id = request_id.is_some();
        let committed = self.committed_reads(&operations, request_id.is_some());
        let room = quota.free_bytes().min(self.answer_bytes_max);
        let unsent = self.unsent();
        let tally = Tally::of(self.metrics.as_deref(), &operations);
        let machine = &mut self.machine;
        let answer = machine.apply_all(operations, request_id.as_deref(), room, now.time);
        if let Some(tally) = tally {
            tally.count_all(answer.is_ok());
        }
        self.charge(&quota, unsent);
        let answer = answer.map(|mut answer| {
            if let Some(revision) = committed {
                answer.set_revision(revision);
            }
            let guard = quota.charge_values(answer.answer_bytes);
            (answer, guard)
        });
        self.send_frame::<_, RejectedAt>(started, committed, answer);
    }

    /// Returns how much there is to send to the journal, if there is one.
    fn unsent(&mut self) -> Option<Unsent> {
        let commits = self.commits.as_mut()?;
        Some(commits.unsent(&mut self.machine))
    }

    /// Charges what frames have changed since `before` to their connection.
    fn charge(&mut self, quota: &ConnectionQuota, before: Option<Unsent>) {
        if let (Some(commits), Some(before)) = (&mut self.commits, before) {
            commits.charge(quota, before, &mut self.machine);
        }
    }

    /// Returns the revision as of which frames can be answered at once. `None` if they must wait for the disk: they
    /// change something, or read a key with an uncommitted change, or have request ids, so that the answer itself must
    /// be on disk.
    fn committed_reads<'a>(
        &mut self,
        operations: impl IntoIterator<Item = &'a Operation>,
        has_request_ids: bool,
    ) -> Option<Revision> {
        let commits = self.commits.as_mut().filter(|_| !has_request_ids)?;
        let mut at = commits.durable_revision(&self.machine);
        for operation in operations {
            match operation {
                Operation::Read(read) => match commits.committed(&read.key, &mut self.machine) {
                    (CommittedEntry::Current, revision) => at = revision,
                    _ => return None,
                },
                _ => return None,
            }
        }
        Some(at)
    }

    /// Sends the answer to frames: at once if they are `committed` reads, otherwise when it is on disk.
    fn send_frame<T, E>(
        &mut self,
        started: StartedReply<T>,
        committed: Option<Revision>,
        result: Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        match committed {
            Some(_) => self.show(started, result),
            None => self.send(started, result),
        }
    }

    pub(super) fn open_session(
        &mut self,
        reply: Reply<OpenOutcome>,
        open: OpenSession,
        request_id: Option<Box<RequestId>>,
        now: Now,
    ) {
        if let Some(started) = self.start_request(reply, request_id.as_deref(), now) {
            let opened = self
                .machine
                .open_session(open, request_id.as_deref(), now.time);
            self.count(OperationKind::OpenSession, opened.is_ok());
            let ended = opened.as_ref().ok().and_then(|opened| opened.taken_over);
            self.send_when_session_ended(ended, started, opened);
        }
    }

    pub(super) fn renew_session(&mut self, reply: Reply<Session>, life: &SessionLife, now: Now) {
        if mutant("renewal-unconfirmed") {
            return reply.answer(now.instant, || self.machine.renew_session(life, now.time));
        }
        self.answer(Some(OperationKind::RenewSession), reply, now, |this| {
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
        if let Some(started) = self.start_request(reply, request_id.as_deref(), now) {
            let closed = self
                .machine
                .close_session(life, request_id.as_deref(), now.time);
            self.count(OperationKind::CloseSession, closed.is_ok());
            let ended = closed.as_ref().ok().map(|closed| closed.create_revision);
            self.send_when_session_ended(ended, started, closed);
        }
    }

    pub(super) fn list_sessions(
        &mut self,
        reply: Reply<Page<Session>>,
        page: &PageRequest,
        now: Now,
    ) {
        self.answer::<_, Infallible>(Some(OperationKind::ListSessions), reply, now, |this| {
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
        self.once(
            OperationKind::DefineMachine,
            reply,
            None,
            now,
            |machine, _| machine.define_machine(define),
        );
    }

    pub(super) fn get_machine(&mut self, reply: Reply<Machine>, name: &Name, now: Now) {
        self.answer(Some(OperationKind::GetMachine), reply, now, |this| {
            this.machine.get_machine(name)
        });
    }

    pub(super) fn machines_now(&mut self, reply: Reply<Vec<MachineNow>>, most: usize, now: Now) {
        // Whatever the disk does: who looks at the server wants to see it most when the disk accepts nothing.
        if let Some(started) = reply.start(now.instant) {
            let machines = self.machine.machines_now(most);
            self.show::<_, Infallible>(started, Ok(machines));
        }
    }

    pub(super) fn list_machines(
        &mut self,
        reply: Reply<Page<Machine>>,
        page: &PageRequest,
        now: Now,
    ) {
        self.answer::<_, Infallible>(Some(OperationKind::ListMachines), reply, now, |this| {
            let after = page.after.as_deref();
            Ok(this.machine.list_machines(after, page.page_size))
        });
    }

    pub(super) fn delete_machine(
        &mut self,
        reply: Reply<Revision>,
        delete: &DeleteMachine,
        now: Now,
    ) {
        self.once(
            OperationKind::DeleteMachine,
            reply,
            None,
            now,
            |machine, _| machine.delete_machine(delete),
        );
    }

    pub(super) fn watch(
        &mut self,
        reply: Reply<OpenWatch>,
        watch: NewWatch,
        quota: &ConnectionQuota,
        now: Now,
    ) {
        self.answer(None, reply, now, |this| {
            this.watches.open(watch, quota, &this.machine)
        });
    }

    pub(super) fn next_batch(
        &mut self,
        reply: Reply<NextBatch>,
        watch: WatchId,
        quota: ConnectionQuota,
        now: Now,
    ) {
        let Some(started) = reply.start(now.instant) else {
            return;
        };
        // Sleeping watches have not been told of this batch's changes: wake them first.
        self.wake_watches();
        let durable_revision = self.durable_revision();
        let next = self
            .watches
            .next_batch(watch, quota, &self.machine, durable_revision);
        self.count_next_batch(&next);
        let machine = &mut self.machine;
        let commits = self.commits.as_mut();
        if commits.is_some_and(|commits| commits.has_uncommitted_machine(machine)) {
            self.send(started, next);
        } else if matches!(&next, Ok(next) if next.stays_true()) {
            started.send(next);
        } else {
            self.show(started, next);
        }
    }

    pub(super) fn begin_backup(
        &mut self,
        reply: Reply<OpenBackup>,
        quota: &ConnectionQuota,
        now: Now,
    ) {
        self.answer(None, reply, now, |this| {
            this.backups.begin(quota, &mut this.machine, now.time)
        });
    }

    /// Sends the next slice at once: the answer that began the backup has waited for everything that the copy shows, and for
    /// the confirmation, and the copy is as of then.
    pub(super) fn next_backup_slice(&mut self, reply: Reply<CopySlice>, copy: CopyId, now: Now) {
        let machine = &mut self.machine;
        reply.answer(now.instant, || {
            machine.next_copy_slice(copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES)
        });
    }

    /// Counts the keys in states, as of now: the metrics of this process need neither be on disk nor confirmed.
    pub(super) fn keys_in_states(&mut self, reply: Reply<KeysInStates>, most: usize, now: Now) {
        reply.answer(now.instant, || {
            let all = self.machine.keys_in_states().take(most);
            let keys = all.map(|(machine, state, keys)| (machine.clone(), state.clone(), keys));
            Ok::<KeysInStates, Infallible>(keys.collect())
        });
    }

    pub(super) fn usage(&mut self, reply: Reply<Usage>, now: Now) {
        self.answer::<_, Infallible>(None, reply, now, |this| {
            Ok(Usage {
                state: this.machine.usage(),
                watch_count: this.watches.len(),
            })
        });
    }
}
