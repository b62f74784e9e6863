//! All counts of a server, and their sums at one moment.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use soloist::v1::error::Reason;

use super::calls::{CODES, Kind, METHODS, MethodRow};
use super::cells::TimesSum;
use super::cluster::ClusterShown;
use super::history::Totals;
use super::journal::{FILES, JournalCells};
use super::owner::{ENDED, OPERATIONS, OwnerCells};
use super::process::Process;
use super::reloads::Reloads;
use super::server::ServerCells;
use super::thread::{REASONS, ThreadCells};

/// All cells of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    started_at: SystemTime,
    threads: Vec<Arc<ThreadCells>>,
    server: Arc<ServerCells>,
    owner: Arc<OwnerCells>,
    journal: OnceLock<Arc<JournalCells>>,
    reloads: Reloads,
    /// How many connections each thread has open.
    connections: OnceLock<Vec<Arc<AtomicUsize>>>,
    log_lines_dropped: OnceLock<Arc<AtomicU64>>,
}

impl Metrics {
    /// The cells of a server with this number of threads.
    pub(crate) fn new(threads: usize, reloads: Reloads) -> Self {
        let server = Arc::<ServerCells>::default();
        let cells = || Arc::new(ThreadCells::new(Arc::clone(&server)));
        Self {
            started_at: SystemTime::now(),
            threads: (0..threads).map(|_| cells()).collect(),
            server,
            owner: Arc::default(),
            journal: OnceLock::new(),
            reloads,
            connections: OnceLock::new(),
            log_lines_dropped: OnceLock::new(),
        }
    }

    /// The cells of a thread, by its number.
    pub(crate) fn thread(&self, number: usize) -> Arc<ThreadCells> {
        Arc::clone(&self.threads[number])
    }

    pub(crate) fn owner(&self) -> &Arc<OwnerCells> {
        &self.owner
    }

    /// Notes how long the start took.
    pub(crate) fn note_start(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.server.start_nanos.set(nanos);
    }

    /// Adds the cells of the journal.
    pub(crate) fn set_journal(&self, journal: Arc<JournalCells>) {
        let _ = self.journal.set(journal);
    }

    /// Adds the numbers of open connections, one for each thread.
    pub(crate) fn set_connections(&self, connections: Vec<Arc<AtomicUsize>>) {
        let _ = self.connections.set(connections);
    }

    /// Adds the number of log lines that were dropped.
    pub(crate) fn set_log_lines_dropped(&self, dropped: Arc<AtomicU64>) {
        let _ = self.log_lines_dropped.set(dropped);
    }

