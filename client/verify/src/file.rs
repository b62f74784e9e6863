//! A history in a file: eight bytes that say what it is, a version, and sections. Each section has its kind, its length,
//! and a checksum over both and its content; the last says how much there is, so that nothing can be missing unnoticed.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::history::{History, Key, Machine, Watched};
use crate::operation::Record;

const MAGIC: &[u8; 8] = b"SOLOHIST";
const VERSION: u32 = 1;

const HEAD: u8 = 1;
const OPERATIONS: u8 = 2;
const WATCH: u8 = 3;
const END: u8 = 4;

/// Operations in one section: 288 KiB.
const SECTION_OPERATIONS: usize = 4096;
/// What a damaged length may make us read.
const SECTION_BYTES_MAX: u32 = 256 << 20;

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
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

pub(crate) fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { what: what.into() }
}

/// All but the operations and watches.
#[derive(Serialize, Deserialize)]
pub(crate) struct Head {
    #[serde(default)]
    pub(crate) settings: serde_json::Value,
    pub(crate) keys: Vec<Key>,
    #[serde(default)]
    pub(crate) machines: Vec<Machine>,
}

/// Writes a history piece by piece.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: W,
    operations: u64,
    watches: u64,
}

impl<W: Write> Writer<W> {
    /// `head` is a history of which the operations and watches are left out.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn new(mut to: W, head: &History) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let (operations, watches) = (0, 0);
        let mut writer = Self {
            to,
            operations,
            watches,
        };
        let head = Head {
            settings: head.settings.clone(),
            keys: head.keys.clone(),
            machines: head.machines.clone(),
        };
        writer.section(HEAD, &serde_json::to_vec(&head)?)?;
        Ok(writer)
    }

    /// Must come in the order of starts.
    pub fn operations(&mut self, records: &[Record]) -> io::Result<()> {
        for some in records.chunks(SECTION_OPERATIONS) {
            let bytes: Vec<u8> = some.iter().flat_map(|record| record.to_bytes()).collect();
            self.section(OPERATIONS, &bytes)?;
            self.operations += some.len() as u64;
        }
        Ok(())
    }

    pub fn watch(&mut self, watch: &Watched) -> io::Result<()> {
        self.watches += 1;
        self.section(WATCH, &serde_json::to_vec(watch)?)
    }

    /// Without it the file counts as truncated.
    pub fn finish(mut self) -> io::Result<W> {
        let counts = [self.operations.to_le_bytes(), self.watches.to_le_bytes()].concat();
        self.section(END, &counts)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn section(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = (u32::try_from(content.len()).ok()).filter(|it| *it <= SECTION_BYTES_MAX);
        let length = length.ok_or_else(|| {
            let length = content.len();
            io::Error::other(format!(
                "a part of {length} bytes is over the limit of {SECTION_BYTES_MAX}"
            ))
        })?;
        let mut head = [kind, 0, 0, 0, 0];
        head[1..].copy_from_slice(&length.to_le_bytes());
        self.to.write_all(&head)?;
        self.to.write_all(content)?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&head), content);
        self.to.write_all(&sum.to_le_bytes())
    }
}

/// Writes a whole history.
///
/// # Errors
///
/// If it cannot be written.
pub fn write<W: Write>(to: W, history: &History) -> io::Result<W> {
    let mut writer = Writer::new(to, history)?;
    writer.operations(&history.operations)?;
    for watch in &history.watches {
        writer.watch(watch)?;
    }
    writer.finish()
}

/// Reads a history, of up to `limit` operations, in either form.
///
/// # Errors
///
/// If it cannot be read, or is not whole.
pub fn read(mut from: impl io::BufRead, limit: usize) -> Result<History, ReadError> {
    // JSON Lines begin with a brace.
    if from.fill_buf()?.first() == Some(&b'{') {
        return crate::lines::read(from, limit);
    }
    let mut magic = [0; 8];
    match from.read_exact(&mut magic) {
        Ok(()) if magic == *MAGIC => {}
        Ok(()) => return Err(ReadError::NotAHistory),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(ReadError::NotAHistory);
        }
        Err(error) => return Err(error.into()),
    }
    let mut version = [0; 4];
    from.read_exact(&mut version)?;
    let version = u32::from_le_bytes(version);
    if version != VERSION {
        return Err(ReadError::OtherVersion { version });
    }
    let (kind, content) = section(&mut from)?;
    if kind != HEAD {
        return Err(damaged("it does not begin with its head"));
    }
    let head: Head =
        serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    let mut history = History {
        settings: head.settings,
        keys: head.keys,
        machines: head.machines,
        ..History::default()
    };
    loop {
        let (kind, content) = section(&mut from)?;
        match kind {
            OPERATIONS => {
                let (records, rest) = content.as_chunks::<{ Record::BYTES }>();
                if !rest.is_empty() {
                    return Err(damaged("a part of an operation"));
                }
                if history.operations.len() + records.len() > limit {
                    return Err(damaged(format!(
                        "it has more operations than the limit of {limit}"
                    )));
                }
                history
                    .operations
                    .extend(records.iter().map(Record::from_bytes));
            }
            WATCH => {
                let watch = serde_json::from_slice(&content);
                history
                    .watches
                    .push(watch.map_err(|error| damaged(error.to_string()))?);
            }
            END => {
                let counts = [history.operations.len(), history.watches.len()];
                let counts: Vec<u8> = (counts.iter())
                    .flat_map(|it| (*it as u64).to_le_bytes())
                    .collect();
                let mut rest = [0];
                if counts != content || from.read(&mut rest)? != 0 {
                    return Err(damaged("its end does not fit what was before"));
                }
                break;
            }
            _ => return Err(damaged(format!("a part of kind {kind}"))),
        }
    }
    history.validate().map_err(damaged)?;
    Ok(history)
}

fn section(from: &mut impl Read) -> Result<(u8, Vec<u8>), ReadError> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    if length > SECTION_BYTES_MAX {
        return Err(damaged(format!(
            "a part of {length} bytes, over the limit of {SECTION_BYTES_MAX}"
        )));
    }
    // Not all at once: a damaged length would take memory for nothing.
    let mut content = Vec::new();
    from.by_ref()
        .take(u64::from(length))
        .read_to_end(&mut content)?;
    if content.len() < length as usize {
        return Err(ReadError::Truncated);
    }
    let mut sum = [0; 4];
    from.read_exact(&mut sum)?;
    let is = crc32c::crc32c_append(crc32c::crc32c(&head), &content);
    if u32::from_le_bytes(sum) != is {
        return Err(damaged("a checksum differs"));
    }
    Ok((head[0], content))
}
