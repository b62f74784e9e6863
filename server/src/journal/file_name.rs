//! The files of a data directory.

/// Names one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// The records since the older snapshot, but for the newest.
    Log,
    /// The newest records.
    Tail,
    /// One of the two snapshots, used in turn.
    Snapshot(Slot),
    /// How far the log was at least.
    Watermark,
}

/// One of the two snapshot files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
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
        Self::Tail,
        Self::Snapshot(Slot::A),
        Self::Snapshot(Slot::B),
        Self::Watermark,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log.redb",
            Self::Tail => "tail",
            Self::Snapshot(Slot::A) => "snapshot-a.redb",
            Self::Snapshot(Slot::B) => "snapshot-b.redb",
            Self::Watermark => "watermark",
        }
    }
}
