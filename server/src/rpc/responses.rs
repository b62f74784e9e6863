//! Turns the machine's outcomes into response messages.

use std::time::Duration;

use soloist::v1;

use super::page_token;
use crate::machine::{
    AddOutcome, AllOutcome, Change, ChangeCause, CloseOutcome, DeleteOutcome, DeletePrefixOutcome,
    Entry, HasMore, Keeps, Key, Lifetime, ListOutcome, ListShows, Machine, OpenOutcome, Outcome,
    Page, ReadOutcome, Session, State, Time, TransitionOutcome, Updates, Value, WatchBatch,
    WriteOutcome,
};

pub(crate) fn read_response(outcome: ReadOutcome) -> v1::ReadResponse {
    v1::ReadResponse {
        entry: outcome.entry.map(entry),
        revision: outcome.revision,
    }
}

pub(crate) fn write_response(outcome: WriteOutcome) -> v1::WriteResponse {
    v1::WriteResponse {
        revision: outcome.revision,
        create_revision: outcome.create_revision,
        replayed: outcome.replayed,
        previous: outcome.previous.map(|previous| entry(*previous)),
    }
}

pub(crate) fn add_response(outcome: AddOutcome) -> v1::AddResponse {
    v1::AddResponse {
        revision: outcome.revision,
        create_revision: outcome.create_revision,
        replayed: outcome.replayed,
        value: outcome.value,
        applied: outcome.applied,
    }
}

pub(crate) fn transition_response(outcome: TransitionOutcome) -> v1::TransitionResponse {
    v1::TransitionResponse {
        revision: outcome.revision,
        create_revision: outcome.create_revision,
        replayed: outcome.replayed,
        from: outcome.from.to_string(),
    }
}

pub(crate) fn delete_response(outcome: DeleteOutcome) -> v1::DeleteResponse {
    v1::DeleteResponse {
        revision: outcome.revision,
        replayed: outcome.replayed,
        previous: outcome.previous.map(|previous| entry(*previous)),
    }
}

pub(crate) fn batch_response(outcome: AllOutcome) -> v1::BatchResponse {
    v1::BatchResponse {
        results: outcome.outcomes.into_iter().map(op_result).collect(),
        revision: outcome.revision,
        replayed: outcome.replayed,
    }
}

pub(crate) fn op_result(outcome: Outcome) -> v1::OpResult {
    use v1::op_result::Result;
    v1::OpResult {
        result: Some(match outcome {
            Outcome::Read(outcome) => Result::Read(read_response(outcome)),
            Outcome::Write(outcome) => Result::Write(write_response(outcome)),
            Outcome::Add(outcome) => Result::Add(add_response(outcome)),
            Outcome::Transition(outcome) => Result::Transition(transition_response(outcome)),
            Outcome::Delete(outcome) => Result::Delete(delete_response(outcome)),
        }),
    }
}

pub(crate) fn list_response(outcome: ListOutcome) -> v1::ListResponse {
    let last = outcome.entries.last().map(|(key, _)| key.as_str());
    let next_page_token = next_page_token(outcome.has_more, last);
    let listed = |(key, entry): (Key, Entry)| {
        let mut listed = keyed_entry(&key, entry);
        if outcome.shows == ListShows::Keys {
            listed.value = None;
        }
        listed
    };
    v1::ListResponse {
        entries: outcome.entries.into_iter().map(listed).collect(),
        next_page_token,
        revision: outcome.revision,
    }
}

pub(crate) fn session(session: Session) -> v1::Session {
    v1::Session {
        id: session.id.to_string(),
        ttl: Some(duration(session.ttl)),
        expire_time: Some(timestamp(session.ends)),
        create_revision: session.create_revision,
        key_count: session.key_count as i64,
        replayed: false,
    }
}

pub(crate) fn opened_session(outcome: OpenOutcome) -> v1::Session {
    v1::Session {
        replayed: outcome.replayed,
        ..session(outcome.session)
    }
}

pub(crate) fn delete_prefix_response(outcome: DeletePrefixOutcome) -> v1::DeletePrefixResponse {
    let more_after = outcome.more_after.as_ref().map(Key::as_str);
    v1::DeletePrefixResponse {
        revision: outcome.revision,
        deleted_count: outcome.deleted_count as i64,
        kept_count: outcome.kept_count as i64,
        next_page_token: more_after.map_or_else(String::new, page_token::encode),
        replayed: outcome.replayed,
    }
}

pub(crate) fn close_session_response(outcome: &CloseOutcome) -> v1::CloseSessionResponse {
    v1::CloseSessionResponse {
        deleted_count: outcome.key_count as i64,
        revision: outcome.revision,
        replayed: outcome.replayed,
    }
}

pub(crate) fn list_sessions_response(page: Page<Session>) -> v1::ListSessionsResponse {
    let last = page.items.last().map(|session| session.id.as_str());
    v1::ListSessionsResponse {
        next_page_token: next_page_token(page.has_more, last),
        sessions: page.items.into_iter().map(session).collect(),
    }
}

