//! The watermark: the number of the last record that is known to be in the log, in a file beside the log.
//!
//! A record is durable before the watermark names it, and the watermark is written without a sync. So after a crash of the
//! process the watermark names the last durable record. After a power loss it may be older, but is never newer than the log.
//! A log that ends before the watermark has lost acknowledged records.

use std::sync::Arc;

use redb::StorageBackend;

use super::disk::Disk;
use super::error::FileError;
use super::file_name::FileName;

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"soloist\x01";

/// Bytes of the file: magic, record number, CRC-32C of both, and four zeros.
const LEN: usize = 24;

/// The open file.
#[derive(Debug)]
pub(crate) struct Watermark(Arc<dyn StorageBackend>);

impl Watermark {
    pub(crate) fn open(disk: &dyn Disk) -> Result<Self, FileError> {
        let file = disk.open(FileName::Watermark);
        Ok(Self(file.map_err(|error| {
            FileError::io(FileName::Watermark, error)
        })?))
    }

    /// The number of the last record that is known to be in the log; `None` if the file is empty or damaged.
    pub(crate) fn get(&self) -> Result<Option<u64>, FileError> {
        let error = |error| FileError::io(FileName::Watermark, error);
        if self.0.len().map_err(error)? < LEN as u64 {
            return Ok(None);
        }
        let mut bytes = [0; LEN];
        self.0.read(0, &mut bytes).map_err(error)?;
        let seq = bytes[8..16].try_into().expect("8 bytes");
        let seq = u64::from_le_bytes(seq);
        Ok((bytes == encode(seq)).then_some(seq))
    }

    /// Whether the watermark was never written.
    pub(crate) fn is_blank(&self) -> Result<bool, FileError> {
        let len = self.0.len();
        Ok(len.map_err(|error| FileError::io(FileName::Watermark, error))? == 0)
    }

    /// Makes the watermark durable.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        let synced = self.0.sync_data();
        synced.map_err(|error| FileError::io(FileName::Watermark, error))
    }

    /// Writes the number of a record that is in the log. A failure is only logged: an older watermark is still true.
    pub(crate) fn set(&self, seq: u64) {
        let written = match self.0.len() {
            Ok(len) if len < LEN as u64 => self.0.set_len(LEN as u64),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = written.and_then(|()| self.0.write(0, &encode(seq))) {
            tracing::warn!(%error, "cannot write the watermark");
        }
    }
}

fn encode(seq: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&seq.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}
