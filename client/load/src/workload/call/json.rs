//! A message from JSON, and why it is none.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

/// Encodes a message that is given as JSON: the mapping of Protocol Buffers, in which enums are names, bytes are base64,
/// and 64-bit numbers may be strings.
///
/// # Errors
/// If the text is no JSON, or no such message. The error names the field.
pub(super) fn encode(descriptor: &MessageDescriptor, text: &str) -> Result<Bytes, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let message = DynamicMessage::deserialize(descriptor.clone(), tracked);
    let message = message.map_err(|error| {
        let path = track.path().to_string();
        explain(descriptor, text, &path, &error)
    })?;
    json.end()
        .map_err(|error| explain(descriptor, text, ".", &error))?;
    Ok(message.encode_to_vec().into())
}

fn explain(
    descriptor: &MessageDescriptor,
    text: &str,
    path: &str,
    error: &serde_json::Error,
) -> String {
    let name = descriptor.full_name();
    let shown = shortened(text);
    if error.is_syntax() || error.is_eof() {
        return format!("the message is no JSON: {error}: {shown}");
    }
    let field = match path {
        "" | "." | "?" => String::new(),
        path => format!("field {path}: "),
    };
    let unknown = error.to_string().contains("unrecognized field name");
    let hint = match unknown && field.is_empty() {
        true => {
            let fields: Vec<_> = descriptor.fields().map(|of| of.name().to_owned()).collect();
            format!("; the fields are {}", fields.join(", "))
        }
        false => String::new(),
    };
    format!("the JSON is no {name}: {field}{error}{hint}: {shown}")
}

/// Returns the beginning of a text, for a message.
pub(super) fn shortened(text: &str) -> String {
    /// What fits on two lines of a terminal.
    const CHARACTERS_MAX: usize = 120;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
