//! Copies of the directory of a killed server, each with one file damaged or missing, or with some files of another time or
//! store. A server either refuses to start on such a copy, or has everything that was answered.

use std::fs;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use soloist::v1::GetInfoRequest;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist_verify::Entry;

use super::epoch::Epoch;
use super::restores::verify;
use super::{Checked, FinalRead, Run, kill, read_all, start_server};
use crate::support::channel;

/// The files that can be damaged.
const FILES: [&str; 5] = [
    "log.redb",
    "tail",
    "snapshot-a.redb",
    "snapshot-b.redb",
    "watermark",
];
const PAGE: usize = 4_096;

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    FlippedBit,
    Truncated,
    ZeroedPage,
    Removed,
    /// The file of the same name of another directory.
    Exchanged(PathBuf),
}

impl Damage {
    fn draw(rng: &mut SmallRng, others: &[&PathBuf]) -> Self {
        match rng.random_range(0..8) {
            0..2 => Self::FlippedBit,
            2 => Self::Truncated,
            3 => Self::ZeroedPage,
            4 => Self::Removed,
            _ => match others.choose(rng) {
                Some(other) => Self::Exchanged(other.to_path_buf()),
                None => Self::FlippedBit,
            },
        }
    }

    fn put_in(&self, rng: &mut SmallRng, file: &Path) {
        let mut bytes = fs::read(file).unwrap_or_default();
        let len = bytes.len();
        match self {
            Self::Removed => return drop(fs::remove_file(file)),
            Self::Exchanged(other) => match fs::read(other.join(file.file_name().unwrap())) {
                Ok(others) => bytes = others,
                Err(_) => return drop(fs::remove_file(file)),
            },
            _ if len == 0 => {}
            Self::FlippedBit => {
                let place = used_byte(rng, len, &bytes);
                bytes[place] ^= 1 << rng.random_range(0..8);
            }
            Self::Truncated => bytes.truncate(rng.random_range(0..len)),
            Self::ZeroedPage => {
                let from = used_byte(rng, len, &bytes) / PAGE * PAGE;
                bytes[from..(from + PAGE).min(len)].fill(0);
            }
        }
        fs::write(file, bytes).unwrap();
    }
}

/// What reads show of the keys.
fn entries(reads: &[FinalRead]) -> Vec<Option<Entry>> {
    reads.iter().map(|it| it.read.entry).collect()
}

/// Whether a directory still tells of its own store and time, after these of its files were replaced by those of another one.
/// Goes by what `verify` has printed of both.
fn tells_of_itself(
    dir: &Path,
    other: &Path,
    replaced: &[&&str],
    (verified, of_other): (&str, &str),
) -> bool {
    let is_own = |file: &&&str| {
        let own = content(dir, file);
        !replaced.contains(file) && !own.is_empty() && own != content(other, file)
    };
    let own: Vec<_> = FILES.iter().filter(is_own).collect();
    let of_snapshots = own.iter().filter(|it| it.starts_with("snapshot")).count();
    // A snapshot that is not whole may tell nothing, and one that both have tells nothing, even if the file was opened since.
    let whole = verified.matches(" from the snapshot of record ").count();
    let is_of_both = |line: &&str| line.starts_with("snapshot ") && of_other.contains(line);
    let of_both = verified.lines().filter(is_of_both).count();
    own.len() > of_snapshots || of_snapshots + whole > 2 + of_both
}

/// A missing file is like an empty one.
fn content(dir: &Path, file: &str) -> Vec<u8> {
    fs::read(dir.join(file)).unwrap_or_default()
}

/// A random place. Mostly one that is not in a page of zeros, because much of a file is free space.
fn used_byte(rng: &mut SmallRng, len: usize, bytes: &[u8]) -> usize {
    let at = |rng: &mut SmallRng| rng.random_range(0..len);
    let is_used = |place: &usize| {
        let page = place / PAGE * PAGE;
        bytes[page..(page + PAGE).min(len)]
            .iter()
            .any(|it| *it != 0)
    };
    let tried: Vec<usize> = (0..20).map(|_| at(rng)).collect();
    tried.iter().copied().find(is_used).unwrap_or(tried[0])
}

