//! The file format of a history: JSON Lines, for programs, people and their tools.
//!
//! The first line has the settings, keys and machines. Then comes one line for each operation, which names its key, and one
//! line for each watch. The last line has the number of both, and a checksum of the lines before it. A history edited by
//! hand is read if the checksum is taken out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::history::{History, Key, Machine, Watch};
use crate::operation::{Action, Expectation, MessageKind, NEVER, Operation, Outcome};
use crate::packed::PackedOperation;

const VERSION: u32 = 1;

/// Why a file is not read as a history.
#[derive(Debug)]
pub enum ReadError {
    /// The file cannot be read.
    Io(io::Error),
    /// It is some other file.
    NotAHistory,
    /// It has a version that this version of the checker does not know.
    OtherVersion {
        /// The version of the file.
        version: u32,
    },
    /// It has no last line: whoever wrote it did not come to the end.
    Truncated,
    /// It contradicts itself, or its checksum.
    Damaged {
        /// Where and how, in words.
        what: String,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(formatter, "the history cannot be read: {error}"),
            Self::NotAHistory => write!(formatter, "the file is not a history"),
            Self::OtherVersion { version } => {
                write!(
                    formatter,
                    "the history has version {version}, but only version {VERSION} can be read"
                )
            }
            Self::Truncated => write!(formatter, "the history is cut off: its end is missing"),
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
    Watch(Cow<'a, Watch>),
    End {
        operations: usize,
        watches: usize,
        /// CRC-32C of all bytes before this line. Absent from a file edited by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crc32c: Option<u32>,
    },
}

/// A history without its operations and watches.
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
    #[serde(rename = "travel")]
    message_kind: MessageKind,
    #[serde(borrow)]
    key: Cow<'a, str>,
    start: u64,
    /// Absent if the operation was never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Expectation>,
    outcome: Outcome,
}

impl History {
    /// Writes the history as JSON Lines, about 220 bytes an operation, and flushes the writer.
    ///
    /// ```text
    /// {"head":{"version":1,"settings":{},"keys":[{"name":"a","found":{"entry":null,"revision":0}}],"machines":[]}}
    /// {"operation":{"client":0,"message":0,"travel":"call","key":"a","start":10,"end":20,"action":{"write":{"int":1}},
    ///  "outcome":{"done":{"revision":1,"seen":"untold"}}}}
    /// {"end":{"operations":1,"watches":0,"crc32c":955466455}}
    /// ```
    ///
    /// (The operation takes one line.) The history of a store that answers without revisions leaves out every `revision`; then
    /// [`ValueSearch::Only`](crate::ValueSearch::Only) checks it. The checksum in the last line is that of all bytes before the line. Take it out of a
    /// file that you edit.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, writer: impl Write) -> io::Result<()> {
        let mut writer = Writer {
            writer,
            line: Vec::new(),
            crc32c: 0,
        };
        writer.line(&Line::Head {
            version: VERSION,
            head: Head {
                settings: Cow::Borrowed(&self.settings),
                keys: Cow::Borrowed(&self.keys),
                machines: Cow::Borrowed(&self.machines),
            },
        })?;
        for it in self.operations.iter().map(PackedOperation::unpack) {
            writer.line(&Line::Operation(OperationLine {
                client: it.client,
                message: it.message,
                message_kind: it.message_kind,
                key: Cow::Borrowed(&self.keys[it.key as usize].name),
                start: it.start,
                end: (it.end != NEVER).then_some(it.end),
                action: it.action,
                expect: it.expect,
                outcome: it.outcome,
            }))?;
        }
        for watch in &self.watches {
            writer.line(&Line::Watch(Cow::Borrowed(watch)))?;
        }
        writer.line(&Line::End {
            operations: self.operations.len(),
            watches: self.watches.len(),
            crc32c: Some(writer.crc32c),
        })?;
        writer.writer.flush()
    }

