//! Whatever is in etcd, a node starts with it or refuses it.

use std::cell::RefCell;

use bytes::Bytes;
use prost::Message as _;
use soloist_etcd::sim::SimEtcd;
use soloist_etcd::{KeyRange, Op, Txn};
use soloist_fuzz::{Format, Shape, Target};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::support::{World, until_ended};
use crate::journal::etcd::follow::Following;
use crate::journal::etcd::keys::Keys;
use crate::journal::etcd::messages::{Contents, Record};
use crate::journal::record::seal;

fn runtime() -> Runtime {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap()
}

/// What a small cluster has in etcd.
async fn cluster() -> Vec<(Bytes, Bytes)> {
    let world = World::new();
    let a = world.node("a", 1).await;
    let mut owner = a.own().await;
    for number in 0..3 {
        owner.write(&format!("k{number}"), number).await;
    }
    let snapshot = owner.begin_snapshot();
    owner.write("k1", 7).await;
    owner.end_snapshot(snapshot).await;
    owner.write("k2", 7).await;
    let range = Keys::new("test").all();
    let found = world.etcd.look(KeyRange::Between(range.start, range.end));
    found.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

/// A record without its checksum, if the value is one.
fn inside(value: &Bytes) -> Option<Bytes> {
    match Record::decode(value.clone()).ok()?.contents? {
        Contents::Whole(bytes) => Some(bytes.slice(..bytes.len() - 4)),
        Contents::Parts(_) => None,
    }
}

async fn start(values: &[(Bytes, Bytes)]) -> Shape {
    let world = World::of(SimEtcd::new(1));
    let put = |(key, value): &(Bytes, Bytes)| Op::Put {
        key: key.clone(),
        value: value.clone(),
        lease: 0,
    };
    let txn = Txn {
        then: values.iter().map(put).collect(),
        ..Txn::default()
    };
    let b = world.node("b", 1).await;
    b.cluster.etcd.txn(&txn).await.unwrap();
    let mut follower = match b.try_follower().await {
        Ok(follower) => follower,
        Err(refused) => return Shape::of(&refused.to_string()),
    };
    let seen = watch::channel(Following::default()).0;
    match until_ended(&mut follower, &seen).await {
        Some(Ok(reason)) => Shape::of(&format!("{reason:?}")),
        Some(Err(refused)) => Shape::of(&refused.to_string()),
        None => Shape::of("follows"),
    }
}

#[test]
fn a_node_starts_with_what_is_in_etcd_or_refuses_it() {
    let runtime = RefCell::new(runtime());
    let values = runtime.borrow().block_on(cluster());
    let count = values.len();
    assert!(count < 20, "{count}");
    let check = |input: &[u8]| {
        let Some((selector, rest)) = input.split_first() else {
            return Shape::of("empty");
        };
        let mut values = values.clone();
        let at = usize::from(*selector) % count;
        values[at].1 = match usize::from(*selector) / count % 2 {
            0 => rest.to_vec().into(),
            _ => {
                let mut bytes = rest.to_vec();
                seal(&mut bytes, 0);
                let contents = Some(Contents::Whole(bytes.into()));
                Record { contents }.encode_to_vec().into()
            }
        };
        runtime.borrow().block_on(start(&values))
    };
    let seeds = (0..).zip(&values).flat_map(|(at, (_, value))| {
        let whole = [&[at][..], value].concat();
        let second = at + u8::try_from(count).unwrap();
        let inside = inside(value).map(|inside| [&[second][..], &inside].concat());
        [whole].into_iter().chain(inside)
    });
    Target::new("etcd", Format::Protobuf)
        .seeds(seeds)
        .cost(20)
        .run(check);
}
