//! Messages with placeholders: `{"name": "{{string 8}}", "age": {{int 1 99}}}`.
//!
//! A placeholder stands for text. Within a JSON string its text is escaped; elsewhere it must be JSON itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost_reflect::MessageDescriptor;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::workload::call::csv_columns::CsvColumns;
use crate::workload::call::json::encode;

/// The longest drawn string, and the most drawn bytes: 16 MiB, four times the default limit of gRPC's messages.
const LENGTH_MAX: usize = 16 << 20;

/// What the placeholders are. The help and the documents say the same.
pub(crate) const PLACEHOLDERS: &str = "{{counter}}, {{uuid}}, {{int MIN MAX}}, {{string LENGTH}}, {{bytes LENGTH}}, \
                                       {{choice A B C}} and {{csv FILE COLUMN}}";

/// A message with placeholders.
#[derive(Debug)]
pub(super) struct Template {
    descriptor: MessageDescriptor,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Placeholder {
        what: Placeholder,
        is_in_string: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Placeholder {
    Counter,
    Uuid,
    Int(i64, i64),
    String(usize),
    Bytes(usize),
    /// One of these, at random.
    Choice(Arc<[String]>),
    /// One of these, in their order.
    Column(Arc<[String]>),
}

/// Returns whether a text has placeholders.
pub(super) fn has_placeholders(text: &str) -> bool {
    text.contains("{{")
}

impl Template {
    /// Reads a message with placeholders, and makes sure that all the values that they can have give a message.
    ///
    /// # Errors
    /// If a placeholder is unknown, or if a message cannot be made. The text shows the placeholder or names the field.
    pub(super) fn new(
        descriptor: MessageDescriptor,
        text: &str,
        columns: &mut CsvColumns,
    ) -> Result<Self, String> {
        let template = Self {
            descriptor,
            parts: parts(text, columns)?,
        };
        template.try_all()?;
        Ok(template)
    }

    /// Makes the next message. `counter` counts the messages of all workers.
    pub(super) fn make(&self, rng: &mut SmallRng, counter: &AtomicU64, of: (u64, u64)) -> Bytes {
        let number = match self.uses_number() {
            true => counter.fetch_add(1, Ordering::Relaxed) * of.1 + of.0,
            false => 0,
        };
        let made = self.fill(|what| what.draw(rng, number));
        // A counter that no longer fits into its field begins again.
        made.or_else(|_| self.fill(|what| what.draw(rng, number % (1 << 31))))
            .expect("all values of placeholders were tried before the run")
    }

    fn uses_number(&self) -> bool {
        self.parts.iter().any(|part| {
            matches!(
                part,
                Part::Placeholder {
                    what: Placeholder::Counter | Placeholder::Column(_),
                    ..
                }
            )
        })
    }

    fn fill(&self, mut draw: impl FnMut(&Placeholder) -> String) -> Result<Bytes, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text += literal,
                Part::Placeholder { what, is_in_string } => {
                    let drawn = draw(what);
                    match is_in_string {
                        true => text += inside_quotes(&escaped(&drawn)),
                        false => text += &drawn,
                    }
                }
            }
        }
        encode(&self.descriptor, &text)
    }

    /// Makes a message with each value of each placeholder that may make a difference, the other placeholders having their
    /// first.
    fn try_all(&self) -> Result<(), String> {
        let placeholders = self.parts.iter().filter_map(|part| match part {
            Part::Placeholder { what, .. } => Some(what),
            Part::Text(_) => None,
        });
        for (index, placeholder) in placeholders.enumerate() {
            for value in placeholder.samples() {
                let mut at = 0;
                self.fill(|other| {
                    at += 1;
                    match at - 1 == index {
                        true => value.clone(),
                        false => other.sample(),
                    }
                })?;
            }
        }
        Ok(())
    }
}

