//! Bytes that a connection sends without any call in progress: they are limited, because they only make work.

use std::io;

use super::open_calls::OpenCalls;
use crate::config::BYTES_WITHOUT_CALL_MAX;

/// Counts what a connection sends between calls.
pub(super) struct WithoutCall {
    calls: OpenCalls,
    /// How many calls had begun when counting began.
    begun: u64,
    bytes: usize,
}

impl WithoutCall {
    pub(super) fn new(calls: OpenCalls) -> Self {
        Self {
            calls,
            begun: 0,
            bytes: 0,
        }
    }

    /// Notes that bytes were read.
    ///
    /// # Errors
    /// `InvalidData` if there were too many since the last call.
    pub(super) fn read(&mut self, bytes: usize) -> io::Result<()> {
        match self.calls.begun_if_none_open() {
            Some(begun) if begun == self.begun => self.bytes += bytes,
            begun => {
                self.begun = begun.unwrap_or(self.begun);
                self.bytes = 0;
            }
        }
        if self.bytes <= BYTES_WITHOUT_CALL_MAX {
            return Ok(());
        }
        let error = format!("more than {BYTES_WITHOUT_CALL_MAX} bytes without a call");
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}
