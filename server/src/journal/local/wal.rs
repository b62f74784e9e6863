//! The write-ahead log, in the file `tail`: the newest records, until a checkpoint moves them to `log.redb`.
//!
//! A commit is one write and one sync of blocks that the file already has. No page of the storage engine is written, and
//! neither the file's length nor its extents change. When the file is full, or the engine has to write anyway, a checkpoint
//! moves all records to the engine in one transaction, and the file is used again from its beginning.
//!
//! The first page of the file is a header. It names the directory, and the record after which the engine's records end and the
//! file's begin: the [base](Found::base). The base is written, and made durable, before the first frame after a checkpoint.
//! So a file of another time beside the engine's file is found out: see [`coherence`](super::coherence). Frames follow, each from the start of a page of its own, so that no write
//! touches a page with an acknowledged record. A frame is a length, a checksum and a record. The checksum also covers a
//! random salt from the header, which no client knows: so no value that a client writes can pass for a frame. Frames of an
//! earlier pass over the file are recognised by their record numbers: the engine has those records.
//!
//! Records are synced one by one. So a power loss leaves no complete record behind an incomplete one: such a
//! [gap](WalDamage::Gap) is damage, unless the records were not synced.

use std::sync::Arc;

use bytes::Bytes;
use redb::StorageBackend;

use super::directory_id::DirectoryId;
use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::FileName;
use crate::journal::record::{EncodedRecord, Position, decode_any};
use crate::journal::stored::Damaged;
use crate::mutants::mutant;

/// Bytes of a page, the unit of a torn write: the page size of most systems, and a multiple of every disk's sector.
const PAGE: usize = 4096;

/// Bytes by which the file grows. The new blocks are filled with zeros at once: the first sync of a block that was never
/// written also updates the file system's metadata, which takes as long again.
const GROWTH: usize = 256 << 10;

/// No server writes a longer file. A longer one is not read into memory.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"soltail\x01";

/// The version of the file's layout. A server refuses any other, but reads version 1.
const VERSION: u32 = 2;

/// The layout of the first servers: the header has neither the number of the directory nor the base.
const VERSION_1: u32 = 1;

/// Bytes of the header: magic, version, salt, number of the directory, and a checksum of these four.
const HEADER_LEN: usize = 40;

/// Bytes of the header of version 1: magic, version, salt, and a checksum of these three.
const HEADER_1_LEN: usize = 24;

/// The offsets of the two places for the base, in sectors of their own, which are written in turn. The one with the later
/// record counts.
const BASES: [usize; 2] = [512, 1024];

/// Bytes of a base: record number, the record's checksum, and a checksum of both.
const BASE_LEN: usize = 16;

/// Bytes before the record in a frame: its length and the checksum.
const FRAME_HEADER_LEN: usize = 8;

/// Whether the file had room for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    Written,
    /// The record fits after a checkpoint, or never.
    NoRoom,
}

/// Why the file cannot be trusted as it is.
#[derive(Clone, Debug)]
pub(super) enum WalDamage {
    /// The header or a record is damaged in a way that a power loss cannot explain.
    Unreadable(String),
    /// A complete record follows an incomplete one. A power loss leaves this if records were not synced one by one.
    Gap(String),
}

/// The open file.
#[derive(Debug)]
pub(super) struct Wal {
    file: Arc<dyn StorageBackend>,
    len: u64,
    len_max: u64,
    /// The salt of the header; `None` if the file has no header of this version yet.
    salt: Option<Salt>,
    /// The number for a new header.
    directory: DirectoryId,
    /// The last record of the engine.
    checkpointed: Position,
    /// The base in the header.
    base: Option<Position>,
    /// What the file said of itself when it was opened.
    found: Found,
    /// The offset of the next frame.
    next: u64,
    /// The records that the engine does not have, in order.
    pending: Vec<EncodedRecord>,
    /// Whether a frame was written since the last sync.
    unsynced: bool,
    damage: Option<WalDamage>,
    /// A buffer for the frame that is written.
    frame: Vec<u8>,
}

