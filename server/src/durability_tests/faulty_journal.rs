//! A journal that does one thing wrong: a go-between on the two queues of a real journal.
//!
//! `.ci/mutants` chooses the fault by its name. Without one, tests use the real journal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime;
use tokio::sync::mpsc as tokio_mpsc;

use crate::journal::{Command, CommandSink, Event, Journal, LogBatch, QUEUE_CAPACITY};
use crate::machine::{ChangeCause, CopySlice, Effect};
use crate::mutants::mutant;

/// Every fault of the go-between.
const FAULTS: [&str; 6] = [
    "answer-before-sync",
    "effects-out-of-order",
    "expiry-not-kept",
    "requests-kept-later",
    "requests-not-kept",
    "snapshot-skips-a-key",
];

/// Puts the go-between before `journal` if one of its faults is chosen.
pub(super) fn with_fault(journal: Journal) -> Journal {
    if !FAULTS.iter().any(|fault| mutant(fault)) {
        return journal;
    }
    let Journal {
        commands: to_persister,
        events: from_persister,
        seq,
        answers,
        space,
        snapshot_log_bytes,
    } = journal;
    let (commands, from_owner) = mpsc::sync_channel(QUEUE_CAPACITY);
    let (to_owner, events) = tokio_mpsc::channel(QUEUE_CAPACITY);
    let log_bytes = Arc::new(AtomicU64::new(0));
    let go_between = CommandFaults {
        to_persister,
        to_owner: to_owner.clone(),
        log_bytes: Arc::clone(&log_bytes),
        delayed: None,
    };
    thread::spawn(move || go_between.forward(&from_owner));
    thread::spawn(move || forward_events(from_persister, &to_owner, &log_bytes));
    Journal {
        commands: Box::new(commands),
        events,
        seq,
        answers,
        space,
        snapshot_log_bytes,
    }
}

/// Forwards commands, and spoils some of them.
struct CommandFaults {
    to_persister: Box<dyn CommandSink>,
    to_owner: tokio_mpsc::Sender<Event>,
    /// `log_bytes` of the last real commit.
    log_bytes: Arc<AtomicU64>,
    /// An effect that goes into the next batch.
    delayed: Option<Effect>,
}

impl CommandFaults {
    /// Forwards commands until the owner or the persister is gone.
    fn forward(mut self, from_owner: &mpsc::Receiver<Command>) {
        for mut command in from_owner {
            match &mut command {
                Command::Commit(batch) => self.commit(batch),
                Command::Snapshot { slices, .. } if mutant("snapshot-skips-a-key") => {
                    let whole = std::mem::replace(slices, tokio_mpsc::channel(1).1);
                    *slices = without_third_key(whole);
                }
                _ => {}
            }
            if self.to_persister.send(command).is_err() {
                return;
            }
        }
    }

    /// Spoils a batch.
    fn commit(&mut self, batch: &mut LogBatch) {
        let effects = &mut batch.effects;
        if mutant("expiry-not-kept") {
            effects.retain(|effect| {
                !matches!(effect, Effect::Changed(change) if change.cause == ChangeCause::Expired)
            });
        }
        if mutant("requests-not-kept") {
            effects.retain(|effect| !matches!(effect, Effect::RequestApplied(_)));
        }
        if mutant("requests-kept-later") {
            effects.splice(..0, self.delayed.take());
            if let Some(Effect::RequestApplied(_)) = effects.last() {
                self.delayed = effects.pop();
            }
        }
        if mutant("effects-out-of-order") {
            effects.reverse();
        }
        if mutant("answer-before-sync") {
            let committed = Event::Committed {
                seq: batch.seq,
                log_bytes: self.log_bytes.load(Ordering::Relaxed),
            };
            // An error means that the owner is gone.
            let _ = self.to_owner.blocking_send(committed);
        }
    }
}

/// Forwards slices, and drops the third key of the copy.
fn without_third_key(
    mut slices: tokio_mpsc::Receiver<CopySlice>,
) -> tokio_mpsc::Receiver<CopySlice> {
    let (sender, faulty) = tokio_mpsc::channel(1);
    thread::spawn(move || {
        let mut keys = 0;
        while let Some(mut slice) = slices.blocking_recv() {
            if let CopySlice::Entries(entries) = &mut slice {
                entries.retain(|_| {
                    keys += 1;
                    keys != 3
                });
            }
            if sender.blocking_send(slice).is_err() {
                return;
            }
        }
    });
    faulty
}

/// Forwards events until the owner or the persister is gone.
fn forward_events(
    mut from_persister: tokio_mpsc::Receiver<Event>,
    to_owner: &tokio_mpsc::Sender<Event>,
    log_bytes: &AtomicU64,
) {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        loop {
            let event = tokio::select! {
                event = from_persister.recv() => event,
                () = to_owner.closed() => None,
            };
            let Some(event) = event else { return };
            if let Event::Committed { log_bytes: now, .. } = event {
                log_bytes.store(now, Ordering::Relaxed);
                if mutant("answer-before-sync") {
                    continue;
                }
            }
            if to_owner.send(event).await.is_err() {
                return;
            }
        }
    });
}
