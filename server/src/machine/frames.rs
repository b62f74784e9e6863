//! Frames: many operations in one message, each by itself or all as one.

use super::answer_budget::AnswerBudget;
use super::operation::{AllOutcome, EachOutcome, Operation, Outcome};
use super::rejection::{RejectedAt, Rejection};
use super::request_ids::{Growth, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;
use super::value::Revision;

impl StateMachine {
    /// Applies operations in order, each by itself and at a revision of its own. `request_ids` has the ids of those that
    /// carry one, with their indices, in order. An operation is refused if the answer would hold more than
    /// `answer_bytes_max` bytes of values with it.
    pub fn apply_each(
        &mut self,
        operations: Vec<Operation>,
        request_ids: &[(usize, RequestId)],
        answer_bytes_max: usize,
        now: Time,
    ) -> EachOutcome {
        let mut budget = AnswerBudget::of(answer_bytes_max);
        let mut results = Vec::with_capacity(operations.len());
        if request_ids.is_empty() {
            for operation in operations {
                results.push(self.apply_at(self.revision + 1, operation, &mut budget, now));
            }
        } else {
            let mut request_ids = request_ids.iter().peekable();
            for (index, operation) in operations.into_iter().enumerate() {
                let request_id = request_ids.next_if(|(at, _)| *at == index);
                let request_id = request_id.map(|(_, request_id)| request_id);
                results.push(self.apply_with_id(operation, request_id, &mut budget, now));
            }
        }
        EachOutcome {
            results,
            revision: self.revision,
            answer_bytes: budget.used(),
        }
    }

    /// Applies one operation of a frame in which operations have request ids.
    fn apply_with_id(
        &mut self,
        operation: Operation,
        request_id: Option<&RequestId>,
        budget: &mut AnswerBudget,
        now: Time,
    ) -> Result<Outcome, Box<Rejection>> {
        let growth = growth_of(std::slice::from_ref(&operation));
        let outcome = self.apply_once(request_id, growth, now, |this| {
            this.apply_at(this.revision + 1, operation, budget, now)
        })?;
        if let (Some(request_id), Some(previous)) = (request_id, outcome.replayed_previous()) {
            // The saved entry counts towards this answer, too.
            budget
                .take(Some(previous.into()))
                .map_err(|cause| Rejection::of(&request_id.id, cause))?;
        }
        Ok(outcome)
    }

    /// Applies all operations in order and at one new revision, or none of them. The answer may hold at most
    /// `answer_bytes_max` bytes of values.
    ///
    /// # Errors
    /// [`RejectedAt`] with the first refusal. Nothing is changed then.
    pub fn apply_all(
        &mut self,
        operations: Vec<Operation>,
        request_id: Option<&RequestId>,
        answer_bytes_max: usize,
        now: Time,
    ) -> Result<AllOutcome, RejectedAt> {
        let mut refused_at = None;
        let growth = match request_id {
            Some(_) => growth_of(&operations),
            None => Growth::Possible,
        };
        self.apply_once(request_id, growth, now, |this| {
            this.apply_all_at(operations, answer_bytes_max, now)
                .map_err(|(index, rejection)| {
                    refused_at = Some(index);
                    rejection
                })
        })
        .map_err(|rejection| RejectedAt {
            index: refused_at,
            rejection,
        })
    }

    /// Applies all operations, or none. The error names the one that was refused.
    fn apply_all_at(
        &mut self,
        operations: Vec<Operation>,
        answer_bytes_max: usize,
        now: Time,
    ) -> Result<AllOutcome, (usize, Box<Rejection>)> {
        let before = self.revision;
        let revision = before + 1;
        let mut budget = AnswerBudget::of(answer_bytes_max);
        self.history.begin_batch();
        let mut outcomes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            match self.apply_at(revision, operation, &mut budget, now) {
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
            answer_bytes: budget.used(),
            replayed: false,
        };
        // A read before the frame's first change saw the revision before. All outcomes name that of the frame.
        all.set_revision(self.revision);
        Ok(all)
    }

    /// Applies one operation at `revision`.
    fn apply_at(
        &mut self,
        revision: Revision,
        operation: Operation,
        budget: &mut AnswerBudget,
        now: Time,
    ) -> Result<Outcome, Box<Rejection>> {
        match operation {
            Operation::Read(read) => self.read_into(&read, budget).map(Outcome::Read),
            Operation::Write(write) => self
                .write_at(revision, write, budget, now)
                .map(Outcome::Write),
            Operation::Add(add) => self.add_at(revision, add, now).map(Outcome::Add),
            Operation::Transition(transition) => self
                .transition_at(revision, transition, now)
                .map(Outcome::Transition),
            Operation::Delete(delete) => self
                .delete_at(revision, delete, budget)
                .map(Outcome::Delete),
        }
    }
}

/// Whether operations can make the store larger.
fn growth_of(operations: &[Operation]) -> Growth {
    let only_deletes = operations
        .iter()
        .all(|operation| matches!(operation, Operation::Delete(_) | Operation::Read(_)));
    match only_deletes {
        true => Growth::None,
        false => Growth::Possible,
    }
}
