//! Keys and values: how many, which kind, and which size.

use crate::command_line::args::WhatArgs;
use crate::plan::choices::{KeyDist, ValueKind};
use crate::plan::mix::{DISTINCT_BYTES_MIN, Mix, NamedWorkload};

/// The keys unless a flag says how many.
const KEYS: u64 = 5;
/// The keys and the bytes of a value in YCSB's workload files: 1,000 records of 10 fields of 100 bytes.
const YCSB_KEYS: u64 = 1_000;
const YCSB_VALUE_BYTES: u64 = 1_000;

/// The keys and values of a run.
pub(crate) struct Data {
    pub(crate) keys: u64,
    pub(crate) key_dist: KeyDist,
    pub(crate) value: ValueKind,
    /// Bytes of each text or bytes value; 0 for ints.
    pub(crate) value_size: u64,
}

/// # Errors
/// If the flags ask for values that cannot be. The text names the flags.
pub(crate) fn resolve(mix: Mix, distinct: bool, what: &WhatArgs) -> Result<Data, String> {
    let ycsb_dist = match mix {
        Mix::Named(NamedWorkload::D) => Some("latest"),
        Mix::Named(
            NamedWorkload::A
            | NamedWorkload::B
            | NamedWorkload::C
            | NamedWorkload::E
            | NamedWorkload::F,
        ) => Some("zipfian"),
        _ => None,
    };
    let is_ycsb = ycsb_dist.is_some();
    let key_dist = match (what.key_dist, ycsb_dist) {
        (Some(dist), _) => dist,
        (None, Some(dist)) => dist.parse().expect("the name of a distribution"),
        (None, None) => KeyDist::Uniform,
    };
    let (value, value_size) = value(mix, is_ycsb, what)?;
    if distinct && mix.writes() && value != ValueKind::Int && value_size < DISTINCT_BYTES_MIN {
        return Err(format!(
            "--value-size {value_size}: distinct values need at least {DISTINCT_BYTES_MIN} bytes"
        ));
    }
    Ok(Data {
        keys: what.keys.unwrap_or(if is_ycsb { YCSB_KEYS } else { KEYS }),
        key_dist,
        value,
        value_size,
    })
}

/// Returns the kind and the size of the values. The size of ints is 0.
fn value(mix: Mix, is_ycsb: bool, what: &WhatArgs) -> Result<(ValueKind, u64), String> {
    let takes_ints = match mix {
        Mix::Named(NamedWorkload::Mixed) => Some("--workload mixed"),
        Mix::Named(NamedWorkload::Counter) => Some("--workload counter"),
        Mix::Named(NamedWorkload::Watch) => Some("--workload watch"),
        _ => None,
    };
    if let Some(workload) = takes_ints {
        let other = match (what.value, what.value_size) {
            (Some(ValueKind::Text | ValueKind::Bytes), _) => Some("--value"),
            (_, Some(_)) => Some("--value-size"),
            _ => None,
        };
        return match other {
            Some(flag) => Err(format!("{flag} with {workload}: this workload writes ints")),
            None => Ok((ValueKind::Int, 0)),
        };
    }
    let by_size = match what.value_size.is_some() || is_ycsb {
        true => ValueKind::Text,
        false => ValueKind::Int,
    };
    let value = what.value.unwrap_or(by_size);
    let size = match (value, what.value_size) {
        (ValueKind::Int, Some(size)) => {
            return Err(format!(
                "--value-size {size} with --value int: ints have no size"
            ));
        }
        (ValueKind::Int, None) => 0,
        (_, Some(size)) => size,
        (_, None) if is_ycsb => YCSB_VALUE_BYTES,
        (_, None) => return Err("--value: texts and bytes need a --value-size".to_owned()),
    };
    Ok((value, size))
}
