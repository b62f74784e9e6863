//! The state and its operations: no I/O, no clock, no randomness. The same calls give the same answers anywhere.

mod operation;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::mem;

pub use operation::{
    AllOutcome, Cause, Condition, EachOutcome, Mismatch, Operation, Outcome, Read, ReadOutcome,
    RejectedAt, Rejection, Write, WriteAnswer, WriteOutcome,
};
pub use value::{Entry, Key, Revision, Value};

/// What one key costs beside its own bytes and its value's, as `Info.used_bytes` counts it: about the entry, its
/// place in the table and the allocator's rounding.
const KEY_OVERHEAD_BYTES: u64 = 64;

/// How full the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The store revision.
    pub revision: Revision,
    /// Keys that are there.
    pub key_count: usize,
    /// Bytes that count towards the limit.
    pub used_bytes: u64,
}

/// The whole state. Its owner is the only one to hold it.
#[derive(Debug)]
pub struct StateMachine {
    entries: BTreeMap<Key, Entry>,
    revision: Revision,
    used_bytes: u64,
    store_bytes_max: u64,
}

impl StateMachine {
    /// An empty state at revision 0, which may grow to `store_bytes_max` bytes as `Info.used_bytes` counts them.
    #[must_use]
    pub fn new(store_bytes_max: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            revision: 0,
            used_bytes: 0,
            store_bytes_max,
        }
    }

    /// How full the state is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            revision: self.revision,
            key_count: self.entries.len(),
            used_bytes: self.used_bytes,
        }
    }

    /// Reads one key.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold.
    pub fn read(&self, read: &Read) -> Result<ReadOutcome, Rejection> {
        self.read_into(read, &mut Answer::unbounded())
    }

    /// Creates or replaces one value, at a new revision.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold or the store is full; nothing is changed then.
    pub fn write(&mut self, write: Write) -> Result<WriteOutcome, Rejection> {
        self.write_at(self.revision + 1, write, &mut Answer::unbounded())
    }

    /// Does the operations in order, each standing alone with a revision of its own. Those that would make the answer
    /// hold more than `answer_bytes_max` bytes of values are refused.
    pub fn apply_each(
        &mut self,
        operations: Vec<Operation>,
        answer_bytes_max: usize,
    ) -> EachOutcome {
        let mut answer = Answer::bounded(answer_bytes_max);
        let results = operations
            .into_iter()
            .map(|operation| self.apply_at(self.revision + 1, operation, &mut answer))
            .collect();
        EachOutcome {
            results,
            revision: self.revision,
            answer_bytes: answer.used,
        }
    }

    /// Does the operations in order, all of them at one new revision, or none. The answer may hold `answer_bytes_max`
    /// bytes of values.
    ///
    /// # Errors
    /// The first refusal; the state is then as it was.
    pub fn apply_all(
        &mut self,
        operations: Vec<Operation>,
        answer_bytes_max: usize,
    ) -> Result<AllOutcome, RejectedAt> {
        let before = self.revision;
        let mut answer = Answer::bounded(answer_bytes_max);
        let mut undo = Vec::new();
        let mut outcomes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            if let Operation::Write(Write { key, .. }) = &operation {
                undo.push((key.clone(), self.entries.get(key.as_str()).cloned()));
            }
            match self.apply_at(before + 1, operation, &mut answer) {
                Ok(outcome) => outcomes.push(outcome),
                Err(rejection) => {
                    self.roll_back(before, undo);
                    return Err(RejectedAt { index, rejection });
                }
            }
        }
        // A read in front of the first write was made at the revision before; all answers name the frame's.
        for outcome in &mut outcomes {
            if let Outcome::Read(read) = outcome {
                read.revision = self.revision;
            }
        }
        Ok(AllOutcome {
            outcomes,
            revision: self.revision,
            answer_bytes: answer.used,
        })
    }

    fn apply_at(
        &mut self,
        revision: Revision,
        operation: Operation,
        answer: &mut Answer,
    ) -> Result<Outcome, Rejection> {
        match operation {
            Operation::Read(read) => self.read_into(&read, answer).map(Outcome::Read),
            Operation::Write(write) => self.write_at(revision, write, answer).map(Outcome::Write),
        }
    }

    fn read_into(&self, read: &Read, answer: &mut Answer) -> Result<ReadOutcome, Rejection> {
        let entry = self.entries.get(read.key.as_str());
        check(read.expect.as_ref(), entry)
            .and_then(|()| answer.take(entry))
            .map_err(|cause| Rejection {
                key: read.key.clone(),
                cause,
            })?;
        Ok(ReadOutcome {
            entry: entry.cloned(),
            revision: self.revision,
        })
    }

    fn write_at(
        &mut self,
        revision: Revision,
        write: Write,
        answer: &mut Answer,
    ) -> Result<WriteOutcome, Rejection> {
        let Write {
            key,
            expect,
            value,
            answer: shows,
        } = write;
        let name = key.as_str();
        let refuse = |cause| Rejection {
            key: Key::from(name),
            cause,
        };
        let present = self.entries.get_mut(name);

        let seen = present.as_deref();
        check(expect.as_ref(), seen).map_err(refuse)?;
        let freed = seen.map_or(0, |entry| entry_bytes(name, &entry.value));
        let used_bytes = self.used_bytes - freed + entry_bytes(name, &value);
        // Only growth is refused: a full store can always be made smaller.
        if used_bytes > self.store_bytes_max && used_bytes > self.used_bytes {
            return Err(refuse(Cause::StoreFull {
                limit: self.store_bytes_max,
                actual: used_bytes,
            }));
        }
        if shows == WriteAnswer::Previous {
            answer.take(seen).map_err(refuse)?;
        }

        // Nothing refuses from here on.
        let create_revision = seen.map_or(revision, |entry| entry.create_revision);
        let entry = Entry {
            value,
            revision,
            create_revision,
        };
        let previous = match present {
            Some(present) => Some(mem::replace(present, entry)),
            None => self.entries.insert(key, entry),
        };
        self.used_bytes = used_bytes;
        self.revision = revision;
        Ok(WriteOutcome {
            revision,
            create_revision,
            previous: previous.filter(|_| shows == WriteAnswer::Previous),
        })
    }

    /// Puts back what the first operations of a refused frame had changed, the last change first.
    fn roll_back(&mut self, revision: Revision, undo: Vec<(Key, Option<Entry>)>) {
        for (key, entry) in undo.into_iter().rev() {
            let bytes = |entry: &Entry| entry_bytes(key.as_str(), &entry.value);
            self.used_bytes += entry.as_ref().map_or(0, bytes);
            self.used_bytes -= self.entries.get(key.as_str()).map_or(0, bytes);
            match entry {
                Some(entry) => self.entries.insert(key, entry),
                None => self.entries.remove(key.as_str()),
            };
        }
        self.revision = revision;
    }
}

