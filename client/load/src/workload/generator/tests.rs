use std::collections::HashSet;

use soloist::v1::value::Kind as ValueOf;

use crate::command_line::resolve::tests::settings;
use crate::workload::generator::*;

fn workload(line: &str, worker: u64) -> Workload {
    let settings = settings(line).unwrap();
    let keys = Keys::new(settings.keys, settings.key_dist, settings.part);
    Workload::new(&settings, keys, worker)
}

fn calls(line: &str, worker: u64) -> Vec<(SentOp, Call)> {
    let mut workload = workload(line, worker);
    (0..50).map(|n| workload.next(n)).collect()
}

fn written(call: &Call) -> Option<ValueOf> {
    match call {
        Call::Op(op::Op::Write(write)) => write.value.clone()?.kind,
        _ => None,
    }
}

#[test]
fn a_seed_repeats_the_sequence() {
    let flags = "--seed 1 --keys 1000 --key-dist zipfian";
    assert_eq!(calls(flags, 105), calls(flags, 105));
    assert_ne!(calls(flags, 105), calls(flags, 106));
    let other = "--seed 2 --keys 1000 --key-dist zipfian";
    assert_ne!(calls(flags, 3), calls(other, 3));
}

#[test]
fn writers_come_after_readers_and_write_ints_below_100() {
    for (asked, call) in calls("--readers 2 --writers 1", 1) {
        assert_eq!(asked.kind, Kind::Read);
        let Call::Op(op::Op::Read(read)) = call else {
            panic!("{call:?}")
        };
        assert!(["load/0", "load/1", "load/2", "load/3", "load/4"].contains(&read.key.as_str()));
    }
    for (_, call) in calls("--readers 2 --writers 1", 2) {
        assert!(matches!(written(&call), Some(ValueOf::Int(0..=99))));
    }
}

#[test]
fn values_have_the_size_and_kind_asked_for() {
    for (_, call) in calls("--readers 0 --value-size 300", 0) {
        assert!(matches!(written(&call), Some(ValueOf::Text(text)) if text.len() == 300));
    }
    for (_, call) in calls("--readers 0 --value bytes --value-size 30", 0) {
        assert!(matches!(written(&call), Some(ValueOf::Bytes(bytes)) if bytes.len() == 30));
    }
}

#[test]
fn distinct_values_never_repeat() {
    for flags in [
        "--distinct",
        "--distinct --value-size 16",
        "--distinct --value-size 40",
        "--distinct --value bytes --value-size 16",
    ] {
        let mut seen = HashSet::new();
        for worker in 0..5 {
            for (_, call) in calls(&format!("--readers 0 {flags}"), worker) {
                let value = format!("{:?}", written(&call).unwrap());
                assert!(seen.insert(value), "{flags} {call:?}");
            }
        }
    }
}

/// Returns the share of each kind among 20,000 operations, if every key turns out not to exist.
fn shares(flags: &str) -> HashMap<Kind, f64> {
    let mut workload = workload(flags, 0);
    let mut counts = HashMap::new();
    for n in 0..20_000 {
        let (asked, call) = workload.next(n);
        *counts.entry(asked.kind).or_insert(0.0) += 1.0 / 20_000.0;
        let reply = match &call {
            Call::Op(op::Op::Read(_)) => Some(Reply::Op(v1::op_result::Result::Read(
                v1::ReadResponse::default(),
            ))),
            _ => None,
        };
        workload.answered(asked, &OpOutcome::Done { is_miss: true }, reply.as_ref());
    }
    counts
}

