//! No number that fits into a request ends in a panic.

use std::collections::HashMap;

use proptest::prelude::*;
use soloist::v1;
use soloist::v1::op::Op;

use super::super::{add, delete, frame, list, machines, read, sessions, watch, write};
use super::*;
use crate::config::Limits;

#[test]
fn durations_are_named_as_in_json() {
    for (seconds, nanos, expected) in [
        (0, 0, "0s"),
        (1, 0, "1s"),
        (-1, 0, "-1s"),
        (0, -500_000_000, "-0.500s"),
        (3, 1_000, "3.000001s"),
        (-3, -1, "-3.000000001s"),
        (i64::MIN, 0, "-9223372036854775808s"),
        (i64::MIN, -999_999_999, "-9223372036854775808.999999999s"),
        (i64::MAX, 999_999_999, "9223372036854775807.999999999s"),
        (1, -1, "1 seconds and -1 nanoseconds"),
        (-1, 1, "-1 seconds and 1 nanoseconds"),
        (
            i64::MIN,
            i32::MIN,
            "-9223372036854775808 seconds and -2147483648 nanoseconds",
        ),
        (0, i32::MAX, "0 seconds and 2147483647 nanoseconds"),
    ] {
        assert_eq!(
            wire_in_words(&prost_types::Duration { seconds, nanos }),
            expected
        );
    }
}

#[test]
fn the_least_duration_is_refused_by_its_name() {
    let least = prost_types::Duration {
        seconds: i64::MIN,
        nanos: 0,
    };
    let bad = timeout(Some(least)).unwrap_err();
    assert_eq!(bad.actual.as_deref(), Some("-9223372036854775808s"));
}

fn durations() -> impl Strategy<Value = prost_types::Duration> {
    let seconds = prop_oneof![
        prop::sample::select(vec![
            i64::MIN,
            i64::MIN + 1,
            -1,
            0,
            1,
            i64::MAX - 1,
            i64::MAX
        ]),
        any::<i64>(),
    ];
    let nanos = prop_oneof![
        prop::sample::select(vec![
            i32::MIN,
            -1_000_000_000,
            -999_999_999,
            -1,
            0,
            1,
            999_999_999,
            1_000_000_000,
            i32::MAX,
        ]),
        any::<i32>(),
    ];
    (seconds, nanos).prop_map(|(seconds, nanos)| prost_types::Duration { seconds, nanos })
}

fn ints() -> impl Strategy<Value = i64> {
    prop_oneof![
        prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX]),
        any::<i64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every request that has a duration or a number of 64 bits is checked without a panic.
    #[test]
    fn no_number_of_a_request_panics(duration in durations(), int in ints(), other in ints()) {
        let limits = Limits::default();
        let key = || "k".to_owned();
        let value = || Some(v1::Value { kind: Some(v1::value::Kind::Int(int)) });
        let expect = || Some(v1::Condition { test: Some(v1::condition::Test::Revision(other)) });
        let write_request = v1::WriteRequest {
            key: key(),
            value: value(),
            expect: expect(),
            lifetime: Some(v1::write_request::Lifetime::Ttl(duration)),
            session_create_revision: other,
            ..Default::default()
        };
        let add_request = v1::AddRequest {
            key: key(),
            delta: int,
            min: Some(int),
            max: Some(other),
            lifetime: Some(v1::add_request::Lifetime::Ttl(duration)),
            ..Default::default()
        };
        let ops = || vec![
            v1::Op { op: Some(Op::Write(v1::WriteRequest { session_create_revision: 0, ..write_request.clone() })) },
            v1::Op { op: Some(Op::Add(add_request.clone())) },
        ];
        let _ = frame::each(ops(), &limits);
        let _ = frame::all(ops(), "id".to_owned(), &limits);
        let _ = write(write_request.clone(), &limits);
        let _ = add(add_request.clone(), &limits);
        let _ = read(v1::ReadRequest { key: key(), expect: expect() }, &limits);
        let _ = delete(v1::DeleteRequest { key: key(), expect: expect(), ..Default::default() }, &limits);
        let page_size = i32::try_from(int >> 32).unwrap();
        let _ = list(v1::ListRequest { page_size, ..Default::default() }, &limits);
        let _ = timeout(Some(duration));
        let _ = watch::watch(
            v1::WatchRequest {
                target: Some(v1::watch_request::Target::Key(key())),
                after_revision: Some(int),
                progress_interval: Some(duration),
                ..Default::default()
            },
            &limits,
        );
        let open = v1::OpenSessionRequest { id: key(), ttl: Some(duration), ..Default::default() };
        let _ = sessions::open(open, || unreachable!("the request has an id"));
        let _ = sessions::renew(v1::RenewSessionRequest { id: key(), create_revision: int });
        let _ = sessions::close(v1::CloseSessionRequest { id: key(), create_revision: int, ..Default::default() });
        let state = v1::machine::State { timeout: Some(duration), timeout_next: key(), ..Default::default() };
        let machine = v1::Machine {
            name: key(),
            key_prefix: key(),
            initial: key(),
            states: HashMap::from([(key(), state)]),
            revision: int,
        };
        let define = v1::DefineMachineRequest { machine: Some(machine), expect: expect(), ..Default::default() };
        let _ = machines::define(define, &limits);
    }
}
