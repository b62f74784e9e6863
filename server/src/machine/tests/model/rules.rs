//! Rules of the model that depend on their arguments only.

use super::*;

pub(super) fn refused(subject: &Key, cause: Cause) -> Refused {
    Refused {
        index: None,
        subject: subject.clone(),
        cause,
    }
}

pub(super) fn find(entries: &[(Key, Entry)], key: &Key) -> Option<Entry> {
    let found = entries.iter().find(|(other, _)| other == key);
    found.map(|(_, entry)| entry.clone())
}

pub(super) fn new_entry(
    value: Value,
    revision: Revision,
    create_revision: Revision,
    lifetime: Option<Lifetime>,
    key_state: Option<KeyState>,
) -> Entry {
    let attached = match (lifetime, key_state) {
        (None, None) => None,
        (lifetime, key_state) => Some(Arc::new(Attached {
            lifetime,
            key_state,
        })),
    };
    Entry {
        value,
        revision,
        create_revision,
        attached,
    }
}

pub(super) fn key_of(operation: &Operation) -> &Key {
    match operation {
        Operation::Read(Read { key, .. })
        | Operation::Write(Write { key, .. })
        | Operation::Add(Add { key, .. })
        | Operation::Transition(Transition { key, .. })
        | Operation::Delete(Delete { key, .. }) => key,
    }
}

pub(super) fn len(value: &Value) -> u64 {
    match value {
        Value::Int(_) => 8,
        Value::Text(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
    }
}

pub(super) fn size(key: &Key, entry: &Entry) -> u64 {
    let attached = if entry.attached.is_some() { 128 } else { 0 };
    key.as_str().len() as u64 + len(&entry.value) + 64 + attached
}

pub(super) fn meets(entry: Option<&Entry>, condition: Option<&Condition>) -> Done<()> {
    let Some(condition) = condition else {
        return Ok(());
    };
    let holds = match condition {
        Condition::Exists(true) if entry.is_none() => return Err(Cause::KeyNotFound),
        Condition::Exists(false) if entry.is_some() => {
            let revision = entry.unwrap().revision;
            return Err(Cause::KeyExists { revision });
        }
        Condition::Exists(_) => true,
        Condition::Revision(0) | Condition::CreateRevision(0) => entry.is_none(),
        Condition::Revision(revision) => entry.is_some_and(|e| e.revision == *revision),
        Condition::CreateRevision(created) => entry.is_some_and(|e| e.create_revision == *created),
        Condition::Value(value) => entry.is_some_and(|entry| entry.value == *value),
        Condition::Session(session) => entry.is_some_and(|entry| match entry.lifetime() {
            Some(Lifetime::Session { id, .. }) => session.as_ref() == Some(id),
            _ => session.is_none(),
        }),
        Condition::State(state) => {
            let actual = entry
                .and_then(Entry::key_state)
                .map(|key_state| key_state.state.clone());
            if actual.as_ref() == Some(state) {
                return Ok(());
            }
            return Err(Cause::StateMismatch {
                expected: state.clone(),
                actual,
            });
        }
    };
    if holds {
        return Ok(());
    }
    Err(Cause::ExpectationFailed(Box::new(Mismatch {
        expected: condition.clone(),
        actual: entry.cloned(),
    })))
}

pub(super) fn sum(
    value: i64,
    delta: i64,
    min: Option<i64>,
    max: Option<i64>,
    saturate: bool,
) -> Done<i64> {
    if delta == 0 {
        return Ok(value);
    }
    let exact = i128::from(value) + i128::from(delta);
    let past = |bound, limit| Cause::BoundReached {
        bound,
        limit,
        value,
        delta,
    };
    if saturate {
        let low = i128::from(min.unwrap_or(i64::MIN));
        let high = i128::from(max.unwrap_or(i64::MAX));
        let stopped = exact.min(high).max(low);
        return match i64::try_from(stopped - i128::from(value)) {
            Ok(_) => Ok(stopped as i64),
            Err(_) => Err(Cause::Overflow { value, delta }),
        };
    }
    if let Some(max) = max
        && delta > 0
        && exact > max.into()
    {
        return Err(past("max", max));
    }
    if let Some(min) = min
        && delta < 0
        && exact < min.into()
    {
        return Err(past("min", min));
    }
    if exact > i64::MAX.into() || exact < i64::MIN.into() {
        return Err(Cause::Overflow { value, delta });
    }
    Ok(exact as i64)
}

/// Whether an operation can make the store larger.
pub(super) fn may_grow(operation: &Operation) -> bool {
    !matches!(operation, Operation::Delete(_) | Operation::Read(_))
}

/// What a machine counts.
pub(super) fn machine_size(machine: &Machine) -> u64 {
    let mut size = 256 + machine.name.as_str().len() + machine.key_prefix.as_str().len();
    for (name, state) in &machine.states {
        size += 128 + name.as_str().len();
        for next in &state.next {
            size += 64 + next.as_str().len();
        }
        if let Some(timeout) = &state.timeout {
            size += 64 + timeout.next.as_str().len();
        }
    }
    size as u64
}

/// What a session counts.
pub(super) fn session_size(id: &Name) -> u64 {
    256 + id.as_str().len() as u64
}

/// What the values in a remembered answer count.
pub(super) fn shown_size(answer: &Answer) -> u64 {
    let previous = |entry: &Option<Box<Entry>>| {
        entry
            .as_ref()
            .map_or(0, |entry| size_of::<Entry>() + entry.value.byte_len())
    };
    let size = match answer {
        Answer::One(Outcome::Write(WriteOutcome {
            previous: shown, ..
        }))
        | Answer::One(Outcome::Delete(DeleteOutcome {
            previous: shown, ..
        })) => previous(shown),
        Answer::All(all) => all.answer_bytes + all.outcomes.len() * size_of::<Outcome>(),
        Answer::DeletedPrefix(deleted) => {
            let more_after = deleted.more_after.as_ref();
            more_after.map_or(0, |key| key.as_str().len())
        }
        _ => 0,
    };
    size as u64
}
