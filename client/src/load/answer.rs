//! What came back, checked: an answer of the wrong kind, or none, is a failure however friendly its status.

use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::{OpResult, PipelineResponse, Value};
use tonic::{Code, Status};

use super::lane::Sent;
use super::workload::Kind;
use crate::{Error, Outcome};

/// The answer to what was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Sent,
    /// Operations answered as they should be. The others are in `failures`.
    pub(crate) succeeded: u64,
    /// Those of them that are reads and found no key.
    pub(crate) misses: u64,
    /// With the number of operations that failed so.
    pub(crate) failures: Vec<(Failure, u64)>,
}

/// Why operations failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn of_call(status: &Status) -> Self {
        Error::of_call(status, Outcome::Unknown).into()
    }

    fn wrong(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.message())
    }
}

impl Answer {
    /// Nothing was answered.
    pub(crate) fn failed(sent: Sent, failure: Failure) -> Self {
        Self {
            succeeded: 0,
            misses: 0,
            failures: vec![(failure, sent.ops)],
            sent,
        }
    }
}

/// The answer to a call, put into the form of a frame's.
pub(crate) fn of_call(sent: Sent, result: Result<OpAnswer, Status>) -> Answer {
    let checked = match result {
        Ok(answer) => check(sent.kind, Some(answer)),
        Err(status) => Err(Failure::of_call(&status)),
    };
    match checked {
        Ok(is_miss) => Answer {
            succeeded: sent.ops,
            misses: u64::from(is_miss),
            failures: Vec::new(),
            sent,
        },
        Err(failure) => Answer::failed(sent, failure),
    }
}

/// The answer to a frame of operations of one kind.
pub(crate) fn of_frame(sent: Sent, response: PipelineResponse) -> Answer {
    if let Some(error) = response.error {
        return Answer::failed(sent, Error::in_place(error).into());
    }
    if response.results.len() as u64 != sent.ops {
        let results = response.results.len();
        let message = format!("{results} results for {} operations", sent.ops);
        return Answer::failed(sent, Failure::wrong(message));
    }
    let mut misses = 0;
    let mut failures: Vec<(Failure, u64)> = Vec::new();
    for OpResult { result } in response.results {
        match check(sent.kind, result) {
            Ok(is_miss) => misses += u64::from(is_miss),
            Err(failure) => match failures.iter_mut().find(|(seen, _)| *seen == failure) {
                Some((_, ops)) => *ops += 1,
                None => failures.push((failure, 1)),
            },
        }
    }
    let failed: u64 = failures.iter().map(|(_, ops)| ops).sum();
    Answer {
        succeeded: sent.ops - failed,
        misses,
        failures,
        sent,
    }
}

