//! Whether the condition of an operation holds.

use super::condition::Condition;
use super::rejection::{Cause, Mismatch};
use super::tree::EntryRef;
use super::value::Entry;

/// Refuses if the condition does not hold for the present entry of the key.
pub(super) fn check(
    condition: Option<&Condition>,
    entry: Option<EntryRef<'_>>,
) -> Result<(), Cause> {
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
        (Condition::State(expected), entry) => {
            let actual = entry
                .and_then(EntryRef::key_state)
                .map(|key_state| &key_state.state);
            if actual != Some(expected) {
                return Err(Cause::StateMismatch {
                    expected: expected.clone(),
                    actual: actual.cloned(),
                });
            }
            true
        }
        (Condition::Session(expected), entry) => {
            entry.is_some_and(|entry| entry.session() == expected.as_ref())
        }
    };
    if holds {
        Ok(())
    } else {
        Err(Cause::ExpectationFailed(Box::new(Mismatch {
            expected: match condition {
                Condition::Value(value) => Condition::Value(value.head(SHOWN_BYTES_MAX)),
                other => other.clone(),
            },
            actual: entry.map(|entry| {
                let entry = entry.to_entry();
                Entry {
                    value: entry.value.head(SHOWN_BYTES_MAX),
                    ..entry
                }
            }),
        })))
    }
}

/// Bytes of a value that a refusal keeps: more than an error shows. The whole value must not stay in memory with an answer
/// that nobody reads.
const SHOWN_BYTES_MAX: usize = 512;