pub(crate) fn machine(machine: Machine) -> v1::Machine {
    let state = |state: State| {
        let (timeout, timeout_next) = match state.timeout {
            Some(timeout) => (Some(duration(timeout.after)), timeout.next.to_string()),
            None => (None, String::new()),
        };
        v1::machine::State {
            next: state.next.iter().map(Key::to_string).collect(),
            timeout,
            timeout_next,
        }
    };
    v1::Machine {
        name: machine.name.to_string(),
        key_prefix: machine.key_prefix.to_string(),
        initial: machine.initial.to_string(),
        states: machine
            .states
            .into_iter()
            .map(|(name, of)| (name.to_string(), state(of)))
            .collect(),
        revision: machine.revision,
    }
}

pub(crate) fn list_machines_response(page: Page<Machine>) -> v1::ListMachinesResponse {
    let last = page.items.last().map(|machine| machine.name.as_str());
    v1::ListMachinesResponse {
        next_page_token: next_page_token(page.has_more, last),
        machines: page.items.into_iter().map(machine).collect(),
    }
}

pub(crate) fn watch_response(batch: WatchBatch) -> v1::WatchResponse {
    let events = match batch.updates {
        Updates::Initial(entries) => entries.into_iter().map(initial_event).collect(),
        Updates::Changes(changes) => changes.into_iter().map(event).collect(),
    };
    v1::WatchResponse {
        events,
        revision: batch.revision,
        caught_up: batch.caught_up,
    }
}

fn initial_event((key, entry): (Key, Entry)) -> v1::Event {
    v1::Event {
        cause: v1::event::Cause::Initial.into(),
        entry: Some(keyed_entry(&key, entry)),
        previous: None,
        previous_left_out: false,
    }
}

/// A change of a key.
pub(crate) fn event(change: Change) -> v1::Event {
    use v1::event::Cause;
    let Change {
        key,
        revision,
        cause,
        entry,
        previous,
        keeps,
    } = change;
    let cause = match cause {
        ChangeCause::Written => Cause::Written,
        ChangeCause::Transitioned => Cause::Transitioned,
        ChangeCause::Deleted => Cause::Deleted,
        ChangeCause::Expired => Cause::Expired,
        ChangeCause::SessionEnded => Cause::SessionEnded,
        ChangeCause::TimedOut => Cause::TimedOut,
    };
    let deleted = || v1::Entry {
        key: key.to_string(),
        revision,
        ..v1::Entry::default()
    };
    v1::Event {
        cause: cause.into(),
        entry: Some(entry.map_or_else(deleted, |entry| keyed_entry(&key, entry))),
        previous: previous.map(|previous| keyed_entry(&key, previous)),
        previous_left_out: keeps == Keeps::NoPrevious,
    }
}

fn next_page_token(has_more: HasMore, last: Option<&str>) -> String {
    match (has_more, last) {
        (HasMore::Yes, Some(last)) => page_token::encode(last),
        _ => String::new(),
    }
}

/// An entry with its key, for responses that show several.
pub(crate) fn keyed_entry(key: &Key, shown: Entry) -> v1::Entry {
    v1::Entry {
        key: key.to_string(),
        ..entry(shown)
    }
}

/// An entry without its key, which the client knows from its request.
pub(crate) fn entry(entry: Entry) -> v1::Entry {
    let (mut expire_time, mut session) = (None, String::new());
    match entry.lifetime() {
        None => {}
        Some(Lifetime::Ttl { ends, .. }) => expire_time = Some(timestamp(*ends)),
        Some(Lifetime::Session { id, .. }) => session = id.to_string(),
    }
    let state = entry.key_state();
    v1::Entry {
        key: String::new(),
        revision: entry.revision,
        create_revision: entry.create_revision,
        expire_time,
        session,
        machine: state.map_or_else(String::new, |state| state.machine.to_string()),
        state: state.map_or_else(String::new, |state| state.state.to_string()),
        state_expire_time: state.and_then(|state| state.timeout_at).map(timestamp),
        value: Some(value(entry.value)),
    }
}

fn value(value: Value) -> v1::Value {
    use v1::value::Kind;
    v1::Value {
        kind: Some(match value {
            Value::Int(int) => Kind::Int(int),
            Value::Text(text) => Kind::Text(text.as_ref().into()),
            Value::Bytes(bytes) => Kind::Bytes(bytes.as_ref().into()),
        }),
    }
}

pub(crate) fn timestamp(time: Time) -> prost_types::Timestamp {
    let since_epoch = duration(time.to_epoch());
    prost_types::Timestamp {
        seconds: since_epoch.seconds,
        nanos: since_epoch.nanos,
    }
}

/// A duration as a message. The machine has none of 300 years or more, so the seconds fit.
pub(crate) fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: span.as_secs().cast_signed(),
        nanos: span.subsec_nanos().cast_signed(),
    }
}

#[cfg(test)]
mod tests;
