//! Checks of the fields of an answer.

use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use crate::plan::call::FieldCheck;

/// Finds out whether a message can have the field of a check.
///
/// # Errors
/// If it cannot. The text names the field and those that there are.
pub(super) fn check_path(descriptor: &MessageDescriptor, check: &FieldCheck) -> Result<(), String> {
    let mut message = Some(descriptor.clone());
    let mut names = check.path.iter();
    while let Some(name) = names.next() {
        let Some(current) = message else {
            return Err(format!("--expect {check}: there is no field within {name}"));
        };
        let field = current
            .get_field_by_name(name)
            .or_else(|| current.get_field_by_json_name(name));
        let field = field.ok_or_else(|| {
            let fields: Vec<_> = current.fields().map(|of| of.name().to_owned()).collect();
            let name_of = current.full_name();
            format!(
                "--expect {check}: {name_of} has no field {name}; it has {}",
                fields.join(", ")
            )
        })?;
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        if field.is_list() || field.is_map() {
            // The index or the key.
            names.next();
        }
        message = match kind {
            Kind::Message(inner) => Some(inner),
            _ => None,
        };
    }
    Ok(())
}

/// Compares a field of an answer with the value that it must have.
///
/// # Errors
/// If it differs. The text has both values.
pub(super) fn check(message: &DynamicMessage, check: &FieldCheck) -> Result<(), String> {
    let found = find(message, &check.path);
    let is_right = found.as_ref().is_some_and(|found| match found {
        serde_json::Value::String(text) => *text == check.value,
        other => {
            serde_json::from_str(&check.value).is_ok_and(|value: serde_json::Value| value == *other)
        }
    });
    match is_right {
        true => Ok(()),
        false => {
            let found = found.map_or("nothing".to_owned(), |found| found.to_string());
            Err(format!(
                "{} is {found}, not {}",
                check.path.join("."),
                check.value
            ))
        }
    }
}

/// Returns the value at a path as JSON, or `None` if there is none.
fn find(message: &DynamicMessage, path: &[String]) -> Option<serde_json::Value> {
    let (name, rest) = path.split_first()?;
    let descriptor = message.descriptor();
    let field = descriptor
        .get_field_by_name(name)
        .or_else(|| descriptor.get_field_by_json_name(name))?;
    if field.supports_presence() && !message.has_field(&field) {
        return None;
    }
    let value = message.get_field(&field);
    match (&*value, rest) {
        (Value::Message(inner), [_, ..]) => find(inner, rest),
        (Value::List(items), [index, rest @ ..]) => {
            let item = items.get(index.parse::<usize>().ok()?)?;
            within(item, &field.kind(), rest)
        }
        (Value::Map(entries), [key, rest @ ..]) => {
            let item = entries.iter().find(|(of, _)| shown(of) == *key)?.1;
            let Kind::Message(entry) = field.kind() else {
                return None;
            };
            within(item, &entry.map_entry_value_field().kind(), rest)
        }
        (value, []) if !field.is_list() && !field.is_map() => json(value, &field.kind()),
        (Value::List(items), []) => items.iter().map(|item| json(item, &field.kind())).collect(),
        (_, _) => None,
    }
}

fn within(item: &Value, kind: &Kind, rest: &[String]) -> Option<serde_json::Value> {
    match (item, rest) {
        (item, []) => json(item, kind),
        (Value::Message(inner), rest) => find(inner, rest),
        _ => None,
    }
}

fn shown(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// Returns a value as JSON: numbers as numbers, also those of 64 bits; enums by name; messages as Protocol Buffers map them.
fn json(value: &Value, kind: &Kind) -> Option<serde_json::Value> {
    use base64::Engine as _;
    Some(match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        Value::F32(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => base64::engine::general_purpose::STANDARD
            .encode(value)
            .into(),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(of) => of
                .get_value(*number)
                .map_or_else(|| (*number).into(), |value| value.name().into()),
            _ => (*number).into(),
        },
        Value::Message(message) => serde_json::to_value(message).ok()?,
        Value::List(_) | Value::Map(_) => return None,
    })
}
