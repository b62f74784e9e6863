//! The space on the disk: looks at it, keeps some in reserve, and says what is to be told to the owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::disk::Disk;
use super::file_name::{FileName, SnapshotSlot};
use crate::config::{LITTLE_SPACE_INTERVAL, MUCH_SPACE_BYTES, SPACE_INTERVAL};
use crate::journal::interface::Space;
use crate::machine::{SpaceLow, SpaceOf};
use crate::metrics::JournalCells;

/// Bytes after which the space is looked at again, however little there is: a look takes a microsecond or two.
const LOOK_BYTES_MIN: u64 = 64 << 10;

/// How much space there must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpaceWanted {
    /// Bytes that must be free for changes to be accepted. With 0, changes go on until the disk is full.
    pub(super) least: u64,
    /// Bytes that are kept in reserve.
    pub(super) reserve: u64,
}

/// What is known of the space.
#[derive(Debug)]
pub(super) struct DiskSpace {
    disk: Arc<dyn Disk>,
    wanted: SpaceWanted,
    /// The space as the owner knows it.
    pub(super) told: Space,
    looked_at: Option<Instant>,
    /// Bytes that were free at the last look, beyond those that must be.
    room: u64,
    /// Bytes written since.
    written: u64,
    /// Where the free bytes are shown.
    cells: Arc<JournalCells>,
}

impl DiskSpace {
    pub(super) fn new(disk: Arc<dyn Disk>, wanted: SpaceWanted, cells: Arc<JournalCells>) -> Self {
        Self {
            disk,
            wanted,
            told: Space::Enough { room: u64::MAX },
            looked_at: None,
            room: 0,
            written: 0,
            cells,
        }
    }

    /// Counts bytes that are about to be written.
    pub(super) fn add_written(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
    }

    /// How long the space need not be looked at while nothing is written.
    pub(super) fn interval(&self) -> Duration {
        match self.room < MUCH_SPACE_BYTES {
            true => LITTLE_SPACE_INTERVAL,
            false => SPACE_INTERVAL,
        }
    }

    /// Whether it is time for a look.
    pub(super) fn is_look_due(&self) -> bool {
        let interval = self.interval();
        self.looked_at
            .is_none_or(|looked_at| looked_at.elapsed() >= interval)
            || self.written >= (self.room / 8).max(LOOK_BYTES_MIN)
    }

    /// Has the next look be due.
    pub(super) fn look_soon(&mut self) {
        self.looked_at = None;
    }

    /// Looks at the space. Makes the reserve if there is space for it. Returns what is to be told to the owner, if anything.
    pub(super) fn look(&mut self) -> Option<Space> {
        self.looked_at = Some(Instant::now());
        self.written = 0;
        let mut free = match self.disk.free_bytes() {
            Ok(free) => free,
            Err(error) => {
                warn!(%error, "cannot read the free disk space");
                return None;
            }
        };
        if self.make_reserve(free) {
            free = self.disk.free_bytes().unwrap_or(0);
        }
        self.cells.disk_free_bytes.set(free);
        let least = self.least();
        self.room = free.saturating_sub(least);
        let space = match free < least {
            true => Space::Low(self.low(free, least)),
            false => Space::Enough {
                room: match self.wanted.least == 0 || self.room >= MUCH_SPACE_BYTES {
                    true => u64::MAX,
                    false => self.room,
                },
            },
        };
        self.tell(space)
    }

    /// Notes that nothing can be written. Returns what is to be told to the owner, if anything.
    pub(super) fn full(&mut self) -> Option<Space> {
        let free = self.disk.free_bytes().unwrap_or(0);
        self.cells.disk_free_bytes.set(free);
        self.room = 0;
        let full = Space::Full(self.low(free, self.least()));
        self.tell(full)
    }

    fn tell(&mut self, space: Space) -> Option<Space> {
        let is_new = space != self.told;
        if std::mem::discriminant(&space) != std::mem::discriminant(&self.told) {
            match space {
                Space::Enough { .. } => info!("enough disk space is free again"),
                Space::Low(SpaceLow {
                    free, least, files, ..
                }) => warn!(
                    free,
                    least, files, "disk space is low: refusing changes that make the store larger"
                ),
                Space::Full(SpaceLow {
                    free, least, files, ..
                }) => warn!(
                    free,
                    least, files, "the disk is full: refusing all changes until there is space"
                ),
            }
        }
        self.told = space;
        is_new.then_some(space)
    }

    fn low(&self, free: u64, least: u64) -> SpaceLow {
        let files = FileName::ALL.map(|name| self.disk.occupied_bytes(name));
        SpaceLow {
            of: SpaceOf::Disk,
            free,
            least,
            files: files.iter().sum(),
        }
    }

    /// Bytes that must be free for changes to be accepted. After the reserve was given up, what is left of it is for deletes:
    /// there must be enough to make it again.
    fn least(&self) -> u64 {
        match self.disk.reserved_bytes() {
            Some(0) if self.wanted.reserve > 0 => self.enough_for_reserve(),
            _ => self.wanted.least,
        }
    }

    /// Free bytes with which the reserve is made: after it there are more than must be free, so that it is not in the way.
    fn enough_for_reserve(&self) -> u64 {
        self.wanted.least.saturating_add(2 * self.wanted.reserve)
    }

    fn make_reserve(&self, free: u64) -> bool {
        let reserved = self.disk.reserved_bytes().unwrap_or(0);
        if reserved >= self.wanted.reserve || free < self.enough_for_reserve() {
            return false;
        }
        match self.disk.set_reserve(self.wanted.reserve) {
            Ok(()) => true,
            Err(error) => {
                debug!(%error, "cannot keep space in reserve");
                false
            }
        }
    }

    /// Gives up the reserve, because the disk is full. Returns false if there is none.
    pub(super) fn give_up_reserve(&mut self) -> bool {
        self.look_soon();
        give_up_reserve(&*self.disk)
    }

    /// Whether there seems to be space for a snapshot of a state of so many bytes, in the place of an older one. Gives up the
    /// reserve for a small one, because it lets the log be shortened.
    pub(super) fn fits_snapshot(&mut self, older: SnapshotSlot, bytes: u64) -> bool {
        let free = self.disk.free_bytes().unwrap_or(u64::MAX);
        let older = self.disk.occupied_bytes(FileName::Snapshot(older));
        // The least that a file of the engine takes, and what it adds to its contents.
        let takes = (bytes + bytes / 8).saturating_add(256 << 10);
        free.saturating_add(older) >= takes
            || takes <= self.wanted.reserve / 2 && self.give_up_reserve()
    }

    /// Bytes on disk that are not needed when another snapshot is made: the older snapshot's, and those of the log, but for
    /// the records of `needed` bytes.
    pub(super) fn removable(&self, older: SnapshotSlot, needed: u64) -> u64 {
        let log = self.disk.occupied_bytes(FileName::Log);
        let older = self.disk.occupied_bytes(FileName::Snapshot(older));
        older + log.saturating_sub(needed)
    }
}

/// Gives up the reserve. Returns false if there is none.
pub(super) fn give_up_reserve(disk: &dyn Disk) -> bool {
    let reserved = disk.reserved_bytes().unwrap_or(0);
    if reserved == 0 {
        return false;
    }
    match disk.set_reserve(0) {
        Ok(()) => {
            warn!(
                reserved,
                "the disk is full: using the space that was kept in reserve"
            );
            true
        }
        Err(error) => {
            warn!(%error, "the disk is full, and the reserve cannot be given up");
            false
        }
    }
}
