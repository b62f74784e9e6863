//! The log's tail: the newest records, in a small file of a fixed size, until they are moved to the engine many at a time.
//!
//! A commit is one write and one sync of blocks that the file has already, and nothing else: no page of the engine, no
//! length, no extent. When the file is full, or the engine has something to write anyway, everything in it goes to the
//! engine, and it begins anew.
//!
//! The first page is a header; then come frames, each from the start of a page of its own, so that no write touches what
//! was acknowledged. A frame is a length, a checksum and a record. The checksum covers a salt, too, that the header has and
//! nobody else knows: no value that a client sends can pass for a frame. What an earlier lap left behind is told from the
//! present one by its numbers: the engine has all of it.
//!
//! Records are synced one by one, so that behind one that is torn there is none that is whole: a [gap](Harm::Gap) is
//! damage, unless the records were not synced.

use std::sync::Arc;

use bytes::Bytes;
use redb::StorageBackend;

use super::disk::Disk;
use super::error::FileError;
use super::file_name::FileName;
use super::record::{EncodedRecord, Position, decode_any};
use super::stored::Damaged;
use crate::mutants::mutant;

/// What is written and torn as a whole, at the least: that of most systems, and a multiple of every disk's sector.
const PAGE: usize = 4096;

/// By how much the file grows. Zeros are written there, and not only asked for: a sync of blocks that were never written
/// has to note that they are now, which costs as much as the sync.
const GROWTH: usize = 256 << 10;

/// No server made a larger one: what is longer is not read into memory.
const FILE_BYTES_MAX: u64 = 64 << 20;

const MAGIC: [u8; 8] = *b"soltail\x01";

/// Of the file's layout. One that is not known is refused.
const VERSION: u32 = 1;

/// Magic, version, salt and the checksum of these.
const HEADER_LEN: usize = 24;

/// Length and checksum.
const FRAME_HEADER_LEN: usize = 8;

/// Whether a record found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    Written,
    /// Not before the file begins anew, or never.
    NoRoom,
}

/// What is wrong with the file.
#[derive(Clone, Debug)]
pub(super) enum WalDamage {
    /// What cannot be read was never torn by a loss of power.
    Unreadable(String),
    /// There are records after one that is not whole. So a loss of power leaves it where records were not synced.
    Gap(String),
}

/// The tail, open.
#[derive(Debug)]
pub(super) struct Wal {
    file: Arc<dyn StorageBackend>,
    len: u64,
    len_max: u64,
    /// None: there is no header yet.
    salt: Option<Salt>,
    /// Where the next frame begins.
    next: u64,
    /// The records that the engine does not have, in their order.
    pending: Vec<EncodedRecord>,
    unsynced: bool,
    damage: Option<WalDamage>,
    /// The frame that is written.
    frame: Vec<u8>,
}

/// Goes before what a frame's checksum covers.
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

    fn header(self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&self.0.to_le_bytes());
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        debug_assert_eq!(page.len(), HEADER_LEN);
        page.resize(PAGE, 0);
        page
    }

    /// Reads the header; none if nothing was ever written.
    fn read(file: &[u8]) -> Result<Option<Self>, Damaged> {
        if file.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let Some(header) = file.first_chunk::<HEADER_LEN>() else {
            return Err(Damaged("it is too short".into()));
        };
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four"));
        if header[..8] != MAGIC || number(20) != crc32c::crc32c(&header[..20]) {
            return Err(Damaged("its header is none".into()));
        }
        if number(8) != VERSION {
            return Err(Damaged(format!(
                "its version is {}, and this server knows {VERSION} alone",
                number(8)
            )));
        }
        let salt = header[12..20].try_into().expect("these are eight");
        Ok(Some(Self(u64::from_le_bytes(salt))))
    }
}

/// What is in a file.
#[derive(Default)]
struct Scan {
    pending: Vec<EncodedRecord>,
    /// Where the last record ends.
    end: usize,
    damage: Option<WalDamage>,
}