impl Placeholder {
    /// Reads what is between the braces.
    fn parse(text: &str, columns: &mut CsvColumns) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let wrong = |why: &str| format!("{{{{{text}}}}}: {why}");
        let length = |word: &str| {
            let length = word.parse().ok().filter(|length| *length <= LENGTH_MAX);
            length.ok_or_else(|| {
                wrong(&format!(
                    "the length must be a number from 0 to {LENGTH_MAX}"
                ))
            })
        };
        match words[..] {
            ["counter" | ".RequestNumber"] => Ok(Self::Counter),
            ["uuid" | ".UUID" | "newUUID"] => Ok(Self::Uuid),
            ["int" | "randomInt", min, max] => {
                let bounds = min.parse().ok().zip(max.parse().ok());
                let (min, max) =
                    bounds.ok_or_else(|| wrong("MIN and MAX must be whole numbers"))?;
                match min <= max {
                    true => Ok(Self::Int(min, max)),
                    false => Err(wrong("MIN must not be above MAX")),
                }
            }
            ["string" | "randomString", word] => length(word).map(Self::String),
            ["bytes", word] => length(word).map(Self::Bytes),
            ["choice", _, ..] => Ok(Self::Choice(choices(text))),
            ["csv", file, column] => {
                let column = columns
                    .column(file, column)
                    .map_err(|error| wrong(&error))?;
                Ok(Self::Column(column))
            }
            [name, ..] if name.starts_with('.') => Err(wrong(&format!(
                "of ghz's variables there are .RequestNumber and .UUID here; the placeholders are {PLACEHOLDERS}"
            ))),
            _ => Err(wrong(&format!("the placeholders are {PLACEHOLDERS}"))),
        }
    }

    fn draw(&self, rng: &mut SmallRng, number: u64) -> String {
        match self {
            Self::Counter => number.to_string(),
            Self::Uuid => uuid(rng.random()),
            Self::Int(min, max) => rng.random_range(*min..=*max).to_string(),
            Self::String(length) => string(*length, rng),
            Self::Bytes(length) => {
                let bytes: Vec<u8> = (0..*length).map(|_| rng.random()).collect();
                STANDARD.encode(bytes)
            }
            Self::Choice(values) => values[rng.random_range(0..values.len())].clone(),
            Self::Column(values) => values[(number % values.len() as u64) as usize].clone(),
        }
    }

    /// Returns values, at least one, such that if each of them gives a message, all do.
    fn samples(&self) -> Vec<String> {
        match self {
            Self::Counter => vec!["0".to_owned()],
            Self::Uuid => vec![uuid(0)],
            Self::Int(min, max) => vec![min.to_string(), max.to_string()],
            Self::String(length) => vec!["a".repeat(*length)],
            Self::Bytes(length) => vec![STANDARD.encode(vec![0; *length])],
            Self::Choice(values) | Self::Column(values) => values.to_vec(),
        }
    }

    /// Returns the first of the samples.
    fn sample(&self) -> String {
        match self {
            Self::Choice(values) | Self::Column(values) => values[0].clone(),
            other => other.samples().swap_remove(0),
        }
    }
}

/// Returns the choices of `choice A B C`, or of `choice New York|Boston`.
fn choices(text: &str) -> Arc<[String]> {
    let list = text.trim().trim_start_matches("choice").trim();
    match list.contains('|') {
        true => list.split('|').map(|one| one.trim().to_owned()).collect(),
        false => list.split_whitespace().map(str::to_owned).collect(),
    }
}

fn parts(text: &str, columns: &mut CsvColumns) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut is_in_string = false;
    while let Some(start) = rest.find("{{") {
        let (literal, from) = rest.split_at(start);
        is_in_string ^= opens_or_closes(literal);
        parts.push(Part::Text(literal.to_owned()));
        let end = from.find("}}").ok_or_else(|| {
            format!("{from}: a placeholder that begins with {{{{ must end with }}}}")
        })?;
        let what = Placeholder::parse(from[2..end].trim(), columns)?;
        parts.push(Part::Placeholder { what, is_in_string });
        rest = &from[end + 2..];
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

/// Returns whether a piece of JSON that begins within a string ends outside of it, and the reverse.
fn opens_or_closes(literal: &str) -> bool {
    let mut quotes = 0;
    let mut bytes = literal.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => quotes += 1,
            _ => {}
        }
    }
    quotes % 2 == 1
}

/// Returns a text as a JSON string, with its quotes.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a JSON string without its quotes.
fn inside_quotes(json: &str) -> &str {
    &json[1..json.len() - 1]
}

fn string(length: usize, rng: &mut SmallRng) -> String {
    const CHARACTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    (0..length)
        .map(|_| char::from(CHARACTERS[rng.random_range(0..CHARACTERS.len())]))
        .collect()
}

/// Returns a UUID of version 4 (RFC 9562) with these random bits.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let groups = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    groups.join("-")
}
