//! What the owner does for each kind of message: it calls the machine, and sends or holds the answer.

use std::convert::Infallible;

use crate::config::{COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{
    Add, AddOutcome, CloseOutcome, CopyId, CopySlice, DefineMachine, Delete, DeleteMachine,
    DeleteOutcome, DeletePrefix, DeletePrefixOutcome, List, ListOutcome, Machine, MachineNow, Name,
    OpenOutcome, OpenSession, Page, Read, ReadOutcome, Rejection, RequestId, Revision, Session,
    SessionLife, Transition, TransitionOutcome, Write, WriteOutcome,
};
use crate::metrics::OperationKind;
use crate::mutants::mutant;

use super::backups::OpenBackup;
use super::clock::Now;
use super::commit::CommittedEntry;
use super::message::{KeysInStates, PageRequest, Usage};
use super::quota::ConnectionQuota;
use super::reply::Reply;
use super::state::Owner;
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
        let answer = match commits.committed(read.key.as_str(), &mut self.machine) {
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
