//! Owner and journal on a disk that loses power, fills up, and rots.

mod at_rest;
mod disk_full;
mod faulty_journal;
mod format_1;
mod power_loss;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use crate::config::{Durability, Limits};
use crate::journal::{self, Event, OpenError, OpenedStore, SimDisk, StoreOptions};
use crate::machine::{
    AppliedRequest, CopyHead, CopySlice, Entry, Key, Machine, OpenedSession, StateMachine, Time,
};
use crate::owner::{CallError, CommitQueue, HeldReply};

use workload::Workload;

/// Everything that must be there again.
#[derive(Clone, Debug, PartialEq)]
struct Everything {
    machines: Vec<Machine>,
    sessions: Vec<OpenedSession>,
    entries: BTreeMap<Key, Entry>,
    answered: Vec<AppliedRequest>,
}

impl Everything {
    fn of(machine: &mut StateMachine) -> Self {
        let (id, head) = machine.begin_copy(0);
        let CopyHead {
            machines, sessions, ..
        } = head;
        let mut everything = Self {
            machines,
            sessions,
            entries: BTreeMap::new(),
            answered: Vec::new(),
        };
        loop {
            match machine.next_copy_slice(id, usize::MAX, usize::MAX).unwrap() {
                CopySlice::Entries(entries) => everything.entries.extend(entries),
                CopySlice::Requests(answered) => everything.answered.extend(answered),
                CopySlice::End => return everything,
            }
        }
    }
}

fn options(durability: Durability) -> StoreOptions {
    StoreOptions {
        limits: Limits::DEFAULT.store_limits(),
        durability,
        accept_data_loss: None,
        now: Time::since_epoch(Duration::from_secs(1)),
        new_store_id: "store".into(),
        snapshot_log_bytes: 4_000,
        min_free_bytes: 0,
        // Two or three records: the shorter it is, the more often it begins anew.
        wal_bytes_max: 16 << 10,
    }
}

/// A server without its sockets: a state, and what keeps it.
struct Node {
    machine: StateMachine,
    commits: CommitQueue,
    now: Time,
    runtime: Runtime,
    persister: std::thread::JoinHandle<()>,
    /// How many calls were acknowledged, in their order.
    acknowledged: Arc<AtomicU64>,
    done: u64,
    /// The last record when it was opened.
    opened_at: u64,
    /// How many calls were done before each record was sent.
    sent: BTreeMap<u64, u64>,
}

/// The answer to a call.
struct Acknowledge {
    acknowledged: Arc<AtomicU64>,
    number: u64,
}

impl HeldReply for Acknowledge {
    fn is_abandoned(&self) -> bool {
        false
    }

    fn send(self: Box<Self>, committed: Result<(), CallError>) {
        if committed.is_ok() {
            self.acknowledged.store(self.number, Ordering::SeqCst);
        }
    }
}

/// The journal has ended.
struct Ended;

impl Node {
    fn open(disk: &SimDisk, options: StoreOptions) -> Result<Self, OpenError> {
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
            runtime: runtime::Builder::new_current_thread().build().unwrap(),
            persister,
            acknowledged: Arc::default(),
            done: 0,
            opened_at,
            sent: [(opened_at, 0)].into(),
        })
    }

    /// Does one call, and has it acknowledged when the owner would.
    fn call(&mut self, workload: &mut Workload) {
        self.now = self.now + Duration::from_millis(1);
        workload.call(&mut self.machine, self.now);
        self.done += 1;
        let (acknowledged, number) = (self.acknowledged.clone(), self.done);
        let answer = Acknowledge {
            acknowledged,
            number,
        };
        match self.commits.seq_to_await(&mut self.machine) {
            Some(seq) => self.commits.hold(seq, Box::new(answer)),
            None => Box::new(answer).send(Ok(())),
        }
    }

    fn send(&mut self) {
        self.commits.send_batch(&mut self.machine, self.now);
        self.sent
            .entry(self.commits.sent_seq())
            .or_insert(self.done);
    }

    /// Waits for what the journal says next, and does it.
    fn hear(&mut self) -> Result<(), Ended> {
        match self.runtime.block_on(self.commits.next_event()) {
            Some(event) => self
                .commits
                .handle_event(event, &mut self.machine)
                .map_err(|_| Ended),
            None => Err(Ended),
        }
    }

    /// Until everything is on disk.
    fn settle(&mut self) {
        self.send();
        while self.commits.is_busy() {
            assert!(self.hear().is_ok(), "the journal goes on");
            self.send();
        }
    }

    fn close(mut self) -> Result<StateMachine, Ended> {
        let closing = self.commits.close(&mut self.machine, self.now);
        self.runtime.block_on(closing).map_err(|_| Ended)?;
        drop(self.commits);
        self.persister.join().unwrap();
        Ok(self.machine)
    }

    /// Ends without a word, as a process that is killed does.
    fn kill(self) {
        drop(self.commits);
        self.persister.join().unwrap();
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

#[test]
fn events_are_small() {
    assert!(size_of::<Event>() <= 64, "{}", size_of::<Event>());
}
