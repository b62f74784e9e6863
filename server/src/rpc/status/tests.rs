//! Refusals as clients see them.

use soloist::v1::error::Reason;
use tonic::Code;

use super::*;
use crate::machine::{Condition, Entry, Mismatch, Revision, SpaceLow, SpaceOf, Value};
use crate::owner::Unknown;
use crate::rpc::arguments::BadArgument;

fn mismatch(key: &str, expected: Condition, value: Option<Value>) -> Rejection {
    let entry = |value| Entry {
        value,
        revision: i64::MAX,
        create_revision: i64::MAX,
        attached: None,
    };
    Rejection {
        subject: key.into(),
        cause: Cause::ExpectationFailed(Box::new(Mismatch {
            expected,
            actual: value.map(entry),
        })),
    }
}

#[test]
fn an_unknown_outcome_names_its_revision_if_it_has_one() {
    for (why, code, revision) in [
        (Unknown::Deadline, Code::DeadlineExceeded, Some(7)),
        (Unknown::Deadline, Code::DeadlineExceeded, None),
        (Unknown::OwnerEnded, Code::Unavailable, None),
    ] {
        let refusal = Refusal::from(CallError::OutcomeUnknown { revision, why });
        assert_eq!(
            (refusal.code, refusal.reason),
            (code, Reason::OutcomeUnknown)
        );
        let told = refusal.metadata.get("revision").cloned();
        assert_eq!(
            told,
            revision.map(|revision: Revision| revision.to_string())
        );
    }
}

#[test]
fn messages_tell_the_expected_and_the_actual_value() {
    let value = |int| Some(Value::Int(int));
    for (rejection, message) in [
        (
            mismatch("k", Condition::Revision(7), value(1)),
            "key \"k\" was expected to have revision 7, and has 9223372036854775807",
        ),
        (
            mismatch("k", Condition::Revision(0), value(1)),
            "key \"k\" was expected not to exist, and has revision 9223372036854775807",
        ),
        (
            mismatch("k", Condition::Value(Value::Int(5)), None),
            "key \"k\" was expected to have value {\"int\":\"5\"}, and does not exist",
        ),
    ] {
        assert_eq!(Refusal::from(rejection).message, message);
    }
}

#[test]
fn the_largest_error_fits_into_headers_and_a_thousand_into_an_answer() {
    for text in ["k", "\"", "é", "\u{ad}", "\\"] {
        let long = text.repeat(10_000);
        let value = |end: &str| Value::Text((long.clone() + end).into());
        let rejection = mismatch(&long, Condition::Value(value("a")), Some(value("b")));
        let rpc = Refusal::from(rejection.clone()).into_rpc_status();
        let len = prost::Message::encoded_len(&rpc);
        assert!(len < 1_200, "{text:?}: {len} bytes");

        let mut headers = http::HeaderMap::new();
        Refusal::from(rejection)
            .into_status()
            .add_header(&mut headers)
            .unwrap();
        let len: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(len < 4_096, "{text:?}: {len} bytes of headers");
    }
}

#[test]
fn the_largest_bad_argument_fits_into_headers() {
    use soloist::v1;

    use crate::config::Limits;
    use crate::rpc::arguments;

    let header_bytes = |bad: BadArgument| {
        let response = Refusal::from(bad).into_status().into_http::<()>();
        let headers = response.headers().iter();
        headers
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum::<usize>()
    };
    let names = (0..256).map(|i| format!("{i:0128}"));
    let machine = v1::Machine {
        name: "m".into(),
        key_prefix: "p/".into(),
        initial: "wrong".into(),
        states: names.map(|name| (name, Default::default())).collect(),
        revision: 0,
    };
    let request = v1::DefineMachineRequest {
        machine: Some(machine),
        ..Default::default()
    };
    let of_machine =
        header_bytes(arguments::machines::define(request, &Limits::DEFAULT).unwrap_err());
    let key = format!("${}", "\u{e000}".repeat(341));
    let of_key = header_bytes(
        arguments::read(v1::ReadRequest { key, expect: None }, &Limits::DEFAULT).unwrap_err(),
    );
    assert!(
        of_machine <= 8192 && of_key <= 8192,
        "{of_machine}, {of_key}"
    );
}

#[test]
fn clients_are_told_when_a_retry_is_in_vain() {
    let full = Rejection {
        subject: "k".into(),
        cause: Cause::StoreFull {
            limit: 1,
            actual: 2,
        },
    };
    let overloaded = CallError::Overloaded {
        limit: 1,
        unit: "messages",
    };
    for (refusal, pushback) in [
        (Refusal::from(full), Some("-1")),
        (
            mismatch("k", Condition::Revision(7), None).into(),
            Some("-1"),
        ),
        (message_too_large(1, 2), Some("-1")),
        (overloaded.into(), Some("20")),
        (CallError::NotStarted.into(), None),
        (draining(), None),
    ] {
        let reason = refusal.reason;
        let status = refusal.into_status();
        let told = status.metadata().get("grpc-retry-pushback-ms");
        let told = told.map(|value| value.to_str().unwrap());
        assert_eq!(told, pushback, "{reason:?}");
    }
}

#[test]
fn a_refusal_for_lack_of_space_says_what_helps() {
    let low_of = |of, files| SpaceLow {
        of,
        free: 5,
        least: 9,
        files,
    };
    let low = |files| low_of(SpaceOf::Disk, files);
    let of_etcd = low_of(SpaceOf::Etcd, 7);
    let refused = |cause| {
        Refusal::from(Rejection {
            subject: "k".into(),
            cause,
        })
    };
    for (refusal, says) in [
        (refused(Cause::DiskFull(low(7))), "delete keys"),
        (refused(Cause::DiskFull(low(3))), "remove other files"),
        (CallError::DiskFull(low(7)).into(), "not even a delete"),
        (refused(Cause::DiskFull(of_etcd)), "etcd has 5 bytes"),
        (CallError::DiskFull(of_etcd).into(), "etcdctl"),
    ] {
        let status = refusal.into_status();
        let message = status.message();
        assert!(message.contains(says), "{message:?} lacks {says:?}");
        assert!(
            message.contains("5 bytes") && message.contains('9'),
            "{message:?}"
        );
    }
}