    /// Reads a history of up to `operations_max` operations that [`write_to`](Self::write_to) wrote.
    ///
    /// # Errors
    ///
    /// Those of the reader; and if there is no history, or one that is cut off, contradicts itself, or has more
    /// operations.
    pub fn read_from(mut reader: impl BufRead, operations_max: usize) -> Result<Self, ReadError> {
        // The first line is a JSON object.
        if reader.fill_buf()?.first() != Some(&b'{') {
            return Err(ReadError::NotAHistory);
        }
        let mut lines = Lines {
            operations_max,
            history: Self::default(),
            key_numbers: HashMap::new(),
            crc32c: 0,
            is_ended: false,
        };
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            lines.add(number, &line)?;
        }
        if !lines.is_ended {
            return Err(ReadError::Truncated);
        }
        let damaged = |what| ReadError::Damaged { what };
        lines.history.validate().map_err(damaged)?;
        Ok(lines.history)
    }
}

struct Writer<W> {
    writer: W,
    /// A buffer for one line.
    line: Vec<u8>,
    /// Of all lines so far.
    crc32c: u32,
}

impl<W: Write> Writer<W> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.crc32c = crc32c::crc32c_append(self.crc32c, &self.line);
        self.writer.write_all(&self.line)
    }
}

/// What the lines read so far say.
struct Lines {
    operations_max: usize,
    history: History,
    /// The places of the keys by their names.
    key_numbers: HashMap<String, u32>,
    /// Of all lines so far.
    crc32c: u32,
    is_ended: bool,
}

impl Lines {
    /// Adds line `number`, counted from 1.
    fn add(&mut self, number: usize, line: &[u8]) -> Result<(), ReadError> {
        let damaged = |what: String| ReadError::Damaged {
            what: format!("line {number}: {what}"),
        };
        if self.is_ended {
            return Err(damaged("it comes after the end".into()));
        }
        let parsed: Line<'_> = match serde_json::from_slice(line) {
            Ok(parsed) => parsed,
            Err(error) if error.is_eof() => return Err(ReadError::Truncated),
            Err(error) => return Err(damaged(error.to_string())),
        };
        match parsed {
            Line::Head { version, .. } if version != VERSION => {
                return Err(ReadError::OtherVersion { version });
            }
            Line::Head { head, .. } if number == 1 => self.head(head),
            Line::Head { .. } => Err("the keys come a second time".into()),
            _ if number == 1 => return Err(ReadError::NotAHistory),
            Line::Operation(operation) => self.operation(operation),
            Line::Watch(watch) => {
                self.history.watches.push(watch.into_owned());
                Ok(())
            }
            Line::End {
                operations,
                watches,
                crc32c,
            } => self.end((operations, watches), crc32c),
        }
        .map_err(damaged)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, line);
        Ok(())
    }

    fn head(&mut self, head: Head<'_>) -> Result<(), String> {
        self.history.settings = head.settings.into_owned();
        self.history.keys = head.keys.into_owned();
        self.history.machines = head.machines.into_owned();
        let numbers = self.history.key_numbers().into_iter();
        self.key_numbers = numbers
            .map(|(name, number)| (name.to_owned(), number))
            .collect();
        match self.key_numbers.len() == self.history.keys.len() {
            true => Ok(()),
            false => Err("two keys have one name".into()),
        }
    }

    fn operation(&mut self, line: OperationLine<'_>) -> Result<(), String> {
        let key = (self.key_numbers.get(&*line.key))
            .ok_or_else(|| format!("key {:?} is not among the keys of line 1", line.key))?;
        if self.history.operations.len() == self.operations_max {
            let limit = self.operations_max;
            return Err(format!("more operations than the limit of {limit}"));
        }
        let operation = Operation {
            client: line.client,
            message: line.message,
            message_kind: line.message_kind,
            key: *key,
            start: line.start,
            end: line.end.unwrap_or(NEVER),
            action: line.action,
            expect: line.expect,
            outcome: line.outcome,
        };
        let packed = PackedOperation::from(&operation);
        if packed.unpack() != operation {
            return Err("this action cannot have this outcome".into());
        }
        self.history.operations.push(packed);
        Ok(())
    }

    fn end(&mut self, counts: (usize, usize), crc32c: Option<u32>) -> Result<(), String> {
        self.is_ended = true;
        if counts != (self.history.operations.len(), self.history.watches.len()) {
            return Err("its counts differ from the lines before it".into());
        }
        match crc32c {
            Some(crc32c) if crc32c != self.crc32c => Err(
                "the checksum of the lines before it differs: take `crc32c` out if you edited the file"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}