    /// All sums at this moment. They are read one after another, while the threads go on counting.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let connections = self.connections.get().into_iter().flatten();
        Snapshot {
            calls: self.calls(),
            refusals: self.refusals(),
            connections: connections
                .map(|open| open.load(Ordering::Relaxed) as u64)
                .sum(),
            server: ServerSum::of(&self.server),
            log_lines_dropped: self
                .log_lines_dropped
                .get()
                .map_or(0, |dropped| dropped.load(Ordering::Relaxed)),
            owner: OwnerSum::of(&self.owner),
            journal: self.journal.get().map(|cells| JournalSum::of(cells)),
            reloads: self
                .reloads
                .all()
                .iter()
                .map(|cells| ReloadState {
                    what: cells.what,
                    success: cells.success.get() == 1,
                    at_nanos: cells.at.get(),
                })
                .collect(),
            process: Process::now(self.started_at),
            ..Snapshot::default()
        }
    }

    /// What samples are made of, at this moment. It costs some thousand plain reads.
    pub(crate) fn totals(&self) -> Totals {
        let mut handling = TimesSum::default();
        let rows = METHODS.iter().enumerate();
        for (index, _) in rows.filter(|(_, row)| row.kind == Kind::Unary) {
            for thread in &self.threads {
                handling.add(&thread.calls[index].handling);
            }
        }
        let refusals = self.threads.iter().flat_map(|thread| &thread.refusals);
        let operations = self.owner.operations.iter();
        Totals {
            operations: operations.map(|cells| cells.ok.get()).sum(),
            refusals: refusals.map(super::cells::Cell::get).sum(),
            calls: handling.count(),
            handling,
            busy_nanos: self.owner.busy_nanos.get(),
            waits: (&self.owner.mailbox_wait).into(),
            commits: self
                .journal
                .get()
                .map(|cells| (&cells.commits).into())
                .unwrap_or_default(),
            confirms: self
                .journal
                .get()
                .map(|cells| (&cells.confirms).into())
                .unwrap_or_default(),
        }
    }

    fn calls(&self) -> Vec<MethodSum> {
        let sum = |(index, row): (usize, &'static MethodRow)| {
            let mut sum = MethodSum {
                row,
                started: 0,
                handled: [0; CODES.len()],
                handling: TimesSum::default(),
            };
            for thread in &self.threads {
                let cells = &thread.calls[index];
                sum.started += cells.started.get();
                for (sum, cell) in sum.handled.iter_mut().zip(&cells.handled) {
                    *sum += cell.get();
                }
                sum.handling.add(&cells.handling);
            }
            sum
        };
        METHODS.iter().enumerate().map(sum).collect()
    }

    /// Every reason that the contract has, with the number of its refusals.
    fn refusals(&self) -> Vec<(&'static str, u64)> {
        let reasons = (0..REASONS).filter_map(|number| {
            let reason = Reason::try_from(i32::try_from(number).ok()?).ok()?;
            let counts = self.threads.iter().map(|cells| &cells.refusals[number]);
            let count = counts.map(super::cells::Cell::get).sum();
            // What has no reason of its own is only shown if there is any.
            (reason != Reason::Unspecified || count > 0).then(|| (reason.as_str_name(), count))
        });
        reasons.collect()
    }
}

/// The sums of all counts at one moment, and what else `/metrics` and the page show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Calls, a row for each method, also for those that were never called.
    pub(crate) calls: Vec<MethodSum>,
    /// Refusals by reason, also of those that never came.
    pub(crate) refusals: Vec<(&'static str, u64)>,
    /// Connections that are open.
    pub(crate) connections: u64,
    pub(crate) server: ServerSum,
    pub(crate) log_lines_dropped: u64,
    pub(crate) owner: OwnerSum,
    /// None if the state is kept in memory only.
    pub(crate) journal: Option<JournalSum>,
    /// None if the server is no node of a cluster.
    pub(crate) cluster: Option<ClusterShown>,
    pub(crate) reloads: Vec<ReloadState>,
    pub(crate) process: Process,
    /// None before the server serves, and after its owner has ended.
    pub(crate) mailbox: Option<MailboxLevel>,
    /// None before the server serves.
    pub(crate) limits: Option<LimitsShown>,
    /// How many keys are in each state of each machine: as many states as have a series.
    pub(crate) keys_in_state: Vec<KeysInState>,
    pub(crate) certificates: Vec<Certificate>,
}

