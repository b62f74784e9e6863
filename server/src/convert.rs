//! From the domain to the wire: outcomes become responses.

use soloist::v1;

use crate::machine::{AllOutcome, EachOutcome, Entry, Outcome, ReadOutcome, Value, WriteOutcome};
use crate::status::Refusal;

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

pub(crate) fn each_response(outcome: EachOutcome) -> v1::PipelineResponse {
    let result = |result| match result {
        Ok(outcome) => op_result(outcome),
        Err(rejection) => v1::OpResult {
            result: Some(v1::op_result::Result::Error(
                Refusal::from(rejection).into_rpc_status(),
            )),
        },
    };
    v1::PipelineResponse {
        results: outcome.results.into_iter().map(result).collect(),
        error: None,
        revision: outcome.revision,
    }
}

pub(crate) fn all_response(outcome: AllOutcome) -> v1::PipelineResponse {
    v1::PipelineResponse {
        results: outcome.outcomes.into_iter().map(op_result).collect(),
        error: None,
        revision: outcome.revision,
    }
}

/// The answer to a frame that was refused as a whole. It names no revision: none was seen.
pub(crate) fn refused_frame(refusal: Refusal) -> v1::PipelineResponse {
    v1::PipelineResponse {
        results: Vec::new(),
        error: Some(refusal.into_rpc_status()),
        revision: 0,
    }
}

fn op_result(outcome: Outcome) -> v1::OpResult {
    use v1::op_result::Result;
    v1::OpResult {
        result: Some(match outcome {
            Outcome::Read(outcome) => Result::Read(read_response(outcome)),
            Outcome::Write(outcome) => Result::Write(write_response(outcome)),
        }),
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
