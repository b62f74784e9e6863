//! The files of a data directory.

/// Names one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// The records since the older snapshot, but for the newest.
    Log,
    /// The newest records.
    Wal,
    /// One of the two snapshots, used in turn.
    Snapshot(SnapshotSlot),
    /// How far the log was at least.
    Watermark,
}

/// One of the two snapshot files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SnapshotSlot {
    A,
    B,
}

impl SnapshotSlot {
    /// As it is kept in the log.
    pub(crate) fn of_number(number: u32) -> Self {
        match number {
            0 => Self::A,
            _ => Self::B,
        }
    }

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
            Self::Wal => "tail",
            Self::Snapshot(SnapshotSlot::A) => "snapshot-a.redb",
            Self::Snapshot(SnapshotSlot::B) => "snapshot-b.redb",
            Self::Watermark => "watermark",
        }
    }
}
