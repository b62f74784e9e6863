//! What the owner does for frames: it has the machine apply them, and sends or holds their answers.

use std::convert::Infallible;
use std::fmt;

use crate::config::LEASE_BYTES;
use crate::machine::{
    AllOutcome, Applying, Operation, OperationRef, Outcome, PlainAnswers, PlainFrames, RejectedAt,
    RequestId, Revision,
};

use super::clock::Now;
use super::commit::{CommittedEntry, Unsent};
use super::error::CallError;
use super::quota::{ConnectionQuota, QuotaGuard};
use super::reply::{Reply, StartedReply};
use super::state::Owner;
use super::tally::Tally;

/// Plain frames of one stream that wait in the mailbox, whatever takes their outcomes: each operation succeeds or fails by
/// itself.
pub(super) trait WaitingFrames: fmt::Debug + Send {
    /// Returns the bytes that the frames count in the mailbox.
    fn byte_len(&self) -> usize;

    /// Applies the frames.
    fn apply(self: Box<Self>, owner: &mut Owner, quota: &ConnectionQuota, now: Now);
}

/// Plain frames, and what takes their outcomes.
#[derive(Debug)]
pub(super) struct EachFrames<A> {
    frames: PlainFrames,
    answers: A,
    reply: Reply<(A, QuotaGuard)>,
}

impl<A: PlainAnswers + 'static> EachFrames<A> {
    pub(super) fn waiting(
        frames: PlainFrames,
        answers: A,
        reply: Reply<(A, QuotaGuard)>,
    ) -> Box<dyn WaitingFrames> {
        Box::new(Self {
            frames,
            answers,
            reply,
        })
    }
}

impl<A: PlainAnswers + 'static> WaitingFrames for EachFrames<A> {
    fn byte_len(&self) -> usize {
        self.frames.byte_len()
    }

    fn apply(self: Box<Self>, owner: &mut Owner, quota: &ConnectionQuota, now: Now) {
        let Self {
            frames,
            answers,
            reply,
        } = *self;
        owner.apply_each(reply, frames, answers, quota, now);
    }
}

/// An atomic frame: all operations are applied at one revision, or none.
#[derive(Debug)]
pub(super) struct AllFrame {
    pub(super) operations: Vec<Operation>,
    pub(super) request_id: Option<Box<RequestId>>,
}

impl AllFrame {
    pub(super) fn byte_len(&self) -> usize {
        let operations = self.operations.iter().map(Operation::byte_len);
        size_of_val(&*self.operations) + operations.sum::<usize>()
    }
}

/// Refuses operations if their connection has no room for the least that it takes to answer them: a list of their outcomes, or
/// the saved answer to a replay. What new outcomes show is known, and counted, when they are made. A replay is refused as if it
/// had found the mailbox full: an error about its answer would say that nothing was applied.
fn with_room<T>(
    reply: Reply<T>,
    quota: &ConnectionQuota,
    least: usize,
    now: Now,
) -> Option<Reply<T>> {
    match quota.check_room(least) {
        Ok(()) => Some(reply),
        Err(no_room) => {
            reply.refuse(no_room.into(), now.instant);
            None
        }
    }
}

impl Owner {
    /// Applies plain frames.
    fn apply_each<A: PlainAnswers + 'static>(
        &mut self,
        reply: Reply<(A, QuotaGuard)>,
        mut frames: PlainFrames,
        mut answers: A,
        quota: &ConnectionQuota,
        now: Now,
    ) {
        let outcomes = frames.operation_count() * size_of::<Outcome>();
        let Some(reply) = with_room(reply, quota, outcomes, now) else {
            return;
        };
        let is_replay = self.is_replay_of_all(&frames);
        let only_reads = frames.only_reads();
        let Some(started) = self.start_frame(reply, only_reads, is_replay, quota, now) else {
            return;
        };
        self.machine
            .warm(frames.operations().map(OperationRef::key));
        self.has_request_id = !frames.request_ids().is_empty();
        let may_be_early = only_reads && !self.has_request_id;
        let committed = self.committed_reads(may_be_early, frames.operations());
        let unsent = self.unsent();
        answers.reserve(frames.frame_count(), frames.operation_count());
        let mut applying = Applying::new(&mut frames, now.time, committed);
        let mut charged = quota.clone().charge_values(0);
        let (mut values, mut taken) = (0, 0);
        let mut free = quota.free_bytes();
        while let Some(answer_bytes) = self.machine.apply_plain(
            &mut applying,
            free.saturating_sub(taken - charged.bytes())
                .min(self.answer_bytes_max),
            &mut answers,
        ) {
            values += answer_bytes;
            taken = answers.byte_len().max(values);
            if taken - charged.bytes() > LEASE_BYTES {
                charged.change(taken);
                free = quota.free_bytes();
            }
        }
        charged.change(taken);
        self.count_each(&applying.tally);
        self.charge(quota, unsent);
        self.send_frame::<_, Infallible>(started, committed, Ok((answers, charged)));
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
        let saved = request_id
            .as_deref()
            .map_or(0, |id| self.machine.replayed_byte_len(id));
        let outcomes = operations.len() * size_of::<Outcome>();
        let Some(reply) = with_room(reply, &quota, outcomes.max(saved), now) else {
            return;
        };
        let is_replay = self.is_replay(request_id.as_deref());
        let only_reads = operations
            .iter()
            .all(|operation| matches!(operation, Operation::Read(_)));
        let Some(started) = self.start_frame(reply, only_reads, is_replay, &quota, now) else {
            return;
        };
        self.machine
            .warm(operations.iter().map(|operation| operation.key().as_str()));
        self.has_request_id = request_id.is_some();
        let may_be_early = only_reads && !self.has_request_id;
        let committed =
            self.committed_reads(may_be_early, operations.iter().map(OperationRef::Other));
        let room = quota.free_bytes().min(self.answer_bytes_max);
        let unsent = self.unsent();
        let tally = Tally::of(self.metrics.as_deref(), &operations);
        let machine = &mut self.machine;
        let answer = machine.apply_all(operations, request_id.as_deref(), room, now.time);
        self.count_all(tally, answer.is_ok());
        self.charge(&quota, unsent);
        let answer = answer.map(|mut answer| {
            if let Some(revision) = committed {
                answer.set_revision(revision);
            }
            let guard = quota.charge_values(answer.byte_len());
            (answer, guard)
        });
        self.send_frame::<_, RejectedAt>(started, committed, answer);
    }

    /// Whether every operation has been answered before, under the same request id.
    fn is_replay_of_all(&self, frames: &PlainFrames) -> bool {
        let request_ids = frames.request_ids();
        !request_ids.is_empty()
            && request_ids.len() == frames.operation_count()
            && request_ids.iter().all(|id| self.machine.is_replay(id))
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
    /// be on disk. `may_be_early` says that they only read, and have no request ids.
    fn committed_reads<'a>(
        &mut self,
        may_be_early: bool,
        reads: impl Iterator<Item = OperationRef<'a>>,
    ) -> Option<Revision> {
        let commits = self.commits.as_mut().filter(|_| may_be_early)?;
        let mut at = commits.durable_revision(&self.machine);
        for read in reads {
            let key = match read {
                OperationRef::Read(key) => key,
                OperationRef::Other(Operation::Read(read)) => read.key.as_str(),
                _ => return None,
            };
            match commits.committed(key, &mut self.machine) {
                (CommittedEntry::Current, revision) => at = revision,
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
}
