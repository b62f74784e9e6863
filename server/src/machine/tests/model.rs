//! The machine against a model of it: random programs must give the same answers.
//!
//! The model is written from the contract, not from the machine: a sorted list of everything that was ever written,
//! copied whole before each frame and thrown away where the frame is refused.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{
    Add, Beyond, Bounds, Condition, Delete, Entry, Expect, List, ListShows, Operation, Outcome,
    Read, Rest, StateMachine, Value, Write, WriteAnswer,
};

const STORE_BYTES_MAX: u64 = 300;
const ANSWER_BYTES_MAX: usize = 40;

/// One line for each key that is there: name, value, revision of the last change, revision of creation.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    lines: Vec<(String, Value, i64, i64)>,
    revision: i64,
}

/// What the model says of an operation: the line shown and the revisions told, or the name of the refusal.
#[derive(Debug, PartialEq)]
enum Says {
    Shown(Option<(Value, i64, i64)>, i64),
    Written(Option<(Value, i64, i64)>, i64, i64),
    Added(i64, i64, i64, i64),
    Deleted(Option<(Value, i64, i64)>, i64),
    Refused(&'static str),
}

impl Model {
    fn line(&self, key: &str) -> Option<(Value, i64, i64)> {
        let mut lines = self.lines.iter();
        let (_, value, revision, created) = lines.find(|line| line.0 == key)?;
        Some((value.clone(), *revision, *created))
    }

    fn size(&self) -> u64 {
        let sizes = self.lines.iter().map(|(key, value, ..)| {
            key.len() as u64
                + 64
                + match value {
                    Value::Int(_) => 8,
                    Value::Text(text) => text.len() as u64,
                    Value::Bytes(bytes) => bytes.len() as u64,
                }
        });
        sizes.sum()
    }

    fn refusal(&self, key: &str, expect: &Expect) -> Option<&'static str> {
        let line = self.line(key);
        let (revision, created) = line.as_ref().map_or((0, 0), |line| (line.1, line.2));
        match expect.as_deref()? {
            Condition::Exists(true) => line.is_none().then_some("not found"),
            Condition::Exists(false) => line.is_some().then_some("exists"),
            Condition::Revision(r) => (*r != revision).then_some("expectation"),
            Condition::CreateRevision(r) => (*r != created).then_some("expectation"),
            Condition::Value(value) => {
                (line.map(|line| line.0).as_ref() != Some(value)).then_some("expectation")
            }
        }
    }

    /// Does one operation at `revision`. `room` is what the answer may still show.
    fn step(&mut self, operation: &Operation, revision: i64, room: &mut i64) -> Says {
        let show = |line: &Option<(Value, i64, i64)>, room: &mut i64| {
            let size = line.as_ref().map_or(0, |line| line.0.byte_len() as i64);
            if size > *room {
                return false;
            }
            *room -= size;
            true
        };
        match operation {
            Operation::Read(Read { key, expect }) => {
                if let Some(refusal) = self.refusal(key.as_str(), expect) {
                    return Says::Refused(refusal);
                }
                let line = self.line(key.as_str());
                if !show(&line, room) {
                    return Says::Refused("answer");
                }
                Says::Shown(line, self.revision)
            }
            Operation::Write(write) => {
                let key = write.key.as_str();
                if let Some(refusal) = self.refusal(key, &write.expect) {
                    return Says::Refused(refusal);
                }
                let previous = self.line(key);
                let created = previous.as_ref().map_or(revision, |line| line.2);
                let mut after = self.clone();
                after.lines.retain(|line| line.0 != key);
                after
                    .lines
                    .push((key.into(), write.value.clone(), revision, created));
                after.revision = revision;
                if after.size() > STORE_BYTES_MAX && after.size() > self.size() {
                    return Says::Refused("full");
                }
                let shown = match write.answer {
                    WriteAnswer::Revisions => None,
                    WriteAnswer::Previous if show(&previous, room) => previous,
                    WriteAnswer::Previous => return Says::Refused("answer"),
                };
                *self = after;
                Says::Written(shown, revision, created)
            }
            Operation::Add(add) => {
                let key = add.key.as_str();
                if let Some(refusal) = self.refusal(key, &add.expect) {
                    return Says::Refused(refusal);
                }
                let line = self.line(key);
                let created = line.as_ref().map_or(revision, |line| line.2);
                let before = match line.as_ref().map(|line| &line.0) {
                    None => 0,
                    Some(Value::Int(int)) => i128::from(*int),
                    Some(_) => return Says::Refused("not an int"),
                };
                let bounds = add.bounds.as_deref().copied();
                let Bounds { min, max, beyond } = bounds.unwrap_or(Bounds::NONE);
                let (min, max) = (min.map(i128::from), max.map(i128::from));
                let mut after = before + i128::from(add.delta);
                if beyond == Beyond::Saturate {
                    after = after
                        .min(max.unwrap_or(i64::MAX.into()))
                        .max(min.unwrap_or(i64::MIN.into()));
                } else if add.delta > 0 && max.is_some_and(|max| after > max)
                    || add.delta < 0 && min.is_some_and(|min| after < min)
                {
                    return Says::Refused("bound");
                } else if after > i64::MAX.into() || after < i64::MIN.into() {
                    return Says::Refused("overflow");
                }
                let sum = after as i64;
                let applied = (after - before).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                if line.is_some() && after == before {
                    return Says::Added(sum, applied, self.revision, created);
                }
                let mut then = self.clone();
                then.lines.retain(|line| line.0 != key);
                then.lines
                    .push((key.into(), Value::Int(sum), revision, created));
                then.revision = revision;
                if then.size() > STORE_BYTES_MAX && then.size() > self.size() {
                    return Says::Refused("full");
                }
                *self = then;
                Says::Added(sum, applied, revision, created)
            }
            Operation::Delete(delete) => {
                let key = delete.key.as_str();
                if let Some(refusal) = self.refusal(key, &delete.expect) {
                    return Says::Refused(refusal);
                }
                let previous = self.line(key);
                if !show(&previous, room) {
                    return Says::Refused("answer");
                }
                if previous.is_some() {
                    self.lines.retain(|line| line.0 != key);
                    self.revision = revision;
                }
                Says::Deleted(previous, self.revision)
            }
        }
    }

