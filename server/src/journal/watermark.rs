//! How far the log was at least: a hint beside it, written without waiting for the disk.
//!
//! After a crash of the process it is exact, after a power loss seldom ahead of what it was written for and never ahead of
//! the log. If the log ends before it, the log has lost what had been acknowledged.

use std::sync::Arc;

use redb::StorageBackend;

use super::disk::Disk;
use super::error::FileError;
use super::file_name::FileName;

const MAGIC: [u8; 8] = *b"soloist\x01";
const LEN: usize = 24;

#[derive(Debug)]
pub(crate) struct Watermark(Arc<dyn StorageBackend>);

impl Watermark {
    pub(crate) fn open(disk: &dyn Disk) -> Result<Self, FileError> {
        let file = disk.open(FileName::Watermark);
        Ok(Self(file.map_err(|error| {
            FileError::io(FileName::Watermark, error)
        })?))
    }

    /// The last record that is known to have been in the log; none if that is not known.
    pub(crate) fn get(&self) -> Result<Option<u64>, FileError> {
        let error = |error| FileError::io(FileName::Watermark, error);
        if self.0.len().map_err(error)? < LEN as u64 {
            return Ok(None);
        }
        let mut bytes = [0; LEN];
        self.0.read(0, &mut bytes).map_err(error)?;
        let seq = bytes[8..16].try_into().expect("these are eight");
        let seq = u64::from_le_bytes(seq);
        Ok((bytes == encode(seq)).then_some(seq))
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_blank(&self) -> Result<bool, FileError> {
        let len = self.0.len();
        Ok(len.map_err(|error| FileError::io(FileName::Watermark, error))? == 0)
    }

    /// Waits until it is on disk.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        let synced = self.0.sync_data();
        synced.map_err(|error| FileError::io(FileName::Watermark, error))
    }

    /// Notes that a record is in the log. That it cannot be noted is no harm by itself.
    pub(crate) fn set(&self, seq: u64) {
        let written = match self.0.len() {
            Ok(len) if len < LEN as u64 => self.0.set_len(LEN as u64),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = written.and_then(|()| self.0.write(0, &encode(seq))) {
            tracing::warn!(%error, "the watermark could not be written");
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
