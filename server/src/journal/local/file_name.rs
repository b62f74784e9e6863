//! The files of a data directory.

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// The records since the older snapshot, without the newest.
    Log,
    /// The newest records: the write-ahead log.
    Wal,
    /// One of the two snapshots. New snapshots replace the older one.
    Snapshot(SnapshotSlot),
    /// The number of the last record that is known to be in the log.
    Watermark,
}

/// One of the two snapshot files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SnapshotSlot {
    A,
    B,
}

impl SnapshotSlot {
    /// The slot of a number in `SnapshotMeta.slot`.
    pub(crate) fn of_number(number: u32) -> Self {
        match number {
            0 => Self::A,
            _ => Self::B,
        }
    }

    /// The number for `SnapshotMeta.slot`.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl FileName {
    pub(crate) const ALL: [Self; 5] = [
        Self::Log,
        Self::Wal,
        Self::Snapshot(SnapshotSlot::A),
        Self::Snapshot(SnapshotSlot::B),
        Self::Watermark,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log.redb",
            // The name that the first servers gave it: their directories must still open.
            Self::Wal => "tail",
            Self::Snapshot(SnapshotSlot::A) => "snapshot-a.redb",
            Self::Snapshot(SnapshotSlot::B) => "snapshot-b.redb",
            Self::Watermark => "watermark",
        }
    }
}
