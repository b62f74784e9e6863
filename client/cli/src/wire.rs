//! Messages of the contract, made of what was typed, and of what the client library tells.

use std::time::{Duration, SystemTime};

use soloist::v1;
use soloist::v1::condition::Test;
use soloist::v1::value::Kind;
use soloist_client::{Cause, Entry, Event, Value, WatchMessage};

/// The longest duration that a message can have.
const DURATION_MAX: Duration = Duration::from_secs(315_576_000_000);

pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(DURATION_MAX);
    prost_types::Duration {
        seconds: duration.as_secs().cast_signed(),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

pub(crate) fn condition(test: Option<Test>) -> Option<v1::Condition> {
    test.map(|test| v1::Condition { test: Some(test) })
}

pub(crate) fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

/// Text if it is text, and otherwise bytes.
pub(crate) fn text_or_bytes(bytes: Vec<u8>) -> Kind {
    match String::from_utf8(bytes) {
        Ok(text) => Kind::Text(text),
        Err(error) => Kind::Bytes(error.into_bytes()),
    }
}

fn entry(key: String, revision: i64, entry: Option<Entry>) -> v1::Entry {
    let timestamp = |time: SystemTime| prost_types::Timestamp::from(time);
    let Some(entry) = entry else {
        return v1::Entry {
            key,
            revision,
            ..v1::Entry::default()
        };
    };
    let Entry {
        value,
        create_revision,
        expire_time,
        session,
        machine,
        state,
        state_expire_time,
        ..
    } = entry;
    v1::Entry {
        key,
        value: Some(Value::into(value)),
        revision,
        create_revision,
        expire_time: expire_time.map(timestamp),
        session: session.unwrap_or_default(),
        machine: machine.unwrap_or_default(),
        state: state.unwrap_or_default(),
        state_expire_time: state_expire_time.map(timestamp),
    }
}

fn event(event: Event) -> v1::Event {
    use v1::event::Cause as Wire;
    let cause = match event.cause {
        Cause::Initial => Wire::Initial,
        Cause::Written => Wire::Written,
        Cause::Transitioned => Wire::Transitioned,
        Cause::Deleted => Wire::Deleted,
        Cause::Expired => Wire::Expired,
        Cause::SessionEnded => Wire::SessionEnded,
        Cause::TimedOut => Wire::TimedOut,
        _ => Wire::Unspecified,
    };
    v1::Event {
        cause: cause as i32,
        previous: event.previous.map(|previous| {
            // Its key is that of the event.
            let revision = previous.revision;
            entry(String::new(), revision, Some(previous))
        }),
        previous_left_out: event.previous_left_out,
        entry: Some(entry(event.key, event.revision, event.entry)),
    }
}

/// A message of a watch as it was on the wire.
pub(crate) fn watch_response(message: WatchMessage) -> v1::WatchResponse {
    v1::WatchResponse {
        events: message.events.into_iter().map(event).collect(),
        revision: message.revision.unwrap_or_default(),
        caught_up: message.caught_up,
    }
}