/// The calls of one method.
#[derive(Clone, Debug)]
pub(crate) struct MethodSum {
    pub(crate) row: &'static MethodRow,
    pub(crate) started: u64,
    /// By the number of the code.
    pub(crate) handled: [u64; CODES.len()],
    pub(crate) handling: TimesSum,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSum {
    /// Connections that were ever accepted.
    pub(crate) connections_total: u64,
    pub(crate) connection_moves: u64,
    pub(crate) handshake_failures: u64,
    pub(crate) auth_failures: u64,
    /// By identity.
    pub(crate) denied: Vec<(String, u64)>,
    /// 0 before the first backup of this process.
    pub(crate) backup_at_nanos: u64,
    pub(crate) start_nanos: u64,
}

impl ServerSum {
    fn of(cells: &ServerCells) -> Self {
        Self {
            connections_total: cells.connections.get(),
            connection_moves: cells.connection_moves.get(),
            handshake_failures: cells.handshake_failures.get(),
            auth_failures: cells.auth_failures.get(),
            denied: cells.denied(),
            backup_at_nanos: cells.backup_at.get(),
            start_nanos: cells.start_nanos.get(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct OwnerSum {
    pub(crate) busy_nanos: u64,
    pub(crate) messages: u64,
    pub(crate) batches: u64,
    pub(crate) mailbox_wait: TimesSum,
    /// Name, done, refused.
    pub(crate) operations: Vec<(&'static str, u64, u64)>,
    pub(crate) ended: Vec<(&'static str, u64)>,
    pub(crate) watch_events: u64,
    pub(crate) watches_lagged: u64,
    pub(crate) revision: u64,
    pub(crate) durable_revision: u64,
    pub(crate) oldest_revision: u64,
    pub(crate) keys: u64,
    pub(crate) store_bytes: u64,
    pub(crate) sessions: u64,
    pub(crate) machines: u64,
    pub(crate) watches: u64,
    pub(crate) request_ids: u64,
    pub(crate) unsynced_operations: u64,
    /// `DISK_ENOUGH`, `DISK_LOW` or `DISK_FULL`.
    pub(crate) disk: u64,
}

impl OwnerSum {
    fn of(cells: &OwnerCells) -> Self {
        let operations = OPERATIONS.iter().zip(&cells.operations);
        let ended = ENDED.iter().zip(&cells.ended);
        Self {
            busy_nanos: cells.busy_nanos.get(),
            messages: cells.messages.get(),
            batches: cells.batches.get(),
            mailbox_wait: (&cells.mailbox_wait).into(),
            operations: operations
                .map(|(name, cells)| (*name, cells.ok.get(), cells.refused.get()))
                .collect(),
            ended: ended.map(|(name, cell)| (*name, cell.get())).collect(),
            watch_events: cells.watch_events.get(),
            watches_lagged: cells.watches_lagged.get(),
            revision: cells.revision.get(),
            durable_revision: cells.durable_revision.get(),
            oldest_revision: cells.oldest_revision.get(),
            keys: cells.keys.get(),
            store_bytes: cells.store_bytes.get(),
            sessions: cells.sessions.get(),
            machines: cells.machines.get(),
            watches: cells.watches.get(),
            request_ids: cells.request_ids.get(),
            unsynced_operations: cells.unsynced_operations.get(),
            disk: cells.disk.get(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct JournalSum {
    pub(crate) commits: TimesSum,
    pub(crate) commit_bytes: u64,
    pub(crate) commit_operations: u64,
    /// By file.
    pub(crate) syncs: Vec<(&'static str, TimesSum)>,
    pub(crate) log_bytes: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) snapshots: TimesSum,
    pub(crate) snapshot_at_nanos: u64,
    pub(crate) snapshot_failures: u64,
    pub(crate) seq: u64,
    pub(crate) confirms: TimesSum,
    pub(crate) commit_retries: u64,
}

impl JournalSum {
    fn of(cells: &JournalCells) -> Self {
        let syncs = FILES.iter().zip(&cells.syncs);
        Self {
            commits: (&cells.commits).into(),
            commit_bytes: cells.commit_bytes.get(),
            commit_operations: cells.commit_operations.get(),
            syncs: syncs.map(|(file, times)| (*file, times.into())).collect(),
            log_bytes: cells.log_bytes.get(),
            disk_free_bytes: cells.disk_free_bytes.get(),
            snapshots: (&cells.snapshots).into(),
            snapshot_at_nanos: cells.snapshot_at.get(),
            snapshot_failures: cells.snapshot_failures.get(),
            seq: cells.seq.get(),
            confirms: (&cells.confirms).into(),
            commit_retries: cells.commit_retries.get(),
        }
    }
}

/// Whether files that are read again could be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReloadState {
    pub(crate) what: &'static str,
    pub(crate) success: bool,
    pub(crate) at_nanos: u64,
}

/// What waits in the mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MailboxLevel {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Limits that series are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitsShown {
    pub(crate) store_bytes: u64,
    pub(crate) mailbox_messages: u64,
    /// None if the store is kept in memory only.
    pub(crate) min_free_bytes: Option<u64>,
}

/// How many keys are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeysInState {
    pub(crate) machine: String,
    pub(crate) state: String,
    pub(crate) keys: u64,
}

/// When certificates end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// What they are used for.
    pub(crate) used_as: &'static str,
    /// The earliest end of any of them, in seconds since 1970.
    pub(crate) ends: i64,
}
