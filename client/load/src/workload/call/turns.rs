//! One worker's way through the messages of a program, and through the answers.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rand::rngs::SmallRng;
use tonic::{Code, Status};

use crate::grpc::code_name;
use crate::plan::choices::Part;
use crate::plan::kind::Kind;
use crate::workload::call::messages::Messages;
use crate::workload::call::program::{CallProgram, Source};
use crate::workload::call::totals::{CallTotals, StreamAnswer};
use crate::workload::outcome::{Failure, OpOutcome};

/// The program of a run, and what its workers share.
#[derive(Clone, Debug)]
pub(crate) struct CallRun {
    pub(crate) program: Arc<CallProgram>,
    /// The next number of `{{counter}}`, before agents share out the numbers.
    counter: Arc<AtomicU64>,
    part: Part,
    /// Of the workers that are done.
    totals: Arc<Mutex<CallTotals>>,
}

impl CallRun {
    pub(crate) fn new(program: Arc<CallProgram>, part: Part) -> Self {
        Self {
            program,
            counter: Arc::default(),
            part,
            totals: Arc::new(Mutex::new(CallTotals::new())),
        }
    }

    /// Returns what the workers have counted that are done.
    pub(crate) fn totals(&self) -> CallTotals {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.clone()
    }
}

/// The calls of one worker. Dropping it leaves its counts to the run.
#[derive(Debug)]
pub(crate) struct Turns {
    run: CallRun,
    next: u64,
    totals: CallTotals,
}

impl Turns {
    /// Each worker begins at another turn.
    pub(crate) fn new(run: CallRun, worker: u64) -> Self {
        Self {
            next: worker % run.program.turns.len() as u64,
            run,
            totals: CallTotals::new(),
        }
    }

    /// Returns the number of the next turn, and its messages unless they never change.
    #[inline]
    pub(crate) fn draw(&mut self, rng: &mut SmallRng) -> (u64, Option<Messages>) {
        let program = &self.run.program;
        let number = self.next;
        self.next = match number + 1 == program.turns.len() as u64 {
            true => 0,
            false => number + 1,
        };
        let turn = &program.turns[number as usize];
        if let Some(messages) = &turn.fixed {
            for message in messages.iter() {
                self.totals.requests.count(message.len());
            }
            return (number, None);
        }
        let part = (self.run.part.index, self.run.part.of);
        let made = turn.messages.iter().map(|source| {
            let message = match source {
                Source::Encoded(bytes) => bytes.clone(),
                Source::Template(template) => template.make(rng, &self.run.counter, part),
            };
            self.totals.requests.count(message.len());
            message
        });
        let messages = Messages {
            program: Arc::clone(program),
            messages: made.collect(),
        };
        (number, Some(messages))
    }

    /// Returns the messages of a turn whose messages never change.
    pub(crate) fn fixed(&self, turn: u64) -> Messages {
        Messages {
            program: Arc::clone(&self.run.program),
            messages: Arc::clone(self.run.program.fixed_messages(turn)),
        }
    }

    /// Takes the only message of an answer with status OK, and judges it.
    #[inline]
    pub(crate) fn take_message(&mut self, message: &[u8]) -> OpOutcome {
        self.totals.responses.count(message.len());
        self.judge(message)
    }

    /// Takes a stream that has ended well, and judges its last message. It was meant to start at `intended`; `is_late` says
    /// whether it ended after the measured time, and is `None` for one of the warm-up.
    pub(crate) fn take_stream(
        &mut self,
        stream: &StreamAnswer,
        last: &[u8],
        intended: Instant,
        is_late: Option<bool>,
    ) -> OpOutcome {
        self.totals.responses.add(&stream.sizes);
        if let Some(is_late) = is_late {
            self.totals.stream(stream, intended, is_late);
        }
        match stream.sizes.messages {
            0 if self.run.program.checks_answers() => {
                OpOutcome::Failed(Failure::wrong_answer("the stream ended without a message"))
            }
            _ => self.judge(last),
        }
    }

    fn judge(&self, message: &[u8]) -> OpOutcome {
        let program = &self.run.program;
        if !program.expects(Code::Ok) {
            let why = "answered OK, which is not among --expect-code";
            let outcome = soloist_client::Outcome::Unknown;
            return OpOutcome::Failed(Failure::new(Code::Ok, why, outcome));
        }
        match program.checks_answers().then(|| program.check(message)) {
            None | Some(Ok(())) => OpOutcome::Done { is_miss: false },
            Some(Err(why)) => OpOutcome::Failed(Failure::wrong_answer(why)),
        }
    }

    /// Judges the status of a call that was not OK.
    pub(crate) fn judge_status(&self, status: &Status) -> OpOutcome {
        match self.run.program.expects(status.code()) {
            true => OpOutcome::Expected(code_name(status.code())),
            false => OpOutcome::of_status(Kind::Call, status),
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        let totals = self.run.totals.lock();
        totals
            .unwrap_or_else(PoisonError::into_inner)
            .add(&self.totals);
    }
}
