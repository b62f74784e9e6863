//! Whether and how the state is kept on disk.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, value_parser};

use super::parse::{KIB, MIB};

/// Whether and how the state is kept on disk.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageConfig {
    /// Directory that keeps the state; it is made if there is none. Without it the state is in memory alone, and ends with
    /// the process.
    #[arg(long, value_name = "DIR", env = "SOLOIST_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// When a change is answered. "sync": when it is on disk; nothing that was answered is ever lost. "interval=MS": at
    /// once, and it is on disk at most so many milliseconds later: a power failure loses as much. "none": at once, and the
    /// system writes it when it sees fit: a power failure loses half a minute or more. With both, a killed process loses a
    /// few milliseconds.
    #[arg(
        long,
        value_name = "MODE",
        env = "SOLOIST_DURABILITY",
        default_value = "sync",
        requires = "data_dir"
    )]
    pub durability: Durability,
    /// Start although something is lost: what is left ends at REVISION, as the error said. The store gets a new store_id.
    #[arg(long, value_name = "REVISION", requires = "data_dir")]
    pub accept_data_loss: Option<i64>,
    /// A snapshot is made when the log has grown by so many bytes since the last one, and by as many as the state takes: a
    /// start has hardly more to read than twice the state.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_SNAPSHOT_LOG_BYTES", default_value_t = Self::DEFAULT_SNAPSHOT_LOG_BYTES,
          value_parser = value_parser!(u64).range(KIB as u64..), requires = "data_dir")]
    pub snapshot_log_bytes: u64,
    /// Free bytes on the disk below which changes are refused with STORE_FULL, but for deletes: what is left is for them and
    /// for a snapshot. Never less than the log has, which grows by doubling. 0: until the disk is full.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MIN_FREE_BYTES", default_value_t = Self::DEFAULT_MIN_FREE_BYTES,
          value_parser = value_parser!(u64), requires = "data_dir")]
    pub min_free_bytes: u64,
}

impl StorageConfig {
    /// Small enough to be read in a fraction of a second.
    pub const DEFAULT_SNAPSHOT_LOG_BYTES: u64 = 64 * MIB as u64;
    /// As much as four times that.
    pub const DEFAULT_MIN_FREE_BYTES: u64 = 256 * MIB as u64;
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_dir: None,
            durability: Durability::Sync,
            accept_data_loss: None,
            snapshot_log_bytes: Self::DEFAULT_SNAPSHOT_LOG_BYTES,
            min_free_bytes: Self::DEFAULT_MIN_FREE_BYTES,
        }
    }
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    Sync,
    /// At once; it is on disk at most so much later.
    Interval(Duration),
    /// At once; the system writes it when it sees fit.
    None,
}

impl Durability {
    /// What may be lost, for people.
    #[must_use]
    pub fn loss_window(self) -> String {
        match self {
            Self::Sync => "nothing that was answered is lost".into(),
            Self::Interval(interval) => format!(
                "a killed process loses the last milliseconds that were answered, a power failure up to the last {} ms",
                interval.as_millis()
            ),
            Self::None => "a killed process loses the last milliseconds that were answered, a power failure half a \
                           minute or more"
                .into(),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync => f.write_str("sync"),
            Self::Interval(interval) => write!(f, "interval={}", interval.as_millis()),
            Self::None => f.write_str("none"),
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MS: RangeInclusive<u64> = 1..=60_000;
        match text {
            "sync" => Ok(Self::Sync),
            "none" => Ok(Self::None),
            _ => {
                let ms = text
                    .strip_prefix("interval=")
                    .and_then(|ms| ms.parse().ok());
                ms.filter(|ms| MS.contains(ms))
                    .map(|ms| Self::Interval(Duration::from_millis(ms)))
                    .ok_or_else(|| {
                        let (first, last) = (MS.start(), MS.end());
                        format!("{text:?} is none of sync, none and interval=MS, with MS from {first} to {last}")
                    })
            }
        }
    }
}
