//! Requests of the tests.

use soloist::v1::{self, value};

pub(crate) fn int(int: i64) -> v1::Value {
    v1::Value {
        kind: Some(value::Kind::Int(int)),
    }
}

pub(crate) fn bytes(bytes: Vec<u8>) -> v1::Value {
    v1::Value {
        kind: Some(value::Kind::Bytes(bytes)),
    }
}

pub(crate) fn read(key: impl Into<String>) -> v1::ReadRequest {
    v1::ReadRequest {
        key: key.into(),
        expect: None,
    }
}

pub(crate) fn write(key: impl Into<String>, value: v1::Value) -> v1::WriteRequest {
    v1::WriteRequest {
        key: key.into(),
        value: Some(value),
        ..v1::WriteRequest::default()
    }
}
