//! The journal of a cluster, in etcd: one node owns the store and writes, the others follow.
//!
//! Imports go one way. From the bottom: `messages` (what is in etcd), `keys` (where it is), and `chunks` (how a snapshot is cut);
//! `cluster` (a cluster, and one node of it), `trying` (asks etcd again), `recover` (reads the store), `compare` and `store_time`; `follow`
//! (a standby) and `takeover`.

#![allow(
    dead_code,
    unused_imports,
    reason = "the journal of a cluster is not whole yet"
)]

mod chunks;
mod cluster;
mod compare;
mod follow;
mod keys;
mod messages;
mod recover;
#[cfg(test)]
mod standby_tests;
mod store_time;
mod takeover;
mod trying;

pub(crate) use cluster::{Cluster, WallClock};
pub(crate) use follow::{Follower, Following, Reason, SeenOwner};
pub(crate) use keys::{Generation, Keys};
pub(crate) use messages::{Contents, Manifest, Node, Owner, Parts, Record};
pub(crate) use takeover::{Challenge, Won};
