//! Checks values.

use soloist::v1;
use soloist::v1::error::Reason;

use super::path::{BadArgument, Path};
use crate::config::Limits;
use crate::machine::Value;

/// Checks that a value is set and not too large.
pub(super) fn value(
    path: &Path<'_>,
    value: Option<v1::Value>,
    limits: &Limits,
) -> Result<Value, BadArgument> {
    let Some(kind) = value.and_then(|value| value.kind) else {
        return Err(path.bad(
            Reason::ValueMissing,
            "is missing: set one of int, text, bytes",
        ));
    };
    let (name, value) = match kind {
        v1::value::Kind::Int(int) => return Ok(Value::Int(int)),
        v1::value::Kind::Text(text) => ("text", Value::Text(text.into())),
        v1::value::Kind::Bytes(bytes) => ("bytes", Value::Bytes(bytes.into())),
    };
    if value.byte_len() > limits.max_value_bytes {
        return Err(path.field(name).over_limit(
            Reason::ValueTooLarge,
            "bytes",
            limits.max_value_bytes,
            value.byte_len(),
        ));
    }
    Ok(value)
}
