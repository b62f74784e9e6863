//! How often a connection may change its SETTINGS.
//!
//! A change of the initial window touches every stream of the connection, so 15 bytes cost as much as several calls, and
//! shares of bytes (`fairness.rs`) do not bound that.

use std::io;

use tokio::time::Instant;

use super::frame_headers::{FrameHeader, FrameHeaders};
use crate::config::{SETTINGS_INTERVAL, SETTINGS_MAX};

/// The type of SETTINGS, and the flag of those that only acknowledge. Source: RFC 9113, section 6.5.
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Counts the SETTINGS of a connection.
pub(super) struct SettingsCount {
    frames: FrameHeaders,
    /// Those that time has not made up for.
    count: usize,
    /// Up to when time has made up for some.
    since: Instant,
}

impl SettingsCount {
    /// For a connection from its preface on.
    pub(super) fn new() -> Self {
        Self {
            frames: FrameHeaders::after_preface(),
            count: 0,
            since: Instant::now(),
        }
    }

    /// Notes that these bytes were read.
    ///
    /// # Errors
    /// `InvalidData` if there were too many SETTINGS.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut new = 0;
        self.frames.read(bytes, |FrameHeader { kind, flags }| {
            new += usize::from(kind == SETTINGS && flags & ACK == 0);
        });
        match new {
            0 => Ok(()),
            new => self.add(new),
        }
    }

    fn add(&mut self, new: usize) -> io::Result<()> {
        self.count += new;
        if self.count <= SETTINGS_MAX {
            return Ok(());
        }
        let intervals = self.since.elapsed().as_millis() / SETTINGS_INTERVAL.as_millis();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.since += SETTINGS_INTERVAL * intervals;
        self.count = self.count.saturating_sub(intervals as usize);
        if self.count <= SETTINGS_MAX {
            return Ok(());
        }
        let error =
            format!("more than {SETTINGS_MAX} SETTINGS, and one every {SETTINGS_INTERVAL:?}");
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const CHANGE: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0];
    const ACKNOWLEDGED: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];

    #[tokio::test(start_paused = true)]
    async fn many_settings_at_once_are_refused_and_one_a_second_is_not() {
        let mut count = SettingsCount::new();
        count.read(PREFACE).unwrap();
        count.read(&CHANGE.repeat(SETTINGS_MAX)).unwrap();
        for _ in 0..1000 {
            tokio::time::advance(SETTINGS_INTERVAL).await;
            count.read(&ACKNOWLEDGED.repeat(1000)).unwrap();
            count.read(CHANGE).unwrap();
        }
        count.read(CHANGE).unwrap_err();
    }
}
