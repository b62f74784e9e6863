//! How the owner starts with a message, and sends or holds the answer.

use std::sync::Arc;

use crate::machine::{RequestId, Revision, StateMachine};
use crate::metrics::OperationKind;
use crate::mutants::mutant;

use super::clock::Now;
use super::error::CallError;
use super::gate::Place;
use super::quota::ConnectionQuota;
use super::reply::{AtStake, HeldReply, Reply, StartedReply};
use super::state::Owner;
use super::times::CallTimes;

impl Owner {
    /// Handles a message that may change something: starts, calls `apply`, sends or holds the answer. A replay, a
    /// message with a request id that was answered before, gets the same answer again, even after its deadline.
    pub(super) fn once<T, E>(
        &mut self,
        kind: OperationKind,
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
            self.count(kind, result.is_ok());
            self.send(started, result);
        }
    }

    /// Handles a message that changes nothing: starts, calls `apply`, sends or holds the answer. `kind` is what it counts as.
    pub(super) fn answer<T, E>(
        &mut self,
        kind: Option<OperationKind>,
        reply: Reply<T>,
        now: Now,
        apply: impl FnOnce(&mut Self) -> Result<T, E>,
    ) where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(started) = reply.start(now.instant) {
            let result = apply(self);
            if let Some(kind) = kind {
                self.count(kind, result.is_ok());
            }
            self.send(started, result);
        }
    }

    /// Prepares for the next message.
    pub(super) fn reset_for_message(&mut self) {
        self.revision_before = self.machine.revision();
        self.reads_only = true;
        self.has_request_id = false;
    }

    /// Starts with a message that may change something. Refuses it while nothing can be changed, unless it is a replay.
    fn start_change<T>(
        &mut self,
        reply: Reply<T>,
        is_replay: bool,
        now: Now,
    ) -> Option<StartedReply<T>> {
        self.reads_only = false;
        let refusal = match &self.commits {
            Some(commits) if !is_replay => commits.refusal(),
            _ => None,
        };
        start_unless(refusal, reply, is_replay, now)
    }

    /// Starts with a message that may change something, and may be a replay.
    pub(super) fn start_request<T>(
        &mut self,
        reply: Reply<T>,
        request_id: Option<&RequestId>,
        now: Now,
    ) -> Option<StartedReply<T>> {
        self.has_request_id = request_id.is_some();
        let is_replay = self.is_replay(request_id);
        self.start_change(reply, is_replay, now)
    }

    /// Starts with frames, which may only read.
    pub(super) fn start_frame<T>(
        &mut self,
        reply: Reply<T>,
        only_reads: bool,
        is_replay: bool,
        quota: &ConnectionQuota,
        now: Now,
    ) -> Option<StartedReply<T>> {
        if only_reads {
            return start(reply, is_replay, now);
        }
        self.reads_only = false;
        let refusal = match &self.commits {
            Some(commits) if !is_replay => commits.refusal_of_frames(quota),
            _ => None,
        };
        start_unless(refusal, reply, is_replay, now)
    }

    /// Whether a message with this request id was answered before.
    pub(super) fn is_replay(&self, request_id: Option<&RequestId>) -> bool {
        request_id.is_some_and(|id| self.machine.is_replay(id))
    }

    /// Sends an answer once every change that it may show is on disk.
    pub(super) fn send<T, E>(&mut self, started: StartedReply<T>, result: Result<T, E>)
    where
        T: Send + 'static,
        CallError: From<E>,
    {
        if let Some(commits) = &mut self.commits
            && !(mutant("refuse-early") && result.is_err())
            && let Some(seq) = commits.seq_to_await(&mut self.machine)
        {
            if self.reads_only
                && let Some(full) = commits.disk_full()
            {
                // The answer would wait for a commit that does not come while the disk is full.
                return started.send::<CallError>(Err(full));
            }
            let at_stake = at_stake(
                self.revision_before,
                &self.machine,
                self.has_request_id && result.is_ok(),
            );
            started.hold(at_stake);
            commits.hold(seq, held_result(started, result, self.times.clone()));
        } else {
            self.show(started, result);
        }
    }

    /// Sends an answer that shows state, and waits for nothing on disk. Every such answer goes through here. Where another process
    /// can take the store over, it is kept until it is confirmed.
    #[inline]
    pub(super) fn show<T, E>(&mut self, started: StartedReply<T>, result: Result<T, E>)
    where
        T: Send + 'static,
        CallError: From<E>,
    {
        match &self.commits {
            Some(commits) if commits.confirms() => {
                self.keep(started, result.map_err(CallError::from))
            }
            _ => started.send(result),
        }
    }

    /// Keeps an answer until it is confirmed. Refuses it if too many wait, and nothing is at stake.
    fn keep<T: Send + 'static>(&mut self, started: StartedReply<T>, result: Result<T, CallError>) {
        let Some(commits) = &mut self.commits else {
            return started.send(result);
        };
        let is_repeated = self.has_request_id && result.is_ok();
        let at_stake = at_stake(self.revision_before, &self.machine, is_repeated);
        match commits.refusal_to_show() {
            Some(refusal) if at_stake == AtStake::Nothing => {
                started.send::<CallError>(Err(refusal))
            }
            _ => {
                started.hold(at_stake);
                commits.show(Box::new(HeldResult {
                    started,
                    result,
                    times: self.times.clone(),
                    // Long answers wait a few at a time, so that they do not fill the memory.
                    _place: self.place.take(),
                }));
            }
        }
    }

    /// Sends an answer once the last key of a session that has ended is gone. `ended` is the session's create revision,
    /// or `None` if no session has ended.
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
            Some(session) if self.machine.is_ending(session) => {
                if self.commits.is_some() {
                    started.hold(AtStake::Change(Some(self.machine.revision())));
                }
                self.until_session_ended
                    .push((session, held_result(started, result, self.times.clone())));
            }
            _ => self.send(started, result),
        }
    }

    /// Sends the answers that waited for the last key of a session, if it is gone now: ended with its session, or
    /// deleted by another call.
    pub(super) fn answer_ended_sessions(&mut self) {
        if self.until_session_ended.is_empty() {
            return;
        }
        let machine = &mut self.machine;
        let ended = self
            .until_session_ended
            .extract_if(.., |(session, _)| !machine.is_ending(*session));
        for (_, reply) in ended.collect::<Vec<_>>() {
            let Some(commits) = &mut self.commits else {
                reply.send();
                continue;
            };
            match commits.seq_to_await(machine) {
                Some(seq) => commits.hold(seq, reply),
                None if commits.confirms() => commits.show(reply),
                None => reply.send(),
            }
        }
    }
}

