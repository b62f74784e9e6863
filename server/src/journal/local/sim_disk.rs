//! A simulated disk, in memory. It loses power at a given call. Of the data that was not synced, it then keeps random sectors
//! or random writes, and one of the lengths that a file had, as real disks do.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redb::StorageBackend;

use super::disk::Disk;
use super::file_name::FileName;
use crate::mutants::mutant;

const SECTOR: usize = 512;

/// Bytes that a sparse file takes at once.
const PAGE: usize = 4_096;

/// The disk. Clones share their content.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<Sim>>);

#[derive(Debug)]
struct Sim {
    files: BTreeMap<FileName, Content>,
    rng: StdRng,
    /// The number of writing calls until the power is lost.
    calls_left: u64,
    power_lost: bool,
    /// Counts power losses and kills. A file that was opened before the last one is useless.
    boot: u64,
    /// The probability that an unsynced unit survives a power loss.
    survival: f64,
    unit: Unit,
    /// Bytes that all files and the reserve can take together.
    capacity: u64,
    /// See [`Disk::reserved_bytes`].
    reserve: Option<u64>,
    /// Whether syncs do nothing, as on a system that lies about them.
    ignores_syncs: bool,
    /// Whether a file could not grow, and no record was written to the write-ahead log since.
    was_full: bool,
    /// How often there was no space for something.
    full_count: u64,
    /// Only with a fault: whether the next write of the watermark syncs the write-ahead log.
    wal_sync_is_due: bool,
}

/// A part of a write that survives a power loss as a whole, or not at all.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Sector,
    Write,
}

/// A file's content.
#[derive(Clone, Debug, Default)]
struct Content {
    /// The content at the last sync.
    durable: Vec<u8>,
    /// The content that is read.
    present: Vec<u8>,
    /// The pages that take space, if the file is sparse, by number. Others were never written.
    allocated: BTreeSet<usize>,
    /// The calls since the last sync.
    unsynced: Vec<Unsynced>,
    /// Only with a fault: how many of these calls the next sync makes durable.
    sync_is_due: usize,
}

/// A call that may not survive a power loss.
#[derive(Clone, Debug)]
enum Unsynced {
    /// Bytes at an offset.
    Write(usize, Vec<u8>),
    /// A new length.
    Len(usize),
}

/// An open file.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    name: FileName,
    boot: u64,
}

/// Like `Vec::resize` with zeros, which is slow in unoptimised code.
fn resize(bytes: &mut Vec<u8>, len: usize) {
    match len.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(len),
    }
}

fn power_lost() -> io::Error {
    io::Error::other("the disk has lost power")
}

impl SimDisk {
    /// An empty disk of unlimited capacity. The seed decides what survives power losses.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let survival = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        let unit = match rng.random() {
            true => Unit::Sector,
            false => Unit::Write,
        };
        Self(Arc::new(Mutex::new(Sim {
            files: BTreeMap::new(),
            rng,
            calls_left: u64::MAX,
            power_lost: false,
            boot: 0,
            survival,
            unit,
            capacity: u64::MAX,
            reserve: None,
            ignores_syncs: false,
            was_full: false,
            full_count: 0,
            wal_sync_is_due: false,
        })))
    }

    fn sim(&self) -> std::sync::MutexGuard<'_, Sim> {
        self.0.lock().unwrap()
    }

    /// Has the disk lose power after this many more writing calls.
    pub(crate) fn lose_power_after(&self, calls: u64) {
        self.sim().calls_left = calls;
    }

    /// Whether the disk is without power.
    pub(crate) fn has_lost_power(&self) -> bool {
        self.sim().power_lost
    }

    /// Has all later syncs do nothing.
    pub(crate) fn ignore_syncs(&self) {
        self.sim().ignores_syncs = true;
    }

    /// Sets the bytes that all files and the reserve can take together.
    pub(crate) fn set_capacity(&self, capacity: u64) {
        self.sim().capacity = capacity;
    }

    /// Bytes that all files and the reserve take together.
    pub(crate) fn used(&self) -> u64 {
        self.sim().used()
    }

    /// How often there was no space for something.
    pub(crate) fn full_count(&self) -> u64 {
        self.sim().full_count
    }

    /// Removes the reserve, as an operator may do.
    pub(crate) fn remove_reserve(&self) {
        self.sim().reserve = None;
    }

    /// Turns the power on again. Unsynced data is lost, or survives.
    pub(crate) fn power_on(&self) {
        let mut sim = self.sim();
        let Sim {
            files,
            rng,
            survival,
            unit,
            ..
        } = &mut *sim;
        for content in files.values_mut() {
            content.lose(rng, *survival, *unit);
        }
        sim.power_lost = false;
        sim.wal_sync_is_due = false;
        sim.calls_left = u64::MAX;
        sim.boot += 1;
    }

    /// Invalidates open files, as the end of a process does. Everything that it wrote stays. A disk without power is used to
    /// stop a process at some call; it has power again.
    pub(crate) fn process_killed(&self) {
        let mut sim = self.sim();
        sim.boot += 1;
        sim.power_lost = false;
        sim.calls_left = u64::MAX;
    }

    /// Changes a file that nobody has open.
    pub(crate) fn tamper(&self, name: FileName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut sim = self.sim();
        let content = sim.files.entry(name).or_default();
        change(&mut content.present);
        content.durable = content.present.clone();
        content.allocated = (0..content.present.len().div_ceil(PAGE)).collect();
        content.unsynced.clear();
        content.sync_is_due = 0;
    }

    /// The length of a file; 0 if it is missing.
    pub(crate) fn len(&self, name: FileName) -> usize {
        let sim = self.sim();
        sim.files
            .get(&name)
            .map_or(0, |content| content.present.len())
    }

    /// The content of a file; empty if it is missing.
    pub(crate) fn bytes(&self, name: FileName) -> Vec<u8> {
        let sim = self.sim();
        let content = sim.files.get(&name);
        content.map_or_else(Vec::new, |content| content.present.clone())
    }

    /// Another disk with the same files.
    pub(crate) fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        copy.sim().files = self.sim().files.clone();
        copy
    }
}

