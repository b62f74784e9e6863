//! A campaign: kills under load, during starts, snapshots, backups and restores; damaged and exchanged files; restored backups
//! that go on in place of their store.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt as _;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::lifetimes::Lifetimes;
use super::restores::{Backup, BackupUnderWay};
use super::{Checked, Files, Run, UNTIL_KILL_MS, damage, kill, spawn_server, variable};
use crate::process::Process;
use crate::support::channel;

/// Copies of the directory that are kept, to take files of earlier times from.
const KEPT: usize = 5;
/// When a start is killed.
const IN_START_MS: std::ops::Range<u64> = 0..60;
const SNAPSHOT_LOG_BYTES: [u64; 4] = [4 << 10, 64 << 10, 1 << 20, 64 << 20];

/// What a campaign keeps beside the run.
pub(super) struct Campaign {
    /// Copies of the directory as kills left it, the oldest first.
    pub(super) killed: VecDeque<PathBuf>,
    /// Directories of other stores.
    pub(super) others: VecDeque<PathBuf>,
    next_path: usize,
    /// The backup that was made in the last epoch.
    pub(super) backup: Option<Backup>,
    pub(super) lifetimes: Lifetimes,
    pub(super) counts: Counts,
}

/// What a campaign has done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Kills of servers, and of these during a start.
    pub(super) kills: usize,
    pub(super) kills_in_start: usize,
    /// Starts after which everything was compared.
    pub(super) restarts: usize,
    pub(super) damaged: usize,
    /// Damaged directories whose file is of another time or store.
    pub(super) exchanged: usize,
    /// Damaged directories on which no server started.
    pub(super) refused: usize,
    /// Damaged directories that opened without what was under way at the kill.
    pub(super) shorter: usize,
    pub(super) backups: usize,
    pub(super) backups_cut: usize,
    pub(super) restores: usize,
    pub(super) restores_killed: usize,
    /// Restored stores that went on in place of their store.
    pub(super) went_on: usize,
    pub(super) verified: usize,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        Self {
            killed: VecDeque::new(),
            others: VecDeque::new(),
            next_path: 0,
            backup: None,
            lifetimes: Lifetimes::new(seed),
            counts: Counts::default(),
        }
    }

    pub(super) fn new_path(&mut self, files: &Files, name: &str) -> PathBuf {
        self.next_path += 1;
        files.path.join(format!("{name}-{}", self.next_path))
    }
}

/// Keeps so many of the directories, the newest ones.
pub(super) fn forget_old(directories: &mut VecDeque<PathBuf>, kept: usize) {
    while directories.len() > kept {
        let old = directories.pop_front().unwrap();
        std::fs::remove_dir_all(old).unwrap();
    }
}

type Working = Option<JoinHandle<Checked<Lifetimes>>>;

impl Run<'_> {
    /// In a campaign: starts the server and kills it before it serves, some times.
    pub(super) async fn kill_during_starts(&mut self) -> Checked<()> {
        let Some(campaign) = &mut self.campaign else {
            return Ok(());
        };
        let bytes = SNAPSHOT_LOG_BYTES[self.rng.random_range(0..SNAPSHOT_LOG_BYTES.len())];
        self.arguments = vec!["--snapshot-log-bytes".into(), bytes.to_string()];
        let count = [0, 0, 1, 2][self.rng.random_range(0..4)];
        campaign.counts.kills += count;
        campaign.counts.kills_in_start += count;
        let data = self.data.clone().unwrap();
        for _ in 0..count {
            self.kill_in_start(&data).await?;
        }
        Ok(())
    }

    pub(super) async fn kill_in_start(&mut self, data: &Path) -> Checked<()> {
        let log = self.files.path.join("log");
        let mut child = spawn_server(&log, Some(data), &self.arguments)?;
        let until_kill = Duration::from_millis(self.rng.random_range(IN_START_MS));
        tokio::time::sleep(until_kill).await;
        kill(&mut child).await
    }

    /// Sends the call of unknown outcome of the client of lifetimes again, and checks what it finds.
    pub(super) async fn settle_lifetimes(&mut self, connection: Channel) -> Checked<()> {
        let Some(campaign) = &mut self.campaign else {
            return Ok(());
        };
        campaign.counts.restarts += 1;
        campaign.lifetimes.check(&connection, i64::MAX).await?;
        campaign.lifetimes.settle(&connection).await?;
        campaign.lifetimes.check(&connection, i64::MAX).await
    }

    pub(super) async fn load_lifetimes(&self, process: &Process, clients: u32) -> Working {
        let campaign = self.campaign.as_ref().filter(|_| clients > 0)?;
        let lifetimes = campaign.lifetimes.clone();
        let channel = channel(process.addr).await;
        Some(tokio::spawn(lifetimes.work(channel)))
    }

    /// Waits while the clients send. In a campaign, a backup may begin meanwhile.
    pub(super) async fn while_loaded(&mut self, process: &Process) -> Option<BackupUnderWay> {
        let mut sleep = async || {
            let until_kill = self.rng.random_range(UNTIL_KILL_MS);
            tokio::time::sleep(Duration::from_millis(until_kill)).await;
        };
        sleep().await;
        if self.campaign.is_none() || self.rng.random_bool(0.2) {
            return None;
        }
        let mut backup = self.begin_backup(process);
        let mut sleep = async || {
            let until_kill = self.rng.random_range(UNTIL_KILL_MS);
            tokio::time::sleep(Duration::from_millis(until_kill)).await;
        };
        sleep().await;
        if self.rng.random_bool(0.8) {
            backup.ended().await;
        }
        Some(backup)
    }

    /// Keeps what the kill left.
    pub(super) async fn after_kill(
        &mut self,
        working: Working,
        backup: Option<BackupUnderWay>,
    ) -> Checked<()> {
        let Some(campaign) = &mut self.campaign else {
            return Ok(());
        };
        campaign.counts.kills += 1;
        if let Some(working) = working {
            campaign.lifetimes = working.await.map_err(|error| error.to_string())??;
        }
        let copy = campaign.new_path(self.files, "killed");
        damage::copy(self.data.as_ref().unwrap(), &copy);
        campaign.killed.push_back(copy);
        forget_old(&mut campaign.killed, KEPT);
        self.end_backup(backup).await
    }
}

/// Several minutes with SOLOIST_CAMPAIGN_CYCLES=160; then it makes more than 158 kills, 70 restores, and 300 damaged
/// directories.
#[tokio::test]
async fn campaigns_of_kills_restores_and_damage_lose_nothing() {
    let cycles = variable("SOLOIST_CAMPAIGN_CYCLES").unwrap_or(8) as usize;
    let seed = variable("SOLOIST_KILL_SEED").unwrap_or_else(rand::random);
    let files = Files::new();
    let data = files.path.join("data");
    let mut run = Run::new(&files, Some(data), &[], seed);
    run.campaign = Some(Campaign::new(seed));
    let done = run.cycles(cycles).await;
    let counts = &run.campaign.as_ref().unwrap().counts;
    println!("seed {seed}, {cycles} cycles: {counts:?}\n{:?}", run.tally);
    done.unwrap_or_else(|what| panic!("{what}"));
    assert!(
        counts.kills > cycles && counts.damaged >= cycles,
        "{counts:?}"
    );
    assert!(counts.backups >= cycles / 8, "{counts:?}");
    assert!(counts.restores >= cycles / 8, "{counts:?}");
}
