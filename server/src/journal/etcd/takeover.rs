//! Takes the owner's place: becomes the owner in etcd, replays the rest of the log, and commits the record of the start.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{Compare, ErrorKind, Op, Txn, TxnAnswer};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::follow::{Follower, Reason, SeenOwner, owner};
use super::messages::{Contents, Owner, Record};
use super::owned::{found, put, read};
use super::recent::Recent;
use super::recover::inconsistent;
use super::trying::{Trying, transact};
use crate::config::{ETCD_PATIENCE, REVISIONS_SKIPPED};
use crate::journal::error::OpenError;
use crate::journal::record::{EncodedRecord, Position, START};
use crate::journal::replaying::Replaying;
use crate::journal::stored::{FORMAT, LogRecord, to_nanos};
use crate::machine::{Revision, StateMachine, Time};
use crate::mutants::mutant;

/// How long a standby waits at most before it challenges an owner that is silent, so that not all challenge at once.
/// A challenge in vain costs etcd one small request.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How much longer one waits that has not caught up.
const BEHIND_WAIT: Duration = Duration::from_secs(1);

/// How a challenge ended.
#[derive(Debug)]
pub(crate) enum Challenge {
    Won(Box<Won>),
    /// Another node is the owner, or was faster.
    Lost,
}

/// A store that this node owns.
#[derive(Debug)]
pub(crate) struct Won {
    pub(crate) machine: StateMachine,
    pub(crate) store_id: String,
    pub(crate) epoch: i64,
    /// The store's time at `at`.
    pub(crate) time: Time,
    pub(crate) at: Instant,
    /// The record of the start, which is the last of the log.
    pub(super) position: Position,
    /// Bytes of the records since the last snapshot.
    pub(super) log_bytes: u64,
    /// The last records, which the log keeps for the history of others.
    pub(super) recent: Recent,
}

/// What the takeover of a key led to.
enum Taken {
    /// This process is the owner, with this epoch.
    Mine(i64),
    Other(Option<SeenOwner>),
}

impl Follower {
    /// Tries to take the owner's place.
    ///
    /// # Errors
    /// [`OpenError`] if data is missing or damaged, or etcd refuses.
    pub(crate) async fn challenge(&mut self, reason: Reason) -> Result<Challenge, OpenError> {
        sleep(self.wait(reason)).await;
        let taken = match (reason, &self.owner) {
            (Reason::HandedOff, Some(owner)) => Taken::Mine(owner.epoch),
            _ => self.take().await?,
        };
        let epoch = match taken {
            Taken::Mine(epoch) => epoch,
            Taken::Other(owner) => {
                self.owner = owner;
                return Ok(Challenge::Lost);
            }
        };
        // From now on nobody else adds to the log.
        self.finish().await?;
        self.begin(epoch).await
    }

    /// How long to wait before the challenge. Nodes differ, and so do takeovers; a simulation repeats it.
    fn wait(&self, reason: Reason) -> Duration {
        let at_random = || {
            let epoch = self.owner.as_ref().map_or(0, |owner| owner.epoch);
            let seed = crc32c::crc32c(self.cluster.instance.as_bytes());
            let seed = crc32c::crc32c_append(seed, &self.state.position.seq.to_le_bytes());
            let seed = crc32c::crc32c_append(seed, &epoch.to_le_bytes());
            WAIT_MAX * (seed % 1_000) / 1_000
        };
        let behind = match self.caught_up {
            true => Duration::ZERO,
            false => BEHIND_WAIT,
        };
        match reason {
            Reason::HandedOff | Reason::Predecessor => Duration::ZERO,
            Reason::Died => behind,
            Reason::NoOwner => at_random() + behind,
        }
    }

    /// Becomes the owner, if the owner is still the one that was seen.
    async fn take(&self) -> Result<Taken, OpenError> {
        let key = self.cluster.keys.owner();
        let value = Owner {
            node: self.cluster.node.clone(),
            address: self.cluster.address.clone(),
            instance: self.cluster.instance.clone(),
        };
        let value = value.encode_to_vec();
        let etcd = self.cluster.etcd.hedging(ETCD_PATIENCE);
        let mut trying = Trying::to("become the owner");
        let mut gone = 0;
        loop {
            let lease = self.lease_after(gone).await?;
            let txn = Txn {
                when: vec![Compare::ModRevision(
                    key.clone(),
                    self.owner.as_ref().map_or(0, |owner| owner.epoch),
                )],
                then: vec![Op::Put {
                    key: key.clone(),
                    value: value.clone().into(),
                    lease,
                }],
                otherwise: vec![read(key.clone())],
            };
            match etcd.txn(&txn).await {
                Ok(answer) if answer.succeeded => return Ok(Taken::Mine(answer.revision)),
                Ok(answer) => {
                    return Ok(match found(&answer, 0).map(owner).transpose()? {
                        // An earlier try was applied, but its answer was lost.
                        Some(owner) if owner.instance == self.cluster.instance => {
                            Taken::Mine(owner.epoch)
                        }
                        found => Taken::Other(found),
                    });
                }
                // Somebody else keeps it alive, and will have another one.
                Err(error) if error.kind == ErrorKind::LeaseGone => {
                    warn!("cannot become the owner before this node has another lease");
                    gone = lease;
                }
                Err(error) => trying.after(error).await?,
            }
        }
    }

