//! Frames: many operations in one message, each alone or all as one.

use super::answer_room::AnswerRoom;
use super::operation::{AllOutcome, EachOutcome, Operation, Outcome};
use super::rejection::{RejectedAt, Rejection};
use super::requests::Request;
use super::state_machine::StateMachine;
use super::time::Time;
use super::value::Revision;

impl StateMachine {
    /// Does the operations in order, each standing alone with a revision of its own. `requests` names those that can be
    /// recognised when they come again, by their places in the order. Those that would make the answer hold more than
    /// `answer_bytes_max` bytes of values are refused.
    pub fn apply_each(
        &mut self,
        operations: Vec<Operation>,
        requests: &[(usize, Request)],
        answer_bytes_max: usize,
        now: Time,
    ) -> EachOutcome {
        let mut room = AnswerRoom::of(answer_bytes_max);
        let mut results = Vec::with_capacity(operations.len());
        if requests.is_empty() {
            for operation in operations {
                results.push(self.apply_at(self.revision + 1, operation, &mut room, now));
            }
        } else {
            let mut requests = requests.iter().peekable();
            for (index, operation) in operations.into_iter().enumerate() {
                let request = requests.next_if(|(at, _)| *at == index);
                let request = request.map(|(_, request)| request);
                results.push(self.apply_named(operation, request, &mut room, now));
            }
        }
        EachOutcome {
            results,
            revision: self.revision,
            answer_bytes: room.used(),
        }
    }

    /// Does one operation of a frame in which some have request ids.
    fn apply_named(
        &mut self,
        operation: Operation,
        request: Option<&Request>,
        room: &mut AnswerRoom,
        now: Time,
    ) -> Result<Outcome, Box<Rejection>> {
        let outcome = self.once(request, now, |this| {
            this.apply_at(this.revision + 1, operation, room, now)
        })?;
        if let (Some(request), Some(previous)) = (request, outcome.replayed_previous()) {
            // It is shown again, in another answer.
            room.take(Some(previous.into()))
                .map_err(|cause| Rejection::of(&request.id, cause))?;
        }
        Ok(outcome)
    }

    /// Does the operations in order, all of them at one new revision, or none. The answer may hold `answer_bytes_max`
    /// bytes of values.
    ///
    /// # Errors
    /// The first refusal; the state is then as it was.
    pub fn apply_all(
        &mut self,
        operations: Vec<Operation>,
        request: Option<&Request>,
        answer_bytes_max: usize,
        now: Time,
    ) -> Result<AllOutcome, RejectedAt> {
        let mut at = None;
        self.once(request, now, |this| {
            this.apply_all_at(operations, answer_bytes_max, now)
                .map_err(|(index, rejection)| {
                    at = Some(index);
                    rejection
                })
        })
        .map_err(|rejection| RejectedAt {
            index: at,
            rejection,
        })
    }

    fn apply_all_at(
        &mut self,
        operations: Vec<Operation>,
        answer_bytes_max: usize,
        now: Time,
    ) -> Result<AllOutcome, (usize, Box<Rejection>)> {
        let before = self.revision;
        let revision = before + 1;
        let mut room = AnswerRoom::of(answer_bytes_max);
        self.history.begin_batch();
        let mut outcomes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            let done = self.apply_at(revision, operation, &mut room, now);
            match done {
                Ok(outcome) => outcomes.push(outcome),
                Err(rejection) => {
                    self.roll_back(before);
                    return Err((index, rejection));
                }
            }
        }
        self.history.end_batch();
        let mut all = AllOutcome {
            outcomes,
            revision: self.revision,
            answer_bytes: room.used(),
            replayed: false,
        };
        // What came in front of the first change was done at the revision before; all answers name the frame's.
        all.show_at(self.revision);
        Ok(all)
    }

    fn apply_at(
        &mut self,
        revision: Revision,
        operation: Operation,
        room: &mut AnswerRoom,
        now: Time,
    ) -> Result<Outcome, Box<Rejection>> {
        match operation {
            Operation::Read(read) => self.read_into(&read, room).map(Outcome::Read),
            Operation::Write(write) => self
                .write_at(revision, write, room, now)
                .map(Outcome::Write),
            Operation::Add(add) => self.add_at(revision, add, now).map(Outcome::Add),
            Operation::Transition(transition) => self
                .transition_at(revision, transition, now)
                .map(Outcome::Transition),
            Operation::Delete(delete) => {
                self.delete_at(revision, delete, room).map(Outcome::Delete)
            }
        }
    }
}
