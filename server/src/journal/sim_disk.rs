//! A disk in memory that dies at a given call, and keeps what disks keep: of what was not synced, any sectors or any
//! writes, and any of the lengths that a file had.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redb::StorageBackend;

use super::disk::Disk;
use super::file_name::FileName;
use crate::mutants::mutant;

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<Sim>>);

#[derive(Debug)]
struct Sim {
    files: BTreeMap<FileName, Content>,
    rng: StdRng,
    /// So many calls that change anything go well.
    calls_left: u64,
    dead: bool,
    /// Handles from before it died are of no use after.
    generation: u64,
    /// How likely it is that something unsynced is kept.
    survival: f64,
    unit: Unit,
    /// Bytes that all files together may have.
    room: u64,
    /// Syncs do nothing, as where the system lies.
    lies: bool,
    /// A file could not grow since the last record was written to the WAL.
    was_full: bool,
    /// Only with a fault: the WAL is synced with the next write of the watermark.
    wal_sync_is_due: bool,
}

/// What is kept or lost as a whole.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Sector,
    Write,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What is surely kept.
    durable: Vec<u8>,
    /// What is read.
    present: Vec<u8>,
    pending: Vec<Pending>,
    /// Only with a fault: so many of them are kept by the next sync.
    sync_is_due: usize,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    name: FileName,
    generation: u64,
}

/// As `Vec::resize` with zeros, which takes them one by one where nothing is optimised.
fn resize(bytes: &mut Vec<u8>, len: usize) {
    match len.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(len),
    }
}

fn died() -> io::Error {
    io::Error::other("the disk has died")
}

impl SimDisk {
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
            dead: false,
            generation: 0,
            survival,
            unit,
            room: u64::MAX,
            lies: false,
            was_full: false,
            wal_sync_is_due: false,
        })))
    }

    fn sim(&self) -> std::sync::MutexGuard<'_, Sim> {
        self.0.lock().unwrap()
    }

    /// It dies after so many more calls.
    pub(crate) fn die_after(&self, calls: u64) {
        self.sim().calls_left = calls;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.sim().dead
    }

    /// From here on, syncs do nothing.
    pub(crate) fn lie(&self) {
        self.sim().lies = true;
    }

    pub(crate) fn set_room(&self, room: u64) {
        self.sim().room = room;
    }

    pub(crate) fn used(&self) -> u64 {
        let used = |content: &Content| content.present.len() as u64;
        self.sim().files.values().map(used).sum()
    }

    /// The power comes back: what is there is what was kept.
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
        sim.dead = false;
        sim.calls_left = u64::MAX;
        sim.generation += 1;
    }

    /// The process is killed: everything that it wrote stays.
    pub(crate) fn process_killed(&self) {
        self.sim().generation += 1;
    }

    /// Changes what is in a file while nobody has it open.
    pub(crate) fn tamper(&self, name: FileName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut sim = self.sim();
        let content = sim.files.entry(name).or_default();
        change(&mut content.present);
        content.durable = content.present.clone();
        content.pending.clear();
        content.sync_is_due = 0;
    }

    pub(crate) fn len(&self, name: FileName) -> usize {
        let sim = self.sim();
        sim.files
            .get(&name)
            .map_or(0, |content| content.present.len())
    }

    /// What a file has, as it is read.
    pub(crate) fn bytes(&self, name: FileName) -> Vec<u8> {
        let sim = self.sim();
        let content = sim.files.get(&name);
        content.map_or_else(Vec::new, |content| content.present.clone())
    }

    /// Another disk with the same on it.
    pub(crate) fn copied(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        copy.sim().files = self.sim().files.clone();
        copy
    }
}

impl Sim {
    /// Whether a call that changes something still goes well.
    fn call(&mut self) -> Result<bool, io::Error> {
        if self.dead {
            return Err(died());
        }
        if self.calls_left == 0 {
            self.dead = true;
            return Ok(false);
        }
        self.calls_left -= 1;
        Ok(true)
    }
}