impl Wal {
    /// Opens the file, and takes from it what comes after `kept`, the last record of the engine. Writes nothing.
    pub(super) fn open(
        disk: &dyn Disk,
        len_max: u64,
        checkpointed: u64,
    ) -> Result<Self, FileError> {
        let error = |error| FileError::io(FileName::Wal, error);
        let file = disk.open(FileName::Wal).map_err(error)?;
        let len = file.len().map_err(error)?;
        let mut wal = Self {
            file,
            len,
            len_max,
            salt: None,
            next: PAGE as u64,
            pending: Vec::new(),
            unsynced: false,
            damage: None,
            frame: Vec::new(),
        };
        if len > FILE_BYTES_MAX {
            wal.damage = Some(WalDamage::Unreadable(format!(
                "tail is damaged: it has {len} bytes, and no server makes more than {FILE_BYTES_MAX}"
            )));
            return Ok(wal);
        }
        let len = usize::try_from(len).expect("that is no more than fits into memory");
        let mut bytes = vec![0; len];
        wal.file.read(0, &mut bytes).map_err(error)?;
        let bytes = Bytes::from(bytes);
        match Salt::read(&bytes) {
            Ok(None) => {}
            Ok(Some(salt)) => {
                wal.salt = Some(salt);
                let scan = Scan::in_file(&bytes, salt, checkpointed);
                if !scan.pending.is_empty() {
                    wal.next = scan.end as u64;
                    // Whoever wrote them may have been killed before the sync.
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

    /// The records that the engine does not have.
    pub(super) fn pending(&self) -> &[EncodedRecord] {
        &self.pending
    }

    /// What is wrong with it.
    pub(super) fn damage(&self) -> Option<&WalDamage> {
        self.damage.as_ref()
    }

    /// Whether something is in it that may not be on disk.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Writes a record behind the others, if there is room.
    pub(super) fn append(&mut self, record: &EncodedRecord) -> Result<Appended, FileError> {
        let frame_len = (FRAME_HEADER_LEN + record.bytes.len()).next_multiple_of(PAGE);
        let end = self.next + frame_len as u64;
        if end > self.len_max || !self.grow(end)? {
            return Ok(Appended::NoRoom);
        }
        let Some(salt) = self.salt_on_disk()? else {
            return Ok(Appended::NoRoom);
        };
        let len = u32::try_from(record.bytes.len()).expect("no wal is so long");
        self.frame.clear();
        self.frame.extend_from_slice(&len.to_le_bytes());
        self.frame
            .extend_from_slice(&salt.crc(&record.bytes).to_le_bytes());
        self.frame.extend_from_slice(&record.bytes);
        // Whole pages: the system need not read what the rest of the last one has.
        self.frame.resize(frame_len, 0);
        if !fits(self.file.write(self.next, &self.frame))? {
            return Ok(Appended::NoRoom);
        }
        self.next = end;
        self.pending.push(record.clone());
        self.unsynced = true;
        Ok(Appended::Written)
    }

    /// The salt, from the header that is there or is made now: on disk before any frame.
    fn salt_on_disk(&mut self) -> Result<Option<Salt>, FileError> {
        if self.salt.is_none() {
            let salt = Salt(rand::random());
            if !fits(self.file.write(0, &salt.header()))? {
                return Ok(None);
            }
            self.sync_file()?;
            self.salt = Some(salt);
        }
        Ok(self.salt)
    }

    /// Makes the file longer, if it does not reach to `end`. Returns whether there is the space.
    fn grow(&mut self, end: u64) -> Result<bool, FileError> {
        if end <= self.len {
            return Ok(true);
        }
        let len = end.next_multiple_of(GROWTH as u64).min(self.len_max);
        // Space first: a disk that is full is found out here, and not by a sync.
        if !fits(self.file.set_len(len))? {
            return Ok(false);
        }
        let zeros = vec![0; usize::try_from(len - self.len).expect("no wal is so long")];
        if !fits(self.file.write(self.len, &zeros))? {
            return Ok(false);
        }
        self.len = len;
        Ok(true)
    }

    /// Waits until everything is on disk.
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

    /// The engine has everything, on disk: what is here may be overwritten.
    pub(super) fn restart(&mut self) {
        self.next = PAGE as u64;
        self.pending.clear();
        self.unsynced = false;
    }

    /// Empties the file, so that nothing that is left in it can ever be read again. The next header has another salt.
    pub(super) fn truncate(&mut self) -> Result<(), FileError> {
        debug_assert!(self.pending.is_empty(), "the engine has everything");
        let emptied = self.file.set_len(0);
        emptied.map_err(|error| FileError::io(FileName::Wal, error))?;
        self.sync_file()?;
        self.len = 0;
        self.salt = None;
        self.damage = None;
        self.restart();
        Ok(())
    }
}

/// Whether something was written. A tail that cannot grow is a short one: the engine may still have space.
fn fits(written: std::io::Result<()>) -> Result<bool, FileError> {
    match written.map_err(|error| FileError::io(FileName::Wal, error)) {
        Ok(()) => Ok(true),
        Err(error) if error.is_full() => Ok(false),
        Err(error) => Err(error),
    }
}

impl Scan {
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
                    // Its checksum is right, so that it was written like this.
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

    /// Looks for records behind the last that is whole.
    fn find_gap(&mut self, file: &Bytes, salt: Salt, checkpointed: u64) {
        let last = self
            .pending
            .last()
            .map_or(checkpointed, |last| last.position.seq);
        for at in (self.end..file.len()).step_by(PAGE) {
            let Some(frame) = frame_at(file, at, salt) else {
                continue;
            };
            let what = match decode_any(&frame) {
                // Of an earlier lap.
                Ok((record, _)) if record.seq <= last => continue,
                Ok((record, _)) => format!("record {}", record.seq),
                Err(Damaged(what)) => format!("something of which is known that {what}"),
            };
            self.damage = Some(WalDamage::Gap(format!(
                "tail is damaged at byte {}: there is no record {}, and {what} at byte {at}",
                self.end,
                last + 1,
            )));
            return;
        }
    }
}

/// What the frame has that begins here, if there is one.
fn frame_at(file: &Bytes, at: usize, salt: Salt) -> Option<Bytes> {
    let rest = file.get(at..)?;
    let (head, rest) = rest.split_first_chunk::<FRAME_HEADER_LEN>()?;
    let [len, crc] = [0, 4]
        .map(|from| u32::from_le_bytes(head[from..from + 4].try_into().expect("these are four")));
    let bytes = rest.get(..len as usize)?;
    (len > 0 && salt.crc(bytes) == crc).then(|| file.slice_ref(bytes))
}

#[cfg(test)]
mod tests;
