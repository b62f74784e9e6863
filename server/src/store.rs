//! The store: the state that a server serves, and the journal that keeps it on disk.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::time::Instant;

use crate::config::{Config, RESERVE_BYTES, WAL_BYTES_MAX};
use crate::ids::random_name;
use crate::journal::etcd::Won;
use crate::journal::{self, Command, IfMissing, Journal, OpenError};
use crate::machine::{StateMachine, Time};
use crate::metrics::JournalCells;
use crate::progress::Progress;
use crate::wall_clock;

/// A state, and the journal that keeps it on disk, if it has a data directory.
#[derive(Debug)]
pub struct Store {
    pub(crate) machine: StateMachine,
    /// See [`present_time`](Self::present_time).
    time: StoreTime,
    pub(crate) store_id: String,
    pub(crate) epoch: u64,
    pub(crate) journal: Option<Journal>,
    pub(crate) persister: Option<JoinHandle<()>>,
    /// Where the journal counts. `None` without one.
    pub(crate) journal_cells: Option<Arc<JournalCells>>,
}

/// The time that the owner goes on from.
#[derive(Clone, Copy, Debug)]
enum StoreTime {
    /// The system's, but not before this one, which the store has shown.
    NotBefore(Time),
    /// It was this one at that moment. The system's clock has no say: other nodes have other clocks.
    At(Time, Instant),
}

impl Store {
    /// The store that a node of a cluster has won.
    pub(crate) fn won(won: Won, journal: Journal, cells: Arc<JournalCells>) -> Self {
        Self {
            machine: won.machine,
            time: StoreTime::At(won.time, won.at),
            store_id: won.store_id,
            epoch: won.epoch.cast_unsigned(),
            journal: Some(journal),
            persister: None,
            journal_cells: Some(cells),
        }
    }

    /// Opens the store in the data directory, creating it if the directory has none. Without a data directory, creates
    /// an empty store in memory.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be used, or if changes are lost.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Self::open_watched(config, &Progress::default())
    }

    /// Opens the store as [`open`](Self::open) does. Meanwhile a clone of `progress` shows how far that is: a large store takes
    /// seconds or minutes.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_watched(config: &Config, progress: &Progress) -> Result<Self, OpenError> {
        let opened = Self::open_in_steps(config, progress);
        progress.end();
        opened
    }

    fn open_in_steps(config: &Config, progress: &Progress) -> Result<Self, OpenError> {
        let limits = config.limits.store_limits();
        let new_store_id = random_name();
        let storage = &config.storage;
        let Some(path) = &storage.data_dir else {
            return Ok(Self {
                machine: StateMachine::new(limits),
                time: StoreTime::NotBefore(wall_clock::now()),
                store_id: new_store_id,
                epoch: 0,
                journal: None,
                persister: None,
                journal_cells: None,
            });
        };
        let cells = Arc::<JournalCells>::default();
        let opened = journal::open_directory(
            path,
            journal::StoreOptions {
                limits,
                durability: storage.durability,
                accept_data_loss: storage.accept_data_loss,
                if_missing: match storage.require_store {
                    true => IfMissing::Refuse,
                    false => IfMissing::Create,
                },
                now: wall_clock::now,
                new_store_id,
                snapshot_log_bytes: storage.snapshot_log_bytes,
                min_free_bytes: storage.min_free_bytes,
                reserve_bytes: RESERVE_BYTES,
                wal_bytes_max: WAL_BYTES_MAX,
                progress: progress.clone(),
                cells: Arc::clone(&cells),
            },
        )?;
        Ok(Self {
            machine: opened.machine,
            time: StoreTime::NotBefore(opened.time),
            store_id: opened.store_id,
            epoch: opened.epoch,
            journal: Some(opened.journal),
            persister: Some(opened.persister),
            journal_cells: Some(cells),
        })
    }

    /// Returns the time to go on from now: never before a time that the store has shown.
    pub(crate) fn present_time(&self) -> Time {
        match self.time {
            StoreTime::NotBefore(time) => time.max(wall_clock::now()),
            StoreTime::At(time, at) => time + at.elapsed(),
        }
    }

    /// Closes a store that was not served.
    pub fn close(self) {
        let (revision, time) = (self.machine.revision(), self.present_time());
        if let (Some(journal), Some(persister)) = (self.journal, self.persister) {
            // A failed send means that the journal has ended already.
            let _ = journal.commands.send(Command::Close { revision, time });
            let _ = persister.join();
        }
    }
}
