//! The watermark: the number of the last record that is known to be in the log, in a file beside the log.
//!
//! A record is durable before the watermark names it, and the watermark is written without a sync. So after a crash of the
//! process the watermark names the last durable record. After a power loss it may be older, but is never newer than the log.
//! A log that ends before the watermark has lost acknowledged records.

use std::sync::Arc;

use redb::StorageBackend;

use super::directory_id::DirectoryId;
use super::disk::Disk;
use super::file_error::FileError;
use super::file_name::FileName;

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"soloist\x03";

/// The first bytes of a file that earlier servers wrote. It has four zeros in place of the number of a start, at the end.
const MAGIC_2: [u8; 8] = *b"soloist\x02";

/// The first bytes of a file that the first servers wrote. It has no number of a directory.
const MAGIC_1: [u8; 8] = *b"soloist\x01";

/// Bytes of the file: magic, record number, number of the directory, number of the server's start, CRC-32C of these four.
const LEN: usize = 40;

/// Bytes of the file of the first servers: magic, record number, CRC-32C of both, and four zeros.
const LEN_1: usize = 24;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The watermark was never written, or the file is lost.
    Nothing,
    /// No server wrote this.
    Damaged,
    /// The log has at least the records up to `seq`.
    Record {
        seq: u64,
        /// `None` in a file of the first servers.
        directory: Option<DirectoryId>,
        /// The start of a server that wrote it, as in [`StoreMeta::epoch`](crate::journal::stored::StoreMeta::epoch). `None` in a file of
        /// an earlier server.
        epoch: Option<u64>,
    },
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: Arc<dyn StorageBackend>,
    directory: DirectoryId,
    epoch: u64,
    /// Whether the file is known to have its whole length, durably.
    has_len: bool,
}

impl Watermark {
    /// Opens the file of the directory that has this number, for the start of this number.
    pub(crate) fn open(
        disk: &dyn Disk,
        directory: DirectoryId,
        epoch: u64,
    ) -> Result<Self, FileError> {
        let file = disk.open(FileName::Watermark);
        let file = file.map_err(|error| FileError::io(FileName::Watermark, error))?;
        Ok(Self {
            file,
            directory,
            epoch,
            has_len: false,
        })
    }

    /// Reads what the file says, whichever directory it is of.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Named, FileError> {
        let error = |error| FileError::io(FileName::Watermark, error);
        let file = disk.open(FileName::Watermark).map_err(error)?;
        let len = usize::try_from(file.len().map_err(error)?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(LEN)];
        file.read(0, &mut bytes).map_err(error)?;
        Ok(decode(&bytes))
    }

    /// Writes the number of a record that is in the log. A failure is only logged: an older watermark is still true.
    pub(crate) fn set(&mut self, seq: u64) {
        if let Err(error) = self.write(seq) {
            tracing::warn!(%error, "cannot write the watermark");
        }
    }

    /// Writes the number of a record that is in the log, durably.
    pub(crate) fn set_durably(&mut self, seq: u64) -> Result<(), FileError> {
        let written = self.write(seq).and_then(|()| self.file.sync_data());
        written.map_err(|error| FileError::io(FileName::Watermark, error))
    }

    fn write(&mut self, seq: u64) -> std::io::Result<()> {
        if !self.has_len {
            if self.file.len()? < LEN as u64 {
                // The new length must be durable first: a power loss must not leave a file that is cut off.
                self.file.set_len(LEN as u64)?;
                self.file.sync_data()?;
            }
            self.has_len = true;
        }
        self.file.write(0, &encode(seq, self.directory, self.epoch))
    }
}

fn encode(seq: u64, directory: DirectoryId, epoch: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&seq.to_le_bytes());
    bytes[16..32].copy_from_slice(directory.as_bytes());
    // Four thousand million starts are more than a directory ever sees.
    let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
    bytes[32..36].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Named {
    if bytes.iter().all(|byte| *byte == 0) {
        return Named::Nothing;
    }
    let Some(of_1) = bytes.first_chunk::<LEN_1>() else {
        return Named::Damaged;
    };
    let seq = u64::from_le_bytes(of_1[8..16].try_into().expect("8 bytes"));
    let crc_1 = crc32c::crc32c(&of_1[..16]).to_le_bytes();
    if of_1[..8] == MAGIC_1 && of_1[16..20] == crc_1 && of_1[20..] == [0; 4] {
        return Named::Record {
            seq,
            directory: None,
            epoch: None,
        };
    }
    let Some(of_2) = bytes.first_chunk::<LEN>() else {
        return Named::Damaged;
    };
    let directory = DirectoryId::of_bytes(&of_2[16..32]);
    let sealed = |len: usize| of_2[len..len + 4] == crc32c::crc32c(&of_2[..len]).to_le_bytes();
    let epoch = u32::from_le_bytes(of_2[32..36].try_into().expect("4 bytes"));
    match (&of_2[..8], directory) {
        (magic, Some(_)) if magic == MAGIC && sealed(36) => Named::Record {
            seq,
            directory,
            epoch: Some(epoch.into()),
        },
        (magic, Some(_)) if magic == MAGIC_2 && sealed(32) && of_2[36..] == [0; 4] => {
            Named::Record {
                seq,
                directory,
                epoch: None,
            }
        }
        _ => Named::Damaged,
    }
}