#[test]
fn workloads_have_their_documented_mix() {
    let cases: [(&str, &[(Kind, f64)]); 9] = [
        // In an open loop every worker reads and writes, in proportion to the readers and writers.
        (
            "--readers 9 --writers 1 --rps 5",
            &[(Kind::Read, 0.9), (Kind::Write, 0.1)],
        ),
        ("--ratio 3:1", &[(Kind::Read, 0.75), (Kind::Write, 0.25)]),
        ("--workload a", &[(Kind::Read, 0.5), (Kind::Write, 0.5)]),
        ("--workload b", &[(Kind::Read, 0.95), (Kind::Write, 0.05)]),
        ("--workload c", &[(Kind::Read, 1.0)]),
        ("--workload d", &[(Kind::Read, 0.95), (Kind::Write, 0.05)]),
        ("--workload e", &[(Kind::List, 0.95), (Kind::Write, 0.05)]),
        // Of three calls two are Reads, and one of these leads to a compare-and-set.
        (
            "--workload f",
            &[(Kind::Read, 2.0 / 3.0), (Kind::CompareAndSet, 1.0 / 3.0)],
        ),
        ("--workload counter", &[(Kind::Add, 1.0)]),
    ];
    for (flags, expected) in cases {
        let shares = shares(flags);
        assert_eq!(shares.len(), expected.len(), "{flags}: {shares:?}");
        for (kind, share) in expected {
            let actual = shares[kind];
            assert!((actual - share).abs() < 0.02, "{flags}: {kind:?} {actual}");
        }
    }
}

#[test]
fn a_compare_and_set_expects_the_revision_seen_last() {
    let mut workload = workload("--workload cas --keys 1", 0);
    let (asked, call) = workload.next(0);
    assert!(matches!(call, Call::Op(op::Op::Read(_))));
    let entry = v1::Entry {
        revision: 7,
        ..v1::Entry::default()
    };
    let read = v1::ReadResponse {
        entry: Some(entry),
        revision: 9,
    };
    let reply = Reply::Op(v1::op_result::Result::Read(read));
    workload.answered(asked, &OpOutcome::Done { is_miss: false }, Some(&reply));
    let (asked, call) = workload.next(1);
    assert_eq!(asked.kind, Kind::CompareAndSet);
    let Call::Op(op::Op::Write(write)) = call else {
        panic!("{call:?}")
    };
    assert_eq!(write.expect, Some(has_revision(7)));
    let unknown = crate::workload::outcome::Failure::new(
        tonic::Code::Unavailable,
        "",
        soloist_client::Outcome::Unknown,
    );
    workload.answered(asked, &OpOutcome::Failed(unknown), None);
    assert_eq!(workload.next(2).0.kind, Kind::Read);
}

#[test]
fn new_keys_are_new_to_all_workers() {
    let settings = settings("--workload d --keys 10").unwrap();
    let keys = Keys::new(settings.keys, settings.key_dist, settings.part);
    let mut seen: HashSet<u64> = (0..10).collect();
    for worker in 0..3 {
        let mut workload = Workload::new(&settings, keys.clone(), worker);
        for n in 0..1_000 {
            let (asked, _) = workload.next(n);
            if asked.kind == Kind::Write {
                assert!(seen.insert(asked.key));
            }
        }
    }
    assert!(seen.len() > 50);
}

#[test]
fn an_added_key_is_found_by_its_name() {
    let e = KeyNames::new(Mix::Named(NamedWorkload::E), "load/");
    for number in [0, 7, 99, 1_234_567_890] {
        assert_eq!(e.added_key(&e.of(number)), Some(number));
    }
    for name in [
        "load/user1",
        "load/user00000000010",
        "load/user000000000x",
        "load/user+000000001",
        "load/7",
        "user0000000001",
        "7",
    ] {
        assert_eq!(e.added_key(name), None, "{name}");
    }
    assert_eq!(e.scanned_keys("load/user00000012"), Some(1_200..1_300));
    assert_eq!(e.scanned_keys("load/user"), None);
    assert_eq!(e.scanned_keys("load/mixed/"), None);
    let c = KeyNames::new(Mix::Named(NamedWorkload::C), "load/");
    assert_eq!(c.added_key(&c.of(7)), None, "workload C adds no keys");
}