/// What the file says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The directory whose file this is; `None` if there is no header, or one of version 1.
    pub(super) directory: Option<DirectoryId>,
    /// The last record of the engine when the first frame was written; `None` without a `directory`.
    pub(super) base: Option<Position>,
    /// The number of the last of the frames that continue each other, from the first on.
    pub(super) last: Option<u64>,
}

/// The header of a file.
struct FoundHeader {
    salt: Salt,
    /// `None` in a file of version 1.
    of_2: Option<(DirectoryId, Position)>,
}

/// A random number that the checksum of each frame covers before the record.
#[derive(Clone, Copy, Debug)]
struct Salt(u64);

impl Salt {
    fn crc(self, bytes: &[u8]) -> u32 {
        let before = match mutant("wal-without-salt") {
            true => 0,
            false => crc32c::crc32c(&self.0.to_le_bytes()),
        };
        crc32c::crc32c_append(before, bytes)
    }

    fn header(self, directory: DirectoryId) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&self.0.to_le_bytes());
        header[20..36].copy_from_slice(directory.as_bytes());
        let crc = crc32c::crc32c(&header[..36]);
        header[36..].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

impl FoundHeader {
    /// Reads the header; `None` if the file is empty or all zeros.
    fn read(file: &[u8]) -> Result<Option<Self>, Damaged> {
        if file.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let Some(header) = file.first_chunk::<HEADER_LEN>() else {
            return Err(Damaged("the header is too short".into()));
        };
        let number =
            |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let version = number(8);
        let len = match version {
            VERSION_1 => HEADER_1_LEN,
            _ => HEADER_LEN,
        };
        let checked = len - 4;
        if header[..8] != MAGIC || number(checked) != crc32c::crc32c(&header[..checked]) {
            return Err(Damaged("the header is invalid".into()));
        }
        if ![VERSION_1, VERSION].contains(&version) {
            return Err(Damaged(format!(
                "the version is {version}, but this server reads only the versions up to {VERSION}"
            )));
        }
        let salt = Salt(u64::from_le_bytes(
            header[12..20].try_into().expect("8 bytes"),
        ));
        let of_2 = match version {
            VERSION_1 => None,
            _ => {
                let base = BASES.iter().filter_map(|at| decode_base(file.get(*at..)?));
                let base = base.max_by_key(|base| base.seq);
                let base = base.ok_or_else(|| Damaged("the header has no base".into()))?;
                let directory = DirectoryId::of_bytes(&header[20..36]).expect("16 bytes");
                Some((directory, base))
            }
        };
        Ok(Some(Self { salt, of_2 }))
    }
}

