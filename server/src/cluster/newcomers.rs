//! Nodes that have come to follow the owner. Each is told the store's time, by a record: the log of an idle store has only a time
//! that has passed, nobody knows how long ago, and the node's own clock may be wrong.

use std::convert::Infallible;

use prost::Message as _;
use soloist_etcd::{Error, Etcd, Get, KeyRange, KeyValue, WatchEvent};
use tokio::sync::mpsc;

use super::register::wait;
use super::{NodeEvent, NodeLost};
use crate::journal::etcd::{Keys, Node as Record};

/// Says that other nodes than `own` have come, as long as etcd lets it.
pub(super) async fn newcomers(
    etcd: &Etcd,
    keys: &Keys,
    own: &str,
    happens: &mpsc::Sender<NodeEvent>,
) -> NodeLost {
    let is_new = |kv: &KeyValue| {
        let record = Record::decode(&*kv.value);
        keys.node_of(&kv.key) != Some(own) && record.is_ok_and(|record| record.caught_up)
    };
    loop {
        let Err(error) = watch(etcd, keys, is_new, happens).await;
        if let Err(lost) = wait(error, "watch for other nodes").await {
            return lost;
        }
    }
}

async fn watch(
    etcd: &Etcd,
    keys: &Keys,
    is_new: impl Fn(&KeyValue) -> bool,
    happens: &mpsc::Sender<NodeEvent>,
) -> Result<Infallible, Error> {
    let nodes = || KeyRange::Between(keys.nodes().start, keys.nodes().end);
    let found = etcd.get(&Get::range(nodes())).await?;
    let mut has_come = found.kvs.iter().any(&is_new);
    let mut watch = etcd.watch(nodes(), found.revision + 1).await?;
    loop {
        if has_come {
            // An error means that nobody wants to know any more.
            let _ = happens.send(NodeEvent::Joined).await;
        }
        let events = watch.next().await?.events;
        has_come = events.iter().any(|event| match event {
            WatchEvent::Put(kv) => is_new(kv),
            WatchEvent::Delete { .. } => false,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::time::Duration;

    use soloist_etcd::sim::SimEtcd;
    use soloist_etcd::{Op, Txn};
    use tokio::time::timeout;

    use super::*;

    async fn put(etcd: &Etcd, keys: &Keys, node: &str, caught_up: bool) {
        let record = Record {
            caught_up,
            ..Record::default()
        };
        let put = Op::Put {
            key: keys.node(node),
            value: record.encode_to_vec().into(),
            lease: 0,
        };
        let txn = Txn {
            then: vec![put],
            ..Txn::default()
        };
        etcd.txn(&txn).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_caught_up_has_come() {
        let (etcd, keys) = (SimEtcd::new(1).client("a"), Keys::new("test"));
        put(&etcd, &keys, "b", true).await;
        let (sender, mut events) = mpsc::channel(1);
        let comes = async {
            let mut joined = async || {
                let event = timeout(Duration::from_secs(60), events.recv()).await;
                matches!(event, Ok(Some(NodeEvent::Joined)))
            };
            assert!(joined().await, "it was there before");
            for (node, caught_up) in [("a", true), ("c", false)] {
                put(&etcd, &keys, node, caught_up).await;
                assert!(!joined().await, "{node}");
            }
            put(&etcd, &keys, "c", true).await;
            assert!(joined().await);
        };
        tokio::select! {
            lost = newcomers(&etcd, &keys, "a", &sender) => panic!("{lost}"),
            () = comes => {}
        }
    }
}
