//! A client that fills the log: with one key that is written again and again, and sometimes is larger than one request of etcd takes.
//!
//! So the log grows faster than the state, snapshots are made, and the log loses records. Whoever reads the key must find one of the
//! values that were written, and the whole of it.

use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::task::{JoinHandle, spawn_local};

use super::calls::{Answer, call, choose};
use super::world::{World, pause};
use crate::machine::{Read, Value, Write};

/// Outside of the keys of the history.
const KEY: &str = "bulk";

const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of most values.
const LEN_MAX: usize = 4_000;

/// Bytes of a value whose record has three parts.
const LARGE: usize = 5 << 19;

/// One of so many lives has large values, which take a while to copy.
const LIVES_WITH_LARGE: u64 = 16;

pub(super) fn start(world: &Rc<World>) -> JoinHandle<()> {
    let world = Rc::clone(world);
    spawn_local(async move {
        let mut rng = world.rng(90);
        while !world.ends() {
            match rng.random_range(0..8) {
                0 => read(&world, &mut rng).await,
                _ => write(&world, &mut rng).await,
            }
            pause(&mut rng, 1, 60).await;
        }
    })
}

/// A text that tells what it should be.
fn text(number: u64, len: usize) -> String {
    format!("{number}/{len} ")
        .chars()
        .cycle()
        .take(len)
        .collect()
}

fn is_whole(found: &str) -> bool {
    let expected = || {
        let (number, rest) = found.split_once('/')?;
        let (len, _) = rest.split_once(' ')?;
        Some(text(number.parse().ok()?, len.parse().ok()?))
    };
    expected().is_some_and(|expected| expected == found)
}

async fn write(world: &Rc<World>, rng: &mut StdRng) {
    let Some(node) = choose(world, rng) else {
        return;
    };
    let is_large = world.seed.is_multiple_of(LIVES_WITH_LARGE) && rng.random_bool(0.02);
    let len = match is_large {
        true => LARGE,
        false => rng.random_range(100..LEN_MAX),
    };
    let write = Write {
        key: KEY.into(),
        value: Some(Value::Text(text(world.number(), len).into())),
        options: None,
    };
    call(world, rng, node, PATIENCE, |owner, deadline| async move {
        owner.write(write, None, deadline).await
    })
    .await;
}

async fn read(world: &Rc<World>, rng: &mut StdRng) {
    let Some(node) = choose(world, rng) else {
        return;
    };
    let read = Read {
        key: KEY.into(),
        expect: None,
    };
    let answer = call(world, rng, node, PATIENCE, |owner, deadline| async move {
        owner.read(read, deadline).await
    });
    if let Answer::Done(read) = answer.await
        && let Some(entry) = read.entry
    {
        let Value::Text(found) = &entry.value else {
            panic!("seed {}: {entry:?}", world.seed);
        };
        let seed = world.seed;
        assert!(is_whole(found), "seed {seed}: {} bytes", found.len());
    }
}