/// Copies the files of a data directory.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "LOCK" {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

impl Run<'_> {
    /// Damages copies of the directory as the last kill left it. `epoch` is that of the restart of the undamaged directory;
    /// before the kill the watch was told so many of its updates.
    pub(super) async fn damage(&mut self, epoch: &Epoch, told_by_kill: usize) -> Checked<()> {
        let Some(campaign) = &mut self.campaign else {
            return Ok(());
        };
        let Some(killed) = campaign.killed.back().cloned() else {
            return Ok(());
        };
        let mut epoch = epoch.clone();
        epoch.resolve_sweeps()?;
        // What was not told before the kill need not be there.
        epoch.watch.updates.truncate(told_by_kill);
        let verified = verify(&killed, false).await?;
        let campaign = self.campaign.as_mut().unwrap();
        campaign.counts.verified += 1;
        for _ in 0..self.rng.random_range(2..6) {
            let campaign = self.campaign.as_mut().unwrap();
            let dir = campaign.new_path(self.files, "damaged");
            copy(&killed, &dir);
            let others: Vec<&PathBuf> = campaign.killed.iter().chain(&campaign.others).collect();
            let damage = Damage::draw(&mut self.rng, &others);
            let count = match &damage {
                Damage::Exchanged(_) => self.rng.random_range(1..FILES.len()),
                _ => 1,
            };
            let files: Vec<_> = FILES.sample(&mut self.rng, count).collect();
            for file in &files {
                damage.put_in(&mut self.rng, &dir.join(file));
            }
            if let Damage::Exchanged(other) = &damage {
                let of_other = verify(other, false).await.unwrap_or_default();
                if !tells_of_itself(&dir, other, &files, (&verified, &of_other)) {
                    // A directory that was exchanged as a whole is a store like any other.
                    fs::remove_dir_all(&dir).unwrap();
                    continue;
                }
            }
            let trial = format!("{files:?} {damage:?} in {}", dir.display());
            let judged = self.judge(&dir, &epoch).await;
            judged.map_err(|what| format!("{trial}: {what}"))?;
            fs::remove_dir_all(&dir).unwrap();
            let counts = &mut self.campaign.as_mut().unwrap().counts;
            counts.damaged += 1;
            counts.exchanged += usize::from(matches!(damage, Damage::Exchanged(_)));
        }
        Ok(())
    }

    async fn judge(&mut self, dir: &Path, epoch: &Epoch) -> Checked<()> {
        let log = dir.with_extension("log");
        let started = start_server(&log, Some(dir), &self.arguments).await?;
        let said = fs::read_to_string(&log).unwrap();
        let campaign = self.campaign.as_mut().unwrap();
        let mut process = match started {
            Ok(process) => process,
            Err(status) => {
                if status.code() != Some(3) || !FILES.iter().any(|file| said.contains(file)) {
                    return Err(format!("it ended with {status}, and says {said:?}"));
                }
                campaign.counts.refused += 1;
                fs::remove_file(&log).unwrap();
                return Ok(());
            }
        };
        campaign.counts.restarts += 1;
        let connection = channel(process.addr).await;
        let info = AdminClient::new(connection.clone())
            .get_info(GetInfoRequest {})
            .await;
        let info = info.map_err(|status| status.to_string())?.into_inner();
        if info.store_id != self.store_id {
            return Err(format!("it is another store: {info:?}"));
        }
        let mut client = StateClient::new(connection.clone());
        let reads = read_all(&mut client, self.clock).await?;
        if entries(&reads) != entries(&epoch.reads) {
            // Then it lacks what was under way at the kill.
            campaign.counts.shorter += 1;
            let epoch = Epoch {
                reads,
                ..epoch.clone()
            };
            epoch.check_last_changes()?;
            epoch.check_history()?;
        }
        let lifetimes = &self.campaign.as_ref().unwrap().lifetimes;
        lifetimes.check(&connection, i64::MAX).await?;
        kill(&mut process.child).await?;
        fs::remove_file(&log).unwrap();
        Ok(())
    }
}
