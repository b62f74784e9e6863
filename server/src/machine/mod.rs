//! The state and its operations: no I/O, no clock, no randomness. The same calls give the same answers anywhere.

mod add;
mod operation;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Bound;

pub use add::{Beyond, Bounds};
pub use operation::{
    Add, AddOutcome, AllOutcome, Cause, Condition, Delete, DeleteOutcome, EachOutcome, Expect,
    List, ListOutcome, ListShows, Mismatch, Operation, Outcome, Read, ReadOutcome, RejectedAt,
    Rejection, Rest, Write, WriteAnswer, WriteOutcome,
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
    pub fn read(&self, read: &Read) -> Result<ReadOutcome, Box<Rejection>> {
        self.read_into(read, &mut Answer::unbounded())
    }

    /// Creates or replaces one value, at a new revision.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold or the store is full; nothing is changed then.
    pub fn write(&mut self, write: Write) -> Result<WriteOutcome, Box<Rejection>> {
        self.write_at(self.revision + 1, write, &mut Answer::unbounded())
    }

    /// Adds to one int, at a new revision if that changes anything.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold, the value is no int, the sum is out of bounds or the store is full;
    /// nothing is changed then.
    pub fn add(&mut self, add: Add) -> Result<AddOutcome, Box<Rejection>> {
        self.add_at(self.revision + 1, add)
    }

    /// Deletes one key, at a new revision if it is there.
    ///
    /// # Errors
    /// [`Rejection`] if `expect` does not hold; nothing is changed then.
    pub fn delete(&mut self, delete: Delete) -> Result<DeleteOutcome, Box<Rejection>> {
        self.delete_at(self.revision + 1, delete, &mut Answer::unbounded())
    }

    /// Lists keys in the order of their bytes.
    #[must_use]
    pub fn list(&self, list: &List) -> ListOutcome {
        let from = match &list.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(list.prefix.as_str()),
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        let mut rest = Rest::Nothing;
        for (key, entry) in self.entries.range::<str, _>((from, Bound::Unbounded)) {
            if !key.as_str().starts_with(&list.prefix) {
                break;
            }
            bytes += key.as_str().len();
            if list.shows == ListShows::Entries {
                bytes += entry.value.byte_len();
            }
            if entries.len() == list.page_size || (bytes > list.page_bytes && !entries.is_empty()) {
                rest = Rest::More;
                break;
            }
            entries.push((key.clone(), entry.clone()));
        }
        ListOutcome {
            entries,
            rest,
            shows: list.shows,
            revision: self.revision,
        }
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
            if let Some(key) = operation.changes() {
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
        // What came in front of the first change was done at the revision before; all answers name the frame's.
        for outcome in &mut outcomes {
            let (Outcome::Read(ReadOutcome { revision, .. })
            | Outcome::Write(WriteOutcome { revision, .. })
            | Outcome::Add(AddOutcome { revision, .. })
            | Outcome::Delete(DeleteOutcome { revision, .. })) = outcome;
            *revision = self.revision;
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
    ) -> Result<Outcome, Box<Rejection>> {
        match operation {
            Operation::Read(read) => self.read_into(&read, answer).map(Outcome::Read),
            Operation::Write(write) => self.write_at(revision, write, answer).map(Outcome::Write),
            Operation::Add(add) => self.add_at(revision, add).map(Outcome::Add),
            Operation::Delete(delete) => self
                .delete_at(revision, delete, answer)
                .map(Outcome::Delete),
        }
    }

    fn read_into(&self, read: &Read, answer: &mut Answer) -> Result<ReadOutcome, Box<Rejection>> {
        let entry = self.entries.get(read.key.as_str());
        check(read.expect.as_deref(), entry)
            .and_then(|()| answer.take(entry))
            .map_err(|cause| refused(&read.key, cause))?;
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
    ) -> Result<WriteOutcome, Box<Rejection>> {
        let Write {
            key,
            expect,
            value,
            answer: shows,
        } = write;
        let slot = self.entries.entry(key);
        let refuse = |cause| refused(slot.key(), cause);
        let present = present(&slot);

        check(expect.as_deref(), present).map_err(refuse)?;
        let used_bytes =
            space(self.used_bytes, self.store_bytes_max, &slot, &value).map_err(refuse)?;
        if shows == WriteAnswer::Previous {
            answer.take(present).map_err(refuse)?;
        }

        // Nothing refuses from here on.
        self.used_bytes = used_bytes;
        self.revision = revision;
        let (create_revision, previous) = set(slot, value, revision);
        Ok(WriteOutcome {
            revision,
            create_revision,
            previous: previous.filter(|_| shows == WriteAnswer::Previous),
        })
    }

    fn add_at(&mut self, revision: Revision, add: Add) -> Result<AddOutcome, Box<Rejection>> {
        let Add {
            key,
            expect,
            delta,
            bounds,
        } = add;
        let slot = self.entries.entry(key);
        let refuse = |cause| refused(slot.key(), cause);
        let present = present(&slot);

        check(expect.as_deref(), present).map_err(refuse)?;
        let before = match present.map(|entry| &entry.value) {
            None => 0,
            Some(Value::Int(int)) => *int,
            Some(other) => return Err(refuse(Cause::NotAnInt { kind: other.kind() })),
        };
        let after = bounds
            .map_or(Bounds::NONE, |bounds| *bounds)
            .add(before, delta)
            .map_err(refuse)?;
        // From one end of 64 bits to a bound beyond the middle, it is as much as 64 bits can tell.
        let applied = after.saturating_sub(before);
        if let Some(entry) = present
            && after == before
        {
            return Ok(AddOutcome {
                revision: self.revision,
                create_revision: entry.create_revision,
                value: after,
                applied,
            });
        }
        let value = Value::Int(after);
        let used_bytes =
            space(self.used_bytes, self.store_bytes_max, &slot, &value).map_err(refuse)?;

        // Nothing refuses from here on.
        self.used_bytes = used_bytes;
        self.revision = revision;
        let (create_revision, _) = set(slot, value, revision);
        Ok(AddOutcome {
            revision,
            create_revision,
            value: after,
            applied,
        })
    }

    fn delete_at(
        &mut self,
        revision: Revision,
        delete: Delete,
        answer: &mut Answer,
    ) -> Result<DeleteOutcome, Box<Rejection>> {
        let Delete { key, expect } = delete;
        let present = self.entries.get(key.as_str());
        check(expect.as_deref(), present)
            .and_then(|()| answer.take(present))
            .map_err(|cause| refused(&key, cause))?;

        // Nothing refuses from here on.
        let previous = self.entries.remove(key.as_str());
        if let Some(previous) = &previous {
            self.used_bytes -= entry_bytes(key.as_str(), &previous.value);
            self.revision = revision;
        }
        Ok(DeleteOutcome {
            revision: self.revision,
            previous,
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

fn refused(key: &Key, cause: Cause) -> Box<Rejection> {
    Box::new(Rejection {
        key: key.clone(),
        cause,
    })
}

fn present<'a>(slot: &'a Slot<'_, Key, Entry>) -> Option<&'a Entry> {
    match slot {
        Slot::Occupied(occupied) => Some(occupied.get()),
        Slot::Vacant(_) => None,
    }
}

/// What the store holds, in bytes, once `value` is in its slot. Only growth is refused: a full store can always be made
/// smaller.
fn space(
    used_bytes: u64,
    store_bytes_max: u64,
    slot: &Slot<'_, Key, Entry>,
    value: &Value,
) -> Result<u64, Cause> {
    let key = slot.key().as_str();
    let freed = present(slot).map_or(0, |entry| entry_bytes(key, &entry.value));
    let after = used_bytes - freed + entry_bytes(key, value);
    if after > store_bytes_max && after > used_bytes {
        return Err(Cause::StoreFull {
            limit: store_bytes_max,
            actual: after,
        });
    }
    Ok(after)
}

/// Puts `value` into its slot. Returns the revision at which the key came to be, and what was there before.
fn set(slot: Slot<'_, Key, Entry>, value: Value, revision: Revision) -> (Revision, Option<Entry>) {
    let create_revision = present(&slot).map_or(revision, |entry| entry.create_revision);
    let entry = Entry {
        value,
        revision,
        create_revision,
    };
    let previous = match slot {
        Slot::Occupied(mut occupied) => Some(occupied.insert(entry)),
        Slot::Vacant(vacant) => {
            vacant.insert(entry);
            None
        }
    };
    (create_revision, previous)
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
