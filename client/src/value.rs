//! What the store holds, and what can be tested about it.

use soloist::v1;

use crate::Error;

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
/// Exactly one test. To test more than one thing, send an atomic [`Frame`](crate::Frame) in which reads with a
/// condition go before the write.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        };
        Self { test: Some(test) }
    }
}

/// What the store holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The store revision of the key's last change. Never used again.
    pub revision: i64,
    /// The store revision at which the key came to be. It tells one life of a key from the next.
    pub create_revision: i64,
}

impl TryFrom<v1::Entry> for Entry {
    type Error = Error;

    /// Fails with INTERNAL if there is no value: no server of ours sends that.
    fn try_from(entry: v1::Entry) -> Result<Self, Error> {
        Ok(Self {
            value: entry.value.unwrap_or_default().try_into()?,
            revision: entry.revision,
            create_revision: entry.create_revision,
        })
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
        ];
        for (condition, test) in cases {
            assert_eq!(v1::Condition::from(condition).test, Some(test));
        }
    }
}
