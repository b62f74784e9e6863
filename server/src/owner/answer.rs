//! How a message is started, and its answer sent or held back.

use crate::machine::{Operation, RequestId, Revision, StateMachine};
use crate::mutants::mutant;

use super::clock::Now;
use super::commit::HeldReply;
use super::error::CallError;
use super::reply::{Reply, StartedReply};
use super::state::Owner;

impl Owner {
    /// Answers a message that may have come before. What has been answered is answered again, however late it is.
    pub(super) fn once<T, E>(
        &mut self,
        reply: Reply<T>,
        request_id: Option<&RequestId>,
        now: Now,
        apply: impl FnOnce(&mut StateMachine, Option<&RequestId>) -> Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(started) = self.start_request(reply, request_id, now) {
            let result = apply(&mut self.machine, request_id);
            self.send(started, result);
        }
    }

    /// Answers a message.
    pub(super) fn answer<T, E>(
        &mut self,
        reply: Reply<T>,
        now: Now,
        apply: impl FnOnce(&mut Self) -> Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(started) = reply.start(now.instant) {
            let result = apply(self);
            self.send(started, result);
        }
    }

    /// The next message is about to be done.
    pub(super) fn reset_for_message(&mut self) {
        self.revision_before = self.machine.revision();
        self.reads_only = true;
    }

    /// Begins what may change something, unless that could not be kept. What has been answered is answered again.
    fn start_change<T>(
        &mut self,
        reply: Reply<T>,
        is_replay: bool,
        now: Now,
    ) -> Option<StartedReply<T>> {
        self.reads_only = false;
        if !is_replay
            && let Some(commits) = &self.commits
            && let Some(error) = commits.refusal()
        {
            reply.refuse(error, now.instant);
            return None;
        }
        start(reply, is_replay, now)
    }

    pub(super) fn start_request<T>(
        &mut self,
        reply: Reply<T>,
        request_id: Option<&RequestId>,
        now: Now,
    ) -> Option<StartedReply<T>> {
        let is_replay = self.is_replay(request_id);
        self.start_change(reply, is_replay, now)
    }

    pub(super) fn start_frame<'a, T>(
        &mut self,
        reply: Reply<T>,
        operations: impl IntoIterator<Item = &'a Operation>,
        is_replay: bool,
        now: Now,
    ) -> Option<StartedReply<T>> {
        let mut operations = operations.into_iter();
        if operations.all(|operation| matches!(operation, Operation::Read(_))) {
            return start(reply, is_replay, now);
        }
        self.start_change(reply, is_replay, now)
    }

    pub(super) fn is_replay(&self, request_id: Option<&RequestId>) -> bool {
        request_id.is_some_and(|id| self.machine.is_replay(id))
    }

    /// Sends an answer once everything is on disk that it may tell of.
    pub(super) fn send<T, E>(&mut self, started: StartedReply<T>, result: Result<T, E>)
    where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(commits) = &mut self.commits
            && !(mutant("refuse-early") && result.is_err())
            && let Some(seq) = commits.seq_to_await(&mut self.machine)
        {
            let revision = self.machine.revision();
            // Another's change is nothing that it could be told by.
            let own = (revision > self.revision_before).then_some(revision);
            if self.reads_only
                && let Some(full) = commits.disk_full()
            {
                // It would wait for what does not come.
                return started.send::<CallError>(Err(full));
            }
            started.hold(own);
            commits.hold(seq, held_result(started, result));
        } else {
            started.send(result);
        }
    }

    /// Sends an answer once the keys of the session that began at `ended` are gone.
    pub(super) fn send_when_session_ended<T, E>(
        &mut self,
        ended: Option<Revision>,
        started: StartedReply<T>,
        result: Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        match ended {
            Some(life) if self.machine.is_ending(life) => {
                if self.commits.is_some() {
                    started.hold(Some(self.machine.revision()));
                }
                self.until_session_ended
                    .push((life, held_result(started, result)));
            }
            _ => self.send(started, result),
        }
    }

    /// Answers those who waited for the last key of a session, if it is gone: with the last slice, or by somebody else.
    pub(super) fn answer_ended_sessions(&mut self) {
        if self.until_session_ended.is_empty() {
            return;
        }
        let machine = &mut self.machine;
        let ended = self
            .until_session_ended
            .extract_if(.., |(life, _)| !machine.is_ending(*life));
        for (_, answer) in ended.collect::<Vec<_>>() {
            let held = self.commits.as_mut();
            match held.and_then(|commits| Some((commits.seq_to_await(machine)?, commits))) {
                Some((seq, commits)) => commits.hold(seq, answer),
                None => answer.send(Ok(())),
            }
        }
    }
}

/// Begins a message. One of which everything is `is_replay` is answered again, however late it is.
fn start<T>(reply: Reply<T>, is_replay: bool, now: Now) -> Option<StartedReply<T>> {
    if is_replay {
        reply.start_late()
    } else {
        reply.start(now.instant)
    }
}

/// An answer for later.
fn held_result<T, E>(started: StartedReply<T>, result: Result<T, E>) -> Box<dyn HeldReply>
where
    T: Send + 'static,
    CallError: From<E>,
{
    Box::new(HeldResult {
        started,
        result: result.map_err(CallError::from),
    })
}

struct HeldResult<T> {
    started: StartedReply<T>,
    result: Result<T, CallError>,
}

impl<T: Send> HeldReply for HeldResult<T> {
    fn is_abandoned(&self) -> bool {
        self.started.is_abandoned()
    }

    fn send(self: Box<Self>, committed: Result<(), CallError>) {
        let Self { started, result } = *self;
        started.send::<CallError>(committed.and(result));
    }
}
