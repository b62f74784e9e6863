//! Encodes records of the log. Changes, of which a record has most, are written as they are, without a message in between; what
//! comes out is what [`LogRecord`] and [`Effect`] would make of them.

use prost::Message as _;

use super::backwards::Backwards;
use super::messages::{Effect, LogRecord};
use super::{duration_nanos, to_nanos};
use crate::machine;

/// About the bytes of a change, besides its key and its value.
const CHANGE_BYTES: usize = 40;

/// Encodes a record with the effects of a batch.
pub(crate) fn encode_with(record: &LogRecord, effects: &[machine::Effect]) -> Vec<u8> {
    debug_assert!(record.effects.is_empty(), "the record has other effects");
    // The fields before the effects, and those after.
    let after = LogRecord {
        closed: record.closed,
        snapshot_before: record.snapshot_before,
        ..LogRecord::default()
    };
    let before = LogRecord {
        closed: false,
        snapshot_before: false,
        ..record.clone()
    };
    let mut out = Backwards::with_room(effects.iter().map(about_bytes).sum::<usize>() + 64);
    out.put(&after.encode_to_vec());
    for effect in effects.iter().rev() {
        let end = out.len();
        put_effect(&mut out, effect);
        out.head_of_message(7, end);
    }
    out.put(&before.encode_to_vec());
    out.finish()
}

fn about_bytes(effect: &machine::Effect) -> usize {
    let of = match effect {
        machine::Effect::Changed(change) => {
            let value = change.entry.as_ref().map_or(0, |of| of.value.byte_len());
            change.key.as_str().len() + value
        }
        _ => CHANGE_BYTES,
    };
    CHANGE_BYTES + of
}

fn put_effect(out: &mut Backwards, effect: &machine::Effect) {
    match effect {
        machine::Effect::Changed(change) => {
            let end = out.len();
            put_change(out, change);
            out.head_of_message(1, end);
        }
        other => out.put(&Effect::from(other).encode_to_vec()),
    }
}

/// The fields of a `Change`, from the last to the first, as all fields here.
fn put_change(out: &mut Backwards, change: &machine::Change) {
    if let Some(entry) = &change.entry {
        let end = out.len();
        put_entry(out, entry);
        out.head_of_message(4, end);
    }
    let cause = super::messages::ChangeCause::from(change.cause);
    out.number_unless_0(3, cause as u64);
    out.number_unless_0(2, change.revision.cast_unsigned());
    out.text_unless_empty(1, change.key.as_str());
}

/// The fields of an `Entry`.
fn put_entry(out: &mut Backwards, entry: &machine::Entry) {
    if let Some(key_state) = entry.key_state() {
        let end = out.len();
        put_key_state(out, key_state);
        out.head_of_message(6, end);
    }
    if let Some(lifetime) = entry.lifetime() {
        put_lifetime(out, lifetime);
    }
    out.number_unless_0(3, entry.create_revision.cast_unsigned());
    out.number_unless_0(2, entry.revision.cast_unsigned());
    let end = out.len();
    match &entry.value {
        machine::Value::Int(int) => out.number(1, int.cast_unsigned()),
        machine::Value::Text(text) => out.text(2, text.as_bytes()),
        machine::Value::Bytes(bytes) => out.text(3, bytes),
    }
    out.head_of_message(1, end);
}

/// The field `session` or `ttl` of an `Entry`.
fn put_lifetime(out: &mut Backwards, lifetime: &machine::Lifetime) {
    let end = out.len();
    match lifetime {
        machine::Lifetime::Session {
            id,
            create_revision,
        } => {
            out.number_unless_0(2, create_revision.cast_unsigned());
            out.text_unless_empty(1, id.as_str());
            out.head_of_message(5, end);
        }
        machine::Lifetime::Ttl { ttl, ends } => {
            out.number_unless_0(2, to_nanos(*ends));
            out.number_unless_0(1, duration_nanos(*ttl));
            out.head_of_message(4, end);
        }
    }
}

/// The fields of a `KeyState`.
fn put_key_state(out: &mut Backwards, key_state: &machine::KeyState) {
    if let Some(timeout_at) = key_state.timeout_at {
        out.number(4, to_nanos(timeout_at));
    }
    out.number_unless_0(3, to_nanos(key_state.since));
    out.text_unless_empty(2, key_state.state.as_str());
    out.text_unless_empty(1, key_state.machine.as_str());
}
