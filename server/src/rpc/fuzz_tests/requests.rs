//! Every request, through the codec and the checks of its arguments.

use bytes::Buf as _;
use prost::Message;
use soloist::codec::not_a_message;
use soloist::v1;
use soloist_fuzz::{Format, Shape, Target, pieces};

use super::seeds;
use crate::config::Limits;
use crate::machine::Name;
use crate::rpc::arguments::{self, BadArgument};
use crate::rpc::frame;
use crate::rpc::status::Refusal;

/// Low limits, so that short inputs pass them.
const LIMITS: Limits = Limits {
    max_key_bytes: 12,
    max_value_bytes: 16,
    max_batch_ops: 8,
    max_batch_bytes: 60,
    max_states: 5,
    ..Limits::DEFAULT
};

/// Decodes a request as the server does, and in pieces as a stream of it may arrive: both must agree.
fn decoded<Q: Message + Default + PartialEq + std::fmt::Debug>(message: &[u8]) -> Result<Q, Shape> {
    let whole = Q::decode(message);
    let at = pieces(message).first().map_or(0, |piece| piece.len());
    let (front, rest) = message.split_at(at);
    let (middle, end) = rest.split_at(rest.len() / 2);
    let in_pieces = front.chain(middle).chain(end);
    let again = Q::decode(in_pieces);
    match (&whole, &again) {
        (Ok(whole), Ok(again)) => assert_eq!(whole, again),
        (Err(_), Err(_)) => {}
        _ => panic!("in one piece {whole:?}, in pieces {again:?}"),
    }
    let request = whole.map_err(|error| {
        let status = not_a_message(&error);
        Shape::of(status.message())
    })?;
    // What was decoded has one meaning: encoded anew it is the same request.
    assert_eq!(
        Q::decode(request.encode_to_vec().as_slice()).as_ref(),
        Ok(&request)
    );
    Ok(request)
}

/// The shape of what the checks say, and of the answer that the client gets.
fn checked<T>(selector: u8, checked: Result<T, BadArgument>) -> Shape {
    let shape = match checked {
        Ok(_) => Shape::of("sound"),
        Err(bad) => {
            let status = Refusal::from(bad).into_status();
            let details = tonic_types::StatusExt::check_error_details(&status).unwrap();
            let info = details
                .error_info()
                .expect("every refusal has an ErrorInfo");
            assert!(!info.reason.is_empty() && !status.message().is_empty());
            assert!(
                status.message().len() < 4_000,
                "a refusal of {} bytes",
                status.message().len()
            );
            Shape::of(status.message())
        }
    };
    shape.with(selector.into())
}

macro_rules! check {
    ($selector:expr, $message:expr, $request:ty, $check:expr) => {
        match decoded::<$request>($message) {
            Ok(request) => checked($selector, $check(request)),
            Err(shape) => shape.with($selector.into()),
        }
    };
}

