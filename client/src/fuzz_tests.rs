//! Fuzz tests of what reads the answers of servers. `soloist_fuzz` tells how inputs are made and replayed.

use prost::Message;
use soloist::v1;
use soloist_fuzz::{Format, Shape, Target};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::watch::Position;
use crate::{
    AddReply, BatchReply, CloseSessionReply, DeleteMachineReply, DeletePrefixReply, DeleteReply,
    Error, FrameReply, ListMachinesReply, ListReply, ListSessionsReply, Machine, Outcome,
    ReadReply, Session, TransitionReply, WriteReply,
};

/// Reads a reply, and the error if it is none.
fn reply<W, R>(message: &[u8]) -> Shape
where
    W: Message + Default,
    R: TryFrom<W, Error = Error> + std::fmt::Debug,
{
    let Ok(response) = W::decode(message) else {
        return Shape::of("not a message");
    };
    match R::try_from(response) {
        Ok(reply) => Shape::of(&format!("{reply:?}")),
        Err(error) => error_shape(&error),
    }
}

/// Looks at everything that an error tells.
fn error_shape(error: &Error) -> Shape {
    let told = format!("{error} {error:?}");
    let _ = (
        error.retry_delay(),
        error.is_retryable(),
        error.metadata("x"),
    );
    assert!(!told.is_empty());
    let reason = error.reason().map_or(0, |reason| reason as usize);
    Shape::of("error")
        .with(error.code() as usize)
        .with(reason)
        .with(error.outcome() as usize)
        .with(usize::from(error.retry_delay().is_some()))
}

/// A frame's answer has statuses in the place of results.
fn frame(message: &[u8]) -> Shape {
    let Ok(response) = v1::PipelineResponse::decode(message) else {
        return Shape::of("not a message");
    };
    Shape::of(&format!("{:?}", FrameReply::from(response)))
}

/// The details of a status, as they are in the trailers of a call, and as they are in an answer.
fn status(message: &[u8]) -> Shape {
    let shape = match tonic_types::Status::decode(message) {
        Ok(status) => error_shape(&Error::from_rpc_status(&status)),
        Err(_) => Shape::of("not a message"),
    };
    let code = Code::from(i32::from(message.first().copied().unwrap_or(0) % 17));
    let status = Status::with_details(code, "text", message.to_vec().into());
    shape.and(error_shape(&Error::from_status(&status, Outcome::Unknown)))
}

/// A watch is told something twice, with a resumption between the two.
fn watch(message: &[u8]) -> Shape {
    let Ok(response) = v1::WatchResponse::decode(message) else {
        return Shape::of("not a message");
    };
    let request = v1::WatchRequest {
        initial: response.revision % 2 == 0,
        ..v1::WatchRequest::default()
    };
    let mut position = Position::new(request);
    let shape = |told: Result<Option<_>, Error>| match told {
        Ok(told) => Shape::of(&format!("{told:?}")),
        Err(error) => error_shape(&error),
    };
    let first = shape(position.advance(response.clone()));
    let resumes = position.resume_request().is_some();
    first
        .and(shape(position.advance(response)))
        .with(resumes.into())
}

fn check(input: &[u8]) -> Shape {
    let Some((selector, message)) = input.split_first() else {
        return Shape::of("empty");
    };
    let selector = selector % 18;
    let shape = match selector {
        0 => reply::<v1::ReadResponse, ReadReply>(message),
        1 => reply::<v1::WriteResponse, WriteReply>(message),
        2 => reply::<v1::AddResponse, AddReply>(message),
        3 => reply::<v1::TransitionResponse, TransitionReply>(message),
        4 => reply::<v1::DeleteResponse, DeleteReply>(message),
        5 => reply::<v1::BatchResponse, BatchReply>(message),
        6 => reply::<v1::DeletePrefixResponse, DeletePrefixReply>(message),
        7 => reply::<v1::ListResponse, ListReply>(message),
        8 => reply::<v1::Machine, Machine>(message),
        9 => reply::<v1::ListMachinesResponse, ListMachinesReply>(message),
        10 => reply::<v1::DeleteMachineResponse, DeleteMachineReply>(message),
        11 => reply::<v1::Session, Session>(message),
        12 => reply::<v1::CloseSessionResponse, CloseSessionReply>(message),
        13 => reply::<v1::ListSessionsResponse, ListSessionsReply>(message),
        14 => frame(message),
        15 => watch(message),
        _ => status(message),
    };
    shape.with(selector.into())
}

