//! What the store holds, and what can be tested about it.

use std::time::SystemTime;

use soloist::v1;

use crate::Error;
use crate::wire::{non_empty, timestamp_from_wire};

/// A value. Kinds differ: text `"1"` is not bytes `"1"` and not int 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A signed 64-bit integer.
    Int(i64),
    /// UTF-8 text, 0 to `Limits.max_value_bytes` bytes.
    Text(String),
    /// Any bytes, 0 to `Limits.max_value_bytes`.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Value> for v1::Value {
    fn from(value: Value) -> Self {
        let kind = match value {
            Value::Int(int) => v1::value::Kind::Int(int),
            Value::Text(text) => v1::value::Kind::Text(text),
            Value::Bytes(bytes) => v1::value::Kind::Bytes(bytes),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Value> for Value {
    type Error = Error;

    /// Fails with INTERNAL if no kind is set: no server of ours sends that.
    fn try_from(value: v1::Value) -> Result<Self, Error> {
        match value.kind {
            Some(v1::value::Kind::Int(int)) => Ok(Self::Int(int)),
            Some(v1::value::Kind::Text(text)) => Ok(Self::Text(text)),
            Some(v1::value::Kind::Bytes(bytes)) => Ok(Self::Bytes(bytes)),
            None => Err(Error::malformed("a value without a kind")),
        }
    }
}

/// What must hold, or the operation is refused and nothing changes.
///
/// Exactly one test. To test more than one thing, send a [`Batch`](crate::Batch) in which reads with a condition go
/// before the write: it is applied only if all of them hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The key is there; else NOT_FOUND.
    Exists,
    /// The key is not there; else ALREADY_EXISTS.
    Missing,
    /// The key was changed last at this store revision, else ABORTED: compare-and-set. 0: the key is not there.
    Revision(i64),
    /// The key came to be at this store revision, else ABORTED. 0: the key is not there.
    CreateRevision(i64),
    /// The key has exactly this value, of this kind; else ABORTED.
    Value(Value),
    /// The key is in this state of its machine; else FAILED_PRECONDITION, also if it is not there or has no machine.
    State(String),
    /// The key ends with the session of this id, else ABORTED. Empty: it is there, and ends with none.
    Session(String),
}

impl From<Condition> for v1::Condition {
    fn from(condition: Condition) -> Self {
        use v1::condition::Test;
        let test = match condition {
            Condition::Exists => Test::Exists(true),
            Condition::Missing => Test::Exists(false),
            Condition::Revision(revision) => Test::Revision(revision),
            Condition::CreateRevision(revision) => Test::CreateRevision(revision),
            Condition::Value(value) => Test::Value(value.into()),
            Condition::State(state) => Test::State(state),
            Condition::Session(id) => Test::Session(id),
        };
        Self { test: Some(test) }
    }
}

/// What the store holds under a key.
///
/// `V` is [`Value`], and `Option<Value>` in a list, which may leave the values out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<V = Value> {
    /// The value.
    pub value: V,
    /// The store revision of the key's last change. Never used again.
    pub revision: i64,
    /// The store revision at which the key came to be. It tells one life of a key from the next, and grows from each to
    /// the next: a fencing token.
    pub create_revision: i64,
    /// When the key ends by its ttl: not before, and at most a moment after, by the server's clock. `None` without one.
    pub expire_time: Option<SystemTime>,
    /// The id of the session with which the key ends; `None` without one.
    pub session: Option<String>,
    /// The machine under whose prefix the key lies; `None` if there is none.
    pub machine: Option<String>,
    /// The state that the key is in; `None` without a machine.
    pub state: Option<String>,
    /// When the state's timeout moves the key on, by the server's clock; `None` if the state has none.
    pub state_expire_time: Option<SystemTime>,
}

impl<V> Entry<V> {
    fn new(value: V, entry: v1::Entry) -> Result<Self, Error> {
        Ok(Self {
            value,
            revision: entry.revision,
            create_revision: entry.create_revision,
            expire_time: timestamp_from_wire(entry.expire_time)?,
            session: non_empty(entry.session),
            machine: non_empty(entry.machine),
            state: non_empty(entry.state),
            state_expire_time: timestamp_from_wire(entry.state_expire_time)?,
        })
    }
}

impl TryFrom<v1::Entry> for Entry {
    type Error = Error;

    /// Fails with INTERNAL if there is no value: no server of ours sends that.
    fn try_from(mut entry: v1::Entry) -> Result<Self, Error> {
        let value = entry.value.take().unwrap_or_default();
        Self::new(value.try_into()?, entry)
    }
}

impl TryFrom<v1::Entry> for Entry<Option<Value>> {
    type Error = Error;

    /// Fails with INTERNAL if there is a value without a kind: no server of ours sends that.
    fn try_from(mut entry: v1::Entry) -> Result<Self, Error> {
        let value = entry.value.take();
        Self::new(value.map(Value::try_from).transpose()?, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_wire() {
        for value in [
            Value::from(i64::MIN),
            Value::from(0),
            Value::from(""),
            Value::from(String::from("text")),
            Value::from(b"\xff\0".as_slice()),
            Value::from(Vec::new()),
        ] {
            let wire = v1::Value::from(value.clone());
            assert_eq!(Value::try_from(wire).unwrap(), value);
        }
    }

    #[test]
    fn a_value_without_a_kind_is_an_error() {
        let error = Value::try_from(v1::Value { kind: None }).unwrap_err();
        assert_eq!(error.code(), tonic::Code::Internal);
    }

    #[test]
    fn conditions_set_their_test() {
        use v1::condition::Test;
        let cases = [
            (Condition::Exists, Test::Exists(true)),
            (Condition::Missing, Test::Exists(false)),
            (Condition::Revision(7), Test::Revision(7)),
            (Condition::CreateRevision(0), Test::CreateRevision(0)),
            (
                Condition::Value(1.into()),
                Test::Value(v1::Value {
                    kind: Some(v1::value::Kind::Int(1)),
                }),
            ),
            (Condition::State("idle".into()), Test::State("idle".into())),
            (
                Condition::Session(String::new()),
                Test::Session(String::new()),
            ),
        ];
        for (condition, test) in cases {
            assert_eq!(v1::Condition::from(condition).test, Some(test));
        }
    }

    #[test]
    fn an_entry_tells_what_it_has() {
        let wire = v1::Entry {
            value: Some(Value::from(1).into()),
            revision: 7,
            create_revision: 3,
            expire_time: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000,
            }),
            machine: "conn".into(),
            state: "idle".into(),
            ..v1::Entry::default()
        };
        let entry = Entry::<Value>::try_from(wire.clone()).unwrap();
        assert_eq!((entry.revision, entry.create_revision), (7, 3));
        let after = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500);
        assert_eq!(entry.expire_time, Some(after));
        assert_eq!((entry.session, entry.state_expire_time), (None, None));
        assert_eq!(entry.machine.as_deref(), Some("conn"));
        assert_eq!(entry.state.as_deref(), Some("idle"));

        let without = v1::Entry {
            value: None,
            ..wire
        };
        assert!(Entry::<Value>::try_from(without.clone()).is_err());
        let listed = Entry::<Option<Value>>::try_from(without).unwrap();
        assert_eq!((listed.value, listed.revision), (None, 7));
    }
}
