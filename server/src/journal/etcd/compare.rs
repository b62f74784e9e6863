//! Compares the state of a standby with a snapshot that the owner made, at the record that the snapshot is of.
//!
//! The owner says in the log where a snapshot begins, and in the manifest what digest it has. The standby copies its own state
//! at the same record, a slice at a time between records, as the owner does.

use bytes::Bytes;

use crate::config::{COPY_ASIDE_BYTES_MAX, COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::journal::pages::PageWriter;
use crate::journal::stored::Header;
use crate::machine::{CopyId, StateMachine, Time};

/// The copy that is being made, and the last digests.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    copying: Option<Copying>,
    /// Of this node's state: the record, and the digest.
    own: Option<(u64, Bytes)>,
    /// Of the snapshot.
    snapshot: Option<(u64, Bytes)>,
}

#[derive(Debug)]
struct Copying {
    seq: u64,
    copy: CopyId,
    pages: PageWriter,
}

/// The state is not that of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Differs {
    /// The record of both.
    pub(super) seq: u64,
}

impl Comparison {
    /// Begins to copy the state after record `seq`.
    pub(super) fn begin(&mut self, seq: u64, machine: &mut StateMachine) {
        self.stop(machine);
        let (copy, head) = machine.begin_copy(COPY_ASIDE_BYTES_MAX);
        let header = Header::of("", head.revision, Time::MIN);
        self.copying = Some(Copying {
            seq,
            copy,
            pages: PageWriter::new(header, &head),
        });
    }

    /// Whether there is more to copy.
    pub(super) fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// Copies the next slice.
    ///
    /// # Errors
    /// If the state is another than the snapshot's.
    pub(super) fn step(&mut self, machine: &mut StateMachine) -> Result<(), Differs> {
        let Some(copying) = &mut self.copying else {
            return Ok(());
        };
        match machine.next_copy_slice(copying.copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES) {
            Ok(slice) => {
                let end = copying.pages.write(&slice);
                drop(copying.pages.take_pages());
                if let Some((digest, _)) = end {
                    self.own = Some((copying.seq, digest));
                    self.stop(machine);
                }
            }
            Err(error) => {
                tracing::debug!(
                    limit = error.limit,
                    "too many changes to compare a snapshot"
                );
                self.copying = None;
            }
        }
        self.compare()
    }

    /// Takes note of the digest of the snapshot of record `seq`.
    ///
    /// # Errors
    /// If the state is another than the snapshot's.
    pub(super) fn snapshot(&mut self, seq: u64, digest: Bytes) -> Result<(), Differs> {
        self.snapshot = Some((seq, digest));
        self.compare()
    }

    fn compare(&self) -> Result<(), Differs> {
        match (&self.own, &self.snapshot) {
            (Some((own, digest)), Some((seq, of_snapshot))) if own == seq => {
                match digest == of_snapshot {
                    true => Ok(()),
                    false => Err(Differs { seq: *seq }),
                }
            }
            _ => Ok(()),
        }
    }

    /// Ends the copy that is being made.
    pub(super) fn stop(&mut self, machine: &mut StateMachine) {
        if let Some(copying) = self.copying.take() {
            machine.end_copy(copying.copy);
        }
    }
}
