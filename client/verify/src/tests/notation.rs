//! A notation for histories: "start-end key.action arguments answer; ...".
//!
//! An operation without an end was never answered. The key is `a` if none is named. `#x` puts operations into Batch x, `~x`
//! into the stream of client x.
//!
//! Answers: `value@revision` of the entry that was made or read, `none@revision`, `value@revision@store revision`,
//! `refused@actual revision`, `refused=actual value`, `refused`, `from:state@revision`, `move:state` for an illegal
//! transition, `notfinal:state`, `missing`, `notint`, `unknown`, `undone`. A value in a state is `value/state`.

use crate::{
    Action, Actual, Entry, Expectation, History, Initial, Key, Machine, MessageKind, NEVER,
    Observed, Operation, Options, Outcome, PackedOperation, Refusal, Report, Value, ValueSearch,
    Verdict, check,
};

/// The machine of the keys that begin with `m`: from 0 to 1, and from 1 to 2 or back to 0. State 2 is final.
pub(super) fn machine() -> Machine {
    Machine {
        name: "job".into(),
        states: ["queued", "running", "done"].map(str::to_owned).to_vec(),
        initial: 0,
        next: vec![vec![1], vec![2, 0], vec![]],
    }
}

pub(super) fn keys() -> Vec<Key> {
    let key = |name: &str| Key {
        machine: name.starts_with('m').then_some(0),
        ..Key::new(name, Some(Initial::default()))
    };
    ["a", "b", "c", "m"].map(key).to_vec()
}

pub(super) fn history_of(mut operations: Vec<Operation>) -> History {
    operations.sort_by_key(|it| (it.start, it.client, it.message));
    History {
        keys: keys(),
        machines: vec![machine()],
        operations: operations.iter().map(PackedOperation::from).collect(),
        ..History::default()
    }
}

pub(super) fn history(text: &str) -> History {
    history_of(
        text.split(';')
            .enumerate()
            .map(|(index, text)| operation(index, text))
            .collect(),
    )
}

fn operation(index: usize, text: &str) -> Operation {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let last = words[words.len() - 1];
    let (mut client, mut message, mut message_kind) =
        (index as u32, index as u32, MessageKind::Call);
    if let Some(group) = last.strip_prefix('#') {
        (client, message) = (1000, u32::from(group.as_bytes()[0]));
        message_kind = MessageKind::Batch;
        words.pop();
    } else if let Some(stream) = last.strip_prefix('~') {
        client = 2000 + u32::from(stream.as_bytes()[0]);
        message_kind = MessageKind::Frame;
        words.pop();
    }
    let (start, end) = words[0].split_once('-').unwrap();
    let (key, verb) = words[1].split_once('.').unwrap_or(("a", words[1]));
    let key = keys().iter().position(|it| it.name == key).unwrap() as u32;
    let number = |word: &str| word.parse::<i64>().unwrap();
    let value = |word: &str| match word.parse() {
        Ok(int) => Value::Int(int),
        Err(_) => Value::text(word),
    };
    let argument = |index: usize| words[2 + index];
    let (action, expect) = match verb {
        "read" => (Action::Read, None),
        "write" => (Action::Write(value(argument(0))), None),
        "cas" => (
            Action::Write(value(argument(1))),
            Some(Expectation::Revision(number(argument(0)))),
        ),
        "create" => (
            Action::Write(value(argument(0))),
            Some(Expectation::Exists(false)),
        ),
        "replace" => (
            Action::Write(value(argument(0))),
            Some(Expectation::Exists(true)),
        ),
        "swap" => (
            Action::Write(value(argument(1))),
            Some(Expectation::Value(value(argument(0)))),
        ),
        "add" => (Action::Add(number(argument(0))), None),
        "delete" => (Action::Delete, None),
        "remove" => (
            Action::Delete,
            Some(Expectation::Revision(number(argument(0)))),
        ),
        "move" => {
            let (to, value) = (number(argument(0)) as u8, None);
            (Action::Transition { to, value }, None)
        }
        other => panic!("{other}"),
    };
    let state = keys()[key as usize].machine.map(|_| 0);
    let entry = |text: &str, revision: &str| {
        let (text, state) = match text.split_once('/') {
            Some((value, of)) => (value, Some(number(of) as u8)),
            None => (text, state),
        };
        let (value, revision) = (value(text), number(revision));
        Some(Entry {
            value,
            revision,
            state,
        })
    };
    let done = |observed, revision: &str| {
        let revision = number(revision);
        Outcome::Done { revision, observed }
    };
    let answer = words[words.len() - 1];
    let told: Vec<&str> = answer.split('@').collect();
    let unmet = |actual| Outcome::Refused(Refusal::Expectation(actual));
    let outcome = match told[..] {
        ["unknown"] => Outcome::Unknown,
        ["undone"] => Outcome::NotDone,
        ["refused", actual] => unmet(Actual::Revision(number(actual))),
        ["refused"] => unmet(Actual::NotReported),
        ["missing"] => Outcome::Refused(Refusal::Missing),
        ["notint"] => Outcome::Refused(Refusal::NotInt),
        ["none", revision] => done(Observed::Entry(None), revision),
        [it, of, revision] => done(Observed::Entry(entry(it, of)), revision),
        [it] => match it.split_once([':', '=']).unwrap() {
            ("move", from) => Outcome::Refused(Refusal::IllegalTransition {
                from: number(from) as u8,
            }),
            ("notfinal", state) => Outcome::Refused(Refusal::NotFinal {
                state: number(state) as u8,
            }),
            (_, "none") => unmet(Actual::Value(None)),
            (_, it) => unmet(Actual::Value(Some(value(it)))),
        },
        [it, revision] => match (it.split_once(':'), action) {
            (Some((_, from)), _) => done(Observed::FromState(number(from) as u8), revision),
            (None, Action::Read | Action::Delete) => {
                done(Observed::Entry(entry(it, revision)), revision)
            }
            (None, Action::Add(_)) => done(Observed::Sum(number(it)), revision),
            (None, _) => done(Observed::NotReported, revision),
        },
        _ => panic!("{answer}"),
    };
    Operation {
        client,
        message,
        message_kind,
        key,
        start: start.parse().unwrap(),
        end: end.parse().unwrap_or(NEVER),
        action,
        expect,
        outcome,
    }
}

pub(super) fn report_of(history: &History, value_search: ValueSearch) -> Report {
    let options = Options {
        value_search,
        ..Options::default()
    };
    check(history, options).unwrap()
}

/// Whether a history is linearizable. The three ways to check must not contradict each other.
pub(super) fn is_linearizable(history: &History) -> bool {
    let by_revisions = report_of(history, ValueSearch::OnViolation);
    let always = report_of(history, ValueSearch::Always);
    let is_linearizable = by_revisions.verdict == Verdict::Linearizable;
    assert_eq!(
        is_linearizable,
        always.verdict == Verdict::Linearizable,
        "{history:?}"
    );
    assert!(
        !matches!(by_revisions.verdict, Verdict::Undecided(_)),
        "{history:?}"
    );
    if is_linearizable {
        let values = report_of(history, ValueSearch::Only);
        assert_eq!(values.verdict, Verdict::Linearizable, "{history:?}");
    }
    is_linearizable
}