fn check(input: &[u8]) -> Shape {
    let Some((selector, message)) = input.split_first() else {
        return Shape::of("empty");
    };
    let limits = &LIMITS;
    let selector = selector % 17;
    match selector {
        0 => check!(selector, message, v1::ReadRequest, |it| arguments::read(
            it, limits
        )),
        1 => check!(selector, message, v1::WriteRequest, |it| arguments::write(
            it, limits
        )),
        2 => check!(selector, message, v1::AddRequest, |it| arguments::add(
            it, limits
        )),
        3 => check!(selector, message, v1::TransitionRequest, |it| {
            arguments::transition(it, limits)
        }),
        4 => check!(
            selector,
            message,
            v1::DeleteRequest,
            |it| arguments::delete(it, limits)
        ),
        5 => check!(selector, message, v1::DeletePrefixRequest, |it| {
            arguments::delete_prefix(it, limits)
        }),
        6 => check!(selector, message, v1::ListRequest, |it| arguments::list(
            it, limits
        )),
        7 => check!(selector, message, v1::WatchRequest, |it| {
            arguments::watch::watch(it, limits)
        }),
        8 => check!(selector, message, v1::DefineMachineRequest, |it| {
            arguments::machines::define(it, limits)
        }),
        9 => check!(
            selector,
            message,
            v1::GetMachineRequest,
            |it: v1::GetMachineRequest| { arguments::machines::machine_name(it.name) }
        ),
        10 => check!(selector, message, v1::ListMachinesRequest, |it| {
            arguments::machines::list(&it, limits)
        }),
        11 => check!(
            selector,
            message,
            v1::DeleteMachineRequest,
            arguments::machines::delete
        ),
        12 => check!(selector, message, v1::OpenSessionRequest, |it| {
            arguments::sessions::open(it, || Name::from("new"))
        }),
        13 => check!(
            selector,
            message,
            v1::RenewSessionRequest,
            arguments::sessions::renew
        ),
        14 => check!(
            selector,
            message,
            v1::CloseSessionRequest,
            arguments::sessions::close
        ),
        15 => check!(selector, message, v1::ListSessionsRequest, |it| {
            arguments::sessions::list(&it, limits)
        }),
        _ => match frame::decode_batch(message, limits) {
            Ok(batch) => checked(selector, batch),
            Err(error) => Shape::of(not_a_message(&error).message()).with(selector.into()),
        },
    }
}

fn inputs() -> Vec<Vec<u8>> {
    let ttl = Some(prost_types::Duration {
        seconds: 10,
        nanos: 1,
    });
    vec![
        seeds::selected(0, &seeds::read()),
        seeds::selected(1, &seeds::write()),
        seeds::selected(2, &seeds::add()),
        seeds::selected(3, &seeds::transition()),
        seeds::selected(4, &seeds::delete()),
        seeds::selected(
            5,
            &v1::DeletePrefixRequest {
                prefix: "a".into(),
                limit: 5,
                page_token: crate::rpc::page_token::encode("ab"),
                request_id: "id".into(),
                every_key: true,
            },
        ),
        seeds::selected(
            6,
            &v1::ListRequest {
                prefix: "a".into(),
                page_size: 5,
                page_token: crate::rpc::page_token::encode("ab"),
                keys_only: true,
            },
        ),
        seeds::selected(
            7,
            &v1::WatchRequest {
                target: Some(v1::watch_request::Target::Prefix("a".into())),
                after_revision: Some(5),
                initial: false,
                progress_interval: ttl,
                store_id: "store".into(),
                previous: true,
            },
        ),
        seeds::selected(8, &seeds::define_machine()),
        seeds::selected(9, &v1::GetMachineRequest { name: "m".into() }),
        seeds::selected(
            10,
            &v1::ListMachinesRequest {
                page_size: 3,
                page_token: "YQ".into(),
            },
        ),
        seeds::selected(
            11,
            &v1::DeleteMachineRequest {
                name: "m".into(),
                force: true,
            },
        ),
        seeds::selected(
            12,
            &v1::OpenSessionRequest {
                id: "s".into(),
                ttl,
                take_over: true,
                request_id: "id".into(),
            },
        ),
        seeds::selected(
            13,
            &v1::RenewSessionRequest {
                id: "s".into(),
                create_revision: 4,
            },
        ),
        seeds::selected(
            14,
            &v1::CloseSessionRequest {
                id: "s".into(),
                create_revision: 4,
                request_id: "id".into(),
            },
        ),
        seeds::selected(
            15,
            &v1::ListSessionsRequest {
                page_size: 3,
                page_token: "YQ".into(),
            },
        ),
        seeds::selected(
            16,
            &v1::BatchRequest {
                ops: seeds::operations(),
                request_id: "id".into(),
            },
        ),
    ]
}

#[test]
fn every_request_is_decoded_and_checked_or_refused() {
    Target::new("requests", Format::Protobuf)
        .seeds(inputs())
        .words(seeds::WORDS)
        .run(check);
}
