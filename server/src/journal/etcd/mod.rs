//! The journal of a cluster, in etcd: one node owns the store and writes, the others follow.
//!
//! ```text
//! owner -- Command ---> commit ---> l/   one record a transaction, in the name of the epoch, after the record before
//!   ^   -- Confirm ---> confirm --> o    a linearizable read, which waits for nothing else
//!   |   -- CopySlice -> snapshot -> s/   chunks; then m, their manifest; then less of l/
//!   +----- Event <----- each of them
//! ```
//!
//! Imports go one way. From the bottom: `messages` (what is in etcd), `keys` (where it is), and `chunks` (how a snapshot is cut);
//! `cluster` (a cluster, and one node of it), `recent` (how much of the log fills the history). A standby: `trying` (asks etcd again), `recover` (reads the store), `compare` and
//! `store_time`; `follow` and `takeover`. An owner: `owned` (requests in the name of the epoch); `parts`, `commit` and
//! `hand_off`; `confirm`, `truncate`, `snapshot` and `space`; `journal` puts these together.

#![allow(
    dead_code,
    unused_imports,
    reason = "the journal of a cluster is not whole yet"
)]

mod chunks;
mod cluster;
mod commit;
mod compare;
mod confirm;
mod follow;
mod hand_off;
mod journal;
#[cfg(test)]
mod journal_tests;
mod keys;
mod messages;
mod owned;
mod parts;
mod recent;
mod recover;
mod restore;
mod snapshot;
mod space;
#[cfg(test)]
mod standby_tests;
mod store_time;
mod takeover;
mod truncate;
mod trying;

pub(crate) use cluster::{Cluster, FORMATS, WallClock};
pub(crate) use follow::{Follower, Following, Reason, SeenOwner};
pub(crate) use journal::start;
pub(crate) use keys::{Generation, Keys};
pub(crate) use messages::{
    Cluster as ClusterRecord, Contents, HandOff, Manifest, Node, Owner, Parts, Record,
};
pub(crate) use restore::{NewCluster, restore};
pub(crate) use takeover::{Challenge, Won};
