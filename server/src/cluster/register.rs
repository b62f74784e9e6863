//! The record of a node, which says where it is and what it can read, and the lease that keeps it. What the node owns ends with
//! the same lease.
//!
//! A newer process of the same name writes over the record, and the older one ends.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{Compare, Error, ErrorKind, Etcd, Get, KeyRange, Op, Txn, WatchEvent};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::NodeLost;
use crate::config::ETCD_PATIENCE;
use crate::journal::etcd::{Keys, Node as Record};
use crate::role::{NodeStatus, Step};

/// A node's lease, and the record that it keeps.
#[derive(Debug)]
pub(super) struct Registration {
    etcd: Etcd,
    key: Bytes,
    instance: String,
    ttl: Duration,
    lease: watch::Sender<i64>,
}

/// The record, as it was written last.
#[derive(Debug)]
struct Written {
    record: Record,
    lease: i64,
    /// Where it was seen last: only what comes later can be that of another process.
    revision: i64,
}

/// How long to wait before etcd is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Whose a record in etcd is.
enum Whose {
    Mine { mod_revision: i64, lease: i64 },
    Nobodys,
    Anothers,
}

impl Registration {
    /// Makes a lease that ends when it is not kept for `ttl`.
    ///
    /// # Errors
    /// Why etcd will never give one.
    pub(super) async fn begin(
        etcd: &Etcd,
        keys: &Keys,
        node: &str,
        instance: &str,
        ttl: Duration,
    ) -> Result<Self, NodeLost> {
        let lease = loop {
            match etcd.grant(ttl).await {
                Ok(lease) => break lease.id,
                Err(error) => wait(error, "make the lease of this node").await?,
            }
        };
        Ok(Self {
            // A lease must not end because one member is silent.
            etcd: etcd.hedging(ETCD_PATIENCE),
            key: keys.node(node),
            instance: instance.into(),
            ttl,
            lease: watch::channel(lease).0,
        })
    }

    /// The lease: another one if that one has ended.
    pub(super) fn lease(&self) -> watch::Receiver<i64> {
        self.lease.subscribe()
    }

    /// Writes the record, and keeps it and the lease until another process writes over it.
    pub(super) async fn keep(
        &self,
        record: Record,
        status: watch::Receiver<NodeStatus>,
    ) -> NodeLost {
        // The lease must not wait for what etcd may refuse, such as a put when it has no space.
        tokio::select! {
            () = self.keep_lease() => unreachable!("it is kept for ever"),
            lost = self.keep_record(record, status) => lost,
        }
    }

    async fn keep_lease(&self) {
        let mut next = Instant::now();
        loop {
            next += self.ttl / 3;
            sleep_until(next).await;
            loop {
                let lease = *self.lease.borrow();
                match self.etcd.keep_alive(lease).await {
                    Ok(_) => break,
                    Err(error) if error.kind == ErrorKind::LeaseGone => {
                        warn!(
                            "the lease of this node has ended, because etcd was not reached in time"
                        );
                        self.renew().await;
                        break;
                    }
                    Err(error) => {
                        debug!(%error, "cannot keep the lease of this node, trying again")
                    }
                }
                sleep(PAUSE).await;
            }
            next = next.max(Instant::now() - self.ttl / 3);
        }
    }