fn entry() -> v1::Entry {
    let time = Some(prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 1,
    });
    v1::Entry {
        key: "key".into(),
        value: Some(v1::Value {
            kind: Some(v1::value::Kind::Text("text".into())),
        }),
        revision: 7,
        create_revision: 3,
        expire_time: time,
        state_expire_time: time,
        state: "busy".into(),
        machine: "machine".into(),
        ..v1::Entry::default()
    }
}

/// A status of Soloist, with details.
fn refused() -> tonic_types::Status {
    let mut details = tonic_types::ErrorDetails::with_error_info(
        "OVERLOADED",
        soloist::ERROR_DOMAIN,
        [("limit".to_owned(), "4".to_owned())],
    );
    details.set_retry_info(Some(std::time::Duration::from_millis(5)));
    details.add_bad_request_violation("key", "is too long");
    let status = Status::with_error_details(Code::ResourceExhausted, "no", details);
    tonic_types::Status::decode(status.details()).unwrap()
}

fn inputs() -> Vec<Vec<u8>> {
    let entry = || Some(entry());
    let op = v1::OpResult {
        result: Some(v1::op_result::Result::Read(v1::ReadResponse {
            entry: entry(),
            revision: 9,
        })),
    };
    let state = v1::machine::State {
        next: vec!["done".into()],
        timeout: Some(prost_types::Duration {
            seconds: 5,
            nanos: 0,
        }),
        timeout_next: "done".into(),
    };
    let machine = v1::Machine {
        name: "m".into(),
        key_prefix: "m/".into(),
        initial: "a".into(),
        states: [("a".to_owned(), state)].into(),
        revision: 5,
    };
    let session = v1::Session {
        id: "s".into(),
        create_revision: 4,
        ..v1::Session::default()
    };
    let event = v1::Event {
        cause: 2,
        entry: entry(),
        previous: entry(),
        previous_left_out: false,
    };
    let read = v1::ReadResponse {
        entry: entry(),
        revision: 9,
    };
    let list = v1::ListResponse {
        entries: vec![entry().unwrap(); 2],
        ..v1::ListResponse::default()
    };
    let failed = v1::OpResult {
        result: Some(v1::op_result::Result::Error(refused())),
    };
    let answer = v1::PipelineResponse {
        results: vec![op.clone(), failed],
        revision: 9,
        ..v1::PipelineResponse::default()
    };
    let told = v1::WatchResponse {
        events: vec![event],
        revision: 9,
        caught_up: true,
    };
    let batch = v1::BatchResponse {
        results: vec![op],
        revision: 9,
        ..v1::BatchResponse::default()
    };
    let messages = [
        (0, read.encode_to_vec()),
        (5, batch.encode_to_vec()),
        (7, list.encode_to_vec()),
        (8, machine.encode_to_vec()),
        (11, session.encode_to_vec()),
        (14, answer.encode_to_vec()),
        (15, told.encode_to_vec()),
        (16, refused().encode_to_vec()),
    ];
    let inputs = messages
        .into_iter()
        .map(|(selector, message)| [&[selector][..], &message].concat());
    inputs
        .chain((0..18).map(|selector| vec![selector]))
        .collect()
}

#[test]
fn every_answer_is_a_reply_or_an_error() {
    Target::new("answers", Format::Protobuf)
        .seeds(inputs())
        .words(["type.googleapis.com/google.rpc.RetryInfo", "soloist.v1"])
        .run(check);
}
