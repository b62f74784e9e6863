//! Values, entries, and conditions on entries.

use std::time::SystemTime;

use soloist::v1;

use crate::Error;
use crate::wire::{non_empty, timestamp_from_wire};

/// A value. Values of different kinds are never equal: text `"1"`, bytes `"1"` and int 1 are three values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A signed 64-bit integer.
    Int(i64),
    /// UTF-8 text of 0 to `Limits.max_value_bytes` bytes.
    Text(String),
    /// 0 to `Limits.max_value_bytes` bytes of any content.
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

    /// Fails with INTERNAL for a value without a kind, which no Soloist server sends.
    fn try_from(value: v1::Value) -> Result<Self, Error> {
        match value.kind {
            Some(v1::value::Kind::Int(int)) => Ok(Self::Int(int)),
            Some(v1::value::Kind::Text(text)) => Ok(Self::Text(text)),
            Some(v1::value::Kind::Bytes(bytes)) => Ok(Self::Bytes(bytes)),
            None => Err(Error::malformed("a value without a kind")),
        }
    }
}

/// A condition on the entry of a key as it is before the operation. If it does not hold, the operation is refused and
/// nothing changes.
///
/// A condition has exactly one test. To test more than one thing, send a [`Batch`](crate::Batch) that begins with a
/// read for each test: it is applied only if all their conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The key exists; else NOT_FOUND.
    Exists,
    /// The key does not exist; else ALREADY_EXISTS.
    Missing,
    /// The key has this `revision`; else ABORTED. With it a write is a compare-and-set. 0: the key does not exist.
    Revision(i64),
    /// The key has this `create_revision`; else ABORTED. 0: the key does not exist.
    CreateRevision(i64),
    /// The key has exactly this value, of the same kind; else ABORTED.
    Value(Value),
    /// The key is in this state of its machine; else FAILED_PRECONDITION. A missing key, and a key without a machine,
    /// is in no state.
    State(String),
    /// The key ends with the session of this id; else ABORTED. Empty: the key exists and ends with no session.
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

/// What is stored under a key.
///
/// `V` is [`Value`]. In a list it is `Option<Value>`, because a list can leave the values out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<V = Value> {
    /// The value.
    pub value: V,
    /// The store revision of the last change of this key. No other change ever gets this revision.
    pub revision: i64,
    /// The store revision at which the key was created. It stays the same until the key is deleted and is greater when
    /// the key is created again, so it can serve as a fencing token.
    pub create_revision: i64,
    /// When the ttl of the key ends, by the server's clock. The server deletes the key at that time or a moment later,
    /// never earlier. `None` without a ttl.
    pub expire_time: Option<SystemTime>,
    /// The id of the session that the key ends with. `None` if it ends with none.
    pub session: Option<String>,
    /// The name of the machine that the key is under. `None` if there is none.
    pub machine: Option<String>,
    /// The state that the key is in. `None` without a machine.
    pub state: Option<String>,
    /// When the timeout of the state moves the key, by the server's clock. `None` if the state has no timeout.
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

    /// Fails with INTERNAL for an entry without a value, which no Soloist server sends.
    fn try_from(mut entry: v1::Entry) -> Result<Self, Error> {
        let value = entry.value.take().unwrap_or_default();
        Self::new(value.try_into()?, entry)
    }
}

impl TryFrom<v1::Entry> for Entry<Option<Value>> {
    type Error = Error;

    /// Fails with INTERNAL for a value without a kind, which no Soloist server sends.
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
    fn entries_are_converted_field_by_field() {
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