impl Sim {
    /// Whether a chosen fault has the disk forget a write.
    fn forgets(&mut self, name: FileName, offset: u64, data: &[u8]) -> bool {
        match name {
            FileName::Watermark => mutant("no-watermark"),
            // A record, and neither the header nor the zeros before it.
            FileName::Wal if offset > 0 && data.iter().any(|byte| *byte != 0) => {
                std::mem::take(&mut self.was_full) && mutant("full-is-committed")
            }
            _ => false,
        }
    }
}

impl Content {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.present.len() < end {
            resize(&mut self.present, end);
        }
        self.present[offset..end].copy_from_slice(data);
    }

    /// Keeps what is pending. It may be little of a large file.
    fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.keep(pending);
        }
        debug_assert!(self.durable.len() == self.present.len());
    }

    fn keep(&mut self, pending: Pending) {
        match pending {
            Pending::Len(len) => resize(&mut self.durable, len),
            Pending::Write(offset, data) => {
                let end = offset + data.len();
                if self.durable.len() < end {
                    resize(&mut self.durable, end);
                }
                self.durable[offset..end].copy_from_slice(&data);
            }
        }
    }

    /// Keeps what was pending at the sync before.
    fn sync_late(&mut self) {
        let later = self.pending.split_off(self.sync_is_due);
        for pending in std::mem::replace(&mut self.pending, later) {
            self.keep(pending);
        }
        self.sync_is_due = self.pending.len();
    }

    fn lose(&mut self, rng: &mut StdRng, survival: f64, unit: Unit) {
        let mut kept = std::mem::take(&mut self.durable);
        let lens = self.pending.iter().filter_map(|pending| match pending {
            Pending::Len(len) => Some(*len),
            Pending::Write(..) => None,
        });
        let lens: Vec<usize> = [kept.len()].into_iter().chain(lens).collect();
        let len = match rng.random_bool(survival) {
            true => *lens.last().unwrap(),
            false => lens[rng.random_range(0..lens.len())],
        };
        self.sync_is_due = 0;
        for pending in self.pending.drain(..) {
            let Pending::Write(offset, data) = pending else {
                continue;
            };
            let pieces: Vec<(usize, &[u8])> = match unit {
                Unit::Write => vec![(offset, &data)],
                Unit::Sector => {
                    // Sectors begin where the file's do.
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
        self.present = kept.clone();
        self.durable = kept;
    }
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut Sim, FileName) -> io::Result<T>) -> io::Result<T> {
        let mut sim = self.disk.sim();
        if sim.generation != self.generation || sim.dead {
            return Err(died());
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
            let used: u64 = sim.files.values().map(|of| of.present.len() as u64).sum();
            let room = sim.room;
            let present = sim.files[&name].present.len() as u64;
            if len > present && used - present + len > room {
                sim.was_full = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let lives = sim.call()?;
            let content = sim.files.get_mut(&name).unwrap();
            content.pending.push(Pending::Len(len as usize));
            resize(&mut content.present, len as usize);
            if lives { Ok(()) } else { Err(died()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|sim, name| {
            if !sim.call()? {
                return Err(died());
            }
            if sim.lies {
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
            let lives = sim.call()?;
            if sim.forgets(name, offset, data) {
                return Ok(());
            }
            let content = sim.files.get_mut(&name).unwrap();
            content
                .pending
                .push(Pending::Write(offset as usize, data.to_vec()));
            content.write(offset as usize, data);
            if !lives {
                return Err(died());
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
        if sim.dead {
            return Err(died());
        }
        sim.files.entry(name).or_default();
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            name,
            generation: sim.generation,
        }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let used = self.used();
        Ok(self.sim().room.saturating_sub(used))
    }

    fn set_aside(&self, name: FileName) -> io::Result<()> {
        self.sim().files.remove(&name);
        Ok(())
    }

    fn name(&self) -> String {
        "a simulated disk".into()
    }
}