fn encode_base(base: Position) -> [u8; BASE_LEN] {
    let mut bytes = [0; BASE_LEN];
    bytes[..8].copy_from_slice(&base.seq.to_le_bytes());
    bytes[8..12].copy_from_slice(&base.crc.to_le_bytes());
    // Not zero for record 0, so that zeros are no base.
    let crc = crc32c::crc32c_append(crc32c::crc32c(&MAGIC), &bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode_base(bytes: &[u8]) -> Option<Position> {
    let bytes = bytes.first_chunk::<BASE_LEN>()?;
    let base = Position {
        seq: u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")),
        crc: u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes")),
    };
    (encode_base(base) == *bytes).then_some(base)
}

/// What a scan of the file found.
#[derive(Default)]
struct Scan {
    /// The complete records that the engine does not have.
    pending: Vec<EncodedRecord>,
    /// The offset after the last complete frame.
    end: usize,
    /// The number of the last complete record, whether the engine has it or not.
    last: Option<u64>,
    damage: Option<WalDamage>,
}

impl Wal {
    /// Opens the file and reads the records after `checkpointed`, the last record of the engine. Writes nothing.
    pub(super) fn open(
        disk: &dyn Disk,
        len_max: u64,
        checkpointed: Position,
    ) -> Result<Self, FileError> {
        let error = |error| FileError::io(FileName::Wal, error);
        let file = disk.open(FileName::Wal).map_err(error)?;
        let len = file.len().map_err(error)?;
        let mut wal = Self {
            file,
            len,
            len_max,
            salt: None,
            directory: DirectoryId::random(),
            checkpointed,
            base: None,
            found: Found::default(),
            next: PAGE as u64,
            pending: Vec::new(),
            unsynced: false,
            damage: None,
            frame: Vec::new(),
        };
        if len > FILE_BYTES_MAX {
            wal.damage = Some(WalDamage::Unreadable(format!(
                "tail is damaged: it has {len} bytes, but no server writes more than {FILE_BYTES_MAX}"
            )));
            return Ok(wal);
        }
        let len = usize::try_from(len).expect("FILE_BYTES_MAX fits into memory");
        let mut bytes = vec![0; len];
        wal.file.read(0, &mut bytes).map_err(error)?;
        let bytes = Bytes::from(bytes);
        match FoundHeader::read(&bytes) {
            Ok(None) => {}
            Ok(Some(header)) => {
                let scan = Scan::in_file(&bytes, header.salt, checkpointed.seq);
                wal.found.last = scan.last;
                if let Some((directory, base)) = header.of_2 {
                    wal.salt = Some(header.salt);
                    wal.directory = directory;
                    wal.base = Some(base);
                    wal.found.directory = Some(directory);
                    wal.found.base = Some(base);
                }
                if !scan.pending.is_empty() {
                    wal.next = scan.end as u64;
                    // The server that wrote these records may have been killed before it synced them.
                    wal.unsynced = true;
                }
                wal.pending = scan.pending;
                wal.damage = scan.damage;
            }
            Err(Damaged(what)) => {
                wal.damage = Some(WalDamage::Unreadable(format!(
                    "tail is damaged at byte 0: {what}"
                )));
            }
        }
        Ok(wal)
    }

    /// The records that the engine does not have, in order.
    pub(super) fn pending(&self) -> &[EncodedRecord] {
        &self.pending
    }

    /// What the file said of itself when it was opened.
    pub(super) fn found(&self) -> Found {
        self.found
    }

    /// Whether the file can take records of the directory that has this number.
    pub(super) fn is_of(&self, directory: DirectoryId) -> bool {
        self.salt.is_some() && self.directory == directory
    }

    /// Forgets the records of the file, because they are of another store.
    pub(super) fn ignore_records(&mut self) {
        self.pending.clear();
        self.unsynced = false;
        self.next = PAGE as u64;
    }

    /// The damage that was found when the file was opened.
    pub(super) fn damage(&self) -> Option<&WalDamage> {
        self.damage.as_ref()
    }

    /// Whether a record was written that may not be durable.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Writes a record after the others, if there is room. It is durable after the next [sync](Self::sync).
    pub(super) fn append(&mut self, record: &EncodedRecord) -> Result<Appended, FileError> {
        let frame_len = (FRAME_HEADER_LEN + record.bytes.len()).next_multiple_of(PAGE);
        let end = self.next + frame_len as u64;
        if end > self.len_max || !self.grow(end)? {
            return Ok(Appended::NoRoom);
        }
        let Some(salt) = self.header_on_disk()? else {
            return Ok(Appended::NoRoom);
        };
        let len =
            u32::try_from(record.bytes.len()).expect("a frame is shorter than FILE_BYTES_MAX");
        self.frame.clear();
        self.frame.extend_from_slice(&len.to_le_bytes());
        self.frame
            .extend_from_slice(&salt.crc(&record.bytes).to_le_bytes());
        self.frame.extend_from_slice(&record.bytes);
        // A write of whole pages: the system need not read the rest of the last page first.
        self.frame.resize(frame_len, 0);
        if !fits(self.file.write(self.next, &self.frame))? {
            return Ok(Appended::NoRoom);
        }
        self.next = end;
        self.pending.push(record.clone());
        self.unsynced = true;
        Ok(Appended::Written)
    }

    /// Writes the last record of the engine to the header, durably, if there is a header with an older one.
    pub(super) fn note_base(&mut self) -> Result<(), FileError> {
        if self.salt.is_some() && self.header_on_disk()?.is_none() {
            return Err(disk_full());
        }
        Ok(())
    }

    /// The salt of the header. Writes and syncs a header if there is none, and the base if it is an older one: both must be
    /// durable before any frame. `None` if the disk is full.
    fn header_on_disk(&mut self) -> Result<Option<Salt>, FileError> {
        // A pending record follows the base that the header has, because no checkpoint was made since.
        if self.pending.is_empty() && self.base != Some(self.checkpointed) && !self.write_base()? {
            return Ok(None);
        }
        if self.salt.is_none() {
            let salt = Salt(rand::random());
            if !fits(self.file.write(0, &salt.header(self.directory)))? {
                return Ok(None);
            }
            self.sync_file()?;
            self.salt = Some(salt);
        }
        Ok(self.salt)
    }

    /// Writes the last record of the engine as the base, durably, in the place of the older base. Returns false if the disk is
    /// full.
    fn write_base(&mut self) -> Result<bool, FileError> {
        let base = encode_base(self.checkpointed);
        // With a header that is to be replaced, what is in either place means nothing.
        let places = match self.salt {
            None => BASES.to_vec(),
            Some(_) => vec![self.older_base()?],
        };
        for at in places {
            if !fits(self.file.write(at as u64, &base))? {
                return Ok(false);
            }
        }
        self.sync_file()?;
        self.base = Some(self.checkpointed);
        Ok(true)
    }

    /// The offset of the base that does not count.
    fn older_base(&self) -> Result<usize, FileError> {
        let mut bytes = [0; BASE_LEN];
        let read = self.file.read(BASES[0] as u64, &mut bytes);
        read.map_err(|error| FileError::io(FileName::Wal, error))?;
        Ok(match decode_base(&bytes) {
            first if first.is_some() && first == self.base => BASES[1],
            _ => BASES[0],
        })
    }

    /// Makes the file longer if it ends before `end`. Returns false if the disk is full.
    fn grow(&mut self, end: u64) -> Result<bool, FileError> {
        if end <= self.len {
            return Ok(true);
        }
        let len = end.next_multiple_of(GROWTH as u64).min(self.len_max);
        // Allocate first: so a full disk fails here, and not in a sync.
        if !fits(self.file.set_len(len))? {
            return Ok(false);
        }
        let zeros = vec![
            0;
            usize::try_from(len - self.len)
                .expect("the growth is shorter than FILE_BYTES_MAX")
        ];
        if !fits(self.file.write(self.len, &zeros))? {
            return Ok(false);
        }
        self.len = len;
        Ok(true)
    }

    /// Makes every record durable.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        if self.unsynced {
            self.sync_file()?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn sync_file(&self) -> Result<(), FileError> {
        let synced = self.file.sync_data();
        synced.map_err(|error| FileError::io(FileName::Wal, error))
    }

    /// Starts again at the beginning of the file. The engine has all records up to `checkpointed`, durably, so frames may be
    /// overwritten.
    pub(super) fn restart(&mut self, checkpointed: Position) {
        self.next = PAGE as u64;
        self.pending.clear();
        self.unsynced = false;
        self.checkpointed = checkpointed;
    }

    /// Begins a new file with the number of a directory: its frames have another salt, so those that are in it can never be read
    /// again.
    pub(super) fn begin(&mut self, directory: DirectoryId) -> Result<(), FileError> {
        debug_assert!(self.pending.is_empty(), "the engine has all records");
        let error = |error| FileError::io(FileName::Wal, error);
        if self.len < PAGE as u64 {
            self.file.set_len(PAGE as u64).map_err(error)?;
            self.len = PAGE as u64;
        }
        self.directory = directory;
        self.salt = None;
        self.base = None;
        if self.header_on_disk()?.is_none() {
            return Err(disk_full());
        }
        if self.len > FILE_BYTES_MAX {
            self.file.set_len(PAGE as u64).map_err(error)?;
            self.sync_file()?;
            self.len = PAGE as u64;
        }
        self.damage = None;
        self.restart(self.checkpointed);
        Ok(())
    }
}

fn disk_full() -> FileError {
    FileError::io(FileName::Wal, std::io::ErrorKind::StorageFull.into())
}

/// Whether a write succeeded. A full disk is no error here: the engine's file may still have space for the record.
fn fits(written: std::io::Result<()>) -> Result<bool, FileError> {
    match written.map_err(|error| FileError::io(FileName::Wal, error)) {
        Ok(()) => Ok(true),
        Err(error) if error.is_full() => Ok(false),
        Err(error) => Err(error),
    }
}

impl Scan {
    /// Reads frames from the first one, for as long as each continues the one before.
    fn in_file(file: &Bytes, salt: Salt, checkpointed: u64) -> Self {
        let mut scan = Self {
            end: PAGE,
            ..Self::default()
        };
        let mut last: Option<Position> = None;
        while let Some(frame) = frame_at(file, scan.end, salt) {
            let (record, position) = match decode_any(&frame) {
                Ok(decoded) => decoded,
                Err(Damaged(what)) => {
                    // The frame's checksum is right, so a server wrote the record like this.
                    scan.damage = Some(WalDamage::Unreadable(format!(
                        "tail is damaged at byte {}: {what}",
                        scan.end
                    )));
                    return scan;
                }
            };
            let follows = last
                .is_none_or(|last| (record.seq, record.previous_crc) == (last.seq + 1, last.crc));
            if !follows && !mutant("wal-skips-chain") {
                break;
            }
            last = Some(position);
            scan.last = Some(position.seq);
            scan.end += (FRAME_HEADER_LEN + frame.len()).next_multiple_of(PAGE);
            if position.seq > checkpointed {
                scan.pending.push(EncodedRecord {
                    position,
                    bytes: frame,
                });
            }
        }
        if !mutant("wal-looks-not-behind") {
            scan.find_gap(file, salt, checkpointed);
        }
        scan
    }

    /// Looks for a complete record after the last one that continues the log.
    fn find_gap(&mut self, file: &Bytes, salt: Salt, checkpointed: u64) {
        let last = self
            .pending
            .last()
            .map_or(checkpointed, |last| last.position.seq);
        for at in (self.end..file.len()).step_by(PAGE) {
            let Some(frame) = frame_at(file, at, salt) else {
                continue;
            };
            let found = match decode_any(&frame) {
                // The frame is of an earlier pass.
                Ok((record, _)) if record.seq <= last => continue,
                Ok((record, _)) => format!("record {} is at byte {at}", record.seq),
                Err(Damaged(what)) => format!("the record at byte {at} is damaged: {what}"),
            };
            self.damage = Some(WalDamage::Gap(format!(
                "tail is damaged at byte {}: record {} is missing, but {found}",
                self.end,
                last + 1,
            )));
            return;
        }
    }
}

/// The record of the frame that begins at `at`, if there is a frame with a correct checksum.
fn frame_at(file: &Bytes, at: usize, salt: Salt) -> Option<Bytes> {
    let rest = file.get(at..)?;
    let (head, rest) = rest.split_first_chunk::<FRAME_HEADER_LEN>()?;
    let [len, crc] =
        [0, 4].map(|from| u32::from_le_bytes(head[from..from + 4].try_into().expect("4 bytes")));
    let bytes = rest.get(..len as usize)?;
    (len > 0 && salt.crc(bytes) == crc).then(|| file.slice_ref(bytes))
}

#[cfg(test)]
mod tests;