/// Whether it is a read that found no key.
fn check(kind: Kind, answer: Option<OpAnswer>) -> Result<bool, Failure> {
    match (kind, answer) {
        (Kind::Read, Some(OpAnswer::Read(read))) => match read.entry {
            None => Ok(true),
            Some(entry) => match entry.value {
                Some(Value { kind: Some(_) }) => Ok(false),
                _ => Err(Failure::wrong("an entry without a value")),
            },
        },
        (Kind::Write, Some(OpAnswer::Write(write))) => match write.revision > 0 {
            true => Ok(false),
            false => Err(Failure::wrong("a write without a revision")),
        },
        (_, Some(OpAnswer::Error(error))) => Err(Error::in_place(error).into()),
        (Kind::Read, Some(_)) => Err(Failure::wrong("a read was answered as something else")),
        (Kind::Write, Some(_)) => Err(Failure::wrong("a write was answered as something else")),
        (_, None) => Err(Failure::wrong("a result without an answer")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use soloist::v1::{Entry, ReadResponse, WriteResponse, value};

    use super::*;

    fn sent(kind: Kind, ops: u64) -> Sent {
        let now = Instant::now();
        Sent {
            kind,
            ops,
            intended: now,
            started: now,
        }
    }

    fn read(entry: Option<Entry>) -> Option<OpAnswer> {
        Some(OpAnswer::Read(ReadResponse { entry, revision: 1 }))
    }

    fn write(revision: i64) -> Option<OpAnswer> {
        let response = WriteResponse {
            revision,
            ..WriteResponse::default()
        };
        Some(OpAnswer::Write(response))
    }

    fn refusal(code: Code) -> tonic_types::Status {
        tonic_types::Status {
            code: code as i32,
            message: "why".to_owned(),
            details: Vec::new(),
        }
    }

    #[test]
    fn every_result_is_checked() {
        let full = Entry {
            value: Some(Value {
                kind: Some(value::Kind::Int(0)),
            }),
            ..Entry::default()
        };
        let cases = [
            (Kind::Read, read(None), None),
            (Kind::Read, read(Some(full)), None),
            (
                Kind::Read,
                read(Some(Entry::default())),
                Some(Code::Internal),
            ),
            (Kind::Read, write(1), Some(Code::Internal)),
            (Kind::Read, None, Some(Code::Internal)),
            (Kind::Write, write(1), None),
            (Kind::Write, write(0), Some(Code::Internal)),
            (Kind::Write, read(None), Some(Code::Internal)),
            (
                Kind::Write,
                Some(OpAnswer::Error(refusal(Code::Aborted))),
                Some(Code::Aborted),
            ),
        ];
        for (kind, answer, code) in cases {
            let described = format!("{kind:?} {answer:?}");
            assert_eq!(
                check(kind, answer).err().map(|failure| failure.code),
                code,
                "{described}"
            );
        }
    }

    #[test]
    fn a_frame_counts_its_operations_one_by_one() {
        let results = [
            write(1),
            Some(OpAnswer::Error(refusal(Code::Aborted))),
            write(2),
            None,
        ];
        let response = PipelineResponse {
            results: results.map(|result| OpResult { result }).to_vec(),
            ..PipelineResponse::default()
        };
        let answer = of_frame(sent(Kind::Write, 4), response);
        assert_eq!(answer.succeeded, 2);
        let codes: Vec<_> = answer
            .failures
            .iter()
            .map(|(failure, ops)| (failure.code, *ops))
            .collect();
        assert_eq!(codes, [(Code::Aborted, 1), (Code::Internal, 1)]);
    }

    #[test]
    fn reads_that_find_nothing_are_counted() {
        let full = Entry {
            value: Some(Value {
                kind: Some(value::Kind::Int(0)),
            }),
            ..Entry::default()
        };
        let results = [read(None), read(Some(full)), read(None)];
        let response = PipelineResponse {
            results: results.map(|result| OpResult { result }).to_vec(),
            ..PipelineResponse::default()
        };
        let answer = of_frame(sent(Kind::Read, 3), response);
        assert_eq!((answer.succeeded, answer.misses), (3, 2));

        let answer = of_call(sent(Kind::Read, 1), Ok(read(None).unwrap()));
        assert_eq!((answer.succeeded, answer.misses), (1, 1));
    }

    #[test]
    fn a_refused_frame_fails_whole() {
        let response = PipelineResponse {
            error: Some(refusal(Code::ResourceExhausted)),
            ..PipelineResponse::default()
        };
        let answer = of_frame(sent(Kind::Read, 64), response);
        assert_eq!(answer.succeeded, 0);
        assert_eq!(
            answer.failures,
            [(Failure::new(Code::ResourceExhausted, "why"), 64)]
        );
    }

    #[test]
    fn a_missing_result_fails_the_frame() {
        let response = PipelineResponse {
            results: vec![OpResult { result: read(None) }],
            ..PipelineResponse::default()
        };
        let answer = of_frame(sent(Kind::Read, 2), response);
        assert_eq!(answer.succeeded, 0);
        assert_eq!(
            answer.failures,
            [(Failure::wrong("1 results for 2 operations"), 2)]
        );
    }
}
