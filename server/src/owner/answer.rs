//! How a message is begun, and its answer sent or held back.

use crate::machine::{Operation, RequestId, Revision, StateMachine};
use crate::mutants::mutant;

use super::clock::Now;
use super::commit::Answer;
use super::error::CallError;
use super::reply::{Begun, Reply};
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
        if let Some(begun) = self.begin_with_id(reply, request_id, now) {
            let result = apply(&mut self.machine, request_id);
            self.send(begun, result);
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
        if let Some(begun) = reply.begin(now.instant) {
            let result = apply(self);
            self.send(begun, result);
        }
    }

    /// The next message is about to be done.
    pub(super) fn begin_message(&mut self) {
        self.before = self.machine.revision();
        self.only_reads = true;
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

    pub(super) fn begin_with_id<T>(
        &mut self,
        reply: Reply<T>,
        request_id: Option<&RequestId>,
        now: Now,
    ) -> Option<Begun<T>> {
        let remembered = self.is_replay(request_id);
        self.begin_change(reply, remembered, now)
    }

    pub(super) fn begin_frame<'a, T>(
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

    pub(super) fn is_replay(&self, request_id: Option<&RequestId>) -> bool {
        request_id.is_some_and(|request_id| self.machine.is_replay(request_id))
    }

    /// Sends an answer once everything is on disk that it may tell of.
    pub(super) fn send<T, E>(&mut self, begun: Begun<T>, result: Result<T, E>)
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
    pub(super) fn send_when_ended<T, E>(
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

    /// Answers those who waited for the last key of a session, if it is gone: with the last slice, or by somebody else.
    pub(super) fn answer_ended(&mut self) {
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
}

/// Begins a message. One of which everything is `remembered` is answered again, however late it is.
fn begin<T>(reply: Reply<T>, remembered: bool, now: Now) -> Option<Begun<T>> {
    if remembered {
        reply.begin_late()
    } else {
        reply.begin(now.instant)
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
