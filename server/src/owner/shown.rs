//! Answers that show state and wait for nothing on disk, while another process may take the store over.
//!
//! Such a process may have changed what an answer shows, before this one finds out. So the answer waits until it is known that
//! this process still owned the store *after* the answer was computed. Two things say so: the journal, when it is asked with
//! [`Command::Confirm`](crate::journal::Command::Confirm) after that, and the commit of a batch that was sent after that. One
//! confirmation is under way at a time. What is computed meanwhile waits for the next one, and shares it.

use std::collections::VecDeque;

use crate::config::{HELD_ANSWERS_LOOK_MIN, UNCONFIRMED_ANSWERS_MAX};
use crate::mutants::mutant;

use super::error::CallError;
use super::reply::HeldReply;

/// The answers that wait until they are confirmed.
pub(super) struct Shown {
    /// In the order in which they were computed. Each with the first batch that was sent after that, or will be.
    kept: VecDeque<(u64, Box<dyn HeldReply>)>,
    /// How many of them, from the front, the confirmation under way is for. None if none is under way.
    asked: Option<usize>,
    /// After how many more answers the ones whose callers have left are looked for and dropped.
    look_after: usize,
}

impl Shown {
    pub(super) fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            asked: None,
            look_after: HELD_ANSWERS_LOOK_MIN,
        }
    }

    /// Returns the error for the next answer, if it finds no room here.
    pub(super) fn refusal(&mut self) -> Option<CallError> {
        self.look_after -= 1;
        if self.look_after == 0 {
            self.drop_abandoned();
        }
        (self.kept.len() >= UNCONFIRMED_ANSWERS_MAX).then_some(CallError::Overloaded {
            limit: UNCONFIRMED_ANSWERS_MAX,
            unit: "answers not yet confirmed",
        })
    }

    /// Keeps an answer that was computed just now. `next_seq` is the number of the next batch that is sent.
    pub(super) fn keep(&mut self, next_seq: u64, reply: Box<dyn HeldReply>) {
        self.kept.push_back((next_seq, reply));
    }

    /// Whether the journal is to be asked now: something waits that the confirmation under way is not for, and none is. From now
    /// on one is.
    pub(super) fn ask(&mut self) -> bool {
        let is_due = self.asked.is_none() && !self.kept.is_empty();
        if is_due {
            self.asked = Some(self.kept.len());
        }
        is_due
    }

    /// Whether a confirmation is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Sends the answers that were computed before the journal was asked: it has confirmed them.
    pub(super) fn confirmed(&mut self) {
        let asked = self.asked.take().unwrap_or(0);
        let confirmed = match mutant("confirmation-begun-early") {
            true => self.kept.len(),
            false => asked,
        };
        for (_, reply) in self.kept.drain(..confirmed) {
            reply.send();
        }
    }

    /// Sends the answers that were computed before batch `seq` was sent: its commit has confirmed them.
    pub(super) fn committed(&mut self, seq: u64) {
        while self.kept.front().is_some_and(|(next, _)| *next <= seq) {
            let (_, reply) = self.kept.pop_front().expect("front was Some");
            reply.send();
            self.asked = self.asked.map(|asked| asked.saturating_sub(1));
        }
    }

    /// Sends all answers: something that was begun after all of them has confirmed them.
    pub(super) fn all_confirmed(&mut self) {
        self.asked = self.asked.map(|_| 0);
        for (_, reply) in self.kept.drain(..) {
            reply.send();
        }
    }

    fn drop_abandoned(&mut self) {
        let (mut at, mut asked) = (0, 0);
        let of_asked = self.asked.unwrap_or(0);
        self.kept.retain(|(_, reply)| {
            let stays = !reply.is_abandoned();
            asked += usize::from(stays && at < of_asked);
            at += 1;
            stays
        });
        self.asked = self.asked.map(|_| asked);
        // A look costs as much as what is kept, and must not come for each answer while there is no room.
        let room = UNCONFIRMED_ANSWERS_MAX.saturating_sub(self.kept.len());
        self.look_after = HELD_ANSWERS_LOOK_MIN.max(self.kept.len().min(room));
    }
}
