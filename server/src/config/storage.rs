//! Whether and how the state is kept on disk.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::parse::{KIB, MIB, bytes};

/// Whether and how the state is kept on disk.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageConfig {
    /// Directory for the state. It is created if it does not exist. Without this flag the state is kept in memory only,
    /// and is lost when the process ends.
    #[arg(long, value_name = "DIR", env = "SOLOIST_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// When a change is answered. "sync": when it is on disk; no answered change is ever lost. "interval=MS": at once;
    /// it is on disk at most MS milliseconds later, and a power failure loses that much. "none": at once; the operating
    /// system writes it to disk at some time, and a power failure loses half a minute or more. With "interval" and
    /// "none", a killed process loses a few milliseconds.
    #[arg(
        long,
        value_name = "MODE",
        env = "SOLOIST_DURABILITY",
        default_value = "sync",
        requires = "data_dir"
    )]
    pub durability: Durability,
    /// Refuse to start if the directory contains no store, instead of creating one. For a store that must be there: if
    /// its disk is not mounted, the server would serve an empty store.
    #[arg(long, env = "SOLOIST_REQUIRE_STORE", requires = "data_dir")]
    pub require_store: bool,
    /// Start even though changes are lost: those after REVISION, which the error names. The store gets a new store_id.
    #[arg(long, value_name = "REVISION", requires = "data_dir")]
    pub accept_data_loss: Option<i64>,
    /// A snapshot is made when the log has grown by this many bytes since the last snapshot, and by as many as the
    /// state takes. So a start reads hardly more than twice the state.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_SNAPSHOT_LOG_BYTES", default_value_t = Self::DEFAULT_SNAPSHOT_LOG_BYTES,
          value_parser = bytes(KIB as u64..=u64::MAX), requires = "data_dir")]
    pub snapshot_log_bytes: u64,
    /// Free bytes on the disk below which changes except deletes are refused with STORE_FULL. The rest is left for
    /// deletes and a snapshot. 0: changes go on until the disk is full. Besides, a file of 9 MiB is kept in reserve,
    /// with which a start and deletes go on when no byte is free.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MIN_FREE_BYTES", default_value_t = Self::DEFAULT_MIN_FREE_BYTES,
          value_parser = bytes(0..=u64::MAX), requires = "data_dir")]
    pub min_free_bytes: u64,
}

impl StorageConfig {
    /// 64 MiB, which are read in a fraction of a second.
    pub const DEFAULT_SNAPSHOT_LOG_BYTES: u64 = 64 * MIB as u64;
    /// Four times [`DEFAULT_SNAPSHOT_LOG_BYTES`](Self::DEFAULT_SNAPSHOT_LOG_BYTES).
    pub const DEFAULT_MIN_FREE_BYTES: u64 = 256 * MIB as u64;
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_dir: None,
            durability: Durability::Sync,
            require_store: false,
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
    /// At once; it is on disk at most this much later.
    Interval(Duration),
    /// At once; the operating system writes it to disk at some time.
    None,
}

impl Durability {
    /// Returns what a crash may lose, as a sentence for people.
    #[must_use]
    pub fn loss_window(self) -> String {
        match self {
            Self::Sync => "no answered change is lost".into(),
            Self::Interval(interval) => format!(
                "a killed process loses the last few milliseconds of answered changes, a power failure up to the last {} ms",
                interval.as_millis()
            ),
            Self::None => "a killed process loses the last few milliseconds of answered changes, a power failure half a \
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
                        format!("{text:?} must be sync, none or interval=MS, with MS in {first}..={last}")
                    })
            }
        }
    }
}
