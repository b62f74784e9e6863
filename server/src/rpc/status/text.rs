//! Names and values as text for errors, cut to a length that fits.

use std::fmt::Write as _;

use crate::machine::{Name, Value};

/// Most bytes of a value in the metadata of an error: enough to compare values.
pub(super) const METADATA_BYTES: usize = 256;

/// Most bytes of a key or value elsewhere in an error: enough to recognise it. An error travels in headers, and clients take
/// 8 KiB of headers. One answer may hold a thousand errors, and clients take 4 MiB of an answer.
pub(super) const SHOWN_BYTES: usize = 64;

/// The key, session, machine or request id that a rejection is about. Both texts are cut to [`SHOWN_BYTES`].
pub(super) struct Subject {
    /// For the details of an error.
    pub(super) name: String,
    /// In quotes, for the message of an error.
    pub(super) quoted: String,
}

impl Subject {
    pub(super) fn of(name: &Name) -> Self {
        // Before a line break is the identity whose request id this is. No other name has one.
        let own = name.as_str().rsplit('\n').next().unwrap_or_default();
        Self {
            name: cut(own.into(), SHOWN_BYTES),
            quoted: quoted(&own.into()),
        }
    }
}

/// A name in quotes, for a message.
pub(super) fn quoted(name: &Name) -> String {
    cut(
        format!("{:?}", cut(name.to_string(), SHOWN_BYTES)),
        SHOWN_BYTES,
    )
}

/// The JSON of the contract's `Value`, cut if it is long.
pub(super) fn json(value: &Value) -> String {
    let json = match value {
        Value::Int(int) => format!("{{\"int\":\"{int}\"}}"),
        Value::Text(text) => {
            let mut json = String::from("{\"text\":\"");
            // No more than can be shown after the cut, so that a large value is not escaped for nothing.
            for char in text.chars().take(METADATA_BYTES) {
                match char {
                    '"' | '\\' => json.extend(['\\', char]),
                    char if char.is_control() => {
                        write!(json, "\\u{:04x}", char as u32)
                            .expect("writing to a String cannot fail");
                    }
                    char => json.push(char),
                }
            }
            json + "\"}"
        }
        Value::Bytes(bytes) => {
            let head = &bytes[..bytes.len().min(METADATA_BYTES)];
            format!("{{\"bytes\":\"{}\"}}", base64(head))
        }
    };
    cut(json, METADATA_BYTES)
}

/// The beginning of `text`, if it has more than `limit` bytes.
pub(super) fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit - '…'.len_utf8()));
        text.push('…');
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
