//! From the domain to the wire: outcomes become responses.

use soloist::v1;

use crate::machine::{
    AddOutcome, AllOutcome, DeleteOutcome, Entry, Key, ListOutcome, ListShows, Outcome,
    ReadOutcome, Rest, Value, WriteOutcome,
};
use crate::page_token;

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
        previous: outcome.previous.map(entry),
    }
}

pub(crate) fn add_response(outcome: AddOutcome) -> v1::AddResponse {
    v1::AddResponse {
        revision: outcome.revision,
        create_revision: outcome.create_revision,
        value: outcome.value,
        applied: outcome.applied,
    }
}

pub(crate) fn delete_response(outcome: DeleteOutcome) -> v1::DeleteResponse {
    v1::DeleteResponse {
        revision: outcome.revision,
        previous: outcome.previous.map(entry),
    }
}

pub(crate) fn batch_response(outcome: AllOutcome) -> v1::BatchResponse {
    v1::BatchResponse {
        results: outcome.outcomes.into_iter().map(op_result).collect(),
        revision: outcome.revision,
    }
}

pub(crate) fn op_result(outcome: Outcome) -> v1::OpResult {
    use v1::op_result::Result;
    v1::OpResult {
        result: Some(match outcome {
            Outcome::Read(outcome) => Result::Read(read_response(outcome)),
            Outcome::Write(outcome) => Result::Write(write_response(outcome)),
            Outcome::Add(outcome) => Result::Add(add_response(outcome)),
            Outcome::Delete(outcome) => Result::Delete(delete_response(outcome)),
        }),
    }
}

pub(crate) fn list_response(outcome: ListOutcome) -> v1::ListResponse {
    let next_page_token = match (outcome.rest, outcome.entries.last()) {
        (Rest::More, Some((last, _))) => page_token::encode(last.as_str()),
        _ => String::new(),
    };
    let listed = |(key, listed): (Key, Entry)| {
        let mut listed = entry(listed);
        listed.key = key.as_str().into();
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

fn entry(entry: Entry) -> v1::Entry {
    v1::Entry {
        key: String::new(), // The request names it.
        value: Some(value(entry.value)),
        revision: entry.revision,
        create_revision: entry.create_revision,
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