    /// The keys that begin with `prefix`, after `after`, in order, as many as fit onto a page, and whether there are
    /// more.
    fn page(&self, list: &List) -> (Vec<String>, bool) {
        let mut keys: Vec<_> = self.lines.iter().map(|line| line.0.clone()).collect();
        keys.sort();
        keys.retain(|key| key.starts_with(&list.prefix));
        keys.retain(|key| list.after.as_ref().is_none_or(|after| key > after));
        let fitting = (0..=keys.len()).rev().find(|count| {
            let size = |key: &String| {
                let shown = list.shows == ListShows::Entries;
                key.len()
                    + if shown {
                        self.line(key).unwrap().0.byte_len()
                    } else {
                        0
                    }
            };
            *count <= list.page_size
                && (*count <= 1
                    || keys[..*count].iter().map(size).sum::<usize>() <= list.page_bytes)
        });
        let more = fitting.unwrap() < keys.len();
        keys.truncate(fitting.unwrap());
        (keys, more)
    }

    fn each(&mut self, operations: &[Operation]) -> Vec<Says> {
        let mut room = ANSWER_BYTES_MAX as i64;
        operations
            .iter()
            .map(|operation| self.step(operation, self.revision + 1, &mut room))
            .collect()
    }

    fn all(&mut self, operations: &[Operation]) -> Result<Vec<Says>, (usize, Says)> {
        let mut room = ANSWER_BYTES_MAX as i64;
        let mut after = self.clone();
        let mut answers = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            match after.step(operation, self.revision + 1, &mut room) {
                refused @ Says::Refused(_) => return Err((index, refused)),
                says => answers.push(says),
            }
        }
        *self = after;
        for answer in &mut answers {
            match answer {
                Says::Shown(_, revision)
                | Says::Written(_, revision, _)
                | Says::Added(_, _, revision, _)
                | Says::Deleted(_, revision) => *revision = self.revision,
                Says::Refused(_) => unreachable!("none was"),
            }
        }
        Ok(answers)
    }
}

fn line(entry: Entry) -> (Value, i64, i64) {
    (entry.value, entry.revision, entry.create_revision)
}

fn says(result: Result<Outcome, super::super::Cause>) -> Says {
    use super::super::Cause;
    match result {
        Ok(Outcome::Read(read)) => Says::Shown(read.entry.map(line), read.revision),
        Ok(Outcome::Write(write)) => Says::Written(
            write.previous.map(line),
            write.revision,
            write.create_revision,
        ),
        Ok(Outcome::Add(add)) => {
            Says::Added(add.value, add.applied, add.revision, add.create_revision)
        }
        Ok(Outcome::Delete(delete)) => Says::Deleted(delete.previous.map(line), delete.revision),
        Err(Cause::NotAnInt { .. }) => Says::Refused("not an int"),
        Err(Cause::Overflow { .. }) => Says::Refused("overflow"),
        Err(Cause::BoundReached { .. }) => Says::Refused("bound"),
        Err(Cause::ExpectationFailed(_)) => Says::Refused("expectation"),
        Err(Cause::KeyExists { .. }) => Says::Refused("exists"),
        Err(Cause::KeyNotFound) => Says::Refused("not found"),
        Err(Cause::StoreFull { .. }) => Says::Refused("full"),
        Err(Cause::AnswerTooLarge { .. }) => Says::Refused("answer"),
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("longer")].prop_map(String::from)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..3i64).prop_map(Value::Int),
        "[xy]{0,30}".prop_map(|text| Value::Text(text.into())),
        vec(0..2u8, 0..3).prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

