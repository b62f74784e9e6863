//! The file: names of flags, and their values.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

/// The largest file that is read, in bytes. A line for each flag of a program is a tenth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The longest text of a value in an error, in bytes.
const SHOWN_BYTES_MAX: usize = 80;

/// A line `name = value`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The name of a flag, without dashes before it.
    pub(crate) name: String,
    /// Its line in the file. The first is 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
    /// The value as it is in the file, for errors.
    pub(crate) shown: String,
}

/// The value of a flag, as words of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Switch(bool),
    One(String),
    Several(Vec<String>),
}

/// What is wrong with a file, and on which line, if it is one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

/// Reads a file. The entries are in the order of their lines.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, Fault> {
    let without_line = |text: String| Fault { line: None, text };
    let mut bytes = Vec::new();
    let mut read = || {
        File::open(path)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
    };
    read().map_err(|error| without_line(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(without_line(format!(
            "has more than {FILE_BYTES_MAX} bytes, which is the limit"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Fault {
            line: Some(line + 1),
            text: "must be UTF-8".into(),
        }
    })?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Entry>, Fault> {
    let table = DeTable::parse(text).map_err(|error| Fault {
        line: error.span().map(|span| line(text, span.start)),
        text: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    for (name, value) in table.into_inner() {
        let at = line(text, name.span().start);
        let shown = shown(&text[value.span()]);
        let name = name.into_inner().into_owned();
        let value = value_of(value.into_inner()).map_err(|what| Fault {
            line: Some(at),
            text: format!("{name} is {what}"),
        })?;
        entries.push(Entry {
            name,
            line: at,
            value,
            shown,
        });
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn shown(text: &str) -> String {
    match text.len() > SHOWN_BYTES_MAX {
        true => format!("{}...", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]),
        false => text.to_owned(),
    }
}

/// # Errors
/// What a value is, if it can be none of a flag.
fn value_of(value: DeValue<'_>) -> Result<Value, &'static str> {
    match value {
        DeValue::Boolean(is_on) => Ok(Value::Switch(is_on)),
        DeValue::Array(values) => {
            let values = values.into_iter().map(|value| scalar(value.into_inner()));
            values.collect::<Result<_, _>>().map(Value::Several)
        }
        value => scalar(value).map(Value::One),
    }
}

fn scalar(value: DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        DeValue::Integer(number) => match number.radix() {
            10 => Ok(number.as_str().to_owned()),
            radix => i64::from_str_radix(number.as_str(), radix)
                .map(|number| number.to_string())
                .map_err(|_| "a number of more than 64 bits"),
        },
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(_) => Err("a list with true or false in it"),
        DeValue::Datetime(_) => Err("a date or a time of day, which no flag takes: quote texts"),
        DeValue::Array(_) => Err("a list of lists"),
        DeValue::Table(_) => {
            Err("a table, but the file has none: each line is the name of a flag, =, and its value")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn values_become_words() {
        let text = "b = 0x10\na = \"x y\"\n\nc = [1, 'z', 2.5]\nd = true\ne = 1_000\n";
        let entries = parse(text).unwrap();
        let one = |text: &str| Value::One(text.into());
        let expected = [
            ("b", 1, one("16")),
            ("a", 2, one("x y")),
            (
                "c",
                4,
                Value::Several(vec!["1".into(), "z".into(), "2.5".into()]),
            ),
            ("d", 5, Value::Switch(true)),
            ("e", 6, one("1000")),
        ];
        let actual = entries
            .iter()
            .map(|it| (&*it.name, it.line, it.value.clone()));
        assert_eq!(actual.collect::<Vec<_>>(), expected);
        assert_eq!(entries[2].shown, "[1, 'z', 2.5]");
    }

    #[test]
    fn what_is_no_value_is_named_with_its_line() {
        for (text, line, part) in [
            ("a = 1\na = 2\n", 2, "duplicate key"),
            ("a = 1\nb\n", 2, ""),
            ("\n\na = \"x\n", 3, ""),
            ("a = 1\n[tls]\ncert = \"c\"\n", 2, "tls is a table"),
            ("tls.cert = \"c\"\n", 1, "tls is a table"),
            ("a = [[1]]\n", 1, "a is a list of lists"),
            ("a = [true]\n", 1, "a is a list with true"),
            ("a = 07:32:00\n", 1, "a is a date"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.line, Some(line), "{text:?}: {fault:?}");
            assert!(fault.text.contains(part), "{text:?}: {fault:?}");
            assert!(!fault.text.contains('\n'), "{text:?}: {fault:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        assert_eq!(read(&path).unwrap_err().line, None);
        std::fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
        assert_eq!(read(&path).unwrap_err().line, Some(2));
        std::fs::write(&path, vec![b'\n'; FILE_BYTES_MAX as usize]).unwrap();
        assert!(read(&path).unwrap().is_empty());
        std::fs::write(&path, vec![b'\n'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().text.contains("1048576"));
    }
}