    /// Makes another lease.
    async fn renew(&self) {
        loop {
            match self.etcd.grant(self.ttl).await {
                Ok(lease) => {
                    self.lease.send_replace(lease.id);
                    return;
                }
                Err(error) => debug!(%error, "cannot make another lease, trying again"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn keep_record(
        &self,
        record: Record,
        mut status: watch::Receiver<NodeStatus>,
    ) -> NodeLost {
        let mut written = Written {
            record,
            lease: 0,
            revision: 0,
        };
        // Over that of an older process.
        while let Err(error) = self.put(&mut written, Vec::new()).await {
            if let Err(lost) = wait(error, "write the record of this node").await {
                return lost;
            }
        }
        let mut lease = self.lease();
        loop {
            tokio::select! {
                watched = self.watch(written.revision) => match watched {
                    Ok(()) => return replaced(),
                    Err(error) => debug!(%error, "looking at the record of this node again"),
                },
                _ = lease.changed() => {}
                caught_up = caught_up(&mut status, written.record.caught_up) => {
                    written.record.caught_up = caught_up;
                    // It is to be written anew.
                    written.lease = 0;
                }
            }
            loop {
                match self.write_again(&mut written).await {
                    Ok(true) => break,
                    Ok(false) => return replaced(),
                    Err(error) => {
                        if let Err(lost) = wait(error, "keep the record of this node").await {
                            return lost;
                        }
                    }
                }
            }
        }
    }

    /// Waits until the record is that of another process.
    async fn watch(&self, seen: i64) -> Result<(), Error> {
        let range = KeyRange::One(self.key.clone());
        let mut watch = self.etcd.watch(range, seen + 1).await?;
        loop {
            for event in watch.next().await?.events {
                if let WatchEvent::Put(kv) = event
                    && !self.is_mine(&kv.value)
                {
                    return Ok(());
                }
            }
        }
    }

    /// Writes the record again if it is gone, or not as it should be. Returns false if it is that of another process.
    async fn write_again(&self, written: &mut Written) -> Result<bool, Error> {
        let wanted = *self.lease.borrow();
        let when = match self.look(written).await? {
            Whose::Anothers => return Ok(false),
            Whose::Mine { lease, .. } if lease == wanted && written.lease == wanted => {
                return Ok(true);
            }
            // Only over its own, or over nothing.
            Whose::Mine { mod_revision, .. } => {
                Compare::ModRevision(self.key.clone(), mod_revision)
            }
            Whose::Nobodys => Compare::Missing(self.key.clone()),
        };
        if self.put(written, vec![when]).await? {
            return Ok(true);
        }
        // It has just changed: whose it is now, the next look tells.
        Ok(!matches!(self.look(written).await?, Whose::Anothers))
    }

    async fn look(&self, written: &mut Written) -> Result<Whose, Error> {
        let found = self.etcd.get(&Get::one(self.key.clone())).await?;
        let Some(kv) = found.kvs.first() else {
            return Ok(Whose::Nobodys);
        };
        if !self.is_mine(&kv.value) {
            return Ok(Whose::Anothers);
        }
        written.revision = found.revision;
        Ok(Whose::Mine {
            mod_revision: kv.mod_revision,
            lease: kv.lease,
        })
    }

    fn is_mine(&self, value: &[u8]) -> bool {
        Record::decode(value).is_ok_and(|record| record.instance == self.instance)
    }

    /// Writes the record, if the conditions hold. Returns whether it was written.
    async fn put(&self, written: &mut Written, when: Vec<Compare>) -> Result<bool, Error> {
        let lease = *self.lease.borrow();
        let put = Op::Put {
            key: self.key.clone(),
            value: written.record.encode_to_vec().into(),
            lease,
        };
        let txn = Txn {
            when,
            then: vec![put],
            otherwise: Vec::new(),
        };
        let answer = self.etcd.txn(&txn).await?;
        if answer.succeeded {
            (written.lease, written.revision) = (lease, answer.revision);
        }
        Ok(answer.succeeded)
    }

    /// Ends the lease, and with it whatever it keeps.
    pub(super) async fn end(self) {
        let lease = *self.lease.borrow();
        if let Err(error) = self.etcd.revoke(lease).await {
            debug!(%error, "the lease of this node ends by itself");
        }
    }
}

fn replaced() -> NodeLost {
    NodeLost::new(
        "another server with the same --node has taken its place; each node needs a name of its own",
    )
}

/// Waits until the node has the whole state, or has it no more, other than `before`.
async fn caught_up(status: &mut watch::Receiver<NodeStatus>, before: bool) -> bool {
    let has_all = |status: &NodeStatus| match status.step {
        Step::Connecting | Step::CatchingUp => false,
        Step::Following | Step::TakingOver | Step::Owning => true,
    };
    let changed = status.wait_for(|status| has_all(status) != before).await;
    match changed {
        Ok(_) => !before,
        Err(_) => std::future::pending().await,
    }
}

/// Waits before something is tried again. `what` completes "cannot ...".
///
/// # Errors
/// If trying again is in vain.
pub(super) async fn wait(error: Error, what: &str) -> Result<(), NodeLost> {
    match error.kind {
        ErrorKind::Unavailable | ErrorKind::LeaseGone | ErrorKind::Compacted => {
            debug!(%error, "cannot {what}, trying again");
        }
        ErrorKind::NoSpace => warn!("cannot {what}, trying again: {error}"),
        ErrorKind::TooLarge
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::Refused => return Err(NodeLost::new(format!("cannot {what}: {error}"))),
    }
    sleep(PAUSE).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use soloist_etcd::sim::SimEtcd;

    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    fn record(instance: &str) -> Record {
        Record {
            address: "a:1".into(),
            instance: instance.into(),
            ..Record::default()
        }
    }

    async fn found(etcd: &Etcd) -> Option<Record> {
        let key = Keys::new("test").node("a");
        let found = etcd.get(&Get::one(key)).await.unwrap();
        let kv = found.kvs.first()?;
        Some(Record::decode(&*kv.value).unwrap())
    }

    async fn begin(etcd: &Etcd, instance: &str) -> Registration {
        let keys = Keys::new("test");
        Registration::begin(etcd, &keys, "a", instance, TTL)
            .await
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_stays_as_long_as_it_is_kept_and_says_when_the_node_has_caught_up() {
        let etcd = SimEtcd::new(1).client("a");
        let registration = begin(&etcd, "1").await;
        let status = watch::channel(NodeStatus::new("a", "a:1")).0;
        let kept = async {
            sleep(10 * TTL).await;
            assert!(!found(&etcd).await.unwrap().caught_up);
            status.send_modify(|status| status.step = Step::Following);
            sleep(TTL).await;
            assert!(found(&etcd).await.unwrap().caught_up);
        };
        tokio::select! {
            lost = registration.keep(record("1"), status.subscribe()) => panic!("{lost}"),
            () = kept => {}
        }
        // Nobody keeps it any more.
        sleep(2 * TTL).await;
        assert_eq!(found(&etcd).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_process_of_the_same_name_ends_the_older() {
        let etcd = SimEtcd::new(1).client("a");
        let (older, newer) = (begin(&etcd, "1").await, begin(&etcd, "2").await);
        let status = watch::channel(NodeStatus::new("a", "a:1")).0;
        let newer = async {
            sleep(TTL).await;
            newer.keep(record("2"), status.subscribe()).await
        };
        let older = older.keep(record("1"), status.subscribe());
        tokio::select! {
            lost = older => assert!(lost.to_string().contains("same --node"), "{lost}"),
            lost = newer => panic!("the newer one ends: {lost}"),
        }
        assert_eq!(found(&etcd).await.unwrap().instance, "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_has_ended_is_replaced_and_the_record_is_written_again() {
        let etcd = SimEtcd::new(1).client("a");
        let registration = begin(&etcd, "1").await;
        let mut lease = registration.lease();
        let status = watch::channel(NodeStatus::new("a", "a:1")).0;
        let ended = async {
            sleep(TTL).await;
            let first = *lease.borrow_and_update();
            etcd.revoke(first).await.unwrap();
            lease.changed().await.unwrap();
            assert_ne!(*lease.borrow(), first);
            sleep(TTL).await;
            assert_eq!(found(&etcd).await.unwrap().instance, "1");
        };
        tokio::select! {
            lost = registration.keep(record("1"), status.subscribe()) => panic!("{lost}"),
            () = ended => {}
        }
    }
}