fn condition() -> impl Strategy<Value = Expect> {
    option::weighted(
        0.5,
        prop_oneof![
            any::<bool>().prop_map(Condition::Exists),
            (0..8i64).prop_map(Condition::Revision),
            (0..4i64).prop_map(Condition::CreateRevision),
            value().prop_map(Condition::Value),
        ]
        .prop_map(Box::new),
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let read = (key(), condition()).prop_map(|(key, expect)| {
        Operation::Read(Read {
            key: key.into(),
            expect,
        })
    });
    let write =
        (key(), condition(), value(), any::<bool>()).prop_map(|(key, expect, value, previous)| {
            Operation::Write(Write {
                key: key.into(),
                expect,
                value,
                answer: if previous {
                    WriteAnswer::Previous
                } else {
                    WriteAnswer::Revisions
                },
            })
        });
    let few = || prop_oneof![4 => -5..6i64, 1 => any::<i64>()];
    let bounds =
        (option::of(few()), option::of(few()), any::<bool>()).prop_map(|(one, other, saturate)| {
            // The lesser is the lower, where there are two.
            let (min, max) = match (one, other) {
                (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
                ends => ends,
            };
            Bounds {
                min,
                max,
                beyond: if saturate {
                    Beyond::Saturate
                } else {
                    Beyond::Refuse
                },
            }
        });
    let bounds = option::weighted(0.8, bounds.prop_map(Box::new));
    let add = (key(), condition(), few(), bounds).prop_map(|(key, expect, delta, bounds)| {
        Operation::Add(Add {
            key: key.into(),
            expect,
            delta,
            bounds,
        })
    });
    let delete = (key(), condition()).prop_map(|(key, expect)| {
        Operation::Delete(Delete {
            key: key.into(),
            expect,
        })
    });
    prop_oneof![2 => read, 4 => write, 2 => add, 1 => delete]
}

fn list() -> impl Strategy<Value = List> {
    let key = || {
        prop_oneof![
            Just(""),
            Just("a"),
            Just("b"),
            Just("l"),
            Just("longer"),
            Just("z")
        ]
    };
    (
        key(),
        option::of(key()),
        1..5usize,
        1..40usize,
        any::<bool>(),
    )
        .prop_map(|(prefix, after, page_size, page_bytes, keys_only)| List {
            prefix: prefix.into(),
            // A token is of its own prefix.
            after: after
                .filter(|after| after.starts_with(prefix))
                .map(Into::into),
            page_size,
            page_bytes,
            shows: if keys_only {
                ListShows::Keys
            } else {
                ListShows::Entries
            },
        })
}

/// A program: frames, each done as a whole or operation by operation.
fn program() -> impl Strategy<Value = Vec<(bool, Vec<Operation>)>> {
    vec((any::<bool>(), vec(operation(), 1..6)), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_the_model_does(program in program(), list in list()) {
        let mut machine = StateMachine::new(STORE_BYTES_MAX);
        let mut model = Model::default();
        for (atomic, operations) in program {
            if atomic {
                let expected = model.all(&operations);
                let answer = machine.apply_all(operations, ANSWER_BYTES_MAX);
                prop_assert_eq!(
                    answer
                        .map(|all| all.outcomes.into_iter().map(Ok).map(says).collect::<Vec<_>>())
                        .map_err(|at| (at.index, says(Err(at.rejection.cause)))),
                    expected
                );
            } else {
                let expected = model.each(&operations);
                let answer = machine.apply_each(operations, ANSWER_BYTES_MAX);
                let results = answer.results.into_iter().map(|result| result.map_err(|r| r.cause));
                prop_assert_eq!(results.map(says).collect::<Vec<_>>(), expected);
                prop_assert_eq!(answer.revision, model.revision);
            }
            machine.assert_consistent();
            let usage = machine.usage();
            prop_assert_eq!(usage.revision, model.revision);
            prop_assert_eq!(usage.used_bytes, model.size());
            prop_assert_eq!(usage.key_count, model.lines.len());
            let page = machine.list(&list);
            let keys = page.entries.iter().map(|(key, _)| key.as_str().to_owned()).collect();
            prop_assert_eq!((keys, page.rest == Rest::More), model.page(&list));
            for (key, value, revision, created) in &model.lines {
                prop_assert_eq!(
                    machine.entries.get(key.as_str()).cloned().map(line),
                    Some((value.clone(), *revision, *created))
                );
            }
        }
    }
}
