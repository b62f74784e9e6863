//! Backups of a server under load, and stores that are made of them: each has exactly the state of the backup's revision, and
//! what it answers from then on survives a kill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rand::RngExt as _;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, Info, WatchRequest, watch_request};
use soloist_verify::{Action, MessageKind, Observed, Outcome, Watch};
use tokio::process::{Child, Command};
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use super::call::{Call, Step};
use super::campaign::forget_old;
use super::epoch::Epoch;
use super::watch_log::WatchLog;
use super::{CLIENTS, Checked, Client, FinalRead, REPEATED, Run, kill, read_all, start_server};
use crate::process::{Process, command};
use crate::support::channel;

/// By how much a restored store is ahead of its backup.
const REVISIONS_AHEAD: i64 = 1 << 40;
const RESTORE_KILLED_MS: std::ops::Range<u64> = 0..60;
/// Other directories that are kept, to take files of them.
const OTHERS_KEPT: usize = 3;

/// A `backup` that may have ended.
pub(super) struct BackupUnderWay {
    child: Child,
    file: PathBuf,
    start: u64,
}

impl BackupUnderWay {
    pub(super) async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }
}

/// A complete backup.
pub(super) struct Backup {
    file: PathBuf,
    revision: i64,
    /// When the command began, and when it had ended.
    start: u64,
    end: u64,
}