/// Tells whether the condition holds for what is there.
fn check(condition: Option<&Condition>, entry: Option<&Entry>) -> Result<(), Cause> {
    let Some(condition) = condition else {
        return Ok(());
    };
    let holds = match (condition, entry) {
        (Condition::Exists(true), None) => return Err(Cause::KeyNotFound),
        (Condition::Exists(false), Some(entry)) => {
            return Err(Cause::KeyExists {
                revision: entry.revision,
            });
        }
        (Condition::Exists(_), _) => true,
        (Condition::Revision(expected), entry) => {
            *expected == entry.map_or(0, |entry| entry.revision)
        }
        (Condition::CreateRevision(expected), entry) => {
            *expected == entry.map_or(0, |entry| entry.create_revision)
        }
        (Condition::Value(expected), entry) => entry.is_some_and(|entry| entry.value == *expected),
    };
    if holds {
        Ok(())
    } else {
        Err(Cause::ExpectationFailed(Box::new(Mismatch {
            expected: condition.clone(),
            actual: entry.cloned(),
        })))
    }
}

/// What one key counts towards `used_bytes`.
fn entry_bytes(key: &str, value: &Value) -> u64 {
    key.len() as u64 + value.byte_len() as u64 + KEY_OVERHEAD_BYTES
}

/// How much the answer to one message may still carry. A single entry always fits; a frame of large reads may not.
struct Answer {
    used: usize,
    limit: usize,
}

impl Answer {
    fn bounded(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    fn unbounded() -> Self {
        Self::bounded(usize::MAX)
    }

    /// Makes room for `entry`, or refuses the operation that would show it.
    fn take(&mut self, entry: Option<&Entry>) -> Result<(), Cause> {
        let used = self.used + entry.map_or(0, |entry| entry.value.byte_len());
        if used > self.limit {
            return Err(Cause::AnswerTooLarge {
                limit: self.limit,
                actual: used,
            });
        }
        self.used = used;
        Ok(())
    }
}
