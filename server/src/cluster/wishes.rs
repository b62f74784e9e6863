//! What others wish of the owner: that it hands off. `soloist-server cluster handoff` puts the wish into etcd.

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::{Compare, Error, Etcd, Get, KeyRange, KeyValue, Op, Txn, WatchEvent};
use tokio::sync::{mpsc, oneshot};

use super::register::wait;
use super::{NodeEvent, NodeLost};
use crate::journal::etcd::{HandOff, Keys};

/// Passes on what others wish, as long as etcd lets it.
pub(super) async fn wishes(
    etcd: &Etcd,
    keys: &Keys,
    happens: &mpsc::Sender<NodeEvent>,
) -> NodeLost {
    let key = keys.hand_off();
    loop {
        let Err(error) = watch(etcd, &key, happens).await;
        if let Err(lost) = wait(error, "watch for wishes to hand off").await {
            return lost;
        }
    }
}

async fn watch(
    etcd: &Etcd,
    key: &Bytes,
    happens: &mpsc::Sender<NodeEvent>,
) -> Result<std::convert::Infallible, Error> {
    let found = etcd.get(&Get::one(key.clone())).await?;
    for kv in &found.kvs {
        pass_on(etcd, kv, happens).await?;
    }
    let range = KeyRange::One(key.clone());
    let mut watch = etcd.watch(range, found.revision + 1).await?;
    loop {
        for event in watch.next().await?.events {
            if let WatchEvent::Put(kv) = event {
                pass_on(etcd, &kv, happens).await?;
            }
        }
    }
}

/// Passes a wish on, and writes why it is refused if it is.
async fn pass_on(
    etcd: &Etcd,
    kv: &KeyValue,
    happens: &mpsc::Sender<NodeEvent>,
) -> Result<(), Error> {
    let Ok(wish) = HandOff::decode(&*kv.value) else {
        return Ok(());
    };
    if !wish.refused.is_empty() {
        return Ok(());
    }
    let (refused, is_refused) = oneshot::channel();
    let event = NodeEvent::HandOff {
        to: wish.to.clone(),
        refused,
    };
    let _ = happens.send(event).await;
    // An error means that it is granted, and this process ends.
    let Ok(why) = is_refused.await else {
        return Ok(());
    };
    let refused = HandOff {
        refused: why,
        ..wish
    };
    let txn = Txn {
        when: vec![Compare::ModRevision(kv.key.clone(), kv.mod_revision)],
        then: vec![Op::Put {
            key: kv.key.clone(),
            value: refused.encode_to_vec().into(),
            lease: kv.lease,
        }],
        otherwise: Vec::new(),
    };
    etcd.txn(&txn).await.map(drop)
}
