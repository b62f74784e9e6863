//! From the domain to the wire: outcomes become responses.

use soloist::v1;

use crate::machine::{Entry, ReadOutcome, Value, WriteOutcome};

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
