//! A history as a file of JSON Lines, for programs, people and their tools: one line with the keys and machines, then one
//! line each for an operation, with the name of its key, and for a watch; and a last line that counts them, with a checksum
//! of all lines before it. Who edits a file by hand takes the checksum out: it is not missed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::history::{History, Key, Machine, Watched};
use crate::operation::{Action, Expectation, NEVER, Operation, Outcome, Travel};
use crate::packed::Record;

const VERSION: u32 = 1;

/// A file that cannot be read.
#[derive(Debug)]
pub enum ReadError {
    Io(io::Error),
    NotAHistory,
    OtherVersion {
        version: u32,
    },
    /// It ends in the middle: the run that wrote it was ended.
    Truncated,
    Damaged {
        what: String,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(formatter, "the history cannot be read: {error}"),
            Self::NotAHistory => write!(formatter, "this is not a history"),
            Self::OtherVersion { version } => {
                write!(
                    formatter,
                    "the history is of version {version}, and this reads {VERSION}"
                )
            }
            Self::Truncated => write!(formatter, "the history ends in the middle"),
            Self::Damaged { what } => write!(formatter, "the history is damaged: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { what: what.into() }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Line<'a> {
    Head {
        version: u32,
        #[serde(flatten)]
        head: Head<'a>,
    },
    #[serde(borrow)]
    Operation(OperationLine<'a>),
    Watch(Cow<'a, Watched>),
    End {
        operations: usize,
        watches: usize,
        /// CRC-32C of the bytes of all lines before this one, their line breaks included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crc32c: Option<u32>,
    },
}

/// All but the operations and watches.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    #[serde(default)]
    settings: Cow<'a, serde_json::Value>,
    keys: Cow<'a, [Key]>,
    #[serde(default)]
    machines: Cow<'a, [Machine]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationLine<'a> {
    client: u32,
    message: u32,
    travel: Travel,
    #[serde(borrow)]
    key: Cow<'a, str>,
    start: u64,
    /// Without it there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Expectation>,
    outcome: Outcome,
}

/// Writes a history.
///
/// # Errors
///
/// If it cannot be written.
pub fn write<W: Write>(to: W, history: &History) -> io::Result<W> {
    let mut writer = Writer {
        to,
        line: Vec::new(),
        crc32c: 0,
    };
    writer.line(&Line::Head {
        version: VERSION,
        head: Head {
            settings: Cow::Borrowed(&history.settings),
            keys: Cow::Borrowed(&history.keys),
            machines: Cow::Borrowed(&history.machines),
        },
    })?;
    for it in history.operations.iter().map(Record::operation) {
        writer.line(&Line::Operation(OperationLine {
            client: it.client,
            message: it.message,
            travel: it.travel,
            key: Cow::Borrowed(&history.keys[it.key as usize].name),
            start: it.start,
            end: (it.end != NEVER).then_some(it.end),
            action: it.action,
            expect: it.expect,
            outcome: it.outcome,
        }))?;
    }
    for watch in &history.watches {
        writer.line(&Line::Watch(Cow::Borrowed(watch)))?;
    }
    writer.line(&Line::End {
        operations: history.operations.len(),
        watches: history.watches.len(),
        crc32c: Some(writer.crc32c),
    })?;
    writer.to.flush()?;
    Ok(writer.to)
}

struct Writer<W> {
    to: W,
    /// The bytes of one line.
    line: Vec<u8>,
    crc32c: u32,
}

impl<W: Write> Writer<W> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.crc32c = crc32c::crc32c_append(self.crc32c, &self.line);
        self.to.write_all(&self.line)
    }
}

/// Reads a history of up to `limit` operations.
///
/// # Errors
///
/// If a line is no part of a history, or the last one is missing.
pub fn read(mut from: impl BufRead, limit: usize) -> Result<History, ReadError> {
    // A line of JSON begins with a brace.
    if from.fill_buf()?.first() != Some(&b'{') {
        return Err(ReadError::NotAHistory);
    }
    let mut reader = Reader {
        limit,
        history: History::default(),
        numbers: HashMap::new(),
        crc32c: 0,
        is_ended: false,
    };
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        reader.line(number, &bytes)?;
        reader.crc32c = crc32c::crc32c_append(reader.crc32c, &bytes);
    }
    if !reader.is_ended {
        return Err(ReadError::Truncated);
    }
    reader.history.validate().map_err(damaged)?;
    Ok(reader.history)
}

struct Reader {
    limit: usize,
    history: History,
    /// The numbers of the keys by their names.
    numbers: HashMap<String, u32>,
    /// Of the lines that were read.
    crc32c: u32,
    is_ended: bool,
}

impl Reader {
    fn line(&mut self, number: usize, bytes: &[u8]) -> Result<(), ReadError> {
        let bad = |what: String| damaged(format!("line {number}: {what}"));
        if self.is_ended {
            return Err(bad("there is more after the end".into()));
        }
        let line: Line<'_> = match serde_json::from_slice(bytes) {
            Ok(line) => line,
            Err(error) if error.is_eof() => return Err(ReadError::Truncated),
            Err(error) => return Err(bad(error.to_string())),
        };
        match line {
            Line::Head { version, .. } if version != VERSION => {
                Err(ReadError::OtherVersion { version })
            }
            Line::Head { head, .. } if number == 1 => self.head(head).map_err(bad),
            Line::Head { .. } => Err(bad("a second head".into())),
            _ if number == 1 => Err(ReadError::NotAHistory),
            Line::Operation(line) => self.operation(line).map_err(bad),
            Line::Watch(watch) => {
                self.history.watches.push(watch.into_owned());
                Ok(())
            }
            Line::End {
                operations,
                watches,
                crc32c,
            } => {
                self.is_ended = true;
                self.end((operations, watches), crc32c).map_err(bad)
            }
        }
    }

    fn head(&mut self, head: Head<'_>) -> Result<(), String> {
        self.history.settings = head.settings.into_owned();
        self.history.keys = head.keys.into_owned();
        self.history.machines = head.machines.into_owned();
        let numbers = self.history.key_numbers().into_iter();
        self.numbers = numbers
            .map(|(name, number)| (name.to_owned(), number))
            .collect();
        match self.numbers.len() == self.history.keys.len() {
            true => Ok(()),
            false => Err("two keys have one name".into()),
        }
    }

    fn operation(&mut self, line: OperationLine<'_>) -> Result<(), String> {
        let key = (self.numbers.get(&*line.key))
            .ok_or_else(|| format!("key {:?} is not in the head", line.key))?;
        if self.history.operations.len() == self.limit {
            return Err(format!(
                "there are more operations than the limit of {}",
                self.limit
            ));
        }
        self.history.operations.push(Record::from(&Operation {
            client: line.client,
            message: line.message,
            travel: line.travel,
            key: *key,
            start: line.start,
            end: line.end.unwrap_or(NEVER),
            action: line.action,
            expect: line.expect,
            outcome: line.outcome,
        }));
        Ok(())
    }

    fn end(&self, counts: (usize, usize), crc32c: Option<u32>) -> Result<(), String> {
        if counts != (self.history.operations.len(), self.history.watches.len()) {
            return Err("the counts do not fit what was before".into());
        }
        match crc32c {
            Some(crc32c) if crc32c != self.crc32c => Err("a checksum differs".into()),
            _ => Ok(()),
        }
    }
}
