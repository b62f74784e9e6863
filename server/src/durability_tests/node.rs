//! A server without sockets: a state machine, the owner's commit queue, and a journal on a simulated disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use super::faulty_journal;
use super::workload::Workload;
use crate::config::{Durability, Limits};
use crate::journal::{self, Event, IfMissing, OpenError, OpenedStore, SimDisk, StoreOptions};
use crate::machine::{Cause, Delete, StateMachine, Time, Value, Write};
use crate::owner::{CommitQueue, HeldReply};
use crate::progress::Progress;

/// Options with small limits, so that checkpoints and snapshots are frequent.
pub(super) fn options(durability: Durability) -> StoreOptions {
    StoreOptions {
        limits: Limits::DEFAULT.store_limits(),
        durability,
        accept_data_loss: None,
        if_missing: IfMissing::Create,
        now: || Time::since_epoch(Duration::from_secs(1)),
        new_store_id: "store".into(),
        snapshot_log_bytes: 4_000,
        min_free_bytes: 0,
        reserve_bytes: 0,
        // Room for two or three records.
        wal_bytes_max: 16 << 10,
        progress: Progress::default(),
        cells: Arc::default(),
    }
}

/// How long a test waits for an event that does not come.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(super) struct Node {
    pub(super) machine: StateMachine,
    pub(super) commits: CommitQueue,
    pub(super) now: Time,
    runtime: Runtime,
    persister: std::thread::JoinHandle<()>,
    /// The number of the last call that was acknowledged. Calls are acknowledged in order.
    acknowledged: Arc<AtomicU64>,
    /// The number of calls since the store was opened.
    pub(super) calls: u64,
    /// The last record in the log when the store was opened.
    pub(super) opened_at: u64,
    /// How many calls each record contains, with all records before it.
    pub(super) sent: BTreeMap<u64, u64>,
}

/// The reply to a call.
struct Acknowledge {
    acknowledged: Arc<AtomicU64>,
    number: u64,
}

impl HeldReply for Acknowledge {
    fn is_abandoned(&self) -> bool {
        false
    }

    fn send(self: Box<Self>) {
        self.acknowledged.store(self.number, Ordering::SeqCst);
    }
}

/// The journal has failed.
pub(super) struct JournalFailed;

impl Node {
    /// Opens the store on `disk`.
    pub(super) fn open(disk: &SimDisk, options: StoreOptions) -> Result<Self, OpenError> {
        let OpenedStore {
            mut machine,
            time,
            journal,
            persister,
            ..
        } = journal::open(Arc::new(disk.clone()), options)?;
        let opened_at = journal.seq;
        let commits = CommitQueue::new(faulty_journal::with_fault(journal), &mut machine);
        Ok(Self {
            machine,
            commits,
            now: time,
            runtime: runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap(),
            persister,
            acknowledged: Arc::default(),
            calls: 0,
            opened_at,
            sent: [(opened_at, 0)].into(),
        })
    }

    /// Applies one call of the workload, and holds its reply as the owner does.
    pub(super) fn call(&mut self, workload: &mut Workload) {
        self.now = self.now + Duration::from_millis(1);
        workload.call(&mut self.machine, self.now);
        self.hold_reply();
    }

    fn hold_reply(&mut self) {
        self.calls += 1;
        let (acknowledged, number) = (self.acknowledged.clone(), self.calls);
        let reply = Acknowledge {
            acknowledged,
            number,
        };
        match self.commits.seq_to_await(&mut self.machine) {
            Some(seq) => self.commits.hold(seq, Box::new(reply)),
            None => Box::new(reply).send(),
        }
    }

    /// Writes a value of this many bytes, and holds the reply as the owner does. Returns what the machine refused.
    pub(super) fn write(&mut self, key: &str, bytes: usize) -> Result<(), Cause> {
        let write = Write {
            key: key.into(),
            value: Some(Value::Bytes(vec![7; bytes].into())),
            options: None,
        };
        let written = self.machine.write(write, None, self.now);
        self.hold_reply();
        written.map(drop).map_err(|refused| refused.cause)
    }

    /// Deletes a key, and holds the reply as the owner does.
    pub(super) fn delete(&mut self, key: &str) {
        let delete = Delete {
            key: key.into(),
            expect: None,
        };
        let deleted = self.machine.delete(delete, None, self.now);
        assert!(deleted.is_ok(), "deletes are not refused");
        self.hold_reply();
    }

    /// Sends the next log batch if none is under way.
    pub(super) fn send(&mut self) {
        self.commits.send_batch(&mut self.machine, self.now);
        self.sent
            .entry(self.commits.sent_seq())
            .or_insert(self.calls);
    }

    /// Waits for the next event of the journal, and handles it.
    pub(super) fn handle_event(&mut self) -> Result<(), JournalFailed> {
        let next = self.commits.next_event();
        let next = async { tokio::time::timeout(SILENCE_MAX, next).await };
        let next = self.runtime.block_on(next);
        match next.expect("the journal has something to say") {
            Some(event) => self
                .commits
                .handle_event(event, &mut self.machine)
                .map_err(|_| JournalFailed),
            None => Err(JournalFailed),
        }
    }

    /// Sends batches and handles events until everything is committed.
    pub(super) fn commit_all(&mut self) {
        self.send();
        while self.commits.is_busy() {
            assert!(self.handle_event().is_ok(), "the journal failed");
            self.send();
        }
    }

    /// Closes the store in order.
    pub(super) fn close(mut self) -> Result<StateMachine, JournalFailed> {
        let closing = self.commits.close(&mut self.machine, self.now);
        self.runtime.block_on(closing).map_err(|_| JournalFailed)?;
        drop(self.commits);
        self.persister.join().unwrap();
        Ok(self.machine)
    }

    /// Ends without closing the store, as a killed process does.
    pub(super) fn kill(self) {
        drop(self.commits);
        self.persister.join().unwrap();
    }

    /// The number of the last call that was acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

#[test]
fn events_are_small() {
    assert!(size_of::<Event>() <= 64, "{}", size_of::<Event>());
}