/// Whether a file takes space only where something was written.
fn is_sparse(name: FileName) -> bool {
    matches!(name, FileName::Log | FileName::Snapshot(_))
}

impl Sim {
    fn used(&self) -> u64 {
        let files = self.files.iter();
        let used: u64 = files.map(|(name, content)| content.occupied(*name)).sum();
        used + self.reserve.unwrap_or(0)
    }

    /// Fails if there is no space for so many more bytes.
    fn take(&mut self, more: u64) -> io::Result<()> {
        if self.used().saturating_add(more) > self.capacity {
            self.was_full = true;
            self.full_count += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Counts a writing call. Returns false if the power is lost during this call.
    fn call(&mut self) -> Result<bool, io::Error> {
        if self.power_lost {
            return Err(power_lost());
        }
        if self.calls_left == 0 {
            self.power_lost = true;
            return Ok(false);
        }
        self.calls_left -= 1;
        Ok(true)
    }

    /// Whether a fault has the disk forget a write.
    fn forgets(&mut self, name: FileName, offset: u64, data: &[u8]) -> bool {
        match name {
            FileName::Watermark => mutant("no-watermark"),
            // A record: neither the header nor the zeros that a new block gets.
            FileName::Wal if offset >= 4_096 && data.iter().any(|byte| *byte != 0) => {
                std::mem::take(&mut self.was_full) && mutant("full-is-committed")
            }
            _ => false,
        }
    }
}

impl Content {
    fn occupied(&self, name: FileName) -> u64 {
        match is_sparse(name) {
            true => (self.allocated.len() * PAGE) as u64,
            false => self.present.len() as u64,
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.present.len() < end {
            resize(&mut self.present, end);
        }
        self.present[offset..end].copy_from_slice(data);
    }

    /// Makes every call durable.
    fn sync(&mut self) {
        for unsynced in std::mem::take(&mut self.unsynced) {
            self.keep(unsynced);
        }
        debug_assert!(self.durable.len() == self.present.len());
    }

    /// Makes one call durable.
    fn keep(&mut self, unsynced: Unsynced) {
        match unsynced {
            Unsynced::Len(len) => resize(&mut self.durable, len),
            Unsynced::Write(offset, data) => {
                let end = offset + data.len();
                if self.durable.len() < end {
                    resize(&mut self.durable, end);
                }
                self.durable[offset..end].copy_from_slice(&data);
            }
        }
    }

    /// Makes only those calls durable that came before the last call of this function: each sync takes effect one sync late.
    fn sync_late(&mut self) {
        let later = self.unsynced.split_off(self.sync_is_due);
        for unsynced in std::mem::replace(&mut self.unsynced, later) {
            self.keep(unsynced);
        }
        self.sync_is_due = self.unsynced.len();
    }

    /// Decides which unsynced calls survive a power loss.
    fn lose(&mut self, rng: &mut StdRng, survival: f64, unit: Unit) {
        let mut kept = std::mem::take(&mut self.durable);
        let lens = self.unsynced.iter().filter_map(|unsynced| match unsynced {
            Unsynced::Len(len) => Some(*len),
            Unsynced::Write(..) => None,
        });
        let lens: Vec<usize> = [kept.len()].into_iter().chain(lens).collect();
        let len = match rng.random_bool(survival) {
            true => *lens.last().unwrap(),
            false => lens[rng.random_range(0..lens.len())],
        };
        self.sync_is_due = 0;
        for unsynced in self.unsynced.drain(..) {
            let Unsynced::Write(offset, data) = unsynced else {
                continue;
            };
            let pieces: Vec<(usize, &[u8])> = match unit {
                Unit::Write => vec![(offset, &data)],
                Unit::Sector => {
                    // Sectors are counted from the start of the file.
                    let first = (SECTOR - offset % SECTOR).min(data.len());
                    let (head, tail) = data.split_at(first);
                    let mut pieces = vec![(offset, head)];
                    let rest = tail.chunks(SECTOR).enumerate();
                    pieces.extend(rest.map(|(n, piece)| (offset + first + n * SECTOR, piece)));
                    pieces
                }
            };
            for (at, piece) in pieces {
                if rng.random_bool(survival) {
                    let end = at + piece.len();
                    if kept.len() < end {
                        resize(&mut kept, end);
                    }
                    kept[at..end].copy_from_slice(piece);
                }
            }
        }
        resize(&mut kept, len);
        self.allocated.retain(|page| page * PAGE < len);
        self.present = kept.clone();
        self.durable = kept;
    }
}

impl SimFile {
    /// Calls `work`, if the file is still valid and the disk has power.
    fn with<T>(&self, work: impl FnOnce(&mut Sim, FileName) -> io::Result<T>) -> io::Result<T> {
        let mut sim = self.disk.sim();
        if sim.boot != self.boot || sim.power_lost {
            return Err(power_lost());
        }
        work(&mut sim, self.name)
    }
}

impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|sim, name| Ok(sim.files[&name].present.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|sim, name| {
            let present = &sim.files[&name].present;
            let from = offset as usize;
            let bytes = present.get(from..from + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|sim, name| {
            let present = sim.files[&name].present.len() as u64;
            if len > present && !is_sparse(name) {
                sim.take(len - present)?;
            }
            let has_power = sim.call()?;
            let content = sim.files.get_mut(&name).unwrap();
            content.unsynced.push(Unsynced::Len(len as usize));
            content.allocated.retain(|page| page * PAGE < len as usize);
            resize(&mut content.present, len as usize);
            if has_power { Ok(()) } else { Err(power_lost()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|sim, name| {
            if !sim.call()? {
                return Err(power_lost());
            }
            if sim.ignores_syncs {
                return Ok(());
            }
            let content = sim.files.get_mut(&name).unwrap();
            match name {
                FileName::Wal if mutant("no-sync") => {}
                FileName::Wal if mutant("watermark-before-sync") => sim.wal_sync_is_due = true,
                FileName::Log if mutant("wal-restarts-early") => content.sync_late(),
                _ => content.sync(),
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|sim, name| {
            if is_sparse(name) && !data.is_empty() {
                let pages = offset as usize / PAGE..(offset as usize + data.len()).div_ceil(PAGE);
                let allocated = &sim.files[&name].allocated;
                let new = pages.clone().filter(|page| !allocated.contains(page));
                let new = new.count() * PAGE;
                if new > 0 {
                    sim.take(new as u64)?;
                }
                sim.files.get_mut(&name).unwrap().allocated.extend(pages);
            }
            let has_power = sim.call()?;
            if sim.forgets(name, offset, data) {
                return Ok(());
            }
            let content = sim.files.get_mut(&name).unwrap();
            content
                .unsynced
                .push(Unsynced::Write(offset as usize, data.to_vec()));
            content.write(offset as usize, data);
            if !has_power {
                return Err(power_lost());
            }
            if name == FileName::Watermark && std::mem::take(&mut sim.wal_sync_is_due) {
                sim.files.get_mut(&FileName::Wal).unwrap().sync();
            }
            Ok(())
        })
    }
}

impl Disk for SimDisk {
    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageBackend>> {
        let mut sim = self.sim();
        if sim.power_lost {
            return Err(power_lost());
        }
        sim.files.entry(name).or_default();
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            name,
            boot: sim.boot,
        }))
    }

    fn check_present(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let sim = self.sim();
        Ok(sim.capacity.saturating_sub(sim.used()))
    }

    fn occupied_bytes(&self, name: FileName) -> u64 {
        let sim = self.sim();
        sim.files
            .get(&name)
            .map_or(0, |content| content.occupied(name))
    }

    fn reserved_bytes(&self) -> Option<u64> {
        self.sim().reserve
    }

    fn set_reserve(&self, bytes: u64) -> io::Result<()> {
        let mut sim = self.sim();
        sim.reserve = None;
        sim.take(bytes)?;
        sim.reserve = Some(bytes);
        Ok(())
    }

    fn set_aside(&self, name: FileName) -> io::Result<()> {
        self.sim().files.remove(&name);
        Ok(())
    }

    fn name(&self) -> String {
        "a simulated disk".into()
    }
}
