//! The keys of a run, the machine of some of them, and their entries in the terms of the checker.

use std::time::Duration;

use soloist::v1;
use soloist_verify::{Entry, Machine, Value};

use super::{CLIENTS, Checked};
use crate::support::int;

pub(super) const KEYS_SHARED: usize = 8;
/// Two keys that only a Batch changes, both at once.
pub(super) const PAIR: [&str; 2] = ["pair/a", "pair/b"];
/// Keys of [`machine`].
pub(super) const JOBS: usize = 3;
/// Keys that only a DeletePrefix deletes, all at once.
pub(super) const SWEPT: usize = 4;
pub(super) const SWEPT_PREFIX: &str = "swept/";
/// Keys with large values.
pub(super) const LARGE: usize = 6;
const LARGE_PREFIX: &str = "large/";
const LARGE_BYTES: usize = 200_000;
/// Keys that end by themselves, which the checker cannot judge.
pub(super) const LIFETIMES_PREFIX: &str = "life/";

const STATES: [&str; 3] = ["idle", "busy", "done"];
pub(super) const STATE_COUNT: u8 = STATES.len() as u8;

pub(super) fn shared(index: usize) -> String {
    format!("shared/{index}")
}

/// A key to which only one client adds, each time with a request_id.
pub(super) fn counter(client: u32) -> String {
    format!("counter/{client:02}")
}

pub(super) fn job(index: usize) -> String {
    format!("job/{index}")
}

pub(super) fn swept(index: usize) -> String {
    format!("{SWEPT_PREFIX}{index}")
}

pub(super) fn large(index: usize) -> String {
    format!("{LARGE_PREFIX}{index}")
}

/// All keys that the checker judges.
pub(super) fn keys() -> impl Iterator<Item = String> {
    let pair = PAIR.into_iter().map(str::to_owned);
    (0..KEYS_SHARED)
        .map(shared)
        .chain((0..CLIENTS).map(counter))
        .chain(pair)
        .chain((0..JOBS).map(job))
        .chain((0..SWEPT).map(swept))
        .chain((0..LARGE).map(large))
}

pub(super) fn has_machine(key: &str) -> bool {
    key.starts_with("job/")
}

/// The machine of the jobs, for the checker.
pub(super) fn machine() -> Machine {
    Machine {
        name: "job".into(),
        states: STATES.map(str::to_owned).to_vec(),
        initial: 0,
        next: vec![vec![1], vec![0, 2], vec![]],
    }
}

/// The same machine for the server. Its timeout is too long to matter.
pub(super) fn machine_to_define() -> v1::Machine {
    let Machine {
        name, states, next, ..
    } = machine();
    let state = |(name, next): (&String, &Vec<u8>)| {
        let state = v1::machine::State {
            next: next.iter().map(|it| state_name(*it)).collect(),
            ..v1::machine::State::default()
        };
        (name.clone(), state)
    };
    let mut states: std::collections::HashMap<_, _> = states.iter().zip(&next).map(state).collect();
    let busy = states.get_mut("busy").unwrap();
    busy.timeout = Some(Duration::from_secs(86_400).try_into().unwrap());
    busy.timeout_next = "idle".into();
    v1::Machine {
        name,
        key_prefix: "job/".into(),
        initial: state_name(0),
        states,
        revision: 0,
    }
}

pub(super) fn state_name(number: u8) -> String {
    STATES[usize::from(number)].into()
}

pub(super) fn state_number(name: &str) -> Checked<u8> {
    let number = STATES.iter().position(|it| *it == name);
    let number = number.ok_or_else(|| format!("{name:?} is no state of the machine"))?;
    Ok(number as u8)
}

/// The value that this key has for a number.
pub(super) fn value_of(key: &str, number: i64) -> v1::Value {
    if !key.starts_with(LARGE_PREFIX) {
        return int(number);
    }
    let bytes = number.to_be_bytes().repeat(LARGE_BYTES / 8);
    v1::Value {
        kind: Some(v1::value::Kind::Bytes(bytes)),
    }
}

/// An entry in the terms of the checker. The clients write numbers only.
pub(super) fn entry(entry: Option<v1::Entry>) -> Checked<Option<Entry>> {
    let Some(entry) = entry else { return Ok(None) };
    let number = match entry.value.and_then(|value| value.kind) {
        Some(v1::value::Kind::Int(number)) => number,
        Some(v1::value::Kind::Bytes(bytes)) => {
            let number = bytes.first_chunk().map(|it| i64::from_be_bytes(*it));
            let number = number.filter(|it| *bytes == it.to_be_bytes().repeat(LARGE_BYTES / 8));
            number.ok_or("a large value that nobody wrote")?
        }
        other => {
            return Err(format!(
                "{other:?} was found, but only numbers were written"
            ));
        }
    };
    let state = match &*entry.state {
        "" => None,
        state => Some(state_number(state)?),
    };
    Ok(Some(Entry {
        value: Value::Int(number),
        revision: entry.revision,
        state,
    }))
}