/// A restored store with which the run can go on.
pub(super) struct Restored {
    data: PathBuf,
    backup_revision: i64,
    info: Info,
    reads: Vec<FinalRead>,
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn output(mut command: Command) -> Output {
    command.output().await.unwrap()
}

fn says(output: &Output) -> String {
    format!(
        "{}, {} {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Checks a directory with `verify`. After a kill it may say that a snapshot is unfinished, never that something is damaged.
pub(super) async fn verify(data: &Path, is_whole: bool) -> Checked<String> {
    let output = output(command(&["verify", "--data-dir", path(data)])).await;
    let said = says(&output);
    match output.status.code() {
        Some(0) => Ok(said),
        Some(4) if !is_whole => Ok(said),
        _ => Err(format!("verify of {}: {said}", data.display())),
    }
}

async fn info(connection: Channel) -> Checked<Info> {
    let info = AdminClient::new(connection)
        .get_info(GetInfoRequest {})
        .await;
    Ok(info
        .map_err(|status| format!("no info: {status}"))?
        .into_inner())
}

impl Run<'_> {
    pub(super) fn begin_backup(&mut self, process: &Process) -> BackupUnderWay {
        let campaign = self.campaign.as_mut().unwrap();
        let file = campaign.new_path(self.files, "backup");
        let start = self.clock.now();
        let from = process.addr.to_string();
        let mut command = command(&["backup", "--from", &from, "--to", path(&file)]);
        let child = command.spawn().unwrap();
        BackupUnderWay { child, file, start }
    }

    /// Looks at what became of a backup.
    pub(super) async fn end_backup(&mut self, backup: Option<BackupUnderWay>) -> Checked<()> {
        let Some(BackupUnderWay {
            mut child,
            file,
            start,
        }) = backup
        else {
            return Ok(());
        };
        let campaign = self.campaign.as_mut().unwrap();
        // The server is gone. Either the backup goes on with what it has, or it fails, or it is killed.
        if self.rng.random_bool(0.3) {
            let _ = child.start_kill();
        }
        let output = child.wait_with_output().await.unwrap();
        if !file.exists() {
            campaign.counts.backups_cut += 1;
            return match output.status.code() {
                Some(0) => Err(format!(
                    "no backup at {}: {}",
                    file.display(),
                    says(&output)
                )),
                _ => Ok(()),
            };
        }
        let said = says(&output);
        let revision = said.split(" as of revision ").nth(1);
        let revision = revision.and_then(|it| it.split(' ').next()?.parse().ok());
        let Some(revision) = revision else {
            // It was killed after it gave the file its name.
            campaign.counts.backups_cut += 1;
            return Ok(());
        };
        campaign.counts.backups += 1;
        campaign.backup = Some(Backup {
            file,
            revision,
            start,
            end: self.clock.now(),
        });
        Ok(())
    }

    /// Makes a store of the last epoch's backup, and checks it. What was found there becomes part of the epoch: it was read at
    /// the backup's revision. Returns the store if the run is to go on there.
    pub(super) async fn restore(&mut self, epoch: &mut Epoch) -> Checked<Option<Restored>> {
        let campaign = self.campaign.as_mut();
        let Some((backup, data)) = campaign.and_then(|campaign| {
            let backup = campaign.backup.take()?;
            Some((backup, campaign.new_path(self.files, "restored")))
        }) else {
            return Ok(None);
        };
        let restored = self.restore_to(&data, &backup, epoch).await;
        let restored = restored.map_err(|what| {
            let (file, revision) = (backup.file.display(), backup.revision);
            format!("{file} as of revision {revision}, restored: {what}")
        })?;
        fs::remove_file(&backup.file).unwrap();
        let campaign = self.campaign.as_mut().unwrap();
        campaign.counts.restores += 1;
        if self.rng.random_bool(0.4) {
            campaign.counts.went_on += 1;
            return Ok(Some(restored));
        }
        campaign.others.push_back(data);
        forget_old(&mut campaign.others, OTHERS_KEPT);
        Ok(None)
    }

    async fn restore_to(
        &mut self,
        data: &Path,
        backup: &Backup,
        epoch: &mut Epoch,
    ) -> Checked<Restored> {
        self.run_restore(data, backup).await?;
        verify(data, true).await?;
        let mut process = self.start_at(data).await?;
        let connection = channel(process.addr).await;
        let is = info(connection.clone()).await?;
        if is.store_id == self.store_id || is.revision < backup.revision + REVISIONS_AHEAD {
            return Err(format!("a restored store goes on as another: {is:?}"));
        }
        let mut client = StateClient::new(connection.clone());
        let reads = read_all(&mut client, self.clock).await?;
        epoch.calls.push(as_read(backup, &reads));
        let lifetimes = &self.campaign.as_ref().unwrap().lifetimes;
        lifetimes.check(&connection, backup.revision).await?;
        self.check_watch_is_told(&mut client).await?;
        let calls = self.send_to_restored(&mut client, backup, epoch).await?;
        kill(&mut process.child).await?;
        verify(data, false).await?;

        if self.rng.random_bool(0.5) {
            self.kill_in_start(data).await?;
            let counts = &mut self.campaign.as_mut().unwrap().counts;
            counts.kills += 1;
            counts.kills_in_start += 1;
            verify(data, false).await?;
        }
        let mut process = self.start_at(data).await?;
        let connection = channel(process.addr).await;
        let mut client = StateClient::new(connection.clone());
        let restored = Epoch {
            before: (reads.into_iter()).map(|it| (it.key, it.read)).collect(),
            calls,
            reads: read_all(&mut client, self.clock).await?,
            watch: Watch {
                keys: Vec::new(),
                after: is.revision,
                updates: Vec::new(),
            },
        };
        restored.check_last_changes()?;
        restored.check_history()?;
        let info = info(connection).await?;
        if info.store_id != is.store_id {
            return Err(format!("it was {}, and is {}", is.store_id, info.store_id));
        }
        kill(&mut process.child).await?;
        let counts = &mut self.campaign.as_mut().unwrap().counts;
        counts.kills += 2;
        counts.verified += 2;
        counts.restarts += 2;
        Ok(Restored {
            data: data.to_owned(),
            backup_revision: backup.revision,
            info,
            reads: restored.reads,
        })
    }

    async fn start_at(&self, data: &Path) -> Checked<Process> {
        let log = data.with_extension("log");
        match start_server(&log, Some(data), &self.arguments).await? {
            Ok(process) => Ok(process),
            Err(status) => Err(format!(
                "it ended with {status}, and says {:?}",
                fs::read_to_string(&log)
            )),
        }
    }

    /// Runs `restore`. One that was killed can be made again.
    async fn run_restore(&mut self, data: &Path, backup: &Backup) -> Checked<()> {
        let restore = || {
            command(&[
                "restore",
                "--from",
                path(&backup.file),
                "--data-dir",
                path(data),
            ])
        };
        let mut is_whole = false;
        if self.rng.random_bool(0.5) {
            let mut child = restore().spawn().unwrap();
            let until_kill = Duration::from_millis(self.rng.random_range(RESTORE_KILLED_MS));
            tokio::time::sleep(until_kill).await;
            let _ = child.start_kill();
            child.wait().await.unwrap();
            self.campaign.as_mut().unwrap().counts.restores_killed += 1;
            is_whole = data.exists() && verify(data, true).await.is_ok();
        }
        let output = output(restore()).await;
        match (output.status.code(), is_whole) {
            (Some(0), false) | (Some(1), true) => Ok(()),
            _ => Err(format!(
                "restore, whole before: {is_whole}: {}",
                says(&output)
            )),
        }
    }

    /// A watch of the store that was backed up cannot go on here, and is told so.
    async fn check_watch_is_told(&self, client: &mut Client) -> Checked<()> {
        let request = WatchRequest {
            target: Some(watch_request::Target::Prefix(String::new())),
            after_revision: Some(self.watch_log.revision),
            store_id: self.store_id.clone(),
            ..WatchRequest::default()
        };
        let told = match client.watch(request).await {
            Ok(watch) => watch.into_inner().message().await.err(),
            Err(status) => Some(status),
        };
        let info = told.and_then(|status| status.get_details_error_info());
        match info {
            Some(info) if info.reason == "STORE_CHANGED" => Ok(()),
            told => Err(format!("a watch of another store was told {told:?}")),
        }
    }

    /// Sends calls of the epoch again. Those that are in the backup are answered as they were; those after it are done.
    async fn send_to_restored(
        &mut self,
        client: &mut Client,
        backup: &Backup,
        epoch: &Epoch,
    ) -> Checked<Vec<Call>> {
        let done = |call: &&Call| -> Option<i64> {
            let has_ids = !call.request_id.is_empty()
                || call.steps.iter().all(|step| !step.request_id.is_empty());
            let revisions = call.outcomes.iter().map(|outcome| match outcome {
                Outcome::Done { revision, .. } => Some(*revision),
                _ => None,
            });
            revisions.min()?.filter(|_| has_ids)
        };
        let last = |call: &&Call| {
            let revision = |outcome: &Outcome| match outcome {
                Outcome::Done { revision, .. } => *revision,
                _ => i64::MAX,
            };
            call.outcomes.iter().map(revision).max()
        };
        let calls = || epoch.calls.iter().rev();
        let mut before: Vec<Call> = calls()
            // One of the backup's own revision that changed nothing may have come after it.
            .filter(|call| done(call).is_some() && last(call) < Some(backup.revision))
            .take(REPEATED)
            .cloned()
            .collect();
        let mut after: Vec<Call> = calls()
            // Without a watch nobody can tell what a DeletePrefix has deleted.
            .filter(|call| done(call) > Some(backup.revision) && call.swept.is_none())
            .take(REPEATED)
            .cloned()
            .collect();
        let none = self.send_again(client, &mut before).await?;
        if !none.is_empty() {
            return Err(format!("calls of the backup were done again: {none:?}"));
        }
        for call in &mut after {
            call.outcomes.fill(Outcome::Unknown);
        }
        let done = self.send_again(client, &mut after).await?;
        let forgotten = |call: &Call| call.outcomes.iter().all(|it| *it == Outcome::NotDone);
        match after.iter().find(|call| !forgotten(call)) {
            None => Ok(done),
            Some(call) => Err(format!("a call after the backup is known: {call:?}")),
        }
    }

    /// Goes on with a restored store in place of the present one.
    pub(super) fn go_on_in(&mut self, restored: Restored) -> Checked<()> {
        let Restored {
            data,
            backup_revision,
            info,
            reads,
        } = restored;
        let campaign = self.campaign.as_mut().unwrap();
        campaign.counts.kills += 1;
        campaign.lifetimes.forget_after(backup_revision);
        forget_old(&mut campaign.killed, 1);
        campaign.others.append(&mut campaign.killed);
        campaign.others.extend(self.data.replace(data));
        forget_old(&mut campaign.others, OTHERS_KEPT);
        self.store_id = info.store_id;
        self.store_revision = info.revision;
        self.watch_log = WatchLog::at(self.clock, info.revision, &reads);
        self.before = (reads.into_iter()).map(|it| (it.key, it.read)).collect();
        self.calls.clear();
        Ok(())
    }
}

/// What a restored store shows, as an atomic Read of all keys while the backup was made.
fn as_read(backup: &Backup, reads: &[FinalRead]) -> Call {
    let step = |it: &FinalRead| Step {
        key: it.key.clone(),
        action: Action::Read,
        expect: None,
        request_id: String::new(),
    };
    let outcome = |it: &FinalRead| Outcome::Done {
        revision: backup.revision,
        observed: Observed::Entry(it.read.entry),
    };
    Call {
        message: u64::MAX,
        client: CLIENTS + 1,
        kind: MessageKind::Batch,
        steps: reads.iter().map(step).collect(),
        request_id: String::new(),
        timeout: None,
        start: backup.start,
        end: backup.end,
        outcomes: reads.iter().map(outcome).collect(),
        replayed: false,
        swept: None,
        named_revision: None,
    }
}
