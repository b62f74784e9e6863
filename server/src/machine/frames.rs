//! Frames: many operations in one message, each by itself or all as one.

use super::answer_budget::AnswerBudget;
use super::operation::{AllOutcome, EachOutcome, Operation, Outcome, ReadOutcome};
use super::plain_frames::{PlainAnswers, PlainFrames, Unpacked, Unpacking, key_of};
use super::rejection::{RejectedAt, Rejection};
use super::request_ids::{Growth, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;
use super::value::Revision;

/// Plain frames that are being applied.
pub(crate) struct Applying<'a> {
    frames: Unpacking<'a>,
    now: Time,
    /// The store revision that their outcomes name instead of the present one. For frames that only read: what they read
    /// was the same at that revision.
    as_of: Option<Revision>,
    pub(crate) tally: PlainTally,
}

impl<'a> Applying<'a> {
    /// Takes the operations out of `frames`.
    pub(crate) fn new(frames: &'a mut PlainFrames, now: Time, as_of: Option<Revision>) -> Self {
        Self {
            frames: frames.unpack(),
            now,
            as_of,
            tally: PlainTally::default(),
        }
    }
}

/// What became of the operations of plain frames: how many of each kind were done and refused. The kinds are those of
/// [`Operation`], in that order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlainTally {
    pub(crate) done: [u64; KINDS],
    pub(crate) refused: [u64; KINDS],
}

/// How many kinds of operations there are.
const KINDS: usize = 5;

impl PlainTally {
    #[inline]
    fn count(&mut self, kind: usize, is_ok: bool) {
        let counts = if is_ok {
            &mut self.done
        } else {
            &mut self.refused
        };
        counts[kind] += 1;
    }
}

/// The place of an operation's kind in [`PlainTally`].
#[inline]
fn kind_of(operation: &Operation) -> usize {
    match operation {
        Operation::Read(_) => READ,
        Operation::Write(_) => 1,
        Operation::Add(_) => 2,
        Operation::Transition(_) => 3,
        Operation::Delete(_) => 4,
    }
}

const READ: usize = 0;

impl StateMachine {
    /// Applies one plain frame: operations in order, each by itself and at a revision of its own. `request_ids` has the ids
    /// of those that carry one, with their indices, in order. An operation is refused if the answer would hold more than
    /// `answer_bytes_max` bytes of values with it.
    pub fn apply_each(
        &mut self,
        operations: Vec<Operation>,
        request_ids: &[(usize, RequestId)],
        answer_bytes_max: usize,
        now: Time,
    ) -> EachOutcome {
        let mut frames = PlainFrames::default();
        let mut request_ids = request_ids.iter().peekable();
        for (index, operation) in operations.into_iter().enumerate() {
            let request_id = request_ids.next_if(|(at, _)| *at == index);
            frames.operation(operation, request_id.map(|(_, id)| id.clone()));
        }
        frames.end_frame();
        let mut answers = Vec::new();
        let mut applying = Applying::new(&mut frames, now, None);
        while self
            .apply_plain(&mut applying, answer_bytes_max, &mut answers)
            .is_some()
        {}
        answers.pop().expect("a frame has an outcome")
    }

    /// Applies the next of several plain frames, and has `answers` take the outcomes. An operation is refused if the answer to
    /// its frame would hold more than `answer_bytes_max` bytes of values with it. Returns how many bytes it holds; none if no
    /// frame is left.
    pub(crate) fn apply_plain<A: PlainAnswers>(
        &mut self,
        applying: &mut Applying<'_>,
        answer_bytes_max: usize,
        answers: &mut A,
    ) -> Option<usize> {
        let Applying {
            frames,
            now,
            as_of,
            tally,
        } = applying;
        if frames.is_empty() {
            return None;
        }
        let mut budget = AnswerBudget::of(answer_bytes_max);
        answers.begin_frame();
        while let Some(operation) = frames.take() {
            let (kind, result) = match operation {
                Unpacked::Read(key) => {
                    let is_ok = self.read_plain(key, *as_of, &mut budget, answers);
                    tally.count(READ, is_ok);
                    continue;
                }
                Unpacked::Plain(operation) => {
                    let kind = kind_of(&operation);
                    let revision = self.revision + 1;
                    (kind, self.apply_at(revision, operation, &mut budget, *now))
                }
                Unpacked::Other(operation, request_id) => {
                    let kind = kind_of(&operation);
                    let result =
                        self.apply_with_id(operation, request_id.as_ref(), &mut budget, *now);
                    (kind, result)
                }
            };
            tally.count(kind, result.is_ok());
            answers.operation(result.map(|outcome| outcome.at_revision(*as_of)));
        }
        answers.end_frame(as_of.unwrap_or(self.revision), budget.used());
        Some(budget.used())
    }

    /// Reads one key of a plain frame, without a condition. Returns whether it was done.
    #[inline(always)]
    fn read_plain<A: PlainAnswers>(
        &self,
        key: &[u8],
        as_of: Option<Revision>,
        budget: &mut AnswerBudget,
        answers: &mut A,
    ) -> bool {
        let revision = as_of.unwrap_or(self.revision);
        let entry = self.entries.get(key);
        if let Err(cause) = budget.take(entry) {
            answers.operation(Err(Rejection::of(&key_of(key), cause)));
            return false;
        }
        match entry {
            Some(entry) if entry.attached.is_some() => {
                let entry = Some(self.shown(entry));
                answers.operation(Ok(Outcome::Read(ReadOutcome { entry, revision })));
            }
            _ => answers.read(entry, revision),
        }
        true
    }

    /// Applies one operation of a plain frame that may have a request id.
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