/// Starts with a message, or refuses it.
fn start_unless<T>(
    refusal: Option<CallError>,
    reply: Reply<T>,
    is_replay: bool,
    now: Now,
) -> Option<StartedReply<T>> {
    match refusal {
        Some(error) => {
            reply.refuse(error, now.instant);
            None
        }
        None => start(reply, is_replay, now),
    }
}

/// Starts with a message; with a replay even after its deadline.
fn start<T>(reply: Reply<T>, is_replay: bool, now: Now) -> Option<StartedReply<T>> {
    if is_replay {
        reply.start_late()
    } else {
        reply.start(now.instant)
    }
}

/// What a message has changed that found the store at revision `before`. `may_repeat` says that its answer may be that of an
/// earlier message, which has changed something.
fn at_stake(before: Revision, machine: &StateMachine, may_repeat: bool) -> AtStake {
    let revision = machine.revision();
    // Tell only a revision that this message took itself.
    if revision > before {
        AtStake::Change(Some(revision))
    } else if may_repeat {
        AtStake::Change(None)
    } else {
        AtStake::Nothing
    }
}

/// Boxes an answer that waits.
fn held_result<T, E>(
    started: StartedReply<T>,
    result: Result<T, E>,
    times: Option<Arc<CallTimes>>,
) -> Box<dyn HeldReply>
where
    T: Send + 'static,
    CallError: From<E>,
{
    Box::new(HeldResult {
        started,
        result: result.map_err(CallError::from),
        times,
        _place: None,
    })
}

/// An answer that is held, and where to send it.
struct HeldResult<T> {
    started: StartedReply<T>,
    result: Result<T, CallError>,
    times: Option<Arc<CallTimes>>,
    /// The room of a costly message, which the next one gets when this is dropped.
    _place: Option<Box<Place>>,
}

impl<T: Send> HeldReply for HeldResult<T> {
    fn is_abandoned(&self) -> bool {
        self.started.is_abandoned()
    }

    fn send(self: Box<Self>) {
        let Self {
            started,
            result,
            times,
            _place,
        } = *self;
        if let Some(times) = times {
            times.note_committed();
        }
        started.send(result);
    }
}
