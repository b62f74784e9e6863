//! Large histories. SOLOIST_CHECKER_OPERATIONS sets how many operations they have. With `--nocapture` the times are shown.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::tests::notation::report_of;
use crate::{
    Action, Actual, Entry, Expectation, History, Initial, Key, MessageKind, NEVER, Observed,
    Operation, Outcome, PackedOperation, Refusal, Value, ValueSearch, Verdict, ViolationKind,
};

pub(super) struct Shape {
    pub(super) operations: usize,
    pub(super) clients: u32,
    pub(super) keys: u32,
    pub(super) unknown: usize,
}

/// A history with the answers of a right server: 80 % Reads, 10 % Writes, 4 % compare-and-set, 4 % Adds, and 2 % Deletes. Each
/// happens at a random moment between its start and its end.
pub(super) fn history(shape: &Shape, seed: u64) -> History {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut clocks = vec![0_u64; shape.clients as usize];
    let mut todo: Vec<(u64, u64, u64, u32)> = (0..shape.operations)
        .map(|index| {
            let client = index % clocks.len();
            let start = clocks[client] + rng.random_range(1_000..20_000);
            let end = start + rng.random_range(50_000..500_000);
            clocks[client] = end;
            (rng.random_range(start..=end), start, end, client as u32)
        })
        .collect();
    todo.sort_unstable();
    let every = (shape.operations / shape.unknown.max(1)).max(1);
    let mut store: BTreeMap<u32, Entry> = BTreeMap::new();
    let mut tags: BTreeMap<u32, i64> = BTreeMap::new();
    let mut revision = 0;
    let mut operations = Vec::with_capacity(todo.len());
    for (index, (_, start, end, client)) in todo.into_iter().enumerate() {
        let key = rng.random_range(0..shape.keys);
        let is = store.get(&key).copied();
        let value = Value::Int(((i64::from(client) + 1) << 32) | index as i64);
        let (action, expect) = match rng.random_range(0..100) {
            0..80 => (Action::Read, None),
            80..90 => (Action::Write(value), None),
            90..94 => {
                let expected = tags.get(&key).copied().unwrap_or(0);
                (Action::Write(value), Some(Expectation::Revision(expected)))
            }
            94..98 => (Action::Add(1 << 20), None),
            _ => (Action::Delete, None),
        };
        let is_unknown = shape.unknown > 0 && action != Action::Read && index % every < 5;
        let actual = is.map_or(0, |it| it.revision);
        // A later compare-and-set expects what was read here.
        if action == Action::Read && rng.random_bool(0.1) {
            tags.insert(key, actual);
        }
        let fails = matches!(expect, Some(Expectation::Revision(it)) if it != actual);
        let is_done = !fails && action != Action::Read && !(is_unknown && rng.random());
        let after = match action {
            Action::Write(value) => Some(value),
            Action::Add(delta) => Some(Value::Int(
                delta
                    + match is.map(|it| it.value) {
                        Some(Value::Int(int)) => int,
                        _ => 0,
                    },
            )),
            _ => None,
        };
        if is_done && (action != Action::Delete || is.is_some()) {
            revision += 1;
            match after {
                Some(value) => store.insert(
                    key,
                    Entry {
                        value,
                        revision,
                        state: None,
                    },
                ),
                None => store.remove(&key),
            };
        }
        let observed = match (action, after) {
            (Action::Read | Action::Delete, _) => Observed::Entry(is),
            (Action::Add(_), Some(Value::Int(sum))) => Observed::Sum(sum),
            _ => Observed::NotReported,
        };
        let outcome = match (is_unknown, fails) {
            (true, _) => Outcome::Unknown,
            (_, true) => Outcome::Refused(Refusal::Expectation(Actual::Revision(actual))),
            _ => Outcome::Done { revision, observed },
        };
        operations.push(PackedOperation::from(&Operation {
            client,
            message: index as u32,
            message_kind: MessageKind::Call,
            key,
            start,
            end: if is_unknown { NEVER } else { end },
            action,
            expect,
            outcome,
        }));
    }
    operations.sort_by_key(PackedOperation::order);
    let key = |number| Key::new(format!("{number}"), Some(Initial::default()));
    History {
        keys: (0..shape.keys).map(key).collect(),
        operations,
        ..History::default()
    }
}

fn operations() -> usize {
    let number = std::env::var("SOLOIST_CHECKER_OPERATIONS");
    number.map_or(20_000, |it| it.parse().unwrap())
}

#[test]
fn large_histories_are_explained() {
    for (keys, unknown) in [
        (1000, 0),
        (100, 0),
        (6, 0),
        (5, 0),
        (1000, 200),
        (100, 200),
        (6, 30),
        (5, 30),
        (5, 200),
    ] {
        let shape = Shape {
            operations: operations(),
            clients: 100,
            keys,
            unknown,
        };
        let history = history(&shape, 3);
        for value_search in [ValueSearch::OnViolation, ValueSearch::Only] {
            // Without revisions, this many unknown outcomes on few keys take half a minute in a debug build.
            let is_hard = value_search == ValueSearch::Only && unknown > 100 && keys < 100;
            if is_hard && std::env::var("SOLOIST_CHECKER_OPERATIONS").is_err() {
                continue;
            }
            let start = Instant::now();
            let report = report_of(&history, value_search);
            println!(
                "{keys} keys, {} unknown ({} seen), {value_search:?}: {:?}, {} keys by revision, {} configurations",
                report.unknown,
                report.unknown_observed,
                start.elapsed(),
                report.keys_by_revision,
                report.configurations_max,
            );
            if let Verdict::NotLinearizable(violations) = &report.verdict {
                panic!("{}", violations[0]);
            }
            assert_eq!(report.verdict, Verdict::Linearizable);
        }
    }
}

#[test]
fn one_stale_read_among_many_is_found_and_its_evidence_is_small() {
    let shape = Shape {
        operations: operations(),
        clients: 100,
        keys: 5,
        unknown: 0,
    };
    let mut history = history(&shape, 4);
    // A Read in the second half shows what a Read of the same key showed long before.
    let reads: Vec<usize> = (0..history.operations.len())
        .filter(|place| {
            let it = history.operations[*place].unpack();
            it.action == Action::Read && it.key == 0 && it.entry().is_some()
        })
        .collect();
    let (old, new) = (reads[reads.len() / 2], reads[reads.len() / 2 + 200]);
    let shown = history.operations[old].unpack().entry();
    let mut stale = history.operations[new].unpack();
    if let Outcome::Done { observed, .. } = &mut stale.outcome {
        *observed = Observed::Entry(shown);
    }
    history.operations[new] = PackedOperation::from(&stale);
    for value_search in [ValueSearch::OnViolation, ValueSearch::Only] {
        let start = Instant::now();
        let Verdict::NotLinearizable(violations) = report_of(&history, value_search).verdict else {
            panic!("a stale read is not found");
        };
        let evidence = violations[0].evidence.operations.len();
        println!(
            "{value_search:?}: found in {:?}, {evidence} operations",
            start.elapsed()
        );
        assert_eq!(violations[0].kind, ViolationKind::Values);
        assert!(evidence <= 4, "{evidence} operations");
    }
}