    /// The lease of this node, once it is another than `gone`. What is put without one would stay for ever.
    async fn lease_after(&self, gone: i64) -> Result<i64, OpenError> {
        let mut lease = self.cluster.lease.clone();
        let is_there = lease.wait_for(|lease| *lease != 0 && *lease != gone).await;
        is_there.map(|lease| *lease).map_err(|_| OpenError::Etcd {
            what: "cannot become the owner: nobody keeps the lease of this node alive".into(),
        })
    }

    /// Begins to own the store: commits the record of the start, before anything is shown.
    async fn begin(&mut self, epoch: i64) -> Result<Challenge, OpenError> {
        let wall = (self.cluster.now)();
        let revision = self.revision_floor();
        let (time, at) = (self.time.takeover(self.state.time, wall), Instant::now());
        let last = self.state.position;
        let record = LogRecord {
            format: FORMAT,
            epoch: epoch.cast_unsigned(),
            seq: last.seq + 1,
            revision,
            time: to_nanos(time),
            previous_crc: last.crc,
            ..LogRecord::default()
        };
        let record = EncodedRecord::of(&record, last);
        let position = match mutant("serving-before-start-record") {
            true => last,
            false if self.commit_start(epoch, &record).await? => record.position,
            false => return Ok(Challenge::Lost),
        };
        let empty = Replaying::from_nothing(self.cluster.limits.clone());
        let state = std::mem::replace(&mut self.state, empty);
        let mut recent = self.recent.clone();
        recent.add(position.seq, 0, record.bytes.len());
        let mut machine = state.machine;
        machine.resume(time, revision);
        let usage = machine.usage();
        info!(
            keys = usage.key_count,
            revision,
            epoch,
            store_id = self.store_id,
            ended = if self.closed { "in order" } else { "abruptly" },
            "owns the store from now on"
        );
        Ok(Challenge::Won(Box::new(Won {
            machine,
            store_id: self.store_id.clone(),
            epoch,
            time,
            at,
            position,
            recent,
            log_bytes: state.log_bytes + record.bytes.len() as u64,
        })))
    }

    /// The revision from which the store goes on. Changes that the last owner did not answer may be lost; their callers got
    /// OUTCOME_UNKNOWN, which can name a revision.
    fn revision_floor(&self) -> Revision {
        let revision = self.state.machine.revision();
        let is_new = self.state.position == START;
        match self.closed || is_new || mutant("no-gap") {
            true => revision,
            false => revision + REVISIONS_SKIPPED,
        }
    }

    /// Commits the record of the start. Returns false if another node has become the owner meanwhile.
    async fn commit_start(&self, epoch: i64, record: &EncodedRecord) -> Result<bool, OpenError> {
        let keys = &self.cluster.keys;
        let seq = record.position.seq;
        let (key, owner) = (keys.record(seq), keys.owner());
        let value = Record {
            contents: Some(Contents::Whole(record.bytes.clone())),
        };
        let value = Bytes::from(value.encode_to_vec());
        let txn = Txn {
            when: vec![
                Compare::ModRevision(owner.clone(), epoch),
                Compare::Missing(key.clone()),
                Compare::Exists(keys.record(seq - 1)),
            ],
            then: vec![put(key.clone(), value.clone())],
            otherwise: vec![read(key), read(owner)],
        };
        let what = "commit the record of the start";
        let answer = transact(&self.cluster.etcd.hedging(ETCD_PATIENCE), what, &txn).await?;
        match answer.succeeded {
            true => Ok(true),
            false => self.start_refused(&answer, epoch, seq, &value),
        }
    }

    /// What it means that the record of the start was refused.
    fn start_refused(
        &self,
        answer: &TxnAnswer,
        epoch: i64,
        seq: u64,
        value: &[u8],
    ) -> Result<bool, OpenError> {
        match (found(answer, 0), found(answer, 1)) {
            // An earlier try was applied, but its answer was lost.
            (Some(found), _) if found.value == value => Ok(true),
            (_, Some(found)) if found.mod_revision == epoch => Err(inconsistent(format!(
                "the log in etcd does not end at record {}, though nobody else could add to it: etcd has lost data",
                seq - 1
            ))),
            _ => Ok(false),
        }
    }
}
