//! Messages as JSON, as grpcurl prints them: protobuf's own mapping, with two spaces for each level and the keys of maps in order.

use std::fmt::Write as _;
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};

use crate::failure::Failure;

static CONTRACT: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    let mut pool = DescriptorPool::new();
    for set in [
        soloist::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
    ] {
        let added = pool.decode_file_descriptor_set(set);
        added.map_err(|error| error.to_string())?;
    }
    Ok(pool)
});

fn descriptor(name: &str) -> Result<MessageDescriptor, Failure> {
    let pool = CONTRACT.as_ref();
    let pool = pool.map_err(|why| Failure::other(format!("the contract cannot be read: {why}")))?;
    let found = pool.get_message_by_name(name);
    found.ok_or_else(|| Failure::other(format!("the contract has no {name}")))
}

/// A message of this name as JSON, on several lines.
pub(crate) fn pretty(name: &str, message: &impl Message) -> Result<String, Failure> {
    let descriptor = descriptor(name)?;
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor, &bytes[..])
        .map_err(|error| Failure::other(format!("{name} cannot be shown: {error}")))?;
    let mut text = String::new();
    write_message(&mut text, &message, 0);
    Ok(text)
}

/// Reads a message of this name from JSON.
///
/// # Errors
/// The text says which field is wrong.
pub(crate) fn parse<M: Message + Default>(
    name: &str,
    json: &serde_json::Value,
) -> Result<M, String> {
    let descriptor = descriptor(name).map_err(|failure| failure.to_string())?;
    let text = json.to_string();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let message = DynamicMessage::deserialize(descriptor, tracked);
    let message = message.map_err(|error| {
        let error = error.to_string();
        // The place is in the text that was made here.
        let why = error.split(" at line ").next().unwrap_or_default();
        match track.path().to_string().as_str() {
            "." => why.to_owned(),
            path => format!("{path}: {why}"),
        }
    })?;
    message.transcode_to().map_err(|error| error.to_string())
}

fn write_message(text: &mut String, message: &DynamicMessage, depth: usize) {
    let descriptor = message.descriptor();
    if descriptor.full_name().starts_with("google.protobuf.") {
        // A time or a duration, which are texts.
        text.push_str(&serde_json::to_string(message).unwrap_or_default());
        return;
    }
    let fields: Vec<_> = message.fields().collect();
    write_all(text, ('{', '}'), &fields, depth, |text, (field, value)| {
        write_text(text, field.json_name());
        text.push_str(": ");
        write_value(text, value, &field.kind(), depth + 1);
    });
}

/// Writes what is between two brackets, each on a line of its own.
fn write_all<T>(
    text: &mut String,
    (open, close): (char, char),
    all: &[T],
    depth: usize,
    mut write: impl FnMut(&mut String, &T),
) {
    text.push(open);
    for (number, one) in all.iter().enumerate() {
        text.push_str(if number > 0 { ",\n" } else { "\n" });
        indent(text, depth + 1);
        write(text, one);
    }
    if !all.is_empty() {
        text.push('\n');
        indent(text, depth);
    }
    text.push(close);
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

fn write_value(text: &mut String, value: &Value, kind: &Kind, depth: usize) {
    match value {
        Value::Message(message) => write_message(text, message, depth),
        Value::List(list) => write_all(text, ('[', ']'), list, depth, |text, value| {
            write_value(text, value, kind, depth + 1);
        }),
        Value::Map(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| (shown(key), value)).collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            let of_value = match kind {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                other => other.clone(),
            };
            write_all(text, ('{', '}'), &entries, depth, |text, (key, value)| {
                write_text(text, key);
                text.push_str(": ");
                write_value(text, value, &of_value, depth + 1);
            });
        }
        Value::String(value) => write_text(text, value),
        Value::Bytes(bytes) => write_base64(text, bytes),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(values) if values.get_value(*number).is_some() => {
                let name = values.get_value(*number);
                write_text(text, name.as_ref().map_or("", |value| value.name()));
            }
            _ => drop(write!(text, "{number}")),
        },
        // Numbers of 64 bits are texts: JavaScript has no such numbers.
        Value::I64(number) => drop(write!(text, "\"{number}\"")),
        Value::U64(number) => drop(write!(text, "\"{number}\"")),
        Value::I32(number) => drop(write!(text, "{number}")),
        Value::U32(number) => drop(write!(text, "{number}")),
        Value::Bool(value) => drop(write!(text, "{value}")),
        Value::F32(number) => drop(write!(text, "{number}")),
        Value::F64(number) => drop(write!(text, "{number}")),
    }
}

fn shown(key: &MapKey) -> String {
    match key {
        MapKey::String(key) => key.clone(),
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
    }
}

/// A text in quotes. Go escapes what would be markup in a page, and so does this.
fn write_text(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

fn write_base64(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.push('"');
    for chunk in bytes.chunks(3) {
        let mut bits = 0;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or_default());
        }
        for digit in 0..4 {
            match digit <= chunk.len() {
                true => text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use soloist::v1;

    #[test]
    fn messages_are_as_grpcurl_prints_them() {
        let machine = v1::Machine {
            name: "<a>\u{1}".into(),
            states: [("b", Some(1_500)), ("a", None)]
                .map(|(name, timeout)| {
                    let state = v1::machine::State {
                        next: vec!["a".into(), "b".into()],
                        timeout: timeout.map(|millis| prost_types::Duration {
                            seconds: millis / 1_000,
                            nanos: (millis % 1_000 * 1_000_000) as i32,
                        }),
                        ..v1::machine::State::default()
                    };
                    (name.to_owned(), state)
                })
                .into(),
            revision: i64::MAX,
            ..v1::Machine::default()
        };
        let text = pretty("soloist.v1.Machine", &machine).unwrap();
        assert_eq!(
            text,
            r#"{
  "name": "\u003ca\u003e\u0001",
  "states": {
    "a": {
      "next": [
        "a",
        "b"
      ]
    },
    "b": {
      "next": [
        "a",
        "b"
      ],
      "timeout": "1.500s"
    }
  },
  "revision": "9223372036854775807"
}"#
        );
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            parse::<v1::Machine>("soloist.v1.Machine", &json).unwrap(),
            machine
        );
        assert_eq!(
            pretty("soloist.v1.Machine", &v1::Machine::default()).unwrap(),
            "{}"
        );
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, base64) in [
            (&b""[..], "\"\""),
            (b"f", "\"Zg==\""),
            (b"fo", "\"Zm8=\""),
            (b"foo", "\"Zm9v\""),
            (b"\xff\xfe\xfd\xfc", "\"//79/A==\""),
        ] {
            let mut text = String::new();
            write_base64(&mut text, bytes);
            assert_eq!(text, base64);
        }
    }

    #[test]
    fn an_error_names_the_field() {
        let json = serde_json::json!({"ops": [{"add": {"key": "a", "delta": "x"}}]});
        let error = parse::<v1::BatchRequest>("soloist.v1.BatchRequest", &json).unwrap_err();
        assert!(error.contains("ops[0].add.delta"), "{error}");
        let json = serde_json::json!({"op": []});
        let error = parse::<v1::BatchRequest>("soloist.v1.BatchRequest", &json).unwrap_err();
        assert!(error.contains("op"), "{error}");
    }
}
